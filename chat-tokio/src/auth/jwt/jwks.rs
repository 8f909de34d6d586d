//! A set of keys that may change while the server runs.
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chat_state::{AuthError, KeyId, Mono};
use jsonwebtoken::Algorithm;

use super::fetch;
use super::keys::Secrets;
use super::{Key, KeyError, Refusal};
use crate::clock::Clock;
use crate::outgoing::Trust;
#[cfg(feature = "tls")]
use crate::tls::Roots;

/// Where a set is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A file. It is looked at again when a token comes, at most once a second.
    File(PathBuf),
    /// An `https` address (with the feature `tls`), or an `http` one of this machine. It is read
    /// again every five minutes, and for a key that is not known at most once in 30 s.
    Url(http::Uri),
}

/// Bytes of the largest set.
pub(super) const SET_BYTES_MAX: usize = 256 * 1024;

/// How long a read may take.
pub(super) const FETCH_TIME_MAX: Duration = Duration::from_secs(5);

/// A set of keys.
#[derive(Debug)]
pub struct Jwks {
    source: JwksSource,
    trust: Trust,
    clock: Clock,
    known: Mutex<Known>,
    /// Held by whoever reads the source: one at a time.
    reading: tokio::sync::Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<[Key]>,
    /// When it was tried to read them, for the last time.
    tried: Option<Mono>,
}

#[derive(Debug, Default)]
struct Reading {
    /// What the file looked like when it was read.
    stamp: Option<(SystemTime, u64)>,
    /// Whether the last try has failed, so that it is told once.
    failed: bool,
}

impl JwksSource {
    /// Reads the name of a file, or an address.
    ///
    /// # Errors
    /// Of an address that is not read: what comes from another machine proves nothing without TLS.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let is_secure = text.starts_with("https:");
        if is_secure && cfg!(not(feature = "tls")) {
            return Err(KeyError(
                "https needs the feature `tls`, which this was built without: fetch the set to a \
                 file, or name an http address of this machine"
                    .to_owned(),
            ));
        }
        if !is_secure && !text.starts_with("http:") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let uri: http::Uri = text.parse().map_err(|_| KeyError("it is no address".to_owned()))?;
        if !is_secure && !crate::http::is_loopback(&uri) {
            return Err(KeyError(
                "keys are read over http from this machine only (localhost, 127.0.0.1, [::1])"
                    .to_owned(),
            ));
        }
        Ok(Self::Url(uri))
    }

    fn fresh_ms(&self) -> u64 {
        match self {
            Self::File(_) => 1000,
            Self::Url(_) => 300_000,
        }
    }

    /// How often it is read for a key that is not known.
    fn pause_ms(&self, is_empty: bool) -> u64 {
        match self {
            Self::File(_) => 1000,
            Self::Url(_) if is_empty => 5000,
            Self::Url(_) => 30_000,
        }
    }
}

impl Jwks {
    /// Makes a set that is read when the first token comes.
    #[must_use]
    pub fn new(source: JwksSource) -> Self {
        let (known, reading) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { source, trust: Trust::default(), clock: Clock::start(), known, reading }
    }

    /// Trusts these authorities to prove an `https` address, instead of the system's.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.trust.roots = Some(roots);
        self
    }

    /// Reads the set now.
    ///
    /// # Errors
    /// Why it can't be read, or is none.
    pub async fn load(&self) -> Result<(), KeyError> {
        let mut reading = self.reading.lock().await;
        self.read(&mut reading).await
    }

    /// The keys that are known at the moment.
    pub(super) fn ids(&self) -> Vec<KeyId> {
        self.known().0.iter().map(Key::id).collect()
    }

    /// Finds the key of a token: by its name, or the only one that fits.
    pub(super) async fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<Key>, Refusal> {
        let (keys, age) = self.known();
        let found = select(&keys, kid, algorithm);
        if found.is_some() {
            // Whoever comes while the set is being read goes on with what is known.
            if age.is_none_or(|age| age >= self.source.fresh_ms())
                && let Ok(mut reading) = self.reading.try_lock()
            {
                self.retry(&mut reading).await;
                return Ok(select(&self.known().0, kid, algorithm));
            }
            return Ok(found);
        }
        let mut reading = self.reading.lock().await;
        let (keys, age) = self.known();
        let pause_ms = self.source.pause_ms(keys.is_empty());
        if select(&keys, kid, algorithm).is_none() && age.is_none_or(|age| age >= pause_ms) {
            self.retry(&mut reading).await;
        }
        let (keys, _) = self.known();
        if keys.is_empty() {
            return Err(Refusal::new(AuthError::Unavailable, "the keys can't be read"));
        }
        Ok(select(&keys, kid, algorithm))
    }

    /// The keys, and how many milliseconds ago it was tried to read them.
    fn known(&self) -> (Arc<[Key]>, Option<u64>) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().mono;
        (known.keys.clone(), known.tried.map(|at| now.since(at)))
    }

    /// Reads the set again; what is known stays if that fails.
    async fn retry(&self, reading: &mut Reading) {
        let before = reading.failed;
        if let Err(error) = self.read(reading).await
            && !before
        {
            tracing::warn!(%error, "the set of keys can't be read; those known before still count");
        }
    }

    async fn read(&self, reading: &mut Reading) -> Result<(), KeyError> {
        // Whoever is cut off in the middle has tried, too.
        self.known.lock().unwrap_or_else(PoisonError::into_inner).tried =
            Some(self.clock.now().mono);
        let read = tokio::time::timeout(FETCH_TIME_MAX, self.fetch(reading)).await;
        let read = read.unwrap_or_else(|_| Err(KeyError("it takes too long".to_owned())));
        reading.failed = read.is_err();
        if let Some(keys) = read? {
            tracing::info!(keys = keys.len(), "the set of keys is read");
            self.known.lock().unwrap_or_else(PoisonError::into_inner).keys = keys.into();
        }
        Ok(())
    }

    /// Returns the keys, or nothing if the file is what it was.
    async fn fetch(&self, reading: &mut Reading) -> Result<Option<Vec<Key>>, KeyError> {
        let path = match &self.source {
            JwksSource::Url(uri) => {
                let text = fetch::get(uri, &self.trust).await?;
                return Key::set(&text, Secrets::Refused).map(Some);
            }
            JwksSource::File(path) => path,
        };
        let failed = |error: std::io::Error| KeyError(format!("{}: {error}", path.display()));
        let about = tokio::fs::metadata(path).await.map_err(failed)?;
        let stamp = (about.modified().map_err(failed)?, about.len());
        if reading.stamp == Some(stamp) {
            return Ok(None);
        }
        if about.len() > SET_BYTES_MAX as u64 {
            return Err(KeyError(format!("it is larger than {SET_BYTES_MAX} bytes")));
        }
        let text = tokio::fs::read(path).await.map_err(failed)?;
        let keys = Key::set(&text, Secrets::Taken)?;
        reading.stamp = Some(stamp);
        Ok(Some(keys))
    }
}

fn select(keys: &[Key], kid: Option<&str>, algorithm: Algorithm) -> Option<Key> {
    let mut fitting = keys.iter().filter(|key| key.algorithm() == algorithm);
    match kid {
        Some(kid) => fitting.find(|key| key.is(kid)).cloned(),
        None => fitting.next().filter(|_| fitting.next().is_none()).cloned(),
    }
}
