//! What peers report of their members.
use chat_proto::Member;

use super::elsewhere::{Own, Union};
use super::here::{Away, Lost};
use super::notices::Notice;
use super::{Audience, Context, Effect, Part, Say, Visibility};
use crate::ids::{MemberId, Mono, PeerSlot};

impl Audience {
    /// Takes a change of a peer's part.
    pub(crate) fn peer_said(&mut self, cx: &mut Context<'_>, peer: PeerSlot, say: Say) {
        if self.visibility == Visibility::Hidden {
            return;
        }
        match say {
            Say::Came { id, member } => self.peer_came(cx, peer, id, member),
            Say::Went { id, member, reason } => {
                let known = self.elsewhere.remove(peer, id);
                let there = self.here.has(id) || self.elsewhere.names(id);
                let went = Notice::Went(member, reason, None);
                self.changed(cx, if known && !there { went } else { Notice::Moved });
            }
        }
    }

    /// Replaces a peer's part.
    pub(crate) fn peer_part(&mut self, cx: &mut Context<'_>, peer: PeerSlot, part: Part) {
        if self.visibility == Visibility::Hidden {
            return;
        }
        let own = Own { here: &self.here, listed: cx.rules.listed };
        let union = self.elsewhere.replace(peer, part, own);
        self.changed(cx, notice(union));
    }

    /// Returns true if a peer has members in the room, as far as it has reported.
    pub(crate) fn has_peer(&self, peer: PeerSlot) -> bool {
        self.elsewhere.has(peer)
    }

    /// Records that a peer that shuts down has left the room: its members have the grace period to
    /// come back elsewhere.
    pub(crate) fn peer_leaves(&mut self, cx: &mut Context<'_>, peer: PeerSlot) {
        if self.elsewhere.has(peer) {
            let until = cx.now.plus(cx.rules.grace_ms);
            self.elsewhere.leave(peer, until);
            self.arm_if_first(cx, until);
        }
    }

    /// Forgets a peer. Members are told a moment later, since its members may come back elsewhere.
    pub(crate) fn end_peer(&mut self, cx: &mut Context<'_>, peer: PeerSlot) {
        let union = self.elsewhere.end(peer);
        self.changed_soon(cx, union);
    }

    /// Tells what is due. Spurious calls are harmless.
    pub(crate) fn timeout(&mut self, cx: &mut Context<'_>) {
        let union = self.elsewhere.end_leaving(cx.now);
        self.changed(cx, notice(union));
        self.tell_gathered(cx);
        cx.out.extend(self.deadline().map(Effect::Arm));
    }

    /// Returns when [`Audience::timeout`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        [self.notices.deadline(), self.elsewhere.deadline()].into_iter().flatten().min()
    }

    /// Asks for a call at a new deadline, if none is due before.
    pub(super) fn arm_if_first(&self, cx: &mut Context<'_>, due: Mono) {
        if self.deadline() == Some(due) {
            cx.out.push(Effect::Arm(due));
        }
    }

    fn peer_came(&mut self, cx: &mut Context<'_>, peer: PeerSlot, id: MemberId, member: Member) {
        let moved = self.here.has(id) || self.elsewhere.names(id);
        self.moved_away(cx, id);
        self.elsewhere.came_back(id);
        let notice = if moved { Notice::Moved } else { Notice::Came(member.clone(), None) };
        let own = Own { here: &self.here, listed: cx.rules.listed };
        self.elsewhere.add(peer, id, member, own);
        self.changed(cx, notice);
    }

    /// A peer has a member that may be away here: this Hub's part loses it, which is no leave.
    fn moved_away(&mut self, cx: &mut Context<'_>, id: MemberId) {
        let Some(Away { member, lost, .. }) = self.here.take_away(id) else { return };
        self.here.forget(id);
        self.elsewhere.left(id);
        match lost {
            Lost::Connection(reason) => {
                let went = Say::Went { id, member, reason };
                cx.out.extend([Effect::Back(id), Effect::Say(went)]);
            }
            // The peers keep this part until the room is closed.
            Lost::Shutdown => {}
        }
    }

    fn changed_soon(&mut self, cx: &mut Context<'_>, union: Union) {
        if union == Union::Changed && !self.here.live.is_empty() {
            self.gather(cx, Notice::Anew);
        }
        self.changed(cx, notice(union));
    }
}

fn notice(union: Union) -> Notice {
    match union {
        Union::Changed => Notice::Anew,
        Union::Same => Notice::Moved,
    }
}
