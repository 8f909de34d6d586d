//! Whether a server at `wss://` is the one that it should be.
use std::path::PathBuf;
use std::sync::Arc;

use chat_tokio::tls::Roots;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::error::Failed;
use super::plan::Secured;

/// Which certificates do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those of the system's authorities.
    System,
    /// Those of the authorities in this file.
    File(PathBuf),
    /// Every one.
    Anything,
}

impl Trust {
    /// Makes what connections to a server of this name need.
    ///
    /// # Errors
    /// If the authorities can't be read, or the name can't be one.
    pub(crate) fn secure(&self, url: &str, name: &str) -> Result<Secured, Failed> {
        let system = |why: String| Failed::Url { url: url.to_owned(), why };
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|error| system(error.to_string()))?;
        let mut config = match self {
            Self::System => {
                let roots = Roots::system().map_err(|error| system(error.to_string()))?;
                ClientConfig::clone(roots.config())
            }
            Self::File(path) => {
                let roots = Roots::from_file(path);
                let roots =
                    roots.map_err(|error| Failed::Settings(format!("--ca-file {error}")))?;
                ClientConfig::clone(roots.config())
            }
            Self::Anything => unchecked().map_err(|error| system(error.to_string()))?,
        };
        // Many people are played here, and none of them has been there before.
        config.resumption = Resumption::disabled();
        Ok(Secured { config: Arc::new(config), name, checked: *self != Self::Anything })
    }
}

fn unchecked() -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        .with_no_client_auth();
    Ok(config)
}

/// Takes every certificate; that the server has its key is checked all the same.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
