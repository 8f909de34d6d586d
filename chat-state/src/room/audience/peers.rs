//! What peers report of their members.
use chat_proto::Member;

use super::elsewhere::{Own, Union};
use super::here::{Away, Lost};
use super::notices::Notice;
use super::{Audience, Context, Effect, Heard, Part, PeerSlot, Say, Visibility};
use crate::ids::{MemberId, Mono};

impl Audience {
    /// Takes a change of a peer's part. A change that is not newer than the part changes nothing.
    pub(crate) fn peer_said(&mut self, cx: &mut Context<'_>, peer: PeerSlot, say: Say) -> Heard {
        let (Say::Came { version, .. } | Say::Went { version, .. } | Say::Leaving { version }) =
            &say;
        if self.visibility == Visibility::Hidden {
            return Heard::Stale;
        }
        let heard = self.elsewhere.hear(peer, *version);
        match (heard, say) {
            // The member may have come and gone long ago: it has not moved because of this.
            (Heard::Stale, _) => {}
            (_, Say::Came { id, member, .. }) => self.peer_came(cx, peer, id, member),
            (_, Say::Went { id, member, reason, .. }) => {
                let known = self.elsewhere.remove(peer, id);
                let there = self.here.has(id) || self.elsewhere.names(id);
                let went = Notice::Went(member, reason, None);
                self.changed(cx, if known && !there { went } else { Notice::Moved });
            }
            (_, Say::Leaving { .. }) => {
                let until = cx.now.plus(cx.rules.grace_ms);
                self.elsewhere.leave(peer, until);
                self.arm_if_first(cx, until);
            }
        }
        heard
    }

    /// Replaces a peer's part. A part that is older than a change already taken changes nothing.
    pub(crate) fn peer_part(&mut self, cx: &mut Context<'_>, peer: PeerSlot, part: Part) -> Heard {
        if self.visibility == Visibility::Hidden || part.version < self.elsewhere.version(peer) {
            return Heard::Stale;
        }
        let own = Own { here: &self.here, listed: cx.rules.listed };
        let union = self.elsewhere.replace(peer, part, own);
        self.changed(cx, notice(union));
        Heard::Next
    }

    /// Stops counting what peers have reported, each until it reports its part again. Members are
    /// told a moment later, since that may be soon.
    pub(crate) fn doubt_peers(&mut self, cx: &mut Context<'_>) {
        let union = self.elsewhere.clear_all();
        self.changed_soon(cx, union);
    }

    /// Forgets a peer. Members are told a moment later, since its members may come back elsewhere.
    #[cfg_attr(not(test), expect(dead_code, reason = "peers have no leases yet"))]
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
                self.version += 1;
                let went = Say::Went { id, member, reason, version: self.version };
                cx.out.extend([Effect::Back(id), Effect::Say(went), Effect::CountChanged]);
            }
            // The peers keep this part until `close`.
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
