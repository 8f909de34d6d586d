//! Whom a client trusts.
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ClientConfig, RootCertStore};

use super::{TlsError, pem, provider};

/// The authorities whose certificates prove a server to a client.
#[derive(Clone, Debug)]
pub struct Roots(Arc<ClientConfig>);

impl Roots {
    /// Trusts the authorities that the system trusts, read once in a process; `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` are heard.
    ///
    /// # Errors
    /// When the system has none that can be read.
    pub fn system() -> Result<Self, TlsError> {
        static READ: Mutex<Option<Roots>> = Mutex::new(None);
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = &*read {
            return Ok(roots.clone());
        }
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // A system's store has some that are too old to be understood.
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
            return Err(TlsError::new(format_args!(
                "this system has no root certificates that can be read (Debian: \
                 ca-certificates) {why}"
            )));
        }
        Ok(read.insert(Self::of(store)?).clone())
    }

    /// Trusts the authorities of this file, certificates in PEM, and no others.
    ///
    /// # Errors
    /// When it can't be read, or has none.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        let path = path.as_ref();
        Self::from_pem(&pem::read(path)?).map_err(|error| error.of(path))
    }

    /// Trusts these authorities, certificates in PEM, and no others.
    ///
    /// # Errors
    /// When there are none, or one can't be used.
    pub fn from_pem(certificates: &[u8]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in pem::certificates(certificates)? {
            store.add(certificate).map_err(|error| {
                TlsError::new(format_args!("a certificate in it can't be used: {error}"))
            })?;
        }
        Self::of(store)
    }

    /// Leaves it to this configuration: for other rules, or certificates of clients.
    #[must_use]
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self(config)
    }

    fn of(store: RootCertStore) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::new)?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Returns the configuration of clients that trust them.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.0
    }
}
