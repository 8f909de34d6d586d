//! What Hubs tell each other of the members of their rooms.
use chat_proto::RoomName;

use super::{Actions, Hub};
use crate::event::{Signal, SignalTo};
use crate::ids::{HubId, Mono};
use crate::room::RoomId;
use crate::room::audience::{Audience, Heard, Part, PeerSlot, Say};

/// An answer that takes longer than this was lost.
const ASK_AGAIN_MS: u64 = 1000;

impl Hub {
    /// Takes a change of another Hub's part of a roster.
    pub(super) fn peer_said(&mut self, from: HubId, room: &RoomName, say: Say, out: &mut Actions) {
        // The signal may be late, and the room be dropped.
        let Some(at) = self.rooms.find(room) else { return };
        let leaves = matches!(say, Say::Leaving { .. });
        let heard = self.audience(at, out, |audience, cx| audience.peer_said(cx, slot(from), say));
        let room = self.rooms.get_mut(at).expect("it was found above");
        let missing = room.missing.entry(from).or_default();
        missing.any = !leaves && (missing.any || heard == Heard::Gap);
        self.ask_if_missing(from, at, out);
        // The last member here may have moved there.
        self.forget_if_idle(at, out);
    }

    /// Takes another Hub's part of a roster.
    pub(super) fn peer_part(
        &mut self,
        from: HubId,
        room: &RoomName,
        part: Part,
        out: &mut Actions,
    ) {
        let Some(at) = self.rooms.find(room) else { return };
        let heard = self.audience(at, out, |audience, cx| audience.peer_part(cx, slot(from), part));
        let room = self.rooms.get_mut(at).expect("it was found above");
        match heard {
            Heard::Next | Heard::Gap => {
                room.missing.remove(&from);
            }
            // The answer was overtaken by a change: ask again.
            Heard::Stale => {
                if let Some(missing) = room.missing.get_mut(&from) {
                    missing.asked = None;
                }
            }
        }
        self.ask_if_missing(from, at, out);
    }

    /// Asks another Hub for its part, if changes of it were lost: once for all of them.
    fn ask_if_missing(&mut self, from: HubId, at: RoomId, out: &mut Actions) {
        let now = self.now;
        let room = self.rooms.get_mut(at).expect("the caller has found the room");
        let Some(missing) = room.missing.get_mut(&from) else { return };
        let due = missing.asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN_MS);
        if missing.any && due {
            missing.asked = Some(now);
            let room = room.name.clone();
            self.signal(SignalTo::Hub(from), || Signal::AskRoster { room }, out);
        }
    }

    /// Tells another Hub this one's part of a roster.
    pub(super) fn tell_roster(&mut self, from: HubId, name: &RoomName, out: &mut Actions) {
        let Some(at) = self.rooms.find(name) else { return };
        let Part { version, count, members } = self.look(at, Audience::part);
        let room = name.clone();
        let signal = || Signal::Roster { room, count, members, version };
        self.signal(SignalTo::Hub(from), signal, out);
    }

    /// Asks all Hubs for their parts of a roster. A Hub that has left the room meanwhile does not
    /// answer, so that nothing of what it said counts any more.
    pub(super) fn doubt_rosters(&mut self, now: Mono, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at).filter(|room| room.policy().has_roster) else {
            return;
        };
        let name = room.name.clone();
        for missing in room.missing.values_mut() {
            (missing.any, missing.asked) = (true, Some(now));
        }
        self.audience(at, out, Audience::doubt_peers);
        let to = SignalTo::Followers(name.clone());
        self.signal(to, || Signal::AskRoster { room: name }, out);
    }
}

/// A peer has the number of its Hub.
fn slot(hub: HubId) -> PeerSlot {
    PeerSlot(hub.0)
}
