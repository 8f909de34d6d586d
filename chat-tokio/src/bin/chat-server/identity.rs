//! Makes the authority of the settings.
use std::path::Path;

use chat_tokio::auth::jwt::{Hmac, Issuer, Jwks, JwksSource, Jwt, Key, KeyError, Keys};
use chat_tokio::config::AuthConfig;

use super::serve::When;

/// Reads the keys that the settings name.
///
/// # Errors
/// Which option can't be used, and why.
pub(crate) async fn authority(auth: &AuthConfig, when: When) -> Result<Jwt, String> {
    auth.check_tokens()?;
    let keys = if let Some(path) = &auth.jwt_secret_file {
        let key = secret(path).and_then(|secret| Key::secret(&secret, hmac(auth)));
        Keys::Fixed(vec![key.map_err(|error| told("--jwt-secret-file", path, &error))?])
    } else if let Some(path) = &auth.jwt_public_key {
        let key = read(path).and_then(|pem| Key::public_pem(&pem));
        Keys::Fixed(vec![key.map_err(|error| told("--jwt-public-key", path, &error))?])
    } else {
        let text = auth.jwks.as_deref().unwrap_or_default();
        let failed = |error: KeyError| told("--jwks", Path::new(text), &error);
        let source = JwksSource::new(text).map_err(failed)?;
        let set = trust(Jwks::new(source.clone()), auth)?;
        match (set.load().await, source, when) {
            (Err(error), JwksSource::File(_), _) | (Err(error), _, When::Again) => {
                return Err(failed(error));
            }
            // Whoever serves it may start later than this server.
            (Err(error), JwksSource::Url(_), When::AtStart) => {
                tracing::warn!(%error, "the set of keys can't be read yet: nobody can come in");
            }
            (Ok(()), ..) => {}
        }
        Keys::Set(set)
    };
    let issuer = Issuer {
        name: auth.jwt_issuer.clone(),
        audience: auth.jwt_audience.clone(),
        leeway_s: auth.jwt_leeway.as_secs(),
        keys,
    };
    Ok(Jwt::new(vec![issuer]))
}

/// Says who proves an `https` address of a set.
#[cfg(feature = "tls")]
fn trust(set: Jwks, auth: &AuthConfig) -> Result<Jwks, String> {
    let Some(path) = &auth.jwks_ca else { return Ok(set) };
    let roots = chat_tokio::tls::Roots::from_file(path);
    roots.map(|roots| set.roots(roots)).map_err(|error| format!("--jwks-ca {error}"))
}

#[cfg(not(feature = "tls"))]
fn trust(set: Jwks, _: &AuthConfig) -> Result<Jwks, String> {
    // Their addresses are refused.
    Ok(set)
}

/// Reads a secret; an editor's line end is not part of it.
pub(crate) fn secret(path: &Path) -> Result<Vec<u8>, KeyError> {
    let mut secret = read(path)?;
    if secret.ends_with(b"\n") {
        secret.pop();
        if secret.ends_with(b"\r") {
            secret.pop();
        }
    }
    Ok(secret)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    std::fs::read(path).map_err(|error| KeyError::new(error.to_string()))
}

pub(crate) fn hmac(auth: &AuthConfig) -> Hmac {
    match auth.jwt_secret_bits {
        384 => Hmac::Sha384,
        512 => Hmac::Sha512,
        _ => Hmac::Sha256,
    }
}

pub(crate) fn told(flag: &str, path: &Path, error: &KeyError) -> String {
    format!("{flag} {}: {error}", path.display())
}
