//! Who a server is: a certificate chain and its key.
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use chat_proto::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pem::{Pair, Wrong};
use super::validity::{Age, Validity};
use super::{TlsError, pem, provider};
use crate::clock::{Clock, rfc3339};

/// How often a server looks whether its files have changed.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A certificate chain and its key, for one server or several. Cloning shares it.
///
/// Sessions are resumed by tickets, which cost the server no memory.
#[derive(Clone)]
pub struct TlsIdentity {
    http: Arc<ServerConfig>,
    lines: Arc<ServerConfig>,
    /// The certificate in force, where it is known.
    current: Option<Arc<Current>>,
    files: Option<Arc<Files>>,
}

/// What is spoken inside of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http,
    Lines,
}

impl TlsIdentity {
    /// Reads a chain (the server's own certificate first) and its private key, both in PEM.
    ///
    /// A server with this identity looks at the files every second. New ones are taken once they
    /// have stood still for that time, and count for connections that come from then on. If they
    /// can't be used, an error is logged and those before stay in force. It also warns, once, of a
    /// chain that ends within a week, and tells when it has: it ends with the first of its
    /// certificates that does, but for one that signs itself.
    ///
    /// # Errors
    /// Which file can't be used, and why: also if a certificate of the chain has expired or does
    /// not count yet, but for one after the first that signs itself.
    pub fn from_files(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let (chain, key) = (chain.into(), key.into());
        // A change during the first reading is seen as one.
        let seen = Stamps::of(&chain, &key);
        let current = Arc::new(Current::new(read(&chain, &key)?));
        let mut identity = Self::from_current(current.clone())?;
        let seen = Mutex::new(Seen { taken: seen, last: seen, told: Age::Good });
        identity.files = Some(Arc::new(Files { chain, key, current, seen }));
        Ok(identity)
    }

    /// Takes a chain (the server's own certificate first) and its private key, both in PEM.
    ///
    /// # Errors
    /// When they can't be used: also if a certificate of the chain has expired or does not count
    /// yet, but for one after the first that signs itself.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let pair = Pair { chain: chain.to_owned(), key: key.to_owned() };
        let certified = pair.certified(&provider()).map_err(|wrong| match wrong {
            Wrong::Chain(error) | Wrong::Key(error) => error,
        })?;
        Self::from_current(Arc::new(Current::new(certified)))
    }

    fn from_current(current: Arc<Current>) -> Result<Self, TlsError> {
        Ok(Self { current: Some(current.clone()), ..Self::from_resolver(current)? })
    }

    /// Asks this for the certificate of each connection: for several names, or certificates that
    /// change in other ways.
    ///
    /// # Errors
    /// When the system gives no random numbers for the keys of tickets.
    pub fn from_resolver(resolver: Arc<dyn ResolvesServerCert>) -> Result<Self, TlsError> {
        let mut lines = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::new)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        lines.session_storage = Arc::new(NoServerSessionStorage {});
        lines.ticketer = Ticketer::new().map_err(TlsError::new)?;
        let mut http = lines.clone();
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { http: Arc::new(http), lines: Arc::new(lines), current: None, files: None })
    }

    /// Leaves all to this configuration. HTTP/1.1 is spoken over it, or lines: it must not offer
    /// anything else by ALPN.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { http: Arc::clone(&config), lines: config, current: None, files: None }
    }

    /// Reads the files now, for connections that come from now on. Does nothing for an identity
    /// that was not read from files.
    ///
    /// It reads two files, and so blocks for a moment.
    ///
    /// # Errors
    /// Which file can't be used, and why; those before stay in force.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.files.as_ref().map_or(Ok(()), |files| files.reload())
    }

    /// Returns when the certificate in force ends, or the first of its chain that ends before;
    /// `None` where a resolver or a configuration chooses it.
    #[must_use]
    pub fn expiry(&self) -> Option<Timestamp> {
        self.current.as_ref().map(|current| current.get().validity.end)
    }

    /// Looks whether the files have changed, and takes them. Tells whether there is anything to
    /// look at. Whoever calls it waits [`LOOK_EVERY`] in between.
    pub(crate) async fn look(&self) -> bool {
        let Some(files) = self.files.clone() else { return false };
        // A folder over a network can take its time.
        let looked = tokio::task::spawn_blocking(move || files.look());
        looked.await.unwrap_or_else(|error| tracing::error!(%error, "can't look at certificates"));
        true
    }

    /// Tells whether both look at the same files, as one.
    pub(crate) fn shares_files_with(&self, other: &Self) -> bool {
        match (&self.files, &other.files) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (None, None) | (Some(_), None) | (None, Some(_)) => false,
        }
    }

    pub(crate) fn config(&self, spoken: Spoken) -> Arc<ServerConfig> {
        match spoken {
            Spoken::Http => Arc::clone(&self.http),
            Spoken::Lines => Arc::clone(&self.lines),
        }
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.as_ref().map(|files| (&files.chain, &files.key));
        f.debug_struct("TlsIdentity").field("files", &files).finish_non_exhaustive()
    }
}

/// The files of an identity, and what was made of them.
struct Files {
    chain: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    seen: Mutex<Seen>,
}

/// How the files looked.
struct Seen {
    /// When they were read, whatever came of it.
    taken: Stamps,
    /// At the last look.
    last: Stamps,
    /// What was told of the age of the certificate in force.
    told: Age,
}

impl Files {
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell_age(&mut seen);
        let found = Stamps::of(&self.chain, &self.key);
        // One of two files may have been written and the other not yet, or half.
        let stands_still = std::mem::replace(&mut seen.last, found) == found;
        if seen.taken == found || !stands_still {
            return;
        }
        seen.taken = found;
        match self.take(&mut seen) {
            Ok(()) => tracing::info!("the new certificate is in force"),
            Err(error) => tracing::error!(
                %error, "the new certificate can't be used; the one before stays in force"
            ),
        }
    }

    fn reload(&self) -> Result<(), TlsError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.taken = Stamps::of(&self.chain, &self.key);
        self.take(&mut seen)
    }

    fn take(&self, seen: &mut Seen) -> Result<(), TlsError> {
        let certificate = Certificate::new(read(&self.chain, &self.key)?);
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
        seen.told = Age::Good;
        Ok(())
    }

    /// Tells the log once that the certificate in force ends soon, and once that it has.
    fn tell_age(&self, seen: &mut Seen) {
        let validity = self.current.get().validity;
        let age = validity.age(Clock::start().now().wall);
        if std::mem::replace(&mut seen.told, age) == age {
            return;
        }
        let (file, end) = (self.chain.display(), rfc3339(validity.end));
        match age {
            Age::Good => {}
            Age::Ending => tracing::warn!(%file, %end, "the certificate expires within a week"),
            Age::Ended => tracing::error!(
                %file, %end, "the certificate has expired: clients refuse it"
            ),
        }
    }
}

fn read(chain: &Path, key: &Path) -> Result<(CertifiedKey, Validity), TlsError> {
    let pair = Pair { chain: pem::read(chain)?, key: pem::read(key)? };
    pair.certified(&provider()).map_err(|wrong| match wrong {
        Wrong::Chain(error) => error.of(chain),
        Wrong::Key(error) => error.of(key),
    })
}

/// What two files look like from outside: when they were written, and how long they are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamps([Option<(SystemTime, u64)>; 2]);

impl Stamps {
    fn of(chain: &Path, key: &Path) -> Self {
        Self([chain, key].map(|path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        }))
    }
}

/// The certificate in force.
#[derive(Debug)]
struct Current(RwLock<Certificate>);

#[derive(Clone, Debug)]
struct Certificate {
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

impl Certificate {
    fn new((certified, validity): (CertifiedKey, Validity)) -> Self {
        Self { certified: Arc::new(certified), validity }
    }
}

impl Current {
    fn new(read: (CertifiedKey, Validity)) -> Self {
        Self(RwLock::new(Certificate::new(read)))
    }

    fn get(&self) -> Certificate {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().certified)
    }
}
