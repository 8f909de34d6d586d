//! Decodes what a client sends.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::basic::BasicRequest;
use crate::client::{HistoryRange, Request, Resume, Token};
use crate::error::{ErrorBody, ErrorCode};
use crate::fields::{After, Flat, FlatBasic, FlatResume, Head, Kind};
use crate::names::{NameError, RequestId};
use crate::position::{Position, SEQ_MAX, Seq};
use crate::text::Text;

/// Why a text is not a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The request's id. `None` if it has none, stands behind the place where the text stops being
    /// JSON, is given twice or breaks its grammar.
    pub id: Option<RequestId>,
    /// The code of the error that answers the frame.
    pub code: ErrorCode,
    /// Says what is wrong, and where, in at most [`DecodeError::MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
}

impl DecodeError {
    /// Longest message in bytes. A message goes back to the peer and into logs, so it must not grow
    /// with the frame.
    pub const MESSAGE_BYTES_MAX: usize = 300;
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl core::error::Error for DecodeError {}

impl From<DecodeError> for ErrorBody {
    fn from(error: DecodeError) -> Self {
        Self::new(error.id, error.code, error.message)
    }
}

/// Returns true if the text has the type `hello`, even if it is broken behind that field.
pub(crate) fn is_hello(text: &str) -> bool {
    Head::read(text).kind() == Some("hello")
}

/// Decodes the `type` of a server's frame.
pub(crate) fn kind(text: &str) -> Result<Text<'_>, DecodeError> {
    let flat: Kind<'_> = serde_json::from_str(text).map_err(|e| broken(text, None, &e))?;
    flat.kind.ok_or_else(|| DecodeError { id: only_id(text), ..missing("type") })
}

/// Decodes a `basic` frame. A missing field is read as empty.
pub(crate) fn basic(text: &str) -> Result<BasicRequest, DecodeError> {
    let flat: FlatBasic<'_> = serde_json::from_str(text)
        .map_err(|e| DecodeError { id: None, ..broken(text, None, &e) })?;
    match flat.kind.as_ref().map(Text::as_str) {
        Some("join") => {
            let room = flat.room.as_ref().map_or("", Text::as_str);
            Ok(BasicRequest::Join { room: named(room, "room", crate::RoomName::new)? })
        }
        Some("leave") => Ok(BasicRequest::Leave),
        Some("message") => {
            let content = flat.content.as_ref().map_or("", Text::as_str);
            Ok(BasicRequest::Message { content: content.into() })
        }
        other => Err(unknown_type(other)),
    }
}

/// Decodes a `chat.v1` frame.
pub(crate) fn v1(text: &str) -> Result<(Option<RequestId>, Request), DecodeError> {
    let flat: Flat<'_> = serde_json::from_str(text).map_err(|e| broken(text, None, &e))?;
    let id = optional(flat.id.as_ref(), "id", RequestId::new)?;
    match request(flat) {
        Ok(request) => Ok((id, request)),
        Err(error) => Err(DecodeError { id, ..error }),
    }
}

fn request(flat: Flat<'_>) -> Result<Request, DecodeError> {
    let room = || {
        let room = flat.room.as_ref().ok_or_else(|| missing("room"))?;
        named(room.as_str(), "room", crate::RoomName::from_wire)
    };
    Ok(match flat.kind.as_ref().map(Text::as_str) {
        Some("hello") => Request::Hello {
            name: optional(flat.name.as_ref(), "name", crate::DisplayName::new)?,
            token: flat.token.map(|t| Token(t.as_str().into())),
            features: flat.features.map_or_else(Vec::new, |f| f.0),
            resume: flat.resume.map(resume).transpose()?,
        },
        Some("auth") => {
            let token = flat.token.ok_or_else(|| missing("token"))?;
            Request::Auth { token: Token(token.as_str().into()) }
        }
        Some("join") => Request::Join { room: room()?, history: count(flat.history, "history")? },
        Some("leave") => Request::Leave { room: room()? },
        Some("message") => Request::Message {
            room: room()?,
            key: optional(flat.key.as_ref(), "key", crate::Key::new)?,
            content: flat.content.ok_or_else(|| missing("content"))?.as_str().into(),
            reply_to: flat.reply_to.map(|n| place(n, "reply_to")).transpose()?,
        },
        Some("history") => Request::History {
            room: room()?,
            range: range(flat.before, flat.after.as_ref(), flat.around)?,
            limit: flat.limit.map(|n| count(Some(n), "limit")).transpose()?,
        },
        Some("members") => Request::Members { room: room()? },
        Some("rooms") => Request::Rooms {
            after: match &flat.after {
                None => None,
                Some(After::Room(after)) => {
                    Some(named(after.as_str(), "after", crate::RoomName::from_wire)?)
                }
                Some(After::Seq(_)) => {
                    return Err(error(ErrorCode::BadFrame, "`after` has to be a room's name"));
                }
            },
        },
        Some("typing") => Request::Typing { room: room()?, active: flat.active.unwrap_or(true) },
        Some("ping") => Request::Ping,
        Some("pong") => Request::Pong,
        other => return Err(unknown_type(other)),
    })
}

fn resume(flat: FlatResume<'_>) -> Result<Box<Resume>, DecodeError> {
    let session = flat.session.ok_or_else(|| missing("resume.session"))?;
    let session = named(session.as_str(), "resume.session", crate::SessionId::new)?;
    let attempt = seq(flat.attempt.unwrap_or(0), "resume.attempt")?.get();
    let mut rooms = BTreeMap::new();
    for (name, position) in flat.rooms.map_or_else(Vec::new, |rooms| rooms.0) {
        let name = resumed_room(name.as_str())?;
        let epoch = position.epoch.ok_or_else(|| missing("resume.rooms.epoch"))?;
        let epoch = named(epoch.as_str(), "resume.rooms.epoch", crate::Epoch::new)?;
        let last = position.seq.ok_or_else(|| missing("resume.rooms.seq"))?;
        let position = Position { epoch, seq: seq(last, "resume.rooms.seq")? };
        if rooms.insert(name, position).is_some() {
            return Err(error(ErrorCode::BadFrame, "`resume.rooms` names a room twice"));
        }
    }
    Ok(Box::new(Resume { session, attempt, rooms }))
}

/// Decodes the name of a room of a resume. The error repeats the name, because one name out of many
/// refuses the whole frame.
fn resumed_room(name: &str) -> Result<crate::RoomName, DecodeError> {
    crate::RoomName::from_wire(name).map_err(|why| {
        let shown: String = name.chars().take(DecodeError::MESSAGE_BYTES_MAX).collect();
        let message = format!("`resume.rooms` has an unusable name ({why}): {shown:?}");
        error(ErrorCode::InvalidName, message)
    })
}

fn range(
    before: Option<u64>,
    after: Option<&After<'_>>,
    around: Option<u64>,
) -> Result<HistoryRange, DecodeError> {
    match (before, after, around) {
        (None, None, None) => Ok(HistoryRange::Latest),
        (Some(n), None, None) => Ok(HistoryRange::Before(seq(n, "before")?)),
        (None, Some(After::Seq(n)), None) => Ok(HistoryRange::After(seq(*n, "after")?)),
        (None, None, Some(n)) => Ok(HistoryRange::Around(seq(n, "around")?)),
        (None, Some(After::Room(_)), None) => {
            Err(error(ErrorCode::BadFrame, "`after` has to be a number"))
        }
        _ => Err(error(ErrorCode::BadFrame, "give one of `before`, `after` and `around`")),
    }
}

fn seq(value: u64, field: &'static str) -> Result<Seq, DecodeError> {
    Seq::new(value)
        .ok_or_else(|| error(ErrorCode::BadFrame, format!("`{field}` is above {SEQ_MAX}")))
}

/// Decodes the place of an entry. Places begin at 1.
fn place(value: u64, field: &'static str) -> Result<Seq, DecodeError> {
    if value == 0 {
        return Err(error(ErrorCode::BadFrame, format!("`{field}` is 0, and places begin at 1")));
    }
    seq(value, field)
}

/// Decodes a count. A missing count is 0; one beyond 32 bits means "all", and the limits cap it.
fn count(value: Option<u64>, field: &'static str) -> Result<u32, DecodeError> {
    let value = value.unwrap_or(0);
    seq(value, field)?;
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

fn optional<T>(
    text: Option<&Text<'_>>,
    field: &'static str,
    make: fn(&str) -> Result<T, NameError>,
) -> Result<Option<T>, DecodeError> {
    text.map(|text| named(text.as_str(), field, make)).transpose()
}

fn named<T>(
    text: &str,
    field: &'static str,
    make: fn(&str) -> Result<T, NameError>,
) -> Result<T, DecodeError> {
    make(text)
        .map_err(|why| error(ErrorCode::InvalidName, format!("`{field}` can't be used: {why}")))
}

/// Reads the id of a broken frame, for the error that answers it.
fn only_id(text: &str) -> Option<RequestId> {
    RequestId::new(Head::read(text).id()?).ok()
}

/// Describes a JSON error: its kind, its place, and the kind of frame if that is known.
pub(crate) fn broken(text: &str, kind: Option<&str>, why: &serde_json::Error) -> DecodeError {
    let place = match why.line() {
        0 => String::new(),
        line => format!(" at line {line} column {}", why.column()),
    };
    let what = why.to_string();
    let what = what.strip_suffix(&*place).unwrap_or(&what);
    let message = match kind {
        Some(kind) => shorten(&format!("{kind}: {what}"), &place),
        None => shorten(what, &place),
    };
    DecodeError { id: only_id(text), code: ErrorCode::BadFrame, message }
}

/// Cuts a message that is too long, but keeps the place at its end.
fn shorten(what: &str, place: &str) -> String {
    const ELLIPSIS: &str = "...";
    let room = DecodeError::MESSAGE_BYTES_MAX - place.len();
    if what.len() <= room {
        return format!("{what}{place}");
    }
    let mut end = room - ELLIPSIS.len();
    while !what.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}{place}", &what[..end])
}

fn unknown_type(kind: Option<&str>) -> DecodeError {
    match kind {
        None => missing("type"),
        // A short prefix is enough for the sender to recognize it.
        Some(kind) => {
            let shown: String = kind.chars().take(32).collect();
            error(ErrorCode::UnknownType, format!("there is no request of type {shown:?}"))
        }
    }
}

fn missing(field: &'static str) -> DecodeError {
    error(ErrorCode::BadFrame, format!("`{field}` is missing"))
}

fn error(code: ErrorCode, message: impl Into<String>) -> DecodeError {
    DecodeError { id: None, code, message: shorten(&message.into(), "") }
}
