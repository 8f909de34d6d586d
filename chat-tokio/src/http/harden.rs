//! What every answer says to browsers, whatever it is an answer to.
use axum::response::Response;
use http::StatusCode;
use http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

/// Marks an answer as a page of the user's own, whose policy is the user's own, too.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnPage;

/// An answer that is no page may do nothing at all, should a browser take it for one.
const NOTHING: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds what is missing to an answer. There is no `Server`: it would help attackers only.
pub(crate) fn harden(mut response: Response) -> Response {
    // The handshake's answer is no document, and it is sent for each connection.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    let all = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, NOTHING),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let is_own = response.extensions().get::<OwnPage>().is_some();
    let count = if is_own { 1 } else { all.len() };
    for (name, value) in all.into_iter().take(count) {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
