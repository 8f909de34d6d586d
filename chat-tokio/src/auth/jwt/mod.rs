//! Identities by JSON Web Tokens.
//!
//! A token names its issuer, and only an issuer of the configuration counts; that one's own keys
//! are asked for the token's `kid`, so that equal names of two issuers have nothing in common. The
//! key decides over the algorithm: what the token's header says only has to agree.
mod claims;
mod fetch;
mod jwks;
mod keys;
mod sign;

use std::fmt;
use std::sync::Arc;

use chat_proto::Token;
use chat_state::{AuthError, Grant, KeyId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};

use self::claims::{Claims, IssuerOnly};
pub use self::jwks::{Jwks, JwksSource};
pub use self::keys::{Hmac, Key, KeyError};
pub use self::sign::{SigningKey, TokenSpec};
use super::{AuthFuture, Authenticator};
use crate::escape::Escaped;

/// Bytes of the longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 8192;

/// Somebody whose tokens are taken.
#[derive(Debug)]
pub struct Issuer {
    /// What the `iss` of its tokens has to be.
    pub name: String,
    /// What the `aud` of its tokens has to be, or to have.
    pub audience: String,
    /// By how many seconds the clocks may differ: for `exp` and `nbf`.
    pub leeway_s: u64,
    /// Its keys.
    pub keys: Keys,
}

/// Where an issuer's keys come from.
#[derive(Debug)]
pub enum Keys {
    /// These, which do not change.
    Fixed(Vec<Key>),
    /// A set that may change while the server runs.
    Set(Jwks),
}

/// Knows people by their tokens.
#[derive(Clone, Debug)]
pub struct Jwt {
    issuers: Arc<[Issuer]>,
}

/// Why a token is refused. It says nothing of what the token holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the client is told.
    pub error: AuthError,
    /// For whoever runs the server.
    pub why: String,
}

impl Refusal {
    fn new(error: AuthError, why: impl Into<String>) -> Self {
        Self { error, why: why.into() }
    }

    fn invalid(why: impl Into<String>) -> Self {
        Self::new(AuthError::Invalid, why)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Refusal {}

impl Jwt {
    /// Takes the tokens of these issuers.
    #[must_use]
    pub fn new(issuers: Vec<Issuer>) -> Self {
        Self { issuers: issuers.into() }
    }

    /// Checks a token, and says what is wrong with it.
    ///
    /// # Errors
    /// Why it is refused, or can't be checked.
    pub async fn check(&self, token: &str) -> Result<Grant, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::invalid(format!("it is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let header = decode_header(token).map_err(|_| Refusal::invalid("it is no token"))?;
        // Nothing of this is believed: it only says whose keys have to prove it.
        let claims = jsonwebtoken::dangerous::insecure_decode::<IssuerOnly>(token);
        let named = claims.map_err(|_| Refusal::invalid("it names no issuer"))?.claims.iss;
        let issuer = self.issuers.iter().find(|issuer| issuer.name == named);
        let issuer = issuer.ok_or_else(|| Refusal::invalid("its issuer is not ours"))?;
        let key = issuer.key(header.kid.as_deref(), header.alg).await?;
        let mut validation = Validation::new(key.algorithm());
        validation.leeway = issuer.leeway_s;
        validation.validate_nbf = true;
        validation.set_audience(&[&issuer.audience]);
        validation.set_issuer(&[&issuer.name]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let decoded = decode::<Claims>(token, key.decoding(), &validation);
        let claims = decoded.map_err(|error| refusal(error.kind()))?.claims;
        Ok(Grant { key: Some(key.id()), ..claims.grant(issuer.leeway_s)? })
    }
}

impl Authenticator for Jwt {
    fn authenticate(&self, credentials: &Token) -> AuthFuture {
        let (this, token) = (self.clone(), credentials.clone());
        Box::pin(async move {
            this.check(&token.0).await.map_err(|refusal| {
                tracing::debug!(why = %Escaped(&refusal), "a token is refused");
                refusal.error
            })
        })
    }

    fn keys(&self) -> Vec<KeyId> {
        let of = |issuer: &Issuer| match &issuer.keys {
            Keys::Fixed(keys) => keys.iter().map(Key::id).collect(),
            Keys::Set(set) => set.ids(),
        };
        self.issuers.iter().flat_map(of).collect()
    }
}

impl Issuer {
    async fn key(
        &self,
        kid: Option<&str>,
        algorithm: jsonwebtoken::Algorithm,
    ) -> Result<Key, Refusal> {
        let found = match &self.keys {
            // These were given by hand, so their names say nothing.
            Keys::Fixed(keys) => keys.iter().find(|key| key.algorithm() == algorithm).cloned(),
            Keys::Set(set) => set.find(kid, algorithm).await?,
        };
        found.ok_or_else(|| Refusal::invalid("no key of its issuer fits it"))
    }
}

/// Puts an error into words that repeat nothing of the token.
fn refusal(kind: &ErrorKind) -> Refusal {
    match kind {
        ErrorKind::ExpiredSignature => Refusal::new(AuthError::Expired, "it has expired"),
        ErrorKind::ImmatureSignature => Refusal::invalid("it does not count yet: see `nbf`"),
        ErrorKind::InvalidSignature => Refusal::invalid("its signature is wrong"),
        ErrorKind::InvalidAudience => Refusal::invalid("its audience is another one: see `aud`"),
        ErrorKind::InvalidIssuer => Refusal::invalid("its issuer is another one: see `iss`"),
        ErrorKind::InvalidAlgorithm => Refusal::invalid("its algorithm is not that of the key"),
        ErrorKind::MissingRequiredClaim(claim) => {
            Refusal::invalid(format!("its claim `{claim}` is missing"))
        }
        ErrorKind::InvalidClaimFormat(claim) => {
            Refusal::invalid(format!("its claim `{claim}` has another form"))
        }
        _ => Refusal::invalid("it can't be read"),
    }
}
