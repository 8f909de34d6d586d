//! The threads that read.
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use chat_proto::{Entry, RoomName, Seq};
use chat_state::{Keep, LogHead, LogPage, ReadError, ReadRange};
use rusqlite::{Connection, Statement};
use tokio::sync::oneshot;

use super::super::epochs::MetRooms;
use super::super::range::{Budget, clip};
use super::batch::lock;
use super::rows::{ENTRY_COLUMNS, Fault, FindRoom, RoomRow, entry_row, place};

/// What a reader can be asked for.
pub(super) enum Query {
    Head {
        room: RoomName,
        reply: oneshot::Sender<Result<LogHead, ReadError>>,
    },
    Read {
        room: RoomName,
        range: ReadRange,
        reply: oneshot::Sender<Result<LogPage, ReadError>>,
    },
    /// Ends the one reader that gets it.
    Close,
}

/// Serves queries until it is told to close, or nobody is left who could ask.
pub(super) fn run(conn: &Connection, met: &Mutex<MetRooms>, queries: &Mutex<Receiver<Query>>) {
    let mut reader = match Queries::prepare(conn) {
        Ok(queries) => Reader { conn, queries, met },
        // The same statements were prepared when the file was opened.
        Err(error) => return tracing::error!(%error, "a reader of the room log can't begin"),
    };
    loop {
        // The readers take turns in waiting.
        let next = queries.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(Query::Head { room, reply }) if !reply.is_closed() => {
                let _ = reply.send(reader.head(&room).map_err(ReadError::from));
            }
            Ok(Query::Read { room, range, reply }) if !reply.is_closed() => {
                let _ = reply.send(reader.read(&room, &range).map_err(ReadError::from));
            }
            // Nobody waits for the answer any more.
            Ok(Query::Head { .. } | Query::Read { .. }) => {}
            Ok(Query::Close) | Err(_) => return,
        }
    }
}

/// The statements of a reader, each prepared once.
pub(super) struct Queries<'c> {
    find_room: FindRoom<'c>,
    oldest: Statement<'c>,
    newest: Statement<'c>,
}

impl<'c> Queries<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        let entries = |order| {
            conn.prepare(&format!(
                "SELECT {ENTRY_COLUMNS} FROM entries
                 WHERE room = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq {order} LIMIT ?4"
            ))
        };
        Ok(Self {
            find_room: FindRoom::prepare(conn)?,
            oldest: entries("ASC")?,
            newest: entries("DESC")?,
        })
    }
}

struct Reader<'c, 's> {
    conn: &'c Connection,
    queries: Queries<'c>,
    met: &'s Mutex<MetRooms>,
}

impl Reader<'_, '_> {
    fn head(&mut self, room: &RoomName) -> Result<LogHead, Fault> {
        let known =
            |reader: &mut Self| Ok(reader.queries.find_room.find(room)?.map(|row| row.head));
        self.known_or(room, known, |met| met)
    }

    fn read(&mut self, room: &RoomName, range: &ReadRange) -> Result<LogPage, Fault> {
        let empty = |head| LogPage { head, entries: Vec::new() };
        self.known_or(room, |reader| reader.page(room, range), empty)
    }

    /// Answers by what the file has of a room or, if it has nothing, by the room as it was met.
    fn known_or<T>(
        &mut self,
        room: &RoomName,
        known: impl Fn(&mut Self) -> Result<Option<T>, Fault>,
        otherwise: impl FnOnce(LogHead) -> T,
    ) -> Result<T, Fault> {
        if let Some(answer) = known(self)? {
            return Ok(answer);
        }
        let (name, epoch) = lock(self.met).meet(room);
        // The room may have got its row after the first look, and so have been forgotten among
        // those met, which gave it another epoch: then the file is right.
        if let Some(answer) = known(self)? {
            return Ok(answer);
        }
        Ok(otherwise(LogHead { room: name, epoch, first: Seq::ZERO.next(), last: Seq::ZERO }))
    }

    fn page(&mut self, room: &RoomName, range: &ReadRange) -> Result<Option<LogPage>, Fault> {
        // The ends and the entries have to be of one moment.
        let _moment = self.conn.unchecked_transaction()?;
        let Some(row) = self.queries.find_room.find(room)? else { return Ok(None) };
        let entries = self.entries(&row, range)?;
        Ok(Some(LogPage { head: row.head, entries }))
    }

    fn entries(&mut self, room: &RoomRow, range: &ReadRange) -> Result<Vec<Arc<Entry>>, Fault> {
        let Some((from, to)) = clip(range, &room.head) else { return Ok(Vec::new()) };
        let wanted = (room.id, place(from), place(to), range.limit);
        let mut rows = match range.keep {
            Keep::Oldest => self.queries.oldest.query(wanted)?,
            Keep::Newest => self.queries.newest.query(wanted)?,
        };
        let mut budget = Budget::of(range);
        let mut entries = Vec::new();
        let all = u64::from(range.limit).min(to.get() - from.get() + 1);
        for done in 0..all {
            let due = match range.keep {
                Keep::Oldest => from.plus(done),
                Keep::Newest => to.minus(done),
            };
            // What is missing is never passed over: positions must not lie.
            let gone = || Fault(format!("entry {due} of {:?} is missing", room.head.room));
            let entry = entry_row(rows.next()?.ok_or_else(gone)?, &room.head.room)?;
            if entry.seq != due {
                return Err(gone());
            }
            if !budget.admits(entry.body.size()) {
                break;
            }
            entries.push(entry);
        }
        if range.keep == Keep::Newest {
            entries.reverse();
        }
        Ok(entries)
    }
}
