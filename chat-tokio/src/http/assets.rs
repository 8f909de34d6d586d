//! The page and what belongs to it.
//!
//! A release build carries the files of `web/`; a debug build reads them from there, so that who
//! works on the page only has to reload it.
use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
};
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::text;

#[derive(RustEmbed)]
#[folder = "web/"]
#[exclude = "tests/*"]
#[exclude = "admin/*"]
struct Web;

/// What the page may do: load its own files and talk to its own server, nothing else.
///
/// The page shows what strangers wrote; even if a mistake let some of it become markup, the
/// browser would refuse to run it.
pub const CONTENT_SECURITY_POLICY_VALUE: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Types of the files that are served; a file of another type is not.
const TYPES: &[(&str, &str)] = &[
    ("css", "text/css; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("webmanifest", "application/manifest+json"),
    ("woff2", "font/woff2"),
];

/// Answers for any path that is not the program's own.
pub(super) async fn embedded(request: Request) -> Response {
    let path = request.uri().path();
    let key = if path == "/" { "index.html" } else { path.strip_prefix('/').unwrap_or(path) };
    let Some((file, kind)) = find(key) else {
        return text(StatusCode::NOT_FOUND, "not found\n");
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    respond(request.headers(), file, kind)
}

/// Looks a file up by its exact name. What is no plain name is not even asked for.
fn find(key: &str) -> Option<(EmbeddedFile, &'static str)> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let is_name = |part: &str| !part.is_empty() && !part.starts_with('.');
    if !key.split('/').all(|part| is_name(part) && part.bytes().all(plain)) {
        return None;
    }
    let (_, extension) = key.rsplit_once('.')?;
    let (_, kind) = TYPES.iter().find(|(known, _)| *known == extension)?;
    Some((Web::get(key)?, kind))
}

/// Answers with a file, or says that the one that is there is the newest.
pub(crate) fn respond(asked: &HeaderMap, file: EmbeddedFile, kind: &'static str) -> Response {
    let tag = entity_tag(&file.metadata.sha256_hash());
    let unchanged = has_tag(asked, &tag);
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_VALUE),
        // Kept by the browser, but asked for each time: a new version shows at once.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_TYPE, kind),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
    } else {
        *response.body_mut() = Body::from(match file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        });
    }
    response
}

/// Half of a SHA-256 tells two versions of a file apart.
fn entity_tag(hash: &[u8; 32]) -> String {
    let mut tag = String::from("\"");
    for byte in &hash[..16] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

fn has_tag(asked: &HeaderMap, tag: &str) -> bool {
    let lists = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// Lets only requests through to the user's folder whose file really lies in it.
///
/// [`ServeDir`](tower_http::services::ServeDir) refuses `..`, but follows links out of the folder
/// and serves hidden files; a folder like `~/site` with a `.git` in it should not be published.
pub(super) async fn inside(root: PathBuf, request: Request, next: Next) -> Response {
    match resolve(&root, request.uri().path()).await {
        Some(_) => next.run(request).await,
        None => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

async fn resolve(root: &Path, path: &str) -> Option<PathBuf> {
    let decoded = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    let hidden = |part: &str| part.starts_with('.') && part != ".well-known";
    if decoded.contains(['\\', '\0', ':']) || decoded.split('/').any(hidden) {
        return None;
    }
    if decoded.starts_with('/') {
        return None;
    }
    let file = tokio::fs::canonicalize(root.join(decoded.as_ref())).await.ok()?;
    file.starts_with(root).then_some(file)
}
