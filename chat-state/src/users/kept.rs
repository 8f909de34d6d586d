//! Sessions without a connection that can be resumed.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use chat_proto::{DisplayName, SessionId, UserId};

use crate::grant::CredentialIds;
use crate::ids::{MemberId, Mono};
use crate::limits::bucket::Bucket;
use crate::limits::strikes::Strikes;

/// What a session keeps without a connection.
#[derive(Clone, Debug)]
pub(crate) struct KeptSession {
    pub(crate) session: SessionId,
    pub(crate) user: UserId,
    pub(crate) name: DisplayName,
    /// The client's count of its connections of this session.
    pub(crate) attempt: u64,
    /// The session's own budget, so that a resume does not bring a fresh one.
    pub(crate) budget: Bucket,
    pub(crate) strikes: Strikes,
    /// The ids by which its last credential can be revoked.
    pub(crate) credential: CredentialIds,
}

/// The sessions that can be resumed, each until its time is over.
#[derive(Debug, Default)]
pub(crate) struct KeptSessions {
    /// At most as many as [`KeptSessions::keep`] is told.
    sessions: BTreeMap<MemberId, (Mono, KeptSession)>,
    /// The same sessions in the order of their ends.
    ends: BTreeSet<(Mono, MemberId)>,
}

impl KeptSessions {
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn get(&self, member: MemberId) -> Option<&KeptSession> {
        self.sessions.get(&member).map(|(_, kept)| kept)
    }

    /// Keeps a session until its end, in place of what is kept of it already. Returns how many
    /// others were forgotten so that there are at most `max`: those that end first.
    pub(crate) fn keep(
        &mut self,
        member: MemberId,
        kept: KeptSession,
        until: Mono,
        max: usize,
    ) -> usize {
        self.take(member);
        let too_many = (self.len() + 1).saturating_sub(max);
        for _ in 0..too_many {
            let (_, first) = *self.ends.first().expect("more sessions than the limit");
            self.take(first);
        }
        self.ends.insert((until, member));
        self.sessions.insert(member, (until, kept));
        too_many
    }

    /// Takes out a session that is resumed or has ended.
    pub(crate) fn take(&mut self, member: MemberId) -> Option<KeptSession> {
        let (until, kept) = self.sessions.remove(&member)?;
        let had = self.ends.remove(&(until, member));
        assert!(had, "each session has an end");
        Some(kept)
    }

    /// Returns the sessions that match.
    pub(crate) fn find(&self, matches: impl Fn(MemberId, &KeptSession) -> bool) -> Vec<MemberId> {
        let found = self.sessions.iter().filter(|(member, (_, kept))| matches(**member, kept));
        found.map(|(member, _)| *member).collect()
    }

    /// Returns when the next session ends.
    pub(crate) fn next_end(&self) -> Option<Mono> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Forgets the sessions whose time is over.
    pub(crate) fn expire(&mut self, now: Mono) {
        while let Some((until, member)) = self.ends.first().copied()
            && until <= now
        {
            self.take(member);
        }
    }

    /// Forgets all sessions.
    pub(crate) fn clear(&mut self) {
        self.sessions.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn kept(n: u64) -> KeptSession {
        KeptSession {
            session: SessionId::new(&format!("s{n}")).expect("a session"),
            user: UserId::new(&format!("u{}", n % 2)).expect("an id"),
            name: DisplayName::new("name").expect("a name"),
            attempt: n,
            budget: Bucket::default(),
            strikes: Strikes::default(),
            credential: CredentialIds::default(),
        }
    }

    fn members(sessions: &KeptSessions) -> Vec<u64> {
        sessions.find(|_, _| true).into_iter().map(|member| member.0).collect()
    }

    #[test]
    fn a_session_is_forgotten_at_its_end() {
        let mut sessions = KeptSessions::default();
        for n in 1..=3 {
            assert_eq!(sessions.keep(MemberId(n), kept(n), Mono(10 * n), 9), 0);
        }
        assert_eq!(sessions.next_end(), Some(Mono(10)));
        sessions.expire(Mono(9));
        assert_eq!(members(&sessions), [1, 2, 3]);
        sessions.expire(Mono(20));
        assert_eq!((members(&sessions), sessions.next_end()), ([3].into(), Some(Mono(30))));
        assert_eq!(sessions.take(MemberId(3)).map(|kept| kept.attempt), Some(3));
        assert_eq!((sessions.len(), sessions.next_end()), (0, None));
    }

    #[test]
    fn a_session_that_is_kept_again_has_its_new_end_only() {
        let mut sessions = KeptSessions::default();
        sessions.keep(MemberId(1), kept(1), Mono(10), 1);
        assert_eq!(sessions.keep(MemberId(1), kept(2), Mono(30), 1), 0, "it takes no new place");
        sessions.expire(Mono(20));
        assert_eq!(sessions.get(MemberId(1)).map(|kept| kept.attempt), Some(2));
        sessions.expire(Mono(30));
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn a_full_table_forgets_the_sessions_that_end_first() {
        let mut sessions = KeptSessions::default();
        for n in 1..=4 {
            sessions.keep(MemberId(n), kept(n), Mono(100 - n), 4);
        }
        assert_eq!(sessions.keep(MemberId(5), kept(5), Mono(50), 4), 1);
        assert_eq!(members(&sessions), [1, 2, 3, 5]);
        assert_eq!(sessions.keep(MemberId(6), kept(6), Mono(200), 2), 3, "the limit was lowered");
        assert_eq!(members(&sessions), [1, 6]);
    }

    #[test]
    fn sessions_are_found_by_what_is_kept() {
        let mut sessions = KeptSessions::default();
        for n in 1..=4 {
            sessions.keep(MemberId(n), kept(n), Mono(n), 9);
        }
        let found = sessions.find(|_, kept| kept.user.as_str() == "u0");
        assert_eq!(found, [MemberId(2), MemberId(4)]);
        sessions.clear();
        assert_eq!((sessions.len(), sessions.next_end()), (0, None));
    }
}
