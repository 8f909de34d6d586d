//! Reading what a client sent.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;

use crate::basic::BasicRequest;
use crate::client::{HistoryRange, Request, Token};
use crate::error::{ErrorBody, ErrorCode};
use crate::names::{NameError, RequestId};
use crate::position::{SEQ_MAX, Seq};
use crate::text::Text;

/// Optional parts of the protocol that a client may name.
const FEATURES_MAX: usize = 32;

/// Why a text is no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The request's id, if that much could be read.
    pub id: Option<RequestId>,
    /// For machines.
    pub code: ErrorCode,
    /// What is wrong, and where.
    pub message: String,
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

/// All fields that any request has. One flat struct reads every frame in one pass; a field given
/// twice is refused, an unknown one is skipped.
#[derive(Deserialize)]
struct Flat<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    room: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    token: Option<Text<'a>>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    features: Option<Vec<Text<'a>>>,
    reply_to: Option<u64>,
    before: Option<u64>,
    /// A place in `history`, a room in `rooms`.
    #[serde(borrow)]
    after: Option<After<'a>>,
    around: Option<u64>,
    limit: Option<u64>,
    history: Option<u64>,
    active: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum After<'a> {
    Seq(u64),
    #[serde(borrow)]
    Room(Text<'a>),
}

#[derive(Deserialize)]
struct FlatBasic<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    room: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Text<'a>>,
}

/// Reads the `type` alone.
pub(crate) fn kind(text: &str) -> Option<Text<'_>> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, rename = "type")]
        kind: Text<'a>,
    }
    serde_json::from_str::<Kind<'_>>(text).ok().map(|k| k.kind)
}

/// Reads a `basic` frame. Missing fields are legal, so they read as empty.
pub(crate) fn basic(text: &str) -> Result<BasicRequest, DecodeError> {
    let flat: FlatBasic<'_> =
        serde_json::from_str(text).map_err(|e| error(ErrorCode::BadFrame, e.to_string()))?;
    match flat.kind.as_ref().map(Text::as_str) {
        Some("join") => {
            let room = flat.room.as_ref().map_or("", Text::as_str);
            let room = room.parse_name("room", crate::RoomName::new)?;
            Ok(BasicRequest::Join { room })
        }
        Some("leave") => Ok(BasicRequest::Leave),
        Some("message") => {
            let content = flat.content.as_ref().map_or("", Text::as_str);
            Ok(BasicRequest::Message { content: content.into() })
        }
        other => Err(unknown_type(other)),
    }
}

/// Reads a `chat.v1` frame.
pub(crate) fn v1(text: &str) -> Result<(Option<RequestId>, Request), DecodeError> {
    let flat: Flat<'_> = serde_json::from_str(text).map_err(|e| DecodeError {
        id: only_id(text),
        code: ErrorCode::BadFrame,
        message: e.to_string(),
    })?;
    let id = match &flat.id {
        Some(id) => Some(id.as_str().parse_name("id", RequestId::new)?),
        None => None,
    };
    match request(flat) {
        Ok(request) => Ok((id, request)),
        Err(error) => Err(DecodeError { id, ..error }),
    }
}

fn request(flat: Flat<'_>) -> Result<Request, DecodeError> {
    let room = || {
        let room = flat.room.as_ref().ok_or_else(|| missing("room"))?;
        room.as_str().parse_name("room", crate::RoomName::new)
    };
    Ok(match flat.kind.as_ref().map(Text::as_str) {
        Some("hello") => Request::Hello {
            name: name(flat.name.as_ref(), "name", crate::DisplayName::new)?,
            token: flat.token.map(|t| Token(t.as_str().into())),
            features: features(flat.features.as_deref().unwrap_or_default())?,
        },
        Some("join") => Request::Join { room: room()?, history: count(flat.history, "history")? },
        Some("leave") => Request::Leave { room: room()? },
        Some("message") => Request::Message {
            room: room()?,
            key: name(flat.key.as_ref(), "key", crate::Key::new)?,
            content: flat.content.ok_or_else(|| missing("content"))?.as_str().into(),
            reply_to: flat.reply_to.map(|n| seq(n, "reply_to")).transpose()?,
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
                    Some(after.as_str().parse_name("after", crate::RoomName::new)?)
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

fn features(list: &[Text<'_>]) -> Result<Vec<String>, DecodeError> {
    if list.len() > FEATURES_MAX {
        return Err(error(ErrorCode::BadFrame, format!("more than {FEATURES_MAX} `features`")));
    }
    Ok(list.iter().map(|f| f.as_str().into()).collect())
}

fn seq(value: u64, field: &'static str) -> Result<Seq, DecodeError> {
    Seq::new(value)
        .ok_or_else(|| error(ErrorCode::BadFrame, format!("`{field}` is above {SEQ_MAX}")))
}

/// A count that was left out is 0; one beyond 32 bits means "all", which the limits cap.
fn count(value: Option<u64>, field: &'static str) -> Result<u32, DecodeError> {
    let value = value.unwrap_or(0);
    seq(value, field)?;
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

fn name<T>(
    text: Option<&Text<'_>>,
    field: &'static str,
    make: fn(&str) -> Result<T, NameError>,
) -> Result<Option<T>, DecodeError> {
    text.map(|text| text.as_str().parse_name(field, make)).transpose()
}

trait ParseName {
    fn parse_name<T>(
        &self,
        field: &'static str,
        make: fn(&str) -> Result<T, NameError>,
    ) -> Result<T, DecodeError>;
}

impl ParseName for str {
    fn parse_name<T>(
        &self,
        field: &'static str,
        make: fn(&str) -> Result<T, NameError>,
    ) -> Result<T, DecodeError> {
        make(self)
            .map_err(|why| error(ErrorCode::InvalidName, format!("`{field}` can't be used: {why}")))
    }
}

/// Reads as much of a broken frame as it takes to answer its request.
fn only_id(text: &str) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct OnlyId<'a> {
        #[serde(borrow)]
        id: Text<'a>,
    }
    let id = serde_json::from_str::<OnlyId<'_>>(text).ok()?.id;
    RequestId::new(id.as_str()).ok()
}

fn unknown_type(kind: Option<&str>) -> DecodeError {
    match kind {
        None => missing("type"),
        // Whoever sent it knows the rest of it.
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
    DecodeError { id: None, code, message: message.into() }
}
