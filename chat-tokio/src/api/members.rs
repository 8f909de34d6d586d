//! Who is there, and what is done about them.
use axum::Json;
use axum::extract::{Path, Query, State};
use chat_proto::{CloseCode, Dialect, RoomName, UserId};
use chat_state::{MemberId, Revoke, SessionView, TokenId, Which, Whom};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use super::{Api, rows};
use crate::server::Cursor;

/// A session that has a connection.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionShown {
    /// Its public name: it ends a session, but begins none.
    #[schema(example = "00c0ffee00c0ffee")]
    session: String,
    /// Whose it is.
    user: String,
    /// What the user is called.
    username: String,
    /// What it speaks: `basic` or `chat.v1`.
    dialect: &'static str,
    /// The rooms that it is in.
    rooms: Vec<String>,
}

/// Some sessions.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionList {
    /// The sessions, in no order.
    sessions: Vec<SessionShown>,
    /// What to ask for `after`; without it, these are the last ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which part of a list is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// The `next` of an earlier answer.
    after: Option<String>,
    /// Rows at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Whose sessions: exactly one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KickRequest {
    /// All of this user's.
    #[schema(value_type = Option<String>)]
    user: Option<UserId>,
    /// This one.
    session: Option<String>,
}

/// Whose connections, exactly one of the two, and what they are told.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseRequest {
    /// All of this user's.
    #[schema(value_type = Option<String>)]
    user: Option<UserId>,
    /// This one's.
    session: Option<String>,
    /// Whether they may come back by themselves: they are closed with 4100 then, else with 4301,
    /// and their sessions are forgotten.
    #[serde(default)]
    reconnect: bool,
}

/// What counts no more: exactly one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeRequest {
    /// All credentials of this user that were made until now.
    #[schema(value_type = Option<String>)]
    user: Option<UserId>,
    /// The credential of this id (`jti`).
    token: Option<String>,
}

impl From<SessionView> for SessionShown {
    fn from(view: SessionView) -> Self {
        Self {
            session: format!("{:016x}", view.id.0),
            user: view.user.to_string(),
            username: view.name.to_string(),
            dialect: match view.dialect {
                Dialect::Basic => "basic",
                Dialect::V1 => "chat.v1",
            },
            rooms: view.rooms.iter().map(|room| room.as_str().to_owned()).collect(),
        }
    }
}

async fn list(api: &Api, which: Which, part: Part) -> Result<Json<SessionList>, Problem> {
    let wrong = |what: String| Problem::invalid(&format!("`after` has to be {what}"));
    let from = part.after.map(|after| after.parse::<Cursor>()).transpose().map_err(wrong)?;
    let limit = rows(part.limit)?;
    let (sessions, next) = api.handle.sessions(&which, from.unwrap_or_default(), limit).await;
    let sessions = sessions.into_iter().map(SessionShown::from).collect();
    Ok(Json(SessionList { sessions, next: next.map(|next| next.to_string()) }))
}

fn whom(user: Option<UserId>, session: Option<&str>) -> Result<Whom, Problem> {
    match (user, session) {
        (Some(user), None) => Ok(Whom::User(user)),
        (None, Some(text)) => {
            let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let id = u64::from_str_radix(text, 16).ok().filter(|_| digits);
            let id = id.ok_or_else(|| Problem::invalid("`session` has to be 16 hex digits"))?;
            Ok(Whom::Session(MemberId(id)))
        }
        (None, None) | (Some(_), Some(_)) => {
            Err(Problem::invalid("exactly one of `user` and `session` has to be given"))
        }
    }
}

/// Lists who is in a room.
#[utoipa::path(get, path = "/v1/rooms/{room}/members",
    params(("room" = String, Path, description = "Which room"), Part), responses(
    (status = 200, body = SessionList),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn members(
    State(api): State<Api>,
    Path(room): Path<RoomName>,
    Query(part): Query<Part>,
) -> Result<Json<SessionList>, Problem> {
    list(&api, Which { room: Some(room), user: None }, part).await
}

/// Lists who is online: all sessions that have a connection.
#[utoipa::path(get, path = "/v1/sessions", params(Part), responses(
    (status = 200, body = SessionList),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn sessions(
    State(api): State<Api>,
    Query(part): Query<Part>,
) -> Result<Json<SessionList>, Problem> {
    list(&api, Which::default(), part).await
}

/// Lists where a user is online; an empty list says that the user is not.
#[utoipa::path(get, path = "/v1/users/{user}/sessions",
    params(("user" = String, Path, description = "Who"), Part), responses(
    (status = 200, body = SessionList),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn user(
    State(api): State<Api>,
    Path(user): Path<UserId>,
    Query(part): Query<Part>,
) -> Result<Json<SessionList>, Problem> {
    list(&api, Which { user: Some(user), room: None }, part).await
}

/// Takes sessions out of a room; they may join again. Whoever is not there is not taken out.
#[utoipa::path(post, path = "/v1/rooms/{room}/kick", request_body = KickRequest,
    params(("room" = String, Path, description = "Which room")), responses(
    (status = 204, description = "It is done"),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn kick(
    State(api): State<Api>,
    Path(room): Path<RoomName>,
    Json(request): Json<KickRequest>,
) -> Result<StatusCode, Problem> {
    let whom = whom(request.user, request.session.as_deref())?;
    api.handle.kick(&room, &whom).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Closes connections. Whoever has none is not closed.
#[utoipa::path(post, path = "/v1/close", request_body = CloseRequest, responses(
    (status = 204, description = "It is done"),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn close(
    State(api): State<Api>,
    Json(request): Json<CloseRequest>,
) -> Result<StatusCode, Problem> {
    let whom = whom(request.user, request.session.as_deref())?;
    let code = if request.reconnect { CloseCode::Draining } else { CloseCode::Removed };
    api.handle.close(&whom, code).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets credentials count no more: live connections are closed with 4001. 503 says that it holds
/// until the server ends only, since the log does not take it.
#[utoipa::path(post, path = "/v1/revoke", request_body = RevokeRequest, responses(
    (status = 204, description = "It is done"),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn revoke(
    State(api): State<Api>,
    Json(request): Json<RevokeRequest>,
) -> Result<StatusCode, Problem> {
    let what = match (request.user, request.token) {
        (Some(user), None) => Revoke::User(user),
        (None, Some(token)) => {
            let wrong = || Problem::invalid("`token` has to have 1 to 128 bytes");
            Revoke::Token(TokenId::new(&token).ok_or_else(wrong)?)
        }
        (None, None) | (Some(_), Some(_)) => {
            return Err(Problem::invalid("exactly one of `user` and `token` has to be given"));
        }
    };
    api.handle.revoke(&what).await?;
    Ok(StatusCode::NO_CONTENT)
}
