//! Telling a room's members who comes and goes.
//!
//! In a small room each is told by itself and at once. In a large one that would be a frame for
//! each member and each change, so a whole room that comes back would cost the square of its
//! members: there all changes of a while are told together, see [`presence_ms`].
use alloc::boxed::Box;

use chat_proto::{LeaveReason, Member, ServerFrame};

use super::{Actions, Hub};
use crate::crowd::{Crowd, Several};
use crate::event::{Action, Recipients};
use crate::ids::ConnId;
use crate::room::{Room, RoomId};
use crate::timers::Timer;

/// A change of a room's members that others are to see.
#[derive(Debug)]
pub(super) enum Notice {
    /// This one has come, with this connection if it came to this Hub.
    Came(Member, Option<ConnId>),
    /// This one has gone, and had this connection if it was on this Hub.
    Went(Member, LeaveReason, Option<ConnId>),
    /// They are not who they were; who has come and gone is not known.
    Anew,
}

impl Hub {
    /// Tells a room's members of a change, at once or with others.
    pub(super) fn notice(&mut self, at: RoomId, notice: Notice, out: &mut Actions) {
        let most = u64::from(self.config.limits.notice_members);
        let Some(room) = self.rooms.get(at) else { return };
        // What is told alone must not overtake what waits.
        if room.crowd.is_some() || room.members() > most {
            self.gather(at, notice);
        } else {
            self.notice_alone(at, notice, out);
        }
    }

    /// Keeps a change, to be told with others.
    pub(super) fn gather(&mut self, at: RoomId, notice: Notice) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.crowd.is_none() {
            let due = self.now.plus(presence_ms(self.config.times.presence_ms, room));
            self.timers.arm(due, Timer::Presence(at));
            let (came, gone) = (Several::default(), Several::default());
            room.crowd = Some(Box::new(Crowd { due, came, gone }));
        }
        let Some(crowd) = &mut room.crowd else { return };
        match notice {
            Notice::Came(member, conn) => crowd.came.add(member, conn),
            Notice::Went(member, _, conn) => crowd.gone.add(member, conn),
            Notice::Anew => {}
        }
    }

    fn notice_alone(&mut self, at: RoomId, notice: Notice, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        let itself = if let Notice::Came(_, conn) = &notice { *conn } else { None };
        room.untold_of.extend(room.lagging.iter().filter(|conn| Some(**conn) != itself));
        if room.live.is_empty() {
            return;
        }
        let (to, name) = (room.live.roster().clone(), room.name.clone());
        let (to, frame) = match notice {
            Notice::Came(member, conn) => {
                room.told += 1;
                let to = match conn {
                    Some(conn) => Recipients::AllBut(to, conn),
                    None => Recipients::All(to),
                };
                (to, ServerFrame::Join { room: name, member })
            }
            Notice::Went(member, reason, _) => {
                room.told = room.told.saturating_sub(1);
                (Recipients::All(to), ServerFrame::Leave { room: name, member, reason })
            }
            Notice::Anew => {
                let Some(view) = self.members_view(at) else { return };
                self.note_told(at, view.count);
                (Recipients::All(to), ServerFrame::Members { id: None, room: name, view })
            }
        };
        out.push_back(Action::Send { to, frame });
    }

    /// The time has come to tell of all changes together.
    pub(super) fn presence_due(&mut self, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        let Some(crowd) = room.crowd.take() else { return };
        room.untold_of.extend(room.lagging.iter().copied());
        if room.live.is_empty() {
            return;
        }
        let Some((frame, count)) = self.presence(at) else { return };
        let Some(room) = self.rooms.get_mut(at) else { return };
        room.told = count;
        let (to, name) = (room.live.roster(), &room.name);
        out.push_back(Action::Send { to: Recipients::All(to.clone()), frame });
        let mut tell = |several: Several, came| {
            let Some((first, others, conn)) = several.told() else { return };
            let frame = ServerFrame::Crowd { room: name.clone(), first, others, came };
            // It knows of its own coming, or has gone and is back.
            let to = match conn {
                Some(conn) => Recipients::AllBut(to.clone(), conn),
                None => Recipients::All(to.clone()),
            };
            out.push_back(Action::Send { to, frame });
        };
        tell(crowd.came, true);
        tell(crowd.gone, false);
    }

    /// Tells who is in a room one that did not see all comings and goings.
    pub(super) fn tell_presence(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.untold_of.remove(&conn)
            && let Some((frame, count)) = self.presence(at)
        {
            Self::reply(conn, frame, out);
            self.one_was_told(at, count);
        }
    }

    /// One member was told how many there are: if that is news, the others will be, too.
    pub(super) fn one_was_told(&mut self, at: RoomId, count: u64) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.crowd.is_some() || room.told == count {
            return;
        }
        if room.live.len() <= 1 {
            room.told = count;
        } else {
            self.gather(at, Notice::Anew);
        }
    }

    /// Something has changed that was not shown, since somebody has only moved between Hubs. What
    /// each of them knew may have been wrong before, so all are told if the count is another one.
    pub(super) fn reconcile(&mut self, at: RoomId) {
        let Some(room) = self.rooms.get(at) else { return };
        if room.crowd.is_some() || room.live.is_empty() {
            return;
        }
        if self.members_view(at).is_some_and(|view| view.count != room.told) {
            self.gather(at, Notice::Anew);
        }
    }

    fn note_told(&mut self, at: RoomId, count: u64) {
        if let Some(room) = self.rooms.get_mut(at) {
            room.told = count;
        }
    }

    /// Returns who is in a room, as an event. A list that is whole replaces what was known, so it
    /// does not matter what came between.
    pub(super) fn presence(&self, at: RoomId) -> Option<(ServerFrame, u64)> {
        let room = self.rooms.get(at)?.name.clone();
        let view = self.members_view(at)?;
        let count = view.count;
        let frame = if count <= u64::from(self.config.limits.members_listed) {
            ServerFrame::Members { id: None, room, view }
        } else {
            ServerFrame::Presence { room, count }
        };
        Some((frame, count))
    }
}

/// How long changes of a large room are gathered: `least_ms`, and longer where that would be more
/// than 20 frames for each ms, so that a room of any size costs about the same.
fn presence_ms(least_ms: u64, room: &Room) -> u64 {
    const FRAMES_PER_MS: u64 = 20;
    least_ms.max(room.members() / FRAMES_PER_MS)
}
