//! Keys whose entries are gone.
use std::collections::BTreeSet;

use chat_proto::{Seq, Timestamp};
use chat_state::{Draft, Outcome};
use rusqlite::{Connection, OptionalExtension, Row, Statement};

use super::super::digest::Digest;
use super::rows::{self, Fault, moment, place};

/// Old keys that are forgotten at a time: as many as a step of a trim makes, so that they are
/// forgotten as fast as they come.
const EXPIRE_STEP: u32 = 250;

/// The statements about keys, each prepared once.
pub(super) struct Keys<'c> {
    find: Statement<'c>,
    dropped: Statement<'c>,
    add: Statement<'c>,
    count: Statement<'c>,
    drop_oldest: Statement<'c>,
    has_old: Statement<'c>,
    expire: Statement<'c>,
}

/// A key whose entry is about to go, as the entry's row has it.
struct Dropped {
    user: String,
    key: String,
    seq: i64,
    ts: i64,
    digest: Digest,
}

impl<'c> Keys<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            find: conn.prepare(
                "SELECT seq, ts, digest FROM keys WHERE room = ?1 AND user = ?2 AND key = ?3",
            )?,
            dropped: conn.prepare(
                "SELECT user, key, seq, ts, body FROM entries
                 WHERE room = ?1 AND seq < ?2 AND ts >= ?3 AND key IS NOT NULL ORDER BY seq",
            )?,
            add: conn.prepare(
                "INSERT OR REPLACE INTO keys (room, user, key, seq, ts, digest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            count: conn.prepare("SELECT count(*) FROM keys WHERE room = ?1 AND user = ?2")?,
            drop_oldest: conn.prepare(
                "DELETE FROM keys WHERE id IN
                 (SELECT id FROM keys WHERE room = ?1 AND user = ?2 ORDER BY id LIMIT ?3)",
            )?,
            has_old: conn.prepare("SELECT 1 FROM keys WHERE ts < ?1 LIMIT 1")?,
            expire: conn.prepare(
                "DELETE FROM keys WHERE id IN (SELECT id FROM keys WHERE ts < ?1 LIMIT ?2)",
            )?,
        })
    }

    /// Says what becomes of a draft, whose body is this JSON, if its key is one of those here.
    pub(super) fn repeated(
        &mut self,
        room: i64,
        draft: &Draft,
        (key, body): (&str, &str),
    ) -> Result<Option<Outcome>, Fault> {
        let named = (room, draft.user.as_str(), key);
        let known = self.find.query_row(named, |row| Ok(outcome(row, body))).optional()?;
        known.transpose()
    }

    /// Runs what deletes a room's entries before a place, and remembers their keys: so many of
    /// each user, and none from before a time.
    pub(super) fn outlive(
        &mut self,
        (room, first): (i64, Seq),
        (keys_per_user, since): (u32, Timestamp),
        delete: impl FnOnce() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut all = Vec::new();
        let mut rows = self.dropped.query((room, place(first), moment(since)))?;
        while let Some(row) = rows.next()? {
            // The key of a damaged entry goes with it, so that damage can be trimmed away.
            if let Ok(dropped) = Dropped::read(row) {
                all.push(dropped);
            }
        }
        // On a full disk this makes the place that the keys need.
        delete()?;
        let mut users = BTreeSet::new();
        for Dropped { user, key, seq, ts, digest } in &all {
            self.add.execute((room, user, key, seq, ts, digest.0))?;
            users.insert(user);
        }
        for user in users {
            let count: i64 = self.count.query_row((room, user), |row| row.get(0))?;
            let excess = count - i64::from(keys_per_user);
            if excess > 0 {
                self.drop_oldest.execute((room, user, excess))?;
            }
        }
        Ok(())
    }

    /// Tells whether there are keys from before a time.
    pub(super) fn has_old(&mut self, since: Timestamp) -> Result<bool, Fault> {
        Ok(self.has_old.exists([moment(since)])?)
    }

    /// Forgets some keys from before a time.
    pub(super) fn expire(&mut self, since: Timestamp) -> Result<(), Fault> {
        self.expire.execute((moment(since), EXPIRE_STEP))?;
        Ok(())
    }
}

impl Dropped {
    fn read(row: &Row<'_>) -> Result<Self, Fault> {
        let body = row.get_ref(4)?.as_bytes().map_err(|error| Fault(error.to_string()))?;
        Ok(Self {
            user: rows::text(row, 0)?.into(),
            key: rows::text(row, 1)?.into(),
            seq: row.get(2)?,
            ts: row.get(3)?,
            digest: Digest::of_json(body),
        })
    }
}

/// What a draft with this body becomes whose key was there before.
fn outcome(row: &Row<'_>, body: &str) -> Result<Outcome, Fault> {
    let (seq, ts) = (rows::seq(row, 0)?, rows::timestamp(row, 1)?);
    let digest = row.get_ref(2)?.as_blob().map_err(|error| Fault(error.to_string()))?;
    let same = *digest == Digest::of_json(body.as_bytes()).0;
    if same { Ok(Outcome::Duplicate { seq, ts }) } else { Ok(Outcome::Conflict) }
}
