//! Calls the [`Audience`] of a room and applies its effects.
use alloc::vec::Vec;

use chat_proto::{LeaveReason, Member, MembersView};

use super::sessions::Sessions;
use super::{Actions, Hub};
use crate::config::{Config, Peers};
use crate::event::{Action, Signal, SignalTo};
use crate::ids::{ConnId, MemberId};
use crate::room::audience::{Attendee, Audience, Context, Drafts, Effect, Farewell, Rules, Say};
use crate::room::{Room, RoomId};
use crate::session::{Session, State};
use crate::timers::Timer;

impl Hub {
    /// Calls a room's audience and applies its effects.
    ///
    /// # Panics
    /// Panics if there is no such room.
    pub(super) fn audience<R>(
        &mut self,
        at: RoomId,
        out: &mut Actions,
        act: impl FnOnce(&mut Audience, &mut Context<'_>) -> R,
    ) -> R {
        let room = &mut self.rooms[at];
        let sessions = &self.sessions;
        let who = |conn| who(sessions, conn);
        let mut effects = Vec::new();
        let (rules, now) = (rules(&self.config), self.now);
        let mut cx = Context { room: &room.name, now, rules, who: &who, out: &mut effects };
        let result = act(&mut room.audience, &mut cx);
        for effect in effects {
            self.apply(at, effect, out);
        }
        result
    }

    fn apply(&mut self, at: RoomId, effect: Effect, out: &mut Actions) {
        match effect {
            Effect::Tell { to, frame } => out.push_back(Action::Send { to, frame }),
            Effect::Moved { conn, place } => {
                let session = &mut self.sessions[conn];
                let subscription = session.subscription(at).expect("a live member is subscribed");
                subscription.state = State::Live(place);
            }
            Effect::Say(say) => self.say_to_peers(at, say, out),
            Effect::Back(member) => self.stop_lingering_in(member, at),
            Effect::Arm(due) => self.timers.arm(due, Timer::Audience(at)),
        }
    }

    /// Tells peers of a change in this Hub's part of a roster.
    fn say_to_peers(&mut self, at: RoomId, say: Say, out: &mut Actions) {
        if self.config.peers == Peers::None {
            return;
        }
        let room = self.rooms[at].name.clone();
        let stamp = self.peers.change_here(self.now, &room);
        let to = SignalTo::Followers(room.clone());
        let signal = match say {
            Say::Came { id, member } => {
                let attempt = self.sessions.of(id).map_or(0, |session| session.attempt);
                Signal::Came { room, id, member, attempt, stamp }
            }
            Say::Went { id, member, reason } => Signal::Went { room, id, member, reason, stamp },
        };
        out.push_back(Action::Signal { to, signal });
    }

    /// Sends the notices that are due to a room's members.
    pub(super) fn audience_due(&mut self, at: RoomId, out: &mut Actions) {
        // The room may have been dropped.
        if self.rooms.get(at).is_some() {
            self.audience(at, out, Audience::timeout);
        }
    }

    /// Returns who is in a room.
    pub(super) fn members_view(&self, at: RoomId) -> MembersView {
        self.inspect(at, Audience::view)
    }

    /// Reads something from a room's audience.
    pub(super) fn inspect<R>(
        &self,
        at: RoomId,
        read: impl FnOnce(&Audience, &Context<'_>) -> R,
    ) -> R {
        let room = &self.rooms[at];
        let who = |conn| who(&self.sessions, conn);
        let (rules, now, mut none) = (rules(&self.config), self.now, Vec::new());
        let cx = Context { room: &room.name, now, rules, who: &who, out: &mut none };
        read(&room.audience, &cx)
    }

    /// Puts a member that has caught up on the live list.
    pub(super) fn go_live(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let place = self.audience(at, out, |audience, cx| audience.go_live(cx, conn));
        self.set_state(conn, at, State::Live(place));
    }

    /// Takes a member off the live list, if it is there. The member is behind from now on.
    pub(super) fn stand_behind(
        &mut self,
        conn: ConnId,
        at: RoomId,
        state: State,
        out: &mut Actions,
    ) {
        if let State::Live(place) = self.set_state(conn, at, state) {
            self.audience(at, out, |audience, cx| audience.fall_behind(cx, conn, place));
        }
    }

    /// Sets the state of a subscription and returns the one before.
    pub(super) fn set_state(&mut self, conn: ConnId, at: RoomId, state: State) -> State {
        let session = &mut self.sessions[conn];
        let subscription = session.subscription(at).expect("a member is subscribed");
        core::mem::replace(&mut subscription.state, state)
    }

    /// Announces the members that have left a room and whose drafts the log has answered.
    pub(super) fn announce_departures(&mut self, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get(at).filter(|room| room.audience.has_departing()) else {
            return;
        };
        let unanswered = room.unanswered();
        let drafts_of = |conn| match unanswered.binary_search(&conn) {
            Ok(_) => Drafts::Unanswered,
            Err(_) => Drafts::Answered,
        };
        self.audience(at, out, |audience, cx| audience.answered(cx, drafts_of));
    }
}

impl Session {
    pub(super) fn attendee(&self) -> Attendee {
        Attendee { conn: self.conn, id: self.member_id, member: self.member() }
    }
}

impl Room {
    /// Returns how the member with this connection leaves.
    pub(super) fn farewell(&self, conn: ConnId, reason: LeaveReason) -> Farewell {
        if reason == LeaveReason::Draining {
            return Farewell::Silent;
        }
        let drafts = if self.has_drafts_of(conn) { Drafts::Unanswered } else { Drafts::Answered };
        Farewell::Told(reason, drafts)
    }
}

fn who(sessions: &Sessions, conn: ConnId) -> (MemberId, Member) {
    let session = sessions.get(conn).expect("a member has a session");
    (session.member_id, session.member())
}

fn rules(config: &Config) -> Rules {
    Rules {
        listed: config.limits.members_listed as usize,
        notice_members: u64::from(config.limits.notice_members),
        presence_ms: config.times.presence_ms,
        grace_ms: config.times.grace_ms,
    }
}
