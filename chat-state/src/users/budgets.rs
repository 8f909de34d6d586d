//! The budgets that connections share: one for each user whom the authority knows, and one for
//! each address.
//!
//! A Hub charges the requests of its own connections exactly. Peers are told of them in parts, by
//! signals that may be lost. Together, several Hubs may let through what they have not told yet
//! beyond the budget.
//!
//! *Invariant:* a budget outlives its connections until it is whole again, so a new connection does
//! not bring a fresh one.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use chat_proto::{Limits, UserId};

use crate::event::Spender;
use crate::ids::{AddressKey, Mono};
use crate::limits::bucket::{Bucket, Verdict};
use crate::limits::cost::Cost;

/// The names of the limits on shared budgets, for error texts.
const USER_LIMIT: &str = "user_messages_per_10s";
const ADDRESS_LIMIT: &str = "address_messages_per_10s";

/// Peers are told once this part of a budget is spent.
const REPORTED_PARTS: u64 = 32;

/// A shared budget in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BudgetId(u32);

/// The shared budgets of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shares {
    user: Option<BudgetId>,
    address: Option<BudgetId>,
}

impl Shares {
    /// Returns true if the connection shares a budget.
    #[inline]
    pub(crate) fn any(self) -> bool {
        self.user.is_some() || self.address.is_some()
    }

    /// Returns true if the connection shares the budget of its user.
    #[inline]
    pub(crate) fn has_user(self) -> bool {
        self.user.is_some()
    }
}

/// The sizes of the shared budgets, in messages for 10 s; 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    user: u32,
    address: u32,
}

impl Rates {
    /// Returns the sizes for a session whose credential sets a budget of its `own`, if it does.
    /// Such a budget counts for the user, too, if it is larger. A session without a limit (0) has
    /// none by its user or its address either.
    #[inline]
    pub(crate) fn of(own: Option<u32>, limits: &Limits) -> Self {
        let (user, address) = (limits.user_messages_per_10s, limits.address_messages_per_10s);
        match own {
            None => Self { user, address },
            Some(0) => Self { user: 0, address: 0 },
            Some(own) => Self { user: if user == 0 { 0 } else { user.max(own) }, address },
        }
    }
}

/// A part of a budget that was spent here and that peers are to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) by: Spender,
    /// In thousandths of a message.
    pub(crate) cost: u32,
    /// The size of the budget, in messages for 10 s.
    pub(crate) per_window: u32,
}

/// All shared budgets of a Hub.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    /// At most two for each connection, or as many as the owner allows by `max` if that is more:
    /// beyond it the budgets without a connection that are whole first are forgotten.
    found: BTreeMap<Spender, BudgetId>,
    /// As many as there ever were at once.
    slots: Vec<Option<Shared>>,
    free: Vec<BudgetId>,
    /// The budgets without a connection, in the order in which they are whole again.
    idle: BTreeSet<(Mono, BudgetId)>,
}

#[derive(Debug)]
struct Shared {
    by: Spender,
    bucket: Bucket,
    /// Connections that share it.
    conns: u32,
    /// What peers were not told of yet, in thousandths of a message.
    untold: u32,
}

impl Shared {
    /// Takes a cost. What is spent without a limit is told to nobody.
    fn spend(&mut self, bucket: Bucket, cost: Cost, per_window: u32) {
        self.bucket = bucket;
        if per_window > 0 {
            self.untold = self.untold.saturating_add(cost.0);
        }
    }
}

impl Budgets {
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Lets a connection share the budget of its address.
    pub(crate) fn join_address(&mut self, shares: &mut Shares, address: AddressKey, max: usize) {
        assert!(shares.address.is_none(), "a connection has one address");
        shares.address = Some(self.join(Spender::Address(address), max));
    }

    /// Lets a connection share the budget of its user.
    pub(crate) fn join_user(&mut self, shares: &mut Shares, user: UserId, max: usize) {
        assert!(shares.user.is_none(), "a connection has one user");
        shares.user = Some(self.join(Spender::User(user), max));
    }

    fn join(&mut self, by: Spender, max: usize) -> BudgetId {
        let id = self.find_or_add(by);
        let shared = self.get_mut(id);
        shared.conns += 1;
        let whole = shared.bucket.whole_at();
        self.idle.remove(&(whole, id));
        self.trim_idle(max);
        id
    }

    /// Ends the shares of a connection that is gone.
    pub(crate) fn leave(&mut self, shares: Shares, now: Mono, max: usize) {
        for id in [shares.user, shares.address].into_iter().flatten() {
            let shared = self.get_mut(id);
            shared.conns -= 1;
            if shared.conns == 0 {
                self.keep_idle(id, now, max);
            }
        }
    }

    /// Charges what a peer has let through. A budget that is not here yet is added if there are
    /// less than `max`.
    pub(crate) fn spent_elsewhere(&mut self, spent: Spent, now: Mono, max: usize) {
        let Spent { by, cost, per_window } = spent;
        if !self.found.contains_key(&by) && self.len() >= max {
            return;
        }
        let id = self.find_or_add(by);
        let shared = self.get_mut(id);
        let before = shared.bucket.whole_at();
        shared.bucket.note(now, Cost(cost), per_window);
        if shared.conns == 0 {
            self.idle.remove(&(before, id));
            self.keep_idle(id, now, max);
        }
    }

    /// Returns how many connections share the budget of a connection's user.
    pub(crate) fn conns_of_user(&self, shares: Shares) -> u32 {
        shares.user.map_or(0, |id| self.get(id).conns)
    }

    /// Takes the cost from both budgets, or from none.
    #[inline]
    pub(crate) fn take(&mut self, shares: Shares, rates: Rates, now: Mono, cost: Cost) -> Verdict {
        match (shares.user, shares.address) {
            (None, None) => Verdict::Within,
            (Some(user), None) => self.take_one(user, now, cost, rates.user, USER_LIMIT),
            (None, Some(address)) => {
                self.take_one(address, now, cost, rates.address, ADDRESS_LIMIT)
            }
            (Some(user), Some(address)) => self.take_both(user, address, rates, now, cost),
        }
    }

    #[inline]
    fn take_one(
        &mut self,
        id: BudgetId,
        now: Mono,
        cost: Cost,
        per_window: u32,
        limit: &'static str,
    ) -> Verdict {
        let shared = self.get_mut(id);
        let mut bucket = shared.bucket;
        let verdict = bucket.take(now, cost, per_window, limit);
        if verdict == Verdict::Within {
            shared.spend(bucket, cost, per_window);
        }
        verdict
    }

    fn take_both(
        &mut self,
        user: BudgetId,
        address: BudgetId,
        rates: Rates,
        now: Mono,
        cost: Cost,
    ) -> Verdict {
        let (mut of_user, mut of_address) = (self.get(user).bucket, self.get(address).bucket);
        let user_verdict = of_user.take(now, cost, rates.user, USER_LIMIT);
        let address_verdict = of_address.take(now, cost, rates.address, ADDRESS_LIMIT);
        match (user_verdict, address_verdict) {
            (Verdict::Within, Verdict::Within) => {
                self.get_mut(user).spend(of_user, cost, rates.user);
                self.get_mut(address).spend(of_address, cost, rates.address);
                Verdict::Within
            }
            (over @ Verdict::Over { .. }, Verdict::Within)
            | (Verdict::Within, over @ Verdict::Over { .. }) => over,
            (
                over_user @ Verdict::Over { retry_after_ms: user_wait, .. },
                over_address @ Verdict::Over { retry_after_ms: address_wait, .. },
            ) => {
                if user_wait >= address_wait {
                    over_user
                } else {
                    over_address
                }
            }
        }
    }

    /// Takes the cost in any case. Returns the milliseconds to wait before the next request.
    pub(crate) fn charge(&mut self, shares: Shares, rates: Rates, now: Mono, cost: Cost) -> u64 {
        let mut wait = 0;
        for (id, per_window) in [(shares.user, rates.user), (shares.address, rates.address)] {
            if let Some(id) = id {
                let shared = self.get_mut(id);
                let mut bucket = shared.bucket;
                wait = wait.max(bucket.charge(now, cost, per_window));
                shared.spend(bucket, cost, per_window);
            }
        }
        wait
    }

    /// Returns what peers are to be told of a connection's budgets. They count as told then.
    pub(crate) fn report(&mut self, shares: Shares, rates: Rates) -> [Option<Spent>; 2] {
        [self.report_one(shares.user, rates.user), self.report_one(shares.address, rates.address)]
    }

    fn report_one(&mut self, id: Option<BudgetId>, per_window: u32) -> Option<Spent> {
        let shared = self.get_mut(id?);
        let part = u64::from(per_window) * 1000 / REPORTED_PARTS;
        if per_window == 0 || u64::from(shared.untold) < part {
            return None;
        }
        let cost = core::mem::take(&mut shared.untold);
        Some(Spent { by: shared.by.clone(), cost, per_window })
    }

    /// Returns when the next budget without a connection is whole.
    pub(crate) fn next_end(&self) -> Option<Mono> {
        self.idle.first().map(|(whole, _)| *whole)
    }

    /// Forgets the budgets without a connection that are whole again.
    pub(crate) fn expire(&mut self, now: Mono) {
        while let Some((whole, id)) = self.idle.first().copied()
            && whole <= now
        {
            self.idle.pop_first();
            self.remove(id);
        }
    }

    /// Keeps a budget without a connection until it is whole.
    fn keep_idle(&mut self, id: BudgetId, now: Mono, max: usize) {
        self.idle.insert((self.get(id).bucket.whole_at(), id));
        self.expire(now);
        self.trim_idle(max);
    }

    fn trim_idle(&mut self, max: usize) {
        while self.len() > max
            && let Some((_, first)) = self.idle.pop_first()
        {
            self.remove(first);
        }
    }

    fn find_or_add(&mut self, by: Spender) -> BudgetId {
        if let Some(id) = self.found.get(&by) {
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            BudgetId(u32::try_from(self.slots.len() - 1).expect("budgets are bounded"))
        });
        let shared = Shared { by: by.clone(), bucket: Bucket::default(), conns: 0, untold: 0 };
        self.slots[id.0 as usize] = Some(shared);
        self.found.insert(by, id);
        id
    }

    fn remove(&mut self, id: BudgetId) {
        let shared = self.slots[id.0 as usize].take().expect("a budget is removed once");
        assert_eq!(shared.conns, 0, "a connection keeps its budgets");
        self.found.remove(&shared.by);
        self.free.push(id);
    }

    fn get(&self, id: BudgetId) -> &Shared {
        self.slots[id.0 as usize].as_ref().expect("a connection keeps its budgets")
    }

    fn get_mut(&mut self, id: BudgetId) -> &mut Shared {
        self.slots[id.0 as usize].as_mut().expect("a connection keeps its budgets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::cost::MESSAGE;
    use chat_proto::LimitValues;
    use proptest::prelude::*;
    use std::format;
    use std::vec;

    const MAX: usize = 8;

    fn user(n: u32) -> UserId {
        UserId::new(&format!("u{n}")).expect("an id")
    }

    fn spent(n: u32, cost: u32, per_window: u32) -> Spent {
        Spent { by: Spender::User(user(n)), cost, per_window }
    }

    fn rates(user: u32, address: u32) -> Rates {
        Rates { user, address }
    }

    fn joined(budgets: &mut Budgets, user_id: u32, address_id: u32) -> Shares {
        let mut shares = Shares::default();
        let address = AddressKey(u128::from(address_id).to_be_bytes());
        budgets.join_address(&mut shares, address, MAX);
        budgets.join_user(&mut shares, user(user_id), MAX);
        shares
    }

    fn over(retry_after_ms: u64, limit: &'static str) -> Verdict {
        Verdict::Over { retry_after_ms, limit }
    }

    #[test]
    fn connections_of_a_user_share_one_budget() {
        let mut budgets = Budgets::default();
        let (a, b) = (joined(&mut budgets, 1, 1), joined(&mut budgets, 1, 2));
        let other = joined(&mut budgets, 2, 3);
        let (rates, now) = (rates(2, 0), Mono(0));
        assert_eq!(budgets.conns_of_user(a), 2);
        assert_eq!(budgets.take(a, rates, now, MESSAGE), Verdict::Within);
        assert_eq!(budgets.take(b, rates, now, MESSAGE), Verdict::Within);
        assert_eq!(budgets.take(a, rates, now, MESSAGE), over(5000, USER_LIMIT));
        assert_eq!(budgets.take(other, rates, now, MESSAGE), Verdict::Within);
    }

    #[test]
    fn a_refused_request_costs_neither_budget() {
        let mut budgets = Budgets::default();
        let (a, b) = (joined(&mut budgets, 1, 1), joined(&mut budgets, 2, 1));
        let (rates, now) = (rates(2, 3), Mono(0));
        for expected in [Verdict::Within, Verdict::Within, over(5000, USER_LIMIT)] {
            assert_eq!(budgets.take(a, rates, now, MESSAGE), expected);
        }
        assert_eq!(budgets.take(b, rates, now, MESSAGE), Verdict::Within, "one is left");
        assert_eq!(budgets.take(b, rates, now, MESSAGE), over(3334, ADDRESS_LIMIT));
        assert_eq!(budgets.take(a, rates, now, MESSAGE), over(5000, USER_LIMIT), "the longer wait");
    }

    #[test]
    fn the_credential_s_own_budget_counts_for_the_user_if_it_is_larger() {
        let values = LimitValues {
            user_messages_per_10s: 20,
            address_messages_per_10s: 30,
            ..LimitValues::default()
        };
        let limits = values.build().expect("within bounds");
        assert_eq!(Rates::of(None, &limits), rates(20, 30));
        assert_eq!(Rates::of(Some(10), &limits), rates(20, 30));
        assert_eq!(Rates::of(Some(25), &limits), rates(25, 30));
        assert_eq!(Rates::of(Some(0), &limits), rates(0, 0));
        let unlimited = LimitValues { user_messages_per_10s: 0, ..limits.values().clone() };
        let unlimited = unlimited.build().expect("within bounds");
        assert_eq!(Rates::of(Some(25), &unlimited), rates(0, 30));
    }

    #[test]
    fn a_charge_is_taken_in_any_case_and_returns_the_longer_wait() {
        let mut budgets = Budgets::default();
        let shares = joined(&mut budgets, 1, 1);
        let (rates, now) = (rates(1, 2), Mono(0));
        assert_eq!(budgets.charge(shares, rates, now, MESSAGE), 0);
        assert_eq!(budgets.charge(shares, rates, now, MESSAGE), 10_000);
        assert_eq!(budgets.charge(shares, rates, now, MESSAGE), 20_000);
        assert_eq!(budgets.charge(Shares::default(), rates, now, MESSAGE), 0);
    }

    #[test]
    fn a_budget_outlives_its_connections_until_it_is_whole() {
        let (mut budgets, rates) = (Budgets::default(), rates(2, 0));
        let shares = joined(&mut budgets, 1, 1);
        let _ = budgets.charge(shares, rates, Mono(0), MESSAGE);
        budgets.leave(shares, Mono(0), MAX);
        assert_eq!((budgets.len(), budgets.next_end()), (1, Some(Mono(5000))), "a whole one goes");
        let again = joined(&mut budgets, 1, 1);
        assert_eq!(budgets.next_end(), None);
        assert_eq!(budgets.take(again, rates, Mono(0), MESSAGE), Verdict::Within);
        assert_eq!(budgets.take(again, rates, Mono(0), MESSAGE), over(5000, USER_LIMIT));
        budgets.leave(again, Mono(0), MAX);
        budgets.expire(Mono(9999));
        assert_eq!(budgets.len(), 1);
        budgets.expire(Mono(10_000));
        assert_eq!((budgets.len(), budgets.next_end()), (0, None));
    }

    #[test]
    fn beyond_the_limit_the_idle_budget_that_is_whole_first_goes() {
        let (mut budgets, rates, now) = (Budgets::default(), rates(1, 0), Mono(0));
        for n in [3, 1, 2] {
            let mut shares = Shares::default();
            budgets.join_user(&mut shares, user(n), 2);
            for _ in 0..n {
                let _ = budgets.charge(shares, rates, now, MESSAGE);
            }
            budgets.leave(shares, now, 2);
        }
        assert_eq!(budgets.len(), 2);
        let has = |budgets: &Budgets, n| budgets.found.contains_key(&Spender::User(user(n)));
        assert!(!has(&budgets, 1), "{budgets:?}");
        budgets.spent_elsewhere(spent(4, 1000, 1), now, 2);
        assert!(!has(&budgets, 4), "a peer adds no budget beyond the limit");
    }

    #[test]
    fn what_peers_let_through_counts_here() {
        let (mut budgets, rates, now) = (Budgets::default(), rates(2, 0), Mono(0));
        budgets.spent_elsewhere(spent(1, 1000, 2), now, MAX);
        assert_eq!(budgets.next_end(), Some(Mono(5000)), "nobody is connected");
        budgets.spent_elsewhere(spent(1, 1000, 2), now, MAX);
        assert_eq!((budgets.len(), budgets.next_end()), (1, Some(Mono(10_000))));
        let shares = joined(&mut budgets, 1, 1);
        assert_eq!(budgets.take(shares, rates, now, MESSAGE), over(5000, USER_LIMIT));
        budgets.spent_elsewhere(spent(1, 1000, 2), now, MAX);
        assert_eq!(budgets.take(shares, rates, now, MESSAGE), over(10_000, USER_LIMIT));
    }

    #[test]
    fn peers_are_told_of_parts_of_a_budget() {
        let (mut budgets, rates, now) = (Budgets::default(), rates(64, 0), Mono(0));
        let shares = joined(&mut budgets, 1, 1);
        let _ = budgets.take(shares, rates, now, MESSAGE);
        assert_eq!(budgets.report(shares, rates), [None, None]);
        let _ = budgets.take(shares, rates, now, MESSAGE);
        assert_eq!(budgets.report(shares, rates), [Some(spent(1, 2000, 64)), None]);
        assert_eq!(budgets.report(shares, rates), [None, None], "it is told once");
    }

    proptest! {
        /// Any script leaves the table consistent: a budget has connections, or is idle.
        #[test]
        fn a_budget_has_connections_or_waits_to_be_whole(
            steps in proptest::collection::vec((0..5u8, 0..6u32, 0..6000u64), 1..200),
        ) {
            let (mut budgets, mut now, mut live) = (Budgets::default(), Mono(0), vec![]);
            let rates = rates(3, 4);
            for (what, n, ms) in steps {
                match what {
                    0 => live.push(joined(&mut budgets, n, n / 2)),
                    1 if !live.is_empty() => {
                        let shares = live.swap_remove(n as usize % live.len());
                        budgets.leave(shares, now, MAX);
                    }
                    2 if !live.is_empty() => {
                        let shares = live[n as usize % live.len()];
                        let _ = budgets.charge(shares, rates, now, MESSAGE);
                    }
                    3 => budgets.spent_elsewhere(spent(n, 700, 3), now, MAX),
                    _ => {
                        now = now.plus(ms);
                        budgets.expire(now);
                    }
                }
                let shared: Vec<_> = budgets.slots.iter().flatten().collect();
                prop_assert_eq!(shared.len(), budgets.found.len());
                let idle = shared.iter().filter(|shared| shared.conns == 0).count();
                prop_assert_eq!(idle, budgets.idle.len());
                prop_assert!(idle == 0 || budgets.len() <= MAX);
                prop_assert!(budgets.next_end().is_none_or(|end| end > now));
                let conns: u32 = shared.iter().map(|shared| shared.conns).sum();
                prop_assert_eq!(conns as usize, 2 * live.len());
            }
            live.into_iter().for_each(|shares| budgets.leave(shares, now, MAX));
            budgets.expire(Mono(u64::MAX));
            prop_assert_eq!(budgets.len(), 0);
        }
    }
}
