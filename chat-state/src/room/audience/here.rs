//! The members of this Hub.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{LeaveReason, Member};

use super::live::Live;
use super::notices::Mark;
use crate::ids::{ConnId, MemberId};

/// A member that has lost its connection.
#[derive(Debug)]
pub(super) struct Away {
    /// The connection that it had.
    pub(super) conn: ConnId,
    pub(super) member: Member,
    pub(super) lost: Lost,
}

/// How a member has lost its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Others are told this reason if it does not come back.
    Connection(LeaveReason),
    /// This Hub shuts down; others are not told.
    Shutdown,
}

/// A leave that others are yet to be told of.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) conn: ConnId,
    pub(super) id: MemberId,
    pub(super) member: Member,
    pub(super) reason: LeaveReason,
}

/// The members of this Hub by their state, and the ids of all of them.
///
/// *Memory:* a live member takes 8 bytes in the roster and about 14 in `ids`; a member that is
/// behind takes about 24 bytes instead of the 8.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) live: Live,
    /// Members off the live list, and up to which change each of them was told.
    behind: BTreeMap<ConnId, Mark>,
    away: BTreeMap<MemberId, Away>,
    /// How many members of `away` were disconnected by a shutdown.
    shut_down: usize,
    departing: Vec<Departure>,
    /// Every member, whatever its state.
    ids: BTreeSet<MemberId>,
}

impl Here {
    pub(super) fn new(listed: usize) -> Self {
        Self {
            live: Live::new(listed),
            behind: BTreeMap::new(),
            away: BTreeMap::new(),
            shut_down: 0,
            departing: Vec::new(),
            ids: BTreeSet::new(),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.ids.len() as u64
    }

    pub(super) fn taken(&self) -> usize {
        self.live.len() + self.behind.len() + self.away.len() - self.shut_down
    }

    pub(super) fn has(&self, id: MemberId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn remember(&mut self, id: MemberId) {
        assert!(self.ids.insert(id), "a session enters a room once");
    }

    pub(super) fn forget(&mut self, id: MemberId) {
        assert!(self.ids.remove(&id), "only a member leaves");
    }

    pub(super) fn behind(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.behind.keys().copied()
    }

    pub(super) fn put_behind(&mut self, conn: ConnId, mark: Mark) {
        let before = self.behind.insert(conn, mark);
        assert!(before.is_none(), "a connection is behind once");
    }

    pub(super) fn take_behind(&mut self, conn: ConnId) -> Mark {
        self.behind.remove(&conn).expect("the caller knows which members are behind")
    }

    /// Returns a member that has lost its connection, other than by a shutdown.
    pub(super) fn away(&self, id: MemberId) -> Option<&Member> {
        let away = self.away.get(&id).filter(|away| away.lost != Lost::Shutdown);
        away.map(|away| &away.member)
    }

    pub(super) fn put_away(&mut self, id: MemberId, away: Away) {
        self.shut_down += usize::from(away.lost == Lost::Shutdown);
        let before = self.away.insert(id, away);
        assert!(before.is_none(), "a member loses one connection");
    }

    pub(super) fn take_away(&mut self, id: MemberId) -> Option<Away> {
        let away = self.away.remove(&id)?;
        self.shut_down -= usize::from(away.lost == Lost::Shutdown);
        Some(away)
    }

    pub(super) fn has_departing(&self) -> bool {
        !self.departing.is_empty()
    }

    pub(super) fn put_departing(&mut self, departure: Departure) {
        self.departing.push(departure);
    }

    pub(super) fn take_departing(&mut self, id: MemberId) -> Option<Departure> {
        let at = self.departing.iter().position(|departure| departure.id == id)?;
        Some(self.departing.remove(at))
    }

    /// Takes the departures of which this is true, in the order of the leaves.
    pub(super) fn take_departures(&mut self, is: impl Fn(&Departure) -> bool) -> Vec<Departure> {
        let all = core::mem::take(&mut self.departing);
        let (taken, left) = all.into_iter().partition(is);
        self.departing = left;
        taken
    }

    /// Lists the first members: the live ones, then the others.
    pub(super) fn list(
        &self,
        listed: usize,
        who: &dyn Fn(ConnId) -> (MemberId, Member),
    ) -> Arc<Vec<Member>> {
        if let Some(known) = self.live.listed(listed)
            && (known.len() == listed || self.live.len() == self.ids.len())
        {
            return known.clone();
        }
        Arc::new(self.sample(who).map(|(_, member)| member).take(listed).collect())
    }

    /// Returns all members.
    pub(super) fn sample<'a>(
        &'a self,
        who: &'a dyn Fn(ConnId) -> (MemberId, Member),
    ) -> impl Iterator<Item = (MemberId, Member)> + 'a {
        let away = self.away.iter().map(|(id, away)| (*id, away.member.clone()));
        let departing = self.departing.iter().map(|d| (d.id, d.member.clone()));
        self.live.iter().chain(self.behind()).map(who).chain(away).chain(departing)
    }
}
