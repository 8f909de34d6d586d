//! A key and the one algorithm that it is for.
use std::fmt;

use chat_state::KeyId;
use jsonwebtoken::jwk::PublicKeyUse;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use sha2::{Digest as _, Sha256};

/// Bytes of the shortest secret: as many as its shortest hash has.
const SECRET_BYTES_MIN: usize = 32;

/// Keys of one set.
const KEYS_MAX: usize = 64;

/// A key that proves tokens.
#[derive(Clone)]
pub struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
    id: KeyId,
}

/// The hash of a secret's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hmac {
    /// HS256.
    Sha256,
    /// HS384.
    Sha384,
    /// HS512.
    Sha512,
}

impl Hmac {
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::Sha256 => Algorithm::HS256,
            Self::Sha384 => Algorithm::HS384,
            Self::Sha512 => Algorithm::HS512,
        }
    }
}

/// Why something is no key. It repeats nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(pub(super) String);

impl KeyError {
    /// Makes one; the words must not repeat what a key holds.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

type ReadPem = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;

/// Who may give a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrets {
    /// A file of ours may hold secrets.
    Taken,
    /// What others can read is no secret.
    Refused,
}

impl Key {
    /// Makes a key of a secret of at least 32 bytes.
    ///
    /// # Errors
    /// If it is too short.
    pub fn secret(secret: &[u8], hmac: Hmac) -> Result<Self, KeyError> {
        check_secret(secret)?;
        let decoding = DecodingKey::from_secret(secret);
        let (algorithm, id) = (hmac.algorithm(), id(secret));
        Ok(Self { kid: None, algorithm, decoding, id })
    }

    /// Makes a key of a public key in PEM: RSA (RS256), EC on P-256 (ES256) or Ed25519 (EdDSA).
    ///
    /// # Errors
    /// If it is none of these.
    pub fn public_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let tries: [(Algorithm, ReadPem); 3] = [
            (Algorithm::RS256, DecodingKey::from_rsa_pem),
            (Algorithm::ES256, DecodingKey::from_ec_pem),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem),
        ];
        let found =
            tries.into_iter().find_map(|(algorithm, read)| Some((algorithm, read(pem).ok()?)));
        let (algorithm, decoding) = found.ok_or_else(|| {
            KeyError("it is no public key in PEM: RSA, EC (P-256) or Ed25519".to_owned())
        })?;
        Ok(Self { kid: None, algorithm, decoding, id: id(pem) })
    }

    /// Reads a JSON Web Key Set. Keys of other kinds or for other uses are skipped.
    pub(super) fn set(text: &[u8], secrets: Secrets) -> Result<Vec<Self>, KeyError> {
        let set: JwkSet = serde_json::from_slice(text)
            .map_err(|_| KeyError("it is no JSON Web Key Set".to_owned()))?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeyError(format!("it has more than {KEYS_MAX} keys")));
        }
        let keys: Vec<Self> = set.keys.iter().filter_map(|jwk| Self::jwk(jwk, secrets)).collect();
        match keys.is_empty() {
            true => Err(KeyError("it has no key that proves tokens".to_owned())),
            false => Ok(keys),
        }
    }

    fn jwk(jwk: &Jwk, secrets: Secrets) -> Option<Self> {
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let stated = jwk.common.key_algorithm;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(_) => (Algorithm::EdDSA, KeyAlgorithm::EdDSA),
            AlgorithmParameters::OctetKey(_) if secrets == Secrets::Taken => match stated? {
                KeyAlgorithm::HS384 => (Algorithm::HS384, KeyAlgorithm::HS384),
                KeyAlgorithm::HS512 => (Algorithm::HS512, KeyAlgorithm::HS512),
                _ => (Algorithm::HS256, KeyAlgorithm::HS256),
            },
            _ => return None,
        };
        let (algorithm, own) = algorithm;
        if stated.is_some_and(|stated| stated != own) {
            return None;
        }
        let decoding = DecodingKey::from_jwk(jwk).ok()?;
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            check_secret(decoding.try_get_as_bytes().ok()?).ok()?;
        }
        let id = id(&serde_json::to_vec(jwk).ok()?);
        Some(Self { kid: jwk.common.key_id.clone(), algorithm, decoding, id })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// What follows from the key alone: the same one, read again, has the same.
    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn is(&self, kid: &str) -> bool {
        self.kid.as_deref() == Some(kid)
    }
}

fn id(material: &[u8]) -> KeyId {
    let mut id = [0; 16];
    id.copy_from_slice(&Sha256::digest(material)[..16]);
    KeyId(id)
}

pub(super) fn check_secret(secret: &[u8]) -> Result<(), KeyError> {
    match secret.len() {
        SECRET_BYTES_MIN.. => Ok(()),
        n => Err(KeyError(format!("the secret has {n} bytes, and needs {SECRET_BYTES_MIN}"))),
    }
}

/// *Invariant:* a key is never printed.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
