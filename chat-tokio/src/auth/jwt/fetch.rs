//! Reads a set of keys over http, from this machine only.
use axum::body::{Body, to_bytes};
use http::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::KeyError;
use super::jwks::SET_BYTES_MAX;

/// Reads a document. It follows no redirection, which could lead anywhere.
pub(super) async fn get(uri: &Uri) -> Result<Vec<u8>, KeyError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let request = http::Request::get(uri).header(http::header::ACCEPT, "application/json");
    let request = request.body(Body::empty()).map_err(|error| KeyError(error.to_string()))?;
    let response = client.request(request).await.map_err(|error| KeyError(error.to_string()))?;
    if response.status() != StatusCode::OK {
        return Err(KeyError(format!("it is answered with {}", response.status())));
    }
    let body = to_bytes(Body::new(response.into_body()), SET_BYTES_MAX).await;
    body.map(Into::into).map_err(|error| KeyError(error.to_string()))
}
