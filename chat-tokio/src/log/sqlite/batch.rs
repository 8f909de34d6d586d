//! What one transaction does: batches become entries.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chat_proto::{RoomName, Seq, Timestamp};
use chat_state::{AppendError, Appended, Draft, LogHead, Outcome};
use rusqlite::{Connection, Statement};

use super::super::RoomBatch;
use super::super::epochs::MetRooms;
use super::super::recent::RecentMap;
use super::keys::Keys;
use super::rows::{self, Fault, FindRoom, RoomRow, body_text, place};

/// The statements of the writer, each prepared once.
pub(super) struct Statements<'c> {
    pub(super) begin: Statement<'c>,
    pub(super) commit: Statement<'c>,
    /// Changes when another connection has written.
    pub(super) data_version: Statement<'c>,
    pub(super) find_room: FindRoom<'c>,
    make_room: Statement<'c>,
    set_last: Statement<'c>,
    set_first: Statement<'c>,
    insert: Statement<'c>,
    find_key: Statement<'c>,
    delete: Statement<'c>,
    pub(super) keys: Keys<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            // Takes the write lock at once: so a lock held by another program is met before
            // anything was done.
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            data_version: conn.prepare("PRAGMA data_version")?,
            find_room: FindRoom::prepare(conn)?,
            make_room: conn.prepare(
                "INSERT INTO rooms (folded, name, epoch, first, last) VALUES (?1, ?2, ?3, 1, 0)",
            )?,
            set_last: conn.prepare("UPDATE rooms SET last = ?2 WHERE id = ?1")?,
            set_first: conn.prepare("UPDATE rooms SET first = ?2 WHERE id = ?1")?,
            insert: conn.prepare(
                "INSERT INTO entries (room, seq, ts, user, username, key, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (room, user, key) WHERE key IS NOT NULL DO NOTHING",
            )?,
            find_key: conn.prepare(
                "SELECT seq, ts, body FROM entries WHERE room = ?1 AND user = ?2 AND key = ?3",
            )?,
            delete: conn.prepare("DELETE FROM entries WHERE room = ?1 AND seq < ?2")?,
            keys: Keys::prepare(conn)?,
        })
    }

    /// Forgets a room's entries before a place. So many of their keys stay known of each user, but
    /// none from before a time.
    pub(super) fn trim(
        &mut self,
        (room, first): (i64, Seq),
        keys: (u32, Timestamp),
    ) -> Result<(), Fault> {
        let delete = || Ok(self.delete.execute((room, place(first))).map(drop)?);
        self.keys.outlive((room, first), keys, delete)?;
        self.set_first.execute((room, place(first)))?;
        Ok(())
    }
}

/// A transaction's work on the rooms. What it knows of them becomes true with the commit only, so
/// it is kept apart until [`Work::settle`].
pub(super) struct Work<'a, 'c> {
    statements: &'a mut Statements<'c>,
    cache: &'a mut RecentMap<RoomName, RoomRow>,
    met: &'a Mutex<MetRooms>,
    touched: BTreeMap<RoomName, Touched>,
    /// When the newest entry was made, if one was.
    newest: Option<Timestamp>,
}

struct Touched {
    room: RoomRow,
    made: bool,
    /// The last place that its row states.
    stated: Seq,
}

impl<'a, 'c> Work<'a, 'c> {
    pub(super) fn new(
        statements: &'a mut Statements<'c>,
        cache: &'a mut RecentMap<RoomName, RoomRow>,
        met: &'a Mutex<MetRooms>,
    ) -> Self {
        Self { statements, cache, met, touched: BTreeMap::new(), newest: None }
    }

    /// Takes one batch. After a [`Fault`] the transaction has to be undone; a refusal changed
    /// nothing.
    pub(super) fn append(
        &mut self,
        batch: &RoomBatch,
    ) -> Result<Result<Appended, AppendError>, Fault> {
        let slot = match self.touched.entry(batch.room.clone()) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => match find(self.statements, self.cache, &batch.room)? {
                Some(room) => {
                    let stated = room.head.last;
                    slot.insert(Touched { room, made: false, stated })
                }
                None => {
                    let (name, epoch) = lock(self.met).meet(&batch.room);
                    if batch.drafts.is_empty() {
                        return Ok(Ok(Appended { epoch, outcomes: Vec::new() }));
                    }
                    let values = (name.folded(), name.as_str(), epoch.as_str());
                    let id = self.statements.make_room.insert(values)?;
                    let (first, last) = (Seq::ZERO.next(), Seq::ZERO);
                    let head = LogHead { room: name, epoch, first, last };
                    slot.insert(Touched { room: RoomRow { id, head }, made: true, stated: last })
                }
            },
        };
        let room = &mut slot.room;
        if Seq::new(room.head.last.get() + batch.drafts.len() as u64).is_none() {
            return Ok(Err(AppendError::Refused("the room has no place left".into())));
        }
        let mut outcomes = Vec::with_capacity(batch.drafts.len());
        for draft in &batch.drafts {
            let outcome = take(self.statements, room, draft)?;
            if let Outcome::New { seq } = outcome {
                room.head.last = seq;
                self.newest = Some(draft.ts);
            }
            outcomes.push(outcome);
        }
        Ok(Ok(Appended { epoch: room.head.epoch.clone(), outcomes }))
    }

    /// Writes the ends of the rooms that have grown; the commit has to follow.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        for Touched { room, stated, .. } in self.touched.values() {
            if room.head.last != *stated {
                self.statements.set_last.execute((room.id, place(room.head.last)))?;
            }
        }
        Ok(())
    }

    /// Commits.
    pub(super) fn commit(&mut self) -> Result<(), Fault> {
        self.statements.commit.execute([])?;
        Ok(())
    }

    /// Remembers what the commit made true; returns when the newest entry was made, if one was.
    pub(super) fn settle(self) -> Option<Timestamp> {
        for (name, Touched { room, made, .. }) in self.touched {
            if made {
                lock(self.met).leave(&name);
            }
            self.cache.insert(name, room);
        }
        self.newest
    }
}

/// Finds a room that has a row.
pub(super) fn find(
    statements: &mut Statements<'_>,
    cache: &mut RecentMap<RoomName, RoomRow>,
    room: &RoomName,
) -> Result<Option<RoomRow>, Fault> {
    match cache.get(room) {
        Some(row) => Ok(Some(row.clone())),
        None => statements.find_room.find(room),
    }
}

pub(super) fn lock(met: &Mutex<MetRooms>) -> MutexGuard<'_, MetRooms> {
    met.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes one draft an entry, unless its key was there before.
fn take(statements: &mut Statements<'_>, room: &RoomRow, draft: &Draft) -> Result<Outcome, Fault> {
    let (seq, key) = (room.head.last.next(), draft.key.as_deref());
    let body = body_text(&draft.body)?;
    // Nothing is gone of a room that was never trimmed.
    if let Some(key) = key
        && room.head.first > Seq::ZERO.next()
        && let Some(outcome) = statements.keys.repeated(room.id, draft, (key, &body))?
    {
        return Ok(outcome);
    }
    let inserted = statements.insert.execute((
        room.id,
        place(seq),
        draft.ts.0.cast_signed(),
        draft.user.as_str(),
        draft.username.as_str(),
        key,
        body,
    ))?;
    if inserted == 1 {
        return Ok(Outcome::New { seq });
    }
    // A key can be met only if there is one.
    let key = key.unwrap_or_default();
    let known = statements
        .find_key
        .query_row((room.id, draft.user.as_str(), key), |row| Ok(repeated(row, draft)));
    known?
}

/// What a draft becomes whose key was there before.
fn repeated(row: &rusqlite::Row<'_>, draft: &Draft) -> Result<Outcome, Fault> {
    let (seq, ts) = (rows::seq(row, 0)?, rows::timestamp(row, 1)?);
    let first = rows::body(rows::text(row, 2)?)
        .map_err(|error| Fault(format!("entry {seq} is damaged: {error}")))?;
    if first == draft.body { Ok(Outcome::Duplicate { seq, ts }) } else { Ok(Outcome::Conflict) }
}
