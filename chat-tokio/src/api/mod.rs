//! The HTTP API for backends and operators (feature `api`).
//!
//! It has a listener, a thread and a runtime of its own, so that nothing that is asked here gets in
//! the way of the chat. Every path below `/v1` wants a [key](ApiKeys) as `Authorization: Bearer`.
//! Bodies are JSON of at most 8 MiB; what is not done is answered with a problem of
//! [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457). `/openapi.json` describes it all, made from
//! the handlers; `/admin/` is a page for people.
//!
//! *Invariant:* a key is never logged, and compared in constant time.
#![expect(unused_qualifications, reason = "the macro of the routes writes them")]
mod admin;
mod bans;
mod inboxes;
mod keys;
mod listen;
mod members;
mod problem;
mod reload;
mod rooms;
mod running;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use keys::{API_KEY_BYTES_MIN, API_KEYS_MAX, ApiKeyError, ApiKeys};
pub(crate) use listen::{Listening, start};
pub use reload::{Reload, ReloadFuture};

use self::problem::Problem;
use crate::http::harden::harden;
use crate::server::Handle;

/// Bytes of a body: a message of the largest limit with each byte escaped, and what is around it.
const BODY_BYTES_MAX: usize = 8 << 20;

/// How long an answer may take; the log is given up before.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Rows of one answer.
const ROWS_MAX: usize = 1000;
const ROWS_DEFAULT: usize = 100;

/// What the API is made of.
#[derive(Clone)]
pub struct ApiOptions {
    /// Where it listens; port 0 lets the system choose. It speaks plain HTTP: whoever lets other
    /// machines reach it puts TLS in front of it, or the keys can be read on the way.
    pub listen: SocketAddr,
    /// Who may ask.
    pub keys: ApiKeys,
    /// What `POST /v1/reload` does; `None`: it is answered with 501.
    pub reload: Option<Arc<dyn Reload>>,
}

impl fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiOptions")
            .field("listen", &self.listen)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Api {
    handle: Handle,
    keys: ApiKeys,
    reload: Option<Arc<dyn Reload>>,
}

/// Makes the router of the API, for mounting in a program of one's own.
pub fn router(handle: Handle, keys: ApiKeys, reload: Option<Arc<dyn Reload>>) -> Router {
    let api = Api { handle, keys, reload };
    let (routes, document) = described();
    let document = Arc::new(document);
    let guarded = routes.layer(middleware::from_fn_with_state(api.clone(), check_key));
    let openapi = move || async move { Json((*document).clone()) };
    guarded
        .with_state(api)
        .route("/openapi.json", get(openapi))
        .merge(admin::router())
        .fallback(|| async { Problem::not_found("nothing is served there") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(finish))
}

/// Returns the document that describes the API, in the words of OpenAPI 3.1.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    described().1
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "chat-server: for backends and operators",
        description = "What is not done is answered with a problem of RFC 9457.",
    ),
    security(("key" = []))
)]
struct Document;

fn described() -> (Router<Api>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(rooms::list))
        .routes(routes!(rooms::room))
        .routes(routes!(rooms::history))
        .routes(routes!(rooms::publish))
        .routes(routes!(inboxes::publish))
        .routes(routes!(inboxes::history))
        .routes(routes!(members::members))
        .routes(routes!(members::sessions))
        .routes(routes!(members::user))
        .routes(routes!(members::kick))
        .routes(routes!(members::close))
        .routes(routes!(members::revoke))
        .routes(routes!(bans::list, bans::ban, bans::unban))
        .routes(routes!(running::stats))
        .routes(routes!(running::drain))
        .routes(routes!(running::reload))
        .split_for_parts();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("key", SecurityScheme::Http(bearer));
    (router, document)
}

/// Lets in whoever has a key.
async fn check_key(State(api): State<Api>, request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let key = header.and_then(|value| {
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    match key {
        Some(key) if api.keys.has(key.trim_ascii()) => next.run(request).await,
        Some(_) => Problem::unauthorized("the key is not one of this server's").into_response(),
        None => {
            Problem::unauthorized("a key is wanted: `Authorization: Bearer KEY`").into_response()
        }
    }
}

/// Gives every answer its deadline and its headers, and every refusal the form of a problem.
async fn finish(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(ANSWER_TIME_MAX, next.run(request)).await;
    let answer = answer.unwrap_or_else(|_| Problem::unavailable("it took too long").into());
    let mut answer = problem::of(answer).await;
    answer.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    harden(answer)
}

/// Returns how many rows are wanted.
fn rows(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(ROWS_DEFAULT);
    if (1..=ROWS_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid(&format!("`limit` has to be a whole number from 1 to {ROWS_MAX}")))
}
