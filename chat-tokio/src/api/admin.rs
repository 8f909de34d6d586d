//! The page for operators. It asks for a key, and then asks the API like any other.
use axum::Router;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::problem::Problem;
use crate::http::respond;

#[derive(RustEmbed)]
#[folder = "web/admin/"]
struct Admin;

/// Its files, with their types.
const FILES: &[(&str, &str)] = &[
    ("index.html", "text/html; charset=utf-8"),
    ("admin.css", "text/css; charset=utf-8"),
    ("favicon.svg", "image/svg+xml"),
    ("admin.js", "text/javascript; charset=utf-8"),
];

pub(super) fn router() -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/admin/") }))
        .route("/admin", get(|| async { Redirect::temporary("/admin/") }))
        .route("/admin/", get(|request: Request| async move { file(&request, "index.html") }))
        .route(
            "/admin/{file}",
            get(|Path(name): Path<String>, request: Request| async move { file(&request, &name) }),
        )
}

fn file(request: &Request, name: &str) -> Response {
    let known = FILES.iter().find(|(known, _)| *known == name);
    match known.and_then(|(name, kind)| Some((Admin::get(name)?, *kind))) {
        Some((file, kind)) => respond(request.headers(), file, kind),
        None => Problem::not_found("the page has no such file").into_response(),
    }
}
