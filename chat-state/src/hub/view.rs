//! What an operator is shown of a Hub.
use alloc::vec::Vec;

use chat_proto::RoomName;

use super::Hub;
use crate::operator::{RoomView, SessionView, Which};
use crate::room::Room;
use crate::session::{Session, Stage};

impl Hub {
    /// Returns at most `limit` listed rooms that have members on this Hub, sorted by name and
    /// beginning after a name.
    #[must_use]
    pub fn rooms_view(&self, after: Option<&RoomName>, limit: usize) -> Vec<RoomView> {
        let rooms = self.rooms.listed_after(after).filter(|room| room.audience.count_here() > 0);
        rooms.take(limit).map(view).collect()
    }

    /// Returns what this Hub has of one room; `None` if it has no members in it.
    #[must_use]
    pub fn room_view(&self, name: &RoomName) -> Option<RoomView> {
        let room = self.rooms.find(name).and_then(|at| self.rooms.get(at))?;
        (room.audience.count_here() > 0).then(|| view(room))
    }

    /// Searches `count` slots of connections from `slot` on for sessions that match. Returns up to
    /// `limit` of them, and the slot to go on from, or `None` at the end. Sessions whose `hello` is
    /// not answered yet are not shown.
    #[must_use]
    pub fn sessions_view(
        &self,
        which: &Which,
        slot: usize,
        count: usize,
        limit: usize,
    ) -> (Vec<SessionView>, Option<usize>) {
        let end = slot.saturating_add(count).min(self.sessions.slots());
        let room = which.room.as_ref().map(|room| self.rooms.find(room));
        let is_wanted = |session: &Session| {
            let inside = |at: Option<_>| at.is_some_and(|at| session.is_member(at));
            session.stage == Stage::Active
                && which.user.as_ref().is_none_or(|user| *user == session.user)
                && room.is_none_or(inside)
        };
        let (mut views, mut next) = (Vec::new(), slot);
        while next < end && views.len() < limit {
            let session = self.sessions.at(next);
            views.extend(session.filter(|s| is_wanted(s)).map(|s| self.session_view(s)));
            next += 1;
        }
        (views, (next < self.sessions.slots()).then_some(next))
    }

    fn session_view(&self, session: &Session) -> SessionView {
        let rooms = session.subscriptions.iter().filter(|s| s.state.is_member());
        let rooms = rooms.filter_map(|s| self.rooms.get(s.room)).map(|room| room.name.clone());
        let mut rooms: Vec<RoomName> = rooms.collect();
        rooms.sort();
        SessionView {
            id: session.member_id,
            user: session.user.clone(),
            name: session.name.clone(),
            dialect: session.dialect,
            rooms,
        }
    }
}

fn view(room: &Room) -> RoomView {
    let position = room.tail.ends().map(|ends| (ends.epoch.clone(), ends.cursor));
    RoomView { room: room.name.clone(), members: room.audience.count_here(), position }
}
