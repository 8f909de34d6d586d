//! Applies what other Hubs report of their members.
use alloc::vec;

use chat_proto::RoomName;

use super::{Actions, Hub};
use crate::ids::PeerSlot;
use crate::peers::signal::RosterPart;
use crate::peers::{Change, Register};
use crate::room::audience::{Audience, Context, Part, Say};

impl Hub {
    /// Applies a change of a peer's part of a roster.
    pub(super) fn peer_said(
        &mut self,
        slot: PeerSlot,
        room: &RoomName,
        change: Change,
        say: Say,
        out: &mut Actions,
    ) {
        // The room may have been dropped meanwhile.
        let Some(at) = self.rooms.find(room) else { return };
        match (change, say) {
            (Change::Stale, _) => return,
            (Change::First, Say::Came { id, member })
                if self.inspect(at, |audience, _| audience.has_peer(slot)) =>
            {
                // The part was empty before: earlier members have left, and the signal was lost.
                let part = Part { count: 1, members: vec![(id, member)] };
                self.audience(at, out, |audience, cx| audience.peer_part(cx, slot, part));
            }
            (Change::First | Change::Applied | Change::Missed, say) => {
                self.audience(at, out, |audience, cx| audience.peer_said(cx, slot, say));
            }
        }
        // The last member here may have moved there.
        self.forget_if_idle(at, out);
    }

    /// Replaces a peer's part of a roster, unless something newer is known.
    pub(super) fn part_told(&mut self, slot: PeerSlot, part: RosterPart, out: &mut Actions) {
        let RosterPart { room, version, count, members } = part;
        let Some(at) = self.rooms.find(&room) else { return };
        if self.peers.whole(slot, &Register { room, version }, count) {
            let part = Part { count, members };
            self.audience(at, out, |audience, cx| audience.peer_part(cx, slot, part));
        }
    }

    /// Changes a peer's part of a roster. The room may have been dropped meanwhile.
    pub(super) fn change_part(
        &mut self,
        room: &RoomName,
        out: &mut Actions,
        change: impl FnOnce(&mut Audience, &mut Context<'_>),
    ) {
        if let Some(at) = self.rooms.find(room) {
            self.audience(at, out, change);
        }
    }
}
