//! An audience without a Hub: its members' displays, its peers and its clock are played here.
mod hubs_agree;
mod model;
mod notices;
mod peers;

use std::collections::BTreeMap;
use std::format;
use std::vec::Vec;

use chat_proto::{DisplayName, LeaveReason, Member, MembersView, RoomName, ServerFrame, UserId};

use super::*;
use crate::event::Recipients;
use crate::ids::{Mono, PeerSlot};

pub(super) const RULES: Rules =
    Rules { listed: 200, notice_members: 64, presence_ms: 1000, grace_ms: 10_000 };

pub(super) const LEFT: Farewell = Farewell::Told(LeaveReason::Left, Drafts::Answered);
pub(super) const PEER: PeerSlot = PeerSlot(1);
pub(super) const OTHER: PeerSlot = PeerSlot(2);

/// A member by number: its id, connection and name follow from that.
pub(super) fn conn(n: u32) -> ConnId {
    ConnId { slot: n, generation: 0 }
}

pub(super) fn id(n: u32) -> MemberId {
    MemberId(u64::from(n))
}

pub(super) fn member(n: u32) -> Member {
    let user = UserId::new(&format!("u{n}")).expect("a user id");
    Member { user, username: DisplayName::new(&format!("U{n}")).expect("a name") }
}

pub(super) fn attendee(n: u32) -> Attendee {
    Attendee { conn: conn(n), id: id(n), member: member(n) }
}

pub(super) fn came(n: u32) -> Say {
    Say::Came { id: id(n), member: member(n) }
}

pub(super) fn went(n: u32) -> Say {
    Say::Went { id: id(n), member: member(n), reason: LeaveReason::Left }
}

pub(super) fn part(members: &[u32]) -> Part {
    let named = members.iter().map(|n| (id(*n), member(*n))).collect();
    Part { count: members.len() as u64, members: named }
}

/// Plays what is around an audience.
pub(super) struct Stage {
    pub(super) audience: Audience,
    pub(super) rules: Rules,
    pub(super) now: Mono,
    name: RoomName,
    pub(super) spots: BTreeMap<u32, Spot>,
    /// The count that each connected member has on its screen.
    pub(super) screens: BTreeMap<u32, u64>,
    /// What members were told since somebody last looked: who, and a short text.
    told: Vec<(u32, String)>,
    pub(super) said: Vec<Say>,
    pub(super) back: Vec<MemberId>,
    pub(super) armed: Option<Mono>,
}

use std::string::String;

impl Stage {
    pub(super) fn new(rules: Rules) -> Self {
        Self::with(Audience::new(Visibility::Shown, rules.listed), rules)
    }

    pub(super) fn with(audience: Audience, rules: Rules) -> Self {
        Self {
            audience,
            rules,
            now: Mono(0),
            name: RoomName::new("den").expect("a room"),
            spots: BTreeMap::new(),
            screens: BTreeMap::new(),
            told: Vec::new(),
            said: Vec::new(),
            back: Vec::new(),
            armed: None,
        }
    }

    /// Calls the audience and applies its effects.
    pub(super) fn call<R>(&mut self, act: impl FnOnce(&mut Audience, &mut Context<'_>) -> R) -> R {
        let mut out = Vec::new();
        let who = |conn: ConnId| (id(conn.slot), member(conn.slot));
        let (room, now, rules) = (&self.name, self.now, self.rules);
        let mut cx = Context { room, now, rules, who: &who, out: &mut out };
        let result = act(&mut self.audience, &mut cx);
        for effect in out {
            match effect {
                Effect::Tell { to, frame } => self.show(&to, &frame),
                Effect::Moved { conn, place } => {
                    self.spots.insert(conn.slot, Spot::Live(place));
                }
                Effect::Say(say) => self.said.push(say),
                Effect::Back(id) => self.back.push(id),
                Effect::Arm(at) => self.armed = Some(at),
            }
        }
        result
    }

    fn show(&mut self, to: &Recipients, frame: &ServerFrame) {
        let (to, but): (Vec<_>, _) = match to {
            Recipients::One(conn) => ([*conn].into(), None),
            Recipients::All(roster) => (roster.iter().collect(), None),
            Recipients::AllBut(roster, but) => (roster.iter().collect(), Some(*but)),
        };
        for conn in to.into_iter().filter(|conn| Some(*conn) != but) {
            let screen = self.screens.entry(conn.slot).or_default();
            let text = match frame {
                ServerFrame::Join { member, .. } => {
                    *screen += 1;
                    format!("join {}", member.username.as_str())
                }
                ServerFrame::Leave { member, .. } => {
                    *screen -= 1;
                    format!("leave {}", member.username.as_str())
                }
                ServerFrame::Members { view, .. } => {
                    *screen = view.count;
                    format!("members {}", self.listed(view))
                }
                ServerFrame::Presence { count, .. } => {
                    *screen = *count;
                    format!("{count} present")
                }
                ServerFrame::Crowd { first, others, came, .. } => {
                    let verb = if *came { "came" } else { "went" };
                    format!("{} and {others} others {verb}", first.username.as_str())
                }
                other => panic!("an audience does not send {other:?}"),
            };
            self.told.push((conn.slot, text));
        }
    }

    fn listed(&self, view: &MembersView) -> String {
        let names: Vec<_> = view.members.iter().map(|m| m.username.as_str()).collect();
        format!("{}({})", view.count, names.join(","))
    }

    /// Takes what a member was told since the last call.
    pub(super) fn told(&mut self, n: u32) -> Vec<String> {
        let (own, others) = self.told.drain(..).partition(|(to, _)| *to == n);
        self.told = others;
        let own: Vec<(u32, String)> = own;
        own.into_iter().map(|(_, text)| text).collect()
    }

    pub(super) fn forget_told(&mut self) {
        self.told.clear();
        self.said.clear();
    }

    pub(super) fn view(&mut self) -> MembersView {
        self.call(|audience, cx| audience.view(cx))
    }

    /// Joins and shows the reply, without going live.
    pub(super) fn enter(&mut self, n: u32) {
        self.call(|audience, cx| audience.enter(cx, attendee(n), Told::View));
        self.spots.insert(n, Spot::Behind);
        let count = self.view().count;
        self.screens.insert(n, count);
    }

    pub(super) fn go_live(&mut self, n: u32) {
        let place = self.call(|audience, cx| audience.go_live(cx, conn(n)));
        self.spots.insert(n, Spot::Live(place));
    }

    pub(super) fn join(&mut self, n: u32) {
        self.enter(n);
        self.go_live(n);
    }

    pub(super) fn lag(&mut self, n: u32) {
        let Some(Spot::Live(place)) = self.spots.get(&n).copied() else {
            panic!("{n} is not live")
        };
        self.call(|audience, cx| audience.fall_behind(cx, conn(n), place));
        self.spots.insert(n, Spot::Behind);
    }

    /// A member that is behind gets the reply to another join.
    pub(super) fn join_again(&mut self, n: u32) {
        self.audience.note_told(conn(n));
        let count = self.view().count;
        self.screens.insert(n, count);
    }

    pub(super) fn leave(&mut self, n: u32, farewell: Farewell) {
        let spot = self.disconnect(n);
        self.call(|audience, cx| audience.leave(cx, attendee(n), spot, farewell));
    }

    pub(super) fn lose(&mut self, n: u32) {
        let spot = self.disconnect(n);
        let why = LeaveReason::Disconnected;
        self.call(|audience, cx| audience.lose(cx, attendee(n), spot, why));
    }

    fn disconnect(&mut self, n: u32) -> Spot {
        self.screens.remove(&n);
        self.spots.remove(&n).expect("a member with a connection")
    }

    pub(super) fn end_away(&mut self, n: u32) {
        self.call(|audience, cx| audience.end_away(cx, id(n), LEFT));
    }

    pub(super) fn said(&mut self, peer: PeerSlot, say: Say) {
        self.call(|audience, cx| audience.peer_said(cx, peer, say));
    }

    pub(super) fn reported(&mut self, peer: PeerSlot, part: Part) {
        self.call(|audience, cx| audience.peer_part(cx, peer, part));
    }

    pub(super) fn peer_leaves(&mut self, peer: PeerSlot) {
        self.call(|audience, cx| audience.peer_leaves(cx, peer));
    }

    /// Lets time pass, and calls the audience when it wants to be called.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        while let Some(at) = self.armed.take_if(|at| *at <= end) {
            self.now = self.now.max(at);
            self.call(Audience::timeout);
        }
        self.now = end;
    }

    /// Lets time pass until nothing is due.
    pub(super) fn rest(&mut self) {
        while self.armed.is_some() {
            self.pass(1000);
        }
    }
}
