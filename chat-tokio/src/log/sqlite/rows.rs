//! Rows of the file, as our types.
use std::fmt::Display;
use std::sync::Arc;

use chat_proto::{
    Body, DisplayName, Entry, Epoch, Key, NameError, RoomName, Seq, Timestamp, UserId,
};
use chat_state::{LogHead, ReadError};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Statement};

/// Why a step did not work: what SQLite says, or what is wrong with a row.
#[derive(Debug)]
pub(super) struct Fault(pub(super) String);

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self(fault.0)
    }
}

/// A room's row.
#[derive(Clone, Debug)]
pub(super) struct RoomRow {
    pub(super) id: i64,
    /// The room as it was first spelled, its epoch and the ends of its log.
    pub(super) head: LogHead,
}

/// Finds a room by its folded name.
pub(super) struct FindRoom<'c>(Statement<'c>);

impl<'c> FindRoom<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        conn.prepare("SELECT id, name, epoch, first, last FROM rooms WHERE folded = ?1").map(Self)
    }

    pub(super) fn find(&mut self, room: &RoomName) -> Result<Option<RoomRow>, Fault> {
        let row = self.0.query_row([room.folded()], |row| Ok(room_row(row, room))).optional()?;
        row.transpose()
    }
}

/// Inboxes and the server's own rooms are in the log, too.
fn room_name(text: &str) -> Result<RoomName, NameError> {
    RoomName::server(text).or_else(|_| RoomName::from_wire(text))
}

fn room_row(row: &Row<'_>, asked: &RoomName) -> Result<RoomRow, Fault> {
    let bad = |what: &dyn Display| Fault(format!("the row of room {asked:?} is damaged: {what}"));
    let name = room_name(text(row, 1)?).map_err(|error| bad(&error))?;
    let epoch = Epoch::new(text(row, 2)?).map_err(|error| bad(&error))?;
    let head = LogHead { room: name, epoch, first: seq(row, 3)?, last: seq(row, 4)? };
    if head.room != *asked {
        return Err(bad(&"it bears another room's name"));
    }
    if head.first == Seq::ZERO || head.first > head.last.next() {
        return Err(bad(&"its ends do not fit together"));
    }
    Ok(RoomRow { id: row.get(0)?, head })
}

/// The columns of an entry, in the order that [`entry_row`] reads them.
pub(super) const ENTRY_COLUMNS: &str = "seq, ts, user, username, key, body";

/// Makes an entry of its row.
pub(super) fn entry_row(row: &Row<'_>, room: &RoomName) -> Result<Arc<Entry>, Fault> {
    let seq = seq(row, 0)?;
    let bad = |what: &dyn Display| Fault(format!("entry {seq} of {room:?} is damaged: {what}"));
    let text = |column| text(row, column).map_err(|fault| bad(&fault.0));
    let user = UserId::new(text(2)?).map_err(|error| bad(&error))?;
    let username = DisplayName::new(text(3)?).map_err(|error| bad(&error))?;
    let key = match row.get_ref(4)? {
        ValueRef::Null => None,
        _ => Some(Key::new(text(4)?).map_err(|error| bad(&error))?),
    };
    let body = body(text(5)?).map_err(|error| bad(&error))?;
    let ts = timestamp(row, 1)?;
    Ok(Arc::new(Entry::new(room.clone(), seq, ts, user, username, key, body)))
}

/// Writes a body for the file.
pub(super) fn body_text(body: &Body) -> Result<String, Fault> {
    serde_json::to_string(body).map_err(|error| Fault(format!("a body can't be stored: {error}")))
}

/// Reads a body from the file.
pub(super) fn body(text: &str) -> Result<Body, serde_json::Error> {
    serde_json::from_str(text)
}

pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Fault> {
    row.get_ref(column)?.as_str().map_err(|error| Fault(error.to_string()))
}

pub(super) fn seq(row: &Row<'_>, column: usize) -> Result<Seq, Fault> {
    let value: i64 = row.get(column)?;
    let seq = u64::try_from(value).ok().and_then(Seq::new);
    seq.ok_or_else(|| Fault(format!("{value} is no place in a log")))
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> Result<Timestamp, Fault> {
    Ok(Timestamp(row.get::<_, i64>(column)?.cast_unsigned()))
}

/// Writes a time for the file.
pub(super) fn moment(ts: Timestamp) -> i64 {
    // So what the file compares is in order: the time may be any number.
    i64::try_from(ts.0).unwrap_or(i64::MAX)
}

/// Writes a place for the file.
pub(super) fn place(seq: Seq) -> i64 {
    // Places end at 2^53 - 1.
    seq.get().cast_signed()
}
