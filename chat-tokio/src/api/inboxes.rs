//! What was said to a user, and saying something.
//!
//! A user's inbox is a room, named `@` and the user id: what can be asked of a room can be asked of
//! it, too.
use axum::Json;
use axum::extract::{Path, Query, State};
use chat_proto::{RoomName, UserId};
use http::{HeaderMap, StatusCode};

use super::Api;
use super::problem::Problem;
use super::rooms::{self, History, HistoryQuery, PublishRequest, PublishedShown};

/// Says something to a user, as a service. It is a message in the user's inbox, the room `@` and
/// the user id: sessions of the user that have joined it get it at once, and nobody has to be
/// online. Nobody else can read it.
#[utoipa::path(post, path = "/v1/users/{user}/messages", request_body = PublishRequest, params(
    ("user" = String, Path, description = "To whom"),
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
    Path(user): Path<UserId>,
    headers: HeaderMap,
    Json(request): Json<PublishRequest>,
) -> Result<(StatusCode, Json<PublishedShown>), Problem> {
    rooms::say(&api, RoomName::own(&user), &headers, request).await
}

/// Reads what was said to a user.
#[utoipa::path(get, path = "/v1/users/{user}/history",
    params(("user" = String, Path, description = "To whom"), HistoryQuery), responses(
    (status = 200, body = History),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn history(
    State(api): State<Api>,
    Path(user): Path<UserId>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<History>, Problem> {
    rooms::read(&api, &RoomName::own(&user), &query).await
}
