//! Reads a set of keys from an address: over https, or over http from this machine only.
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode, Uri};

use super::KeyError;
use super::jwks::SET_BYTES_MAX;
use crate::outgoing::Trust;

/// Reads a document.
pub(super) async fn get(uri: &Uri, trust: &Trust) -> Result<Vec<u8>, KeyError> {
    let request = Request::get(uri).header(http::header::ACCEPT, "application/json");
    let request = request.body(Body::empty()).map_err(|error| KeyError(error.to_string()))?;
    let (uri, trust) = (uri.clone(), trust.clone());
    let client = tokio::task::spawn_blocking(move || trust.client(&uri)).await;
    let client = client.map_err(|error| KeyError(error.to_string()))?.map_err(KeyError)?;
    let response = client.ask(request).await.map_err(KeyError)?;
    if response.status() != StatusCode::OK {
        return Err(KeyError(format!("it is answered with {}", response.status())));
    }
    let body = to_bytes(Body::new(response.into_body()), SET_BYTES_MAX).await;
    body.map(Into::into).map_err(|error| KeyError(error.to_string()))
}
