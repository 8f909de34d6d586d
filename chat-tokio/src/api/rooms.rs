//! Rooms, what was said in them, and saying something.
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use chat_proto::{DisplayName, Key, RoomName, Seq};
use chat_state::{Keep, ReadRange, RoomView};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use super::{Api, rows};
use crate::server::{Publish, Published};

/// Bytes of one page of history; one entry is always there.
const PAGE_BYTES_MAX: u32 = 4 << 20;

/// The header that can name a send, in place of `key`.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A room that somebody is in.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomShown {
    /// Which.
    room: String,
    /// Its members, those who lost their connection a moment ago included.
    members: u64,
    /// Which log it has; without it, the log is being asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// The last entry that its members got.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

/// Some rooms that somebody is in.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomList {
    /// In the order of their names.
    rooms: Vec<RoomShown>,
    /// What to ask for `after`; without it, these are the last ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What there is of one room.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomState {
    /// The room, as its log spells it.
    room: String,
    /// Its members; 0 if nobody is in it.
    members: u64,
    /// Which log it has.
    epoch: String,
    /// The oldest entry that is left; `last` + 1 if none is.
    first: u64,
    /// The newest entry; 0 if there never was one.
    last: u64,
}

/// Which rooms are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RoomsQuery {
    /// Rooms after this name.
    #[param(value_type = Option<String>)]
    after: Option<RoomName>,
    /// Rows at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Which entries are wanted; without `before` and `after`: the newest.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// The newest ones before this place.
    before: Option<u64>,
    /// The oldest ones after this place.
    after: Option<u64>,
    /// Entries at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Some entries of a room.
#[derive(Serialize, ToSchema)]
pub(super) struct History {
    /// The room, as its log spells it.
    room: String,
    /// Which log it has.
    epoch: String,
    /// The entries, in order, as clients of `chat.v1` get them.
    #[schema(value_type = Vec<Object>)]
    events: Vec<serde_json::Value>,
    /// Whether there are older ones.
    has_more_before: bool,
    /// Whether there are newer ones.
    has_more_after: bool,
}

/// What a service says in a room, or to a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishRequest {
    /// What is said: at least 1 byte, at most the limit `message_bytes`.
    #[schema(value_type = String)]
    content: Arc<str>,
    /// Which service says it: the user is `service.` and this.
    #[serde(default = "service")]
    #[schema(default = "api", pattern = "^[a-z0-9._-]{1,56}$")]
    service: String,
    /// What the service is called; without it, as `service`.
    #[schema(value_type = Option<String>)]
    username: Option<DisplayName>,
    /// Names the send: the same again gets the first answer again. The header `Idempotency-Key`
    /// means the same.
    #[schema(value_type = Option<String>)]
    key: Option<Key>,
    /// The entry that it answers.
    reply_to: Option<u64>,
}

/// A message that is in the log.
#[derive(Serialize, ToSchema)]
pub(super) struct PublishedShown {
    /// The room, as its log spells it.
    room: String,
    /// Which log it has.
    epoch: String,
    /// The message's place in it.
    seq: u64,
    /// When it was taken, in milliseconds since 1970.
    ts: u64,
    /// It was there before.
    duplicate: bool,
}

impl From<RoomView> for RoomShown {
    fn from(view: RoomView) -> Self {
        let (epoch, seq) = view.position.unzip();
        Self {
            room: view.room.as_str().to_owned(),
            members: view.members,
            epoch: epoch.map(|epoch| epoch.as_str().to_owned()),
            seq: seq.map(Seq::get),
        }
    }
}

impl From<Published> for PublishedShown {
    fn from(published: Published) -> Self {
        Self {
            room: published.room.as_str().to_owned(),
            epoch: published.epoch.as_str().to_owned(),
            seq: published.seq.get(),
            ts: published.ts.0,
            duplicate: published.duplicate,
        }
    }
}

/// Lists the rooms that somebody is in, inboxes not among them.
#[utoipa::path(get, path = "/v1/rooms", params(RoomsQuery), responses(
    (status = 200, body = RoomList),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<RoomsQuery>,
) -> Result<Json<RoomList>, Problem> {
    let limit = rows(query.limit)?;
    let mut rooms = api.handle.rooms(query.after.as_ref(), limit + 1).await;
    let more = rooms.len() > limit;
    rooms.truncate(limit);
    let last = rooms.last().filter(|_| more).map(|room| room.room.as_str().to_owned());
    Ok(Json(RoomList { rooms: rooms.into_iter().map(RoomShown::from).collect(), next: last }))
}

/// Tells what there is of a room, whether somebody is in it or not.
#[utoipa::path(get, path = "/v1/rooms/{room}",
    params(("room" = String, Path, description = "Which room")), responses(
    (status = 200, body = RoomState),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn room(
    State(api): State<Api>,
    Path(room): Path<RoomName>,
) -> Result<Json<RoomState>, Problem> {
    let head = api.handle.head(&room).await.map_err(|error| unreadable(&error))?;
    let members = api.handle.room(&room).await.map_or(0, |view| view.members);
    Ok(Json(RoomState {
        room: head.room.as_str().to_owned(),
        members,
        epoch: head.epoch.as_str().to_owned(),
        first: head.first.get(),
        last: head.last.get(),
    }))
}

/// Reads what was said in a room.
#[utoipa::path(get, path = "/v1/rooms/{room}/history",
    params(("room" = String, Path, description = "Which room"), HistoryQuery), responses(
    (status = 200, body = History),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn history(
    State(api): State<Api>,
    Path(room): Path<RoomName>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<History>, Problem> {
    read(&api, &room, &query).await
}

/// Reads a part of a room's log, be it an inbox or not.
pub(super) async fn read(
    api: &Api,
    room: &RoomName,
    query: &HistoryQuery,
) -> Result<Json<History>, Problem> {
    let place = |n: u64, name| {
        let wrong = || Problem::invalid(&format!("`{name}` has to be below 2^53"));
        Seq::new(n).ok_or_else(wrong)
    };
    let end = Seq::ZERO.plus(u64::MAX);
    let (from, to, keep) = match (query.before, query.after) {
        (None, None) => (Seq::ZERO.next(), end, Keep::Newest),
        (Some(before), None) => (Seq::ZERO.next(), place(before, "before")?.minus(1), Keep::Newest),
        (None, Some(after)) => (place(after, "after")?.next(), end, Keep::Oldest),
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("only one of `before` and `after` can be given"));
        }
    };
    let limit = rows(query.limit)? as u32;
    let range = ReadRange { from, to, limit, bytes: PAGE_BYTES_MAX, keep };
    let page = api.handle.read(room, range).await.map_err(|error| unreadable(&error))?;
    let (head, entries) = (page.head, page.entries);
    let (oldest, newest) = match (entries.first(), entries.last()) {
        (Some(oldest), Some(newest)) => (oldest.seq, newest.seq),
        (None, _) | (_, None) => (from.min(head.last.next()), from.minus(1).min(head.last)),
    };
    let events: Result<Vec<_>, _> = entries.iter().map(serde_json::to_value).collect();
    let failed = |error: serde_json::Error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::refused(status, "internal", &error.to_string())
    };
    Ok(Json(History {
        room: head.room.as_str().to_owned(),
        epoch: head.epoch.as_str().to_owned(),
        events: events.map_err(failed)?,
        has_more_before: oldest > head.first,
        has_more_after: newest < head.last,
    }))
}

/// Says something in a room, as a service. Its members get it like any message; nobody has to be
/// there.
#[utoipa::path(post, path = "/v1/rooms/{room}/messages", request_body = PublishRequest, params(
    ("room" = String, Path, description = "Which room"),
    ("Idempotency-Key" = Option<String>, Header, description = "The same as `key`")), responses(
    (status = 201, description = "It is in the log", body = PublishedShown),
    (status = 200, description = "It was there before", body = PublishedShown),
    (status = 409, description = "The key names another message", body = Problem,
        content_type = "application/problem+json"),
    (status = 504, description = "It may be in the log or not: only the same key can tell",
        body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn publish(
    State(api): State<Api>,
    Path(room): Path<RoomName>,
    headers: HeaderMap,
    Json(request): Json<PublishRequest>,
) -> Result<(StatusCode, Json<PublishedShown>), Problem> {
    say(&api, room, &headers, request).await
}

/// Says something in a room, be it an inbox or not.
pub(super) async fn say(
    api: &Api,
    room: RoomName,
    headers: &HeaderMap,
    request: PublishRequest,
) -> Result<(StatusCode, Json<PublishedShown>), Problem> {
    let key = key(headers, request.key)?;
    let username = match request.username {
        Some(username) => username,
        None => DisplayName::new(&request.service)
            .map_err(|error| Problem::invalid(&format!("`service`: {error}")))?,
    };
    let answered = |n| {
        let place = Seq::new(n).filter(|seq| *seq > Seq::ZERO);
        place.ok_or_else(|| Problem::invalid("`reply_to` has to be from 1 to 2^53 - 1"))
    };
    let reply_to = request.reply_to.map(answered);
    let what = Publish {
        room,
        service: request.service,
        username,
        key,
        content: request.content,
        reply_to: reply_to.transpose()?,
    };
    let published = api.handle.publish(what).await?;
    let status = if published.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(published.into())))
}

/// Takes the key from the header, or from the body.
fn key(headers: &HeaderMap, key: Option<Key>) -> Result<Option<Key>, Problem> {
    let Some(header) = headers.get(IDEMPOTENCY_KEY) else { return Ok(key) };
    let wrong = |why: &str| Problem::invalid(&format!("`Idempotency-Key`: {why}"));
    let text = header.to_str().map_err(|_| wrong("it is not visible ASCII"))?;
    let named = Key::new(text).map_err(|error| wrong(&error.to_string()))?;
    match key {
        Some(key) if key != named => Err(wrong("`key` says another one")),
        Some(_) | None => Ok(Some(named)),
    }
}

fn service() -> String {
    "api".to_owned()
}

fn unreadable(error: &chat_state::ReadError) -> Problem {
    Problem::refused(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", &error.to_string())
}
