//! Reads a set of keys over http, from this machine only.
use std::net::IpAddr;

use axum::body::{Body, to_bytes};
use http::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::KeyError;
use super::jwks::SET_BYTES_MAX;

/// Tells whether an address is one of this machine.
pub(super) fn is_loopback(uri: &Uri) -> bool {
    let Some(host) = uri.host().filter(|_| uri.scheme_str() == Some("http")) else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

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
