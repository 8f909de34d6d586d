//! What is answered when something is not done: a problem of RFC 9457.
use axum::Json;
use axum::body::to_bytes;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::{BanError, PublishError};

/// The media type of a problem.
const PROBLEM_JSON: &str = "application/problem+json";

/// Bytes of a refusal that somebody else worded: a line or two.
const DETAIL_BYTES_MAX: usize = 4096;

/// Why something was not done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: `code` tells problems apart.
    r#type: &'static str,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// For machines.
    #[schema(example = "not_found")]
    code: &'static str,
    /// For people: what is wrong, and why.
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        let detail = detail.to_owned();
        Self { r#type: "about:blank", title, status: status.as_u16(), code, detail }
    }

    pub(super) fn invalid(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(super) fn not_found(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// It may be done later.
    pub(super) fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// Somebody else has refused it.
    pub(super) fn refused(status: StatusCode, code: &'static str, detail: &str) -> Self {
        Self::new(status, code, detail)
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let (status, code) = match &error {
            PublishError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            PublishError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            PublishError::Conflict => (StatusCode::CONFLICT, "idempotency_conflict"),
            PublishError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            PublishError::Refused(_) => (StatusCode::SERVICE_UNAVAILABLE, "log_unavailable"),
            PublishError::Unknown(_) => (StatusCode::GATEWAY_TIMEOUT, "unknown_outcome"),
        };
        Self::new(status, code, &error.to_string())
    }
}

impl From<BanError> for Problem {
    fn from(error: BanError) -> Self {
        let (status, code) = match &error {
            BanError::TooMany => (StatusCode::CONFLICT, "too_many_bans"),
            BanError::Unknown => (StatusCode::NOT_FOUND, "not_found"),
            BanError::Inbox => (StatusCode::BAD_REQUEST, "invalid"),
            BanError::Log(_) => (StatusCode::SERVICE_UNAVAILABLE, "log_unavailable"),
        };
        Self::new(status, code, &error.to_string())
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        problem.into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// Makes a problem of a refusal that is none yet: those of the framework are plain text.
pub(super) async fn of(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    if !status.is_client_error() && !status.is_server_error()
        || kind.is_some_and(|kind| kind == PROBLEM_JSON)
    {
        return response;
    }
    let (head, body) = response.into_parts();
    let body = to_bytes(body, DETAIL_BYTES_MAX).await.unwrap_or_default();
    let code = match status {
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        status if status.is_server_error() => "internal",
        _ => "invalid",
    };
    let mut problem = Problem::new(status, code, &String::from_utf8_lossy(&body)).into_response();
    if let Some(allow) = head.headers.get(http::header::ALLOW) {
        problem.headers_mut().insert(http::header::ALLOW, allow.clone());
    }
    problem
}
