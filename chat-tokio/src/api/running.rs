//! The server as a whole: its figures, its end, its settings.
use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::problem::Problem;
use crate::server::Totals;

/// What the server has, and what it has done since its start.
#[derive(Serialize, ToSchema)]
pub(super) struct Stats {
    /// Connections, handshakes done.
    connections: u64,
    /// Sessions that have lost their connection and may come back.
    away: u64,
    /// Rooms that somebody is in.
    rooms: u64,
    /// The sum of the members of all these rooms.
    members: u64,
    /// Messages that the log has taken.
    messages: u64,
    /// Messages that were put in members' outboxes, one for each member.
    deliveries: u64,
    /// Connections that the server has closed, by the number of the close code.
    closes: BTreeMap<String, u64>,
    /// What became of the events that a backend is told; without it, none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhooks: Option<Webhooks>,
    /// Milliseconds since the start.
    uptime_ms: u64,
}

/// What became of webhook events since the start.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhooks {
    /// Taken by the receiver.
    sent: u64,
    /// Given up after their last attempt.
    failed: u64,
    /// Dropped, since too many waited.
    dropped: u64,
    /// That wait, the one that is being sent included.
    waiting: u64,
}

/// What a reload has done.
#[derive(Serialize, ToSchema)]
pub(super) struct Reloaded {
    /// What has changed, and what would need a restart, in words.
    outcome: String,
}

/// What the server has, and what it has done since its start.
#[utoipa::path(get, path = "/v1/stats", responses(
    (status = 200, body = Stats),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn stats(State(api): State<Api>) -> Json<Stats> {
    let totals = api.handle.totals().await;
    Json(Stats {
        connections: totals.connections,
        away: totals.away,
        rooms: totals.rooms,
        members: totals.members,
        messages: totals.messages,
        deliveries: totals.deliveries,
        closes: totals.closes.iter().map(|(code, n)| (code.to_string(), *n)).collect(),
        webhooks: webhooks(&totals),
        uptime_ms: api.handle.uptime_ms(),
    })
}

#[cfg(feature = "webhooks")]
fn webhooks(totals: &Totals) -> Option<Webhooks> {
    let counts = totals.webhooks?;
    let crate::webhooks::WebhookCounts { sent, failed, dropped, waiting, .. } = counts;
    Some(Webhooks { sent, failed, dropped, waiting })
}

#[cfg(not(feature = "webhooks"))]
const fn webhooks(_: &Totals) -> Option<Webhooks> {
    None
}

/// Leaves service, as on SIGTERM: everybody is told to come back elsewhere, and the server ends.
#[utoipa::path(post, path = "/v1/drain", responses(
    (status = 202, description = "It has begun"),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn drain(State(api): State<Api>) -> StatusCode {
    tracing::info!("a drain was asked for by the API");
    api.handle.ask_drain();
    StatusCode::ACCEPTED
}

/// Reads the settings again. Bad ones are refused with 422, and nothing has changed then.
#[utoipa::path(post, path = "/v1/reload", responses(
    (status = 200, body = Reloaded),
    (status = 422, description = "The settings are not taken", body = Problem,
        content_type = "application/problem+json"),
    (status = "default", description = "Why it is not done", body = Problem,
        content_type = "application/problem+json")))]
pub(super) async fn reload(State(api): State<Api>) -> Result<Json<Reloaded>, Problem> {
    let Some(reload) = &api.reload else {
        let (status, why) = (StatusCode::NOT_IMPLEMENTED, "this server has nothing to reload");
        return Err(Problem::refused(status, "not_implemented", why));
    };
    match reload.reload().await {
        Ok(outcome) => Ok(Json(Reloaded { outcome })),
        Err(why) => {
            Err(Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, "settings_refused", &why))
        }
    }
}
