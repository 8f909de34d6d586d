//! HTTP that others are asked over: https, or in the clear where the caller allows that.
use axum::body::Body;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::TokioExecutor;

#[cfg(feature = "tls")]
use crate::tls::Roots;

/// Who proves that an `https` address is what it says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// The system's authorities if there are none.
    #[cfg(feature = "tls")]
    pub(crate) roots: Option<Roots>,
}

impl Trust {
    /// Makes a client for an address. It may read the system's authorities, and so block for a
    /// moment.
    ///
    /// # Errors
    /// When the system has no authorities.
    #[cfg(feature = "tls")]
    pub(crate) fn client(&self, address: &Uri) -> Result<Outgoing, String> {
        if address.scheme_str() != Some("https") {
            return Ok(Outgoing::Plain(builder().build_http()));
        }
        let roots = match &self.roots {
            Some(roots) => roots.clone(),
            None => Roots::system().map_err(|error| error.to_string())?,
        };
        let mut config = rustls::ClientConfig::clone(roots.config());
        // The connector says itself what is spoken.
        config.alpn_protocols.clear();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .build();
        Ok(Outgoing::Secure(builder().build(connector)))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "TLS needs both")]
    pub(crate) fn client(&self, _: &Uri) -> Result<Outgoing, String> {
        Ok(Outgoing::Plain(builder().build_http()))
    }
}

/// A client of the one way to an address. It keeps its connections.
#[derive(Clone)]
pub(crate) enum Outgoing {
    Plain(Client<HttpConnector, Body>),
    #[cfg(feature = "tls")]
    Secure(Client<hyper_rustls::HttpsConnector<HttpConnector>, Body>),
}

impl Outgoing {
    /// Asks, and follows no redirection, which could lead anywhere.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Result<Response<Incoming>, String> {
        match self {
            Self::Plain(client) => ask(client, request).await,
            #[cfg(feature = "tls")]
            Self::Secure(client) => ask(client, request).await,
        }
    }
}

fn builder() -> Builder {
    Client::builder(TokioExecutor::new())
}

async fn ask<C>(
    client: &Client<C, Body>,
    request: Request<Body>,
) -> Result<Response<Incoming>, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    client.request(request).await.map_err(|error| whole(&error))
}

/// An error with its causes: "client error (Connect)" alone says little.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
