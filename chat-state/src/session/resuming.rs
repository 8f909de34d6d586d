//! A session that is being resumed.
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use chat_proto::{LostReason, Position, Recovery, RequestId, RoomName};

/// Rooms of one resume that are opened at a time.
const ROOMS_AT_ONCE: usize = 8;

/// What the `welcome` of a resume waits for.
#[derive(Debug)]
pub(crate) struct Resuming {
    pub(crate) id: Option<RequestId>,
    /// The server still knew the session.
    pub(crate) known: bool,
    /// Rooms that wait to be opened: at most as many as one frame can name.
    pub(crate) waiting: VecDeque<(RoomName, Position)>,
    /// Rooms that are being decided, by the client's spelling.
    pub(crate) undecided: BTreeSet<RoomName>,
    /// A caller further up the stack is opening the next rooms.
    pub(crate) is_opening: bool,
    /// What became of the other rooms.
    pub(crate) decided: BTreeMap<RoomName, Recovery>,
}

impl Resuming {
    /// Gives up a room that waits to be opened.
    pub(crate) fn drop_waiting(&mut self, room: &RoomName, reason: LostReason) {
        if let Some(at) = self.waiting.iter().position(|(name, _)| name == room)
            && let Some((name, _)) = self.waiting.remove(at)
        {
            self.decided.insert(name, Recovery::Lost(reason));
        }
    }

    /// Takes the next room to decide, if few enough are being decided.
    pub(crate) fn next_room(&mut self) -> Option<(RoomName, Position)> {
        if self.undecided.len() >= ROOMS_AT_ONCE {
            return None;
        }
        let (name, position) = self.waiting.pop_front()?;
        self.undecided.insert(name.clone());
        Some((name, position))
    }
}

/// What a `welcome` says about a resume.
#[derive(Debug)]
pub(crate) enum Resumed {
    /// `hello` did not ask to resume.
    Fresh,
    Asked {
        /// The server still knew the session.
        known: bool,
        /// What became of each room that was named.
        rooms: BTreeMap<RoomName, Recovery>,
    },
}
