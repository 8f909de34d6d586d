//! Counts the sessions of each known user over all Hubs.
//!
//! A Hub counts its own sessions exactly. It tells peers a count that has changed by a part of the
//! limit, and repeats all counts in rounds to make up for lost signals. A peer's counts last as
//! long as its lease.
use alloc::vec;
use alloc::vec::Vec;

use chat_proto::UserId;

use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::{Signal, SignalTo};
use crate::ids::{ConnId, PeerSlot};
use crate::peers::signal::Span;
use crate::users::budgets::Shares;
use crate::users::tally::Slice;

/// Peers are told a count once it has changed by the limit divided by this number, or by one if
/// that is more. With the default limit, they are not told of users with one session on each Hub.
const TOLD_PARTS: u32 = 32;

/// The number of lease renewals in which all counts are repeated once: 30 s.
const ROUND_RENEWALS: usize = 6;

impl Hub {
    /// Returns how many sessions other Hubs have of a user, as far as they have told.
    pub(super) fn sessions_elsewhere(&self, user: &UserId) -> u32 {
        self.tally.elsewhere(user)
    }

    /// Tells peers of a session that has begun, if its user is known.
    pub(super) fn session_came(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get(conn) else { return };
        let shares = session.shares;
        if self.config.peers == Peers::Some && shares.has_user() {
            let (user, here) = (session.user.clone(), self.sessions_of_user(shares));
            self.tell_sessions(user, here, out);
        }
    }

    /// Ends the shares of a connection that is gone, and tells peers.
    pub(super) fn session_went(&mut self, user: &UserId, shares: Shares, out: &mut Actions) {
        let here = self.sessions_of_user(shares).saturating_sub(1);
        self.leave_budgets(shares);
        if self.config.peers == Peers::Some && shares.has_user() {
            self.tell_sessions(user.clone(), here, out);
        }
    }

    /// Tells peers a user's count, if it differs enough from the count that they were told.
    #[inline(never)]
    fn tell_sessions(&mut self, user: UserId, here: u32, out: &mut Actions) {
        let told = self.tally.told(&user);
        let part = (self.config.limits.user_sessions / TOLD_PARTS).max(1);
        if told == here || (here > 0 && told.abs_diff(here) < part) {
            return;
        }
        self.tally.tell(&user, here);
        self.say_sessions(None, vec![(user, here)], out);
    }

    /// Takes a peer's counts. It has no sessions of the users in `covers` that it does not list.
    pub(super) fn sessions_told(
        &mut self,
        slot: PeerSlot,
        at: u64,
        covers: Option<&Span<UserId>>,
        counts: Vec<(UserId, u32)>,
    ) {
        if let Some(covers) = covers {
            self.tally.forget_unlisted(slot, at, covers, &counts);
        }
        let max = 4 * self.config.limits.connections as usize;
        for (user, sessions) in counts {
            self.tally.note(slot, at, &user, sessions, max);
        }
    }

    /// Repeats the counts of some users: those of all users in [`ROUND_RENEWALS`] calls, whoever
    /// asks for more calls.
    pub(super) fn tell_sessions_in_turn(&mut self, out: &mut Actions) {
        for Slice { covers, counts } in self.tally.next_slices(ROUND_RENEWALS) {
            self.say_sessions(Some(covers), counts, out);
        }
    }

    fn say_sessions(
        &mut self,
        covers: Option<Span<UserId>>,
        counts: Vec<(UserId, u32)>,
        out: &mut Actions,
    ) {
        let at = self.peers.stamp();
        self.signal(SignalTo::Everyone, || Signal::Sessions { at, covers, counts }, out);
    }
}
