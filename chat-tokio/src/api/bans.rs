//! Whom an operator keeps out.
use axum::Json;
use axum::extract::{Query, State};
use chat_proto::{RoomName, Timestamp, UserId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::problem::Problem;
use crate::server::Ban;

/// Who is kept out, and from where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BanRequest {
    /// Who.
    #[schema(value_type = String)]
    user: UserId,
    /// Out of which room; without it: of the server.
    #[schema(value_type = Option<String>)]
    room: Option<RoomName>,
    /// For how long, from 1; without it: until it is lifted.
    #[schema(minimum = 1)]
    seconds: Option<u64>,
}

/// A user who is kept out.
#[derive(Serialize, ToSchema)]
pub(super) struct BanShown {
    /// Who.
    user: String,
    /// Out of which room; without it: of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    /// Until when, in milliseconds since 1970; without it: until it is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

/// All who are kept out, by user and room.
#[derive(Serialize, ToSchema)]
pub(super) struct BanList {
    /// At most 10 000.
    bans: Vec<BanShown>,
}

/// Which ban is lifted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct UnbanQuery {
    /// Whose.
    #[param(value_type = String)]
    user: UserId,
    /// From which room; without it: from the server.
    #[param(value_type = Option<String>)]
    room: Option<RoomName>,
}

impl From<Ban> for BanShown {
    fn from(ban: Ban) -> Self {
        let room = ban.room.map(|room| room.as_str().to_owned());
        Self { user: ban.user.to_string(), room, until: ban.until.map(|until| until.0) }
    }
}

/// Lists who is kept out.
#[utoipa::path(get, path = "/v1/bans", responses(
    (status = 200, body = BanList),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<BanList>, Problem> {
    let bans = api.handle.bans().await?;
    Ok(Json(BanList { bans: bans.into_iter().map(BanShown::from).collect() }))
}

/// Keeps a user out of a room or of the server: live sessions are put out at once.
#[utoipa::path(post, path = "/v1/bans", request_body = BanRequest, responses(
    (status = 201, body = BanShown),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn ban(
    State(api): State<Api>,
    Json(request): Json<BanRequest>,
) -> Result<(StatusCode, Json<BanShown>), Problem> {
    let BanRequest { user, room, seconds } = request;
    let until = match seconds {
        None => None,
        Some(0) => return Err(Problem::invalid("`seconds` has to be at least 1")),
        Some(seconds) => {
            let ms = api.handle.now().0.saturating_add(seconds.saturating_mul(1000));
            Some(Timestamp(ms.min(TIME_MAX)))
        }
    };
    let ban = Ban { user, room, until };
    api.handle.ban(ban.clone()).await?;
    Ok((StatusCode::CREATED, Json(ban.into())))
}

/// Lifts a ban.
#[utoipa::path(delete, path = "/v1/bans", params(UnbanQuery), responses(
    (status = 204, description = "It is lifted"),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn unban(
    State(api): State<Api>,
    Query(query): Query<UnbanQuery>,
) -> Result<StatusCode, Problem> {
    api.handle.unban(&query.user, query.room.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The largest number that every reader of JSON has.
const TIME_MAX: u64 = (1 << 53) - 1;
