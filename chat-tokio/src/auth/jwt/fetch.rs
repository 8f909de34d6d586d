//! Reads a set of keys from an address: over https, or over http from this machine only.
use axum::body::{Body, to_bytes};
use http::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::TokioExecutor;

use super::KeyError;
use super::jwks::SET_BYTES_MAX;
#[cfg(feature = "tls")]
use crate::tls::Roots;

/// Who proves that an address is what it says.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// The system's authorities if there are none.
    #[cfg(feature = "tls")]
    pub(super) roots: Option<Roots>,
}

/// Reads a document. It follows no redirection, which could lead anywhere.
pub(super) async fn get(uri: &Uri, trust: &Trust) -> Result<Vec<u8>, KeyError> {
    let request = Request::get(uri).header(http::header::ACCEPT, "application/json");
    let request = request.body(Body::empty()).map_err(|error| KeyError(error.to_string()))?;
    let response = trust.ask(request).await?;
    if response.status() != StatusCode::OK {
        return Err(KeyError(format!("it is answered with {}", response.status())));
    }
    let body = to_bytes(Body::new(response.into_body()), SET_BYTES_MAX).await;
    body.map(Into::into).map_err(|error| KeyError(error.to_string()))
}

type Answer = Result<Response<hyper::body::Incoming>, KeyError>;

impl Trust {
    #[cfg(feature = "tls")]
    async fn ask(&self, request: Request<Body>) -> Answer {
        if request.uri().scheme_str() != Some("https") {
            return ask(&builder().build_http(), request).await;
        }
        let roots = match &self.roots {
            Some(roots) => roots.clone(),
            None => tokio::task::spawn_blocking(Roots::system)
                .await
                .map_err(|error| KeyError(error.to_string()))?
                .map_err(|error| KeyError(error.to_string()))?,
        };
        let mut config = rustls::ClientConfig::clone(roots.config());
        config.alpn_protocols.clear();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .build();
        ask(&builder().build(connector), request).await
    }

    #[cfg(not(feature = "tls"))]
    async fn ask(&self, request: Request<Body>) -> Answer {
        ask(&builder().build_http(), request).await
    }
}

fn builder() -> Builder {
    Client::builder(TokioExecutor::new())
}

async fn ask<C>(client: &Client<C, Body>, request: Request<Body>) -> Answer
where
    C: Connect + Clone + Send + Sync + 'static,
{
    client.request(request).await.map_err(|error| KeyError(whole(&error)))
}

/// An error with its causes: "client error (Connect)" alone says little.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
