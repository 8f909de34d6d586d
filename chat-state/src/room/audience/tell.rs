//! Telling a room's members who comes and goes.
//!
//! A small room is told of each change at once. In a large room that would be a frame for each
//! member and each change, so a whole room that comes back would cost the square of its members.
//! There the changes of a while are told together; see [`presence_ms`].
use alloc::boxed::Box;

use chat_proto::ServerFrame;

use super::notices::{Gathered, Mark, Notice, Several};
use super::{Audience, Context, Effect, Visibility};
use crate::event::Recipients;
use crate::ids::ConnId;

impl Audience {
    /// Shows a change, at once or together with others. Live members whose count is wrong without
    /// a change that they see are told, too.
    pub(super) fn changed(&mut self, cx: &mut Context<'_>, notice: Notice) {
        if self.visibility == Visibility::Hidden {
            return;
        }
        let count = self.count();
        let seen = !matches!(notice, Notice::Moved);
        if seen || count != self.notices.counted {
            self.notices.changes += 1;
            self.notices.counted = count;
        }
        if self.here.live.is_empty() {
            // A member that is behind is told when it goes live.
            return;
        }
        if self.notices.gathered.is_some() || (seen && count > cx.rules.notice_members) {
            // A notice that is told alone must not overtake what waits.
            return self.gather(cx, notice);
        }
        self.tell_alone(cx, notice);
        if self.notices.told != count {
            self.gather(cx, Notice::Anew);
        }
    }

    /// Keeps a change, to be told together with others.
    pub(super) fn gather(&mut self, cx: &mut Context<'_>, notice: Notice) {
        if self.notices.gathered.is_none() {
            let due = cx.now.plus(presence_ms(cx.rules.presence_ms, self.count()));
            self.notices.gathered = Some(Box::new(Gathered::until(due)));
            self.arm_if_first(cx, due);
        }
        let gathered = self.notices.gathered.as_mut().expect("it was made above");
        match notice {
            Notice::Came(member, conn) => gathered.came.add(member, conn),
            Notice::Went(member, _, conn) => gathered.went.add(member, conn),
            Notice::Anew | Notice::Moved => {}
        }
    }

    fn tell_alone(&mut self, cx: &mut Context<'_>, notice: Notice) {
        let room = cx.room.clone();
        let frame = match notice {
            Notice::Came(member, _) => {
                self.notices.told += 1;
                ServerFrame::Join { room, member }
            }
            Notice::Went(member, reason, _) => {
                self.notices.told = self.notices.told.saturating_sub(1);
                ServerFrame::Leave { room, member, reason }
            }
            Notice::Anew => {
                self.notices.told = self.count();
                self.presence(cx)
            }
            Notice::Moved => return,
        };
        let to = Recipients::All(self.live().clone());
        cx.out.push(Effect::Tell { to, frame });
    }

    /// Tells of all gathered changes, if their time has come.
    pub(super) fn tell_gathered(&mut self, cx: &mut Context<'_>) {
        let Some(gathered) = self.notices.gathered.take_if(|gathered| gathered.due <= cx.now)
        else {
            return;
        };
        // A member that fell behind while the changes were gathered has not been told.
        self.notices.changes += 1;
        if self.here.live.is_empty() {
            return;
        }
        self.notices.told = self.count();
        let frame = self.presence(cx);
        let to = Recipients::All(self.live().clone());
        cx.out.push(Effect::Tell { to, frame });
        // `basic` has no presence and is told the first name and the number of the others.
        let Gathered { came, went, .. } = *gathered;
        for (several, came) in [(came, true), (went, false)] {
            let Several { first: Some((first, conn)), count } = several else { continue };
            let others = count - 1;
            let to = match conn {
                // It knows of its own join, or has left and is back.
                Some(conn) if others == 0 => Recipients::AllBut(self.live().clone(), conn),
                Some(_) | None => Recipients::All(self.live().clone()),
            };
            let room = cx.room.clone();
            let frame = ServerFrame::Crowd { room, first, others, came };
            cx.out.push(Effect::Tell { to, frame });
        }
    }

    /// Tells a member that has just gone live who is in the room, if it has missed a change.
    pub(super) fn tell_back(&mut self, cx: &mut Context<'_>, conn: ConnId, mark: Mark) {
        if self.visibility == Visibility::Hidden {
            return;
        }
        let missed = match mark {
            Mark::Nothing => true,
            // If a notice is due, it is told then.
            Mark::Change(change) => {
                change != self.notices.changes && self.notices.gathered.is_none()
            }
        };
        if missed {
            let (to, frame) = (Recipients::One(conn), self.presence(cx));
            cx.out.push(Effect::Tell { to, frame });
        }
        if self.here.live.len() == 1 {
            self.notices.told = self.count();
        }
    }

    /// Returns who is in the room, as an event. It replaces what was told before.
    pub(crate) fn presence(&self, cx: &Context<'_>) -> ServerFrame {
        let (room, count) = (cx.room.clone(), self.count());
        if count <= cx.rules.listed as u64 {
            ServerFrame::Members { id: None, room, view: self.view(cx) }
        } else {
            ServerFrame::Presence { room, count }
        }
    }
}

/// Returns how long changes are gathered: `least_ms`, and longer where that would be more than 20
/// frames for each ms, so that a room of any size costs about the same.
fn presence_ms(least_ms: u64, members: u64) -> u64 {
    const FRAMES_PER_MS: u64 = 20;
    least_ms.max(members / FRAMES_PER_MS)
}
