//! What counts no more although its signature is right.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chat_proto::{Timestamp, UserId};
use chat_state::{Grant, Revoke, TokenId};

/// Revocations that are remembered: beyond it the oldest are forgotten.
const REVOKED_MAX: usize = 100_000;

/// How long one is remembered, in milliseconds: a week. A credential that lives longer comes back
/// to life, so none should.
const REMEMBERED_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Users and credentials that were revoked, each with the time: at most 100 000.
#[derive(Debug, Default)]
pub(crate) struct Revocations(Mutex<Revoked>);

impl Revocations {
    /// Notes that something counts no more since a time; tells whether that is news.
    pub(crate) fn note(&self, what: &Revoke, since: Timestamp, now: Timestamp) -> bool {
        self.lock().note(what, since, now)
    }

    /// Tells whether a grant was made by a credential that is revoked.
    pub(super) fn has(&self, grant: &Grant, now: Timestamp) -> bool {
        self.lock().has(grant, now)
    }

    /// Returns how many count.
    pub(crate) fn len(&self, now: Timestamp) -> usize {
        let mut revoked = self.lock();
        revoked.forget(now);
        revoked.order.len()
    }

    /// Returns those that count, the oldest first.
    pub(crate) fn list(&self, now: Timestamp) -> Vec<(Revoke, Timestamp)> {
        let mut revoked = self.lock();
        revoked.forget(now);
        revoked.order.iter().map(|(since, what)| (what.revoke(), *since)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Revoked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Revoked {
    since: BTreeMap<What, Timestamp>,
    order: BTreeSet<(Timestamp, What)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    User(UserId),
    Token(TokenId),
}

impl What {
    fn revoke(&self) -> Revoke {
        match self {
            Self::User(user) => Revoke::User(user.clone()),
            Self::Token(token) => Revoke::Token(token.clone()),
        }
    }
}

impl Revoked {
    /// What was noted before with the same or a later time stays as it is.
    fn note(&mut self, what: &Revoke, since: Timestamp, now: Timestamp) -> bool {
        let what = match what {
            Revoke::User(user) => What::User(user.clone()),
            Revoke::Token(token) => What::Token(token.clone()),
            // Its session is forgotten; the credential may begin another one.
            Revoke::Session(_) => return false,
            // Its credentials are refused by whoever does not have it any more.
            Revoke::Key(_) => return false,
        };
        if self.since.get(&what).is_some_and(|before| *before >= since) {
            return false;
        }
        if let Some(before) = self.since.insert(what.clone(), since) {
            self.order.remove(&(before, what.clone()));
        }
        self.order.insert((since, what.clone()));
        self.forget(now);
        self.since.contains_key(&what)
    }

    /// Tells whether a grant was made by a credential that is revoked. Of a user's, those are that
    /// were made before, or do not say when.
    fn has(&mut self, grant: &Grant, now: Timestamp) -> bool {
        self.forget(now);
        let token = grant.token_id.clone().map(What::Token);
        if token.is_some_and(|token| self.since.contains_key(&token)) {
            return true;
        }
        let since = self.since.get(&What::User(grant.user.clone()));
        since.is_some_and(|since| grant.issued.is_none_or(|issued| issued <= *since))
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.order.first()
            && (self.order.len() > REVOKED_MAX || now.0.saturating_sub(at.0) > REMEMBERED_MS)
        {
            let Some((_, what)) = self.order.pop_first() else { return };
            self.since.remove(&what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[test]
    fn what_was_made_before_is_refused() {
        let mut revoked = Revoked::default();
        let now = Timestamp(10_000);
        revoked.note(&Revoke::User(user("ada")), now, now);
        revoked.note(&Revoke::Token(TokenId::new("t").unwrap()), now, now);
        let ada = |issued| Grant { issued, ..Grant::new(user("ada")) };
        assert!(revoked.has(&ada(None), now) && revoked.has(&ada(Some(now)), now));
        assert!(!revoked.has(&ada(Some(Timestamp(10_001))), now));
        let bob = |token| Grant { token_id: TokenId::new(token), ..Grant::new(user("bob")) };
        assert!(revoked.has(&bob("t"), now) && !revoked.has(&bob("u"), now));
        let later = Timestamp(10_001 + REMEMBERED_MS);
        assert!(!revoked.has(&bob("t"), later) && !revoked.has(&ada(None), later));
        assert!(revoked.since.is_empty() && revoked.order.is_empty());
    }

    #[test]
    fn what_is_known_is_no_news() {
        let revocations = Revocations::default();
        let (ada, now) = (Revoke::User(user("ada")), Timestamp(10_000));
        assert!(revocations.note(&ada, Timestamp(5), now));
        assert!(!revocations.note(&ada, Timestamp(5), now));
        assert!(!revocations.note(&ada, Timestamp(4), now), "it counts since 5");
        assert!(revocations.note(&ada, Timestamp(6), now));
        assert_eq!(revocations.list(now), [(ada.clone(), Timestamp(6))]);
        let later = Timestamp(10_000 + REMEMBERED_MS);
        assert_eq!(revocations.len(later), 0);
        assert!(!revocations.note(&ada, Timestamp(6), later), "it is forgotten at once");
    }

    #[test]
    fn it_is_bounded() {
        let mut revoked = Revoked::default();
        for n in 0..=REVOKED_MAX {
            let token = TokenId::new(&n.to_string()).unwrap();
            revoked.note(&Revoke::Token(token), Timestamp(1), Timestamp(1));
        }
        assert_eq!((revoked.since.len(), revoked.order.len()), (REVOKED_MAX, REVOKED_MAX));
    }
}
