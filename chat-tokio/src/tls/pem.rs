//! Certificates and keys in PEM.
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::validity::Validity;
use crate::clock::Clock;

/// Bytes of the largest file: all roots of a system are about 250 KB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A chain and a key as they were given: both in PEM.
pub(super) struct Pair {
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// Which half of a pair can't be used, and why.
pub(super) enum Wrong {
    Chain(TlsError),
    Key(TlsError),
}

impl Pair {
    /// Checks that the halves are what they should be, belong together, and count at this time.
    pub(super) fn certified(
        &self,
        provider: &CryptoProvider,
    ) -> Result<(CertifiedKey, Validity), Wrong> {
        let chain = certificates(&self.chain).map_err(Wrong::Chain)?;
        let key = private_key(&self.key).map_err(Wrong::Key)?;
        let key = provider.key_provider.load_private_key(key).map_err(|error| {
            let kinds = "RSA, EC (P-256, P-384, P-521) and Ed25519 keys are taken";
            Wrong::Key(TlsError::new(format_args!(
                "its private key can't be used: {kinds} ({error})"
            )))
        })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {
                let now = Clock::start().now().wall;
                let validity = Validity::of(&certified.cert, now).map_err(Wrong::Chain)?;
                Ok((certified, validity))
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(Wrong::Key(TlsError::new(
                "its private key is not that of the first certificate of the chain",
            ))),
            Err(error) => Err(Wrong::Chain(TlsError::new(format_args!(
                "its first certificate can't be used: {error}"
            )))),
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::new(error).of(path);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let why = format!("it is larger than {FILE_BYTES_MAX} bytes");
        return Err(TlsError::new(why).of(path));
    }
    Ok(bytes)
}

/// Returns the certificates, at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| TlsError::new(format_args!("it is no PEM: {error}")))?;
    match (all.is_empty(), private_key(pem)) {
        (false, _) => Ok(all),
        (true, Ok(_)) => Err(TlsError::new("it has no certificate, but a private key")),
        (true, Err(_)) => Err(TlsError::new("it has no certificate in PEM (`-----BEGIN …`)")),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let marks: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
    if marks.iter().any(|mark| pem.windows(mark.len()).any(|part| part == *mark)) {
        return Err(TlsError::new(
            "its private key is encrypted: decrypt it (`openssl pkey -in FILE -out FILE`), and \
             let nobody else read the file",
        ));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => TlsError::new("it has no private key in PEM (`-----BEGIN …`)"),
        error => TlsError::new(format_args!("it is no PEM: {error}")),
    })
}
