//! Makes tokens, for trying out and for small backends.
use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use super::claims::Claims;
use super::keys::check_secret;
use super::{Hmac, KeyError};
use crate::clock::Clock;

type ReadPem = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;

/// A key that makes tokens. It is never printed.
pub struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl SigningKey {
    /// Makes one of a secret of at least 32 bytes.
    ///
    /// # Errors
    /// If it is too short.
    pub fn secret(secret: &[u8], hmac: Hmac) -> Result<Self, KeyError> {
        check_secret(secret)?;
        Ok(Self { algorithm: hmac.algorithm(), key: EncodingKey::from_secret(secret) })
    }

    /// Makes one of a private key in PEM: RSA (RS256), EC on P-256 (ES256, in PKCS #8) or Ed25519.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn private_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let tries: [(Algorithm, ReadPem); 3] = [
            (Algorithm::RS256, EncodingKey::from_rsa_pem),
            (Algorithm::ES256, EncodingKey::from_ec_pem),
            (Algorithm::EdDSA, EncodingKey::from_ed_pem),
        ];
        let found =
            tries.into_iter().find_map(|(algorithm, read)| Some((algorithm, read(pem).ok()?)));
        let none =
            || KeyError("it is no private key in PEM: RSA, EC (P-256) or Ed25519".to_owned());
        let (algorithm, key) = found.ok_or_else(none)?;
        Ok(Self { algorithm, key })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What a token is to say.
#[derive(Clone, Debug, Default)]
pub struct TokenSpec {
    /// Who makes it.
    pub issuer: String,
    /// For whom.
    pub audience: String,
    /// Of which user.
    pub user: String,
    /// What the user is called.
    pub name: Option<String>,
    /// Its own name.
    pub id: Option<String>,
    /// The key's name.
    pub kid: Option<String>,
    /// Patterns of the rooms that it allows; `None`: all.
    pub rooms: Option<Vec<String>>,
    /// Roles of the user.
    pub roles: Vec<String>,
    /// How long it counts.
    pub lifetime: Duration,
}

#[derive(Serialize)]
struct All {
    iss: String,
    aud: String,
    #[serde(flatten)]
    claims: Claims,
}

impl TokenSpec {
    /// Makes the token.
    ///
    /// # Errors
    /// If the claims would be refused, or the key can't be used.
    pub fn sign(self, key: &SigningKey) -> Result<String, KeyError> {
        let now = (Clock::start().now().wall.0 / 1000) as f64;
        let claims = |spec: &Self| Claims {
            sub: spec.user.clone(),
            name: spec.name.clone(),
            jti: spec.id.clone(),
            exp: now + spec.lifetime.as_secs() as f64,
            iat: Some(now),
            rooms: spec.rooms.clone(),
            roles: spec.roles.clone(),
            limits: None,
        };
        claims(&self).grant(0).map_err(|refusal| KeyError(refusal.why))?;
        let all = All { claims: claims(&self), iss: self.issuer, aud: self.audience };
        let header = Header { kid: self.kid, ..Header::new(key.algorithm) };
        encode(&header, &all, &key.key).map_err(|_| KeyError("the key can't sign it".to_owned()))
    }
}
