//! What Hubs tell each other.
use alloc::vec::Vec;

use chat_proto::{RoomName, ServerFrame};

use super::{Actions, Hub};
use crate::event::{Action, Recipients, Signal, SignalTo};
use crate::ids::{HubId, MemberId, Mono};
use crate::presence::Change;
use crate::room::RoomId;
use crate::session::Session;

impl Hub {
    pub(super) fn signalled(&mut self, now: Mono, from: HubId, signal: Signal, out: &mut Actions) {
        let listed = self.config.limits.members_listed as usize;
        match signal {
            Signal::Committed { epoch, room, entries } => {
                if let Some(at) = self.rooms.find(&room) {
                    self.commit_signalled(now, at, &epoch, &entries, out);
                }
            }
            Signal::Grown { epoch, room, last } => {
                let Some(at) = self.rooms.find(&room) else { return };
                if self.knows_other_epoch(at, &epoch) {
                    self.ask_head(at, out);
                } else {
                    self.grown(now, at, last, out);
                }
            }
            Signal::Came { room, id, member, version } => {
                let Some((at, part)) = self.remote(&room, from) else { return };
                let change = part.came(version, (id, member.clone()), listed);
                let frame = ServerFrame::Join { room, member };
                self.presence_changed(from, at, change, frame, out);
            }
            Signal::Went { room, id, member, reason, version } => {
                let Some((at, part)) = self.remote(&room, from) else { return };
                let change = part.went(version, id);
                let frame = ServerFrame::Leave { room, member, reason };
                self.presence_changed(from, at, change, frame, out);
            }
            Signal::AskRoster { room } => self.tell_roster(from, &room, out),
            Signal::Roster { room, count, members, version } => {
                let Some((at, part)) = self.remote(&room, from) else { return };
                if part.replace(version, count, members, listed) {
                    self.show_members(at, out);
                }
            }
            Signal::Census { room, count } => {
                let rooms_max = self.config.limits.rooms_total as usize;
                self.directory.note(from, room, count, rooms_max);
            }
            Signal::AskCensus => {
                for at in self.rooms.ids() {
                    if let Some(room) = self.rooms.get(at) {
                        self.census.insert(room.name.clone());
                    }
                }
            }
            Signal::Typing { room, member, active } => {
                let Some(room) = self.rooms.find(&room).and_then(|at| self.rooms.get(at)) else {
                    return;
                };
                let to = Recipients::All(room.live.clone());
                let frame = ServerFrame::Typing { room: room.name.clone(), member, active };
                out.push_back(Action::Send { to, frame });
            }
        }
    }

    fn remote(
        &mut self,
        room: &RoomName,
        from: HubId,
    ) -> Option<(RoomId, &mut crate::presence::RemoteRoster)> {
        let at = self.rooms.find(room)?;
        let room = self.rooms.get_mut(at)?;
        Some((at, room.remote.entry(from).or_default()))
    }

    /// Shows a change of another Hub's part; asks for the whole if changes before it are missing.
    fn presence_changed(
        &mut self,
        from: HubId,
        at: RoomId,
        change: Change,
        frame: ServerFrame,
        out: &mut Actions,
    ) {
        if change == Change::Stale {
            return;
        }
        let Some(room) = self.rooms.get(at) else { return };
        let name = room.name.clone();
        out.push_back(Action::Send { to: Recipients::All(room.live.clone()), frame });
        if change == Change::Missed {
            self.signal(SignalTo::Hub(from), || Signal::AskRoster { room: name }, out);
        }
    }

    /// Tells the members here who else is there: more than single changes can say.
    fn show_members(&self, at: RoomId, out: &mut Actions) {
        let Some(view) = self.members_view(at) else { return };
        let Some(room) = self.rooms.get(at) else { return };
        if !room.live.is_empty() {
            let to = Recipients::All(room.live.clone());
            let frame = ServerFrame::Members { id: None, room: room.name.clone(), view };
            out.push_back(Action::Send { to, frame });
        }
    }

    fn tell_roster(&mut self, from: HubId, name: &RoomName, out: &mut Actions) {
        let Some(room) = self.rooms.find(name).and_then(|at| self.rooms.get(at)) else { return };
        let listed = self.config.limits.members_listed as usize;
        let here = room.live.iter().chain(room.lagging.iter().copied()).take(listed);
        let members: Vec<_> = here
            .filter_map(|conn| {
                let member = self.sessions.get(conn).map(Session::member)?;
                Some((MemberId { hub: self.config.hub, conn }, member))
            })
            .collect();
        let (room, count, version) = (room.name.clone(), room.members_here(), room.version);
        let signal = || Signal::Roster { room, count, members, version };
        self.signal(SignalTo::Hub(from), signal, out);
    }

    /// Signals may be missing: ask for everything that they could have said.
    pub(super) fn signals_lost(&mut self, out: &mut Actions) {
        for at in self.rooms.ids() {
            self.ask_head(at, out);
            let Some(room) = self.rooms.get(at) else { continue };
            let name = room.name.clone();
            let to = SignalTo::Followers(name.clone());
            self.signal(to, || Signal::AskRoster { room: name }, out);
        }
        self.signal(SignalTo::Everyone, || Signal::AskCensus, out);
    }

    pub(super) fn census_due(&mut self, out: &mut Actions) {
        self.census_armed = false;
        for room in core::mem::take(&mut self.census) {
            let here = self.rooms.find(&room).and_then(|at| self.rooms.get(at));
            let count = here.map_or(0, crate::room::Room::members_here);
            self.signal(SignalTo::Everyone, || Signal::Census { room, count }, out);
        }
    }
}
