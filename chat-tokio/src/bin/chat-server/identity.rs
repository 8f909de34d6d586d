//! Makes the authority of the settings.
use std::path::Path;

use chat_tokio::auth::jwt::{Hmac, Issuer, Jwks, JwksSource, Jwt, Key, KeyError, Keys};
use chat_tokio::config::{AuthConfig, IssuerConfig, SecretAlgorithm};

use super::serve::When;

/// Reads the keys that the settings name.
///
/// # Errors
/// Which option can't be used, and why.
pub(crate) async fn authority(auth: &AuthConfig, when: When) -> Result<Jwt, String> {
    auth.check_tokens()?;
    let mut issuers = Vec::new();
    if let Some(own) = auth.issuer() {
        issuers.push(issuer(&own, &OPTIONS, when).await?);
    }
    if let Some(path) = &auth.jwt_issuers {
        let told = |why: String| format!("--jwt-issuers {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        for found in IssuerConfig::parse(&text).map_err(told)? {
            let whose = |why| told(format!("the issuer `{}`: {why}", found.name));
            if issuers.iter().any(|other: &Issuer| other.name == found.name) {
                return Err(whose("it is that of --jwt-issuer, too".to_owned()));
            }
            issuers.push(issuer(&found, &KEYS_OF_FILE, when).await.map_err(whose)?);
        }
    }
    Ok(Jwt::new(issuers))
}

/// What the places are called that name an issuer's keys.
struct Names {
    secret_file: &'static str,
    public_key: &'static str,
    jwks: &'static str,
    #[cfg(feature = "tls")]
    jwks_ca: &'static str,
}

const OPTIONS: Names = Names {
    secret_file: "--jwt-secret-file",
    public_key: "--jwt-public-key",
    jwks: "--jwks",
    #[cfg(feature = "tls")]
    jwks_ca: "--jwks-ca",
};

const KEYS_OF_FILE: Names = Names {
    secret_file: "secret_file",
    public_key: "public_key",
    jwks: "jwks",
    #[cfg(feature = "tls")]
    jwks_ca: "jwks_ca",
};

async fn issuer(config: &IssuerConfig, names: &Names, when: When) -> Result<Issuer, String> {
    let keys = if let Some(path) = &config.secret_file {
        let key = secret(path).and_then(|secret| Key::secret(&secret, hmac(config.algorithm)));
        Keys::Fixed(vec![key.map_err(|error| told(names.secret_file, path, &error))?])
    } else if let Some(path) = &config.public_key {
        let key = read(path).and_then(|pem| Key::public_pem(&pem));
        Keys::Fixed(vec![key.map_err(|error| told(names.public_key, path, &error))?])
    } else {
        Keys::Set(set(config, names, when).await?)
    };
    Ok(Issuer {
        name: config.name.clone(),
        audience: config.audience.clone(),
        leeway_s: config.leeway_s,
        keys,
    })
}

async fn set(config: &IssuerConfig, names: &Names, when: When) -> Result<Jwks, String> {
    let text = config.jwks.as_deref().unwrap_or_default();
    let failed = |error: KeyError| told(names.jwks, Path::new(text), &error);
    let source = JwksSource::new(text).map_err(failed)?;
    let set = trust(Jwks::new(source.clone()), config, names)?;
    match (set.load().await, source, when) {
        (Err(error), JwksSource::File(_), _) | (Err(error), _, When::Again) => Err(failed(error)),
        // Whoever serves it may start later than this server.
        (Err(error), JwksSource::Url(_), When::AtStart) => {
            tracing::warn!(
                issuer = config.name, %error,
                "the set of keys can't be read yet: nobody of this issuer can come in"
            );
            Ok(set)
        }
        (Ok(()), ..) => Ok(set),
    }
}

/// Says who proves an `https` address of a set.
#[cfg(feature = "tls")]
fn trust(set: Jwks, config: &IssuerConfig, names: &Names) -> Result<Jwks, String> {
    let Some(path) = &config.jwks_ca else { return Ok(set) };
    let roots = chat_tokio::tls::Roots::from_file(path);
    roots.map(|roots| set.roots(roots)).map_err(|error| format!("{} {error}", names.jwks_ca))
}

#[cfg(not(feature = "tls"))]
fn trust(set: Jwks, _: &IssuerConfig, _: &Names) -> Result<Jwks, String> {
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

pub(crate) fn hmac(algorithm: SecretAlgorithm) -> Hmac {
    match algorithm {
        SecretAlgorithm::HS256 => Hmac::Sha256,
        SecretAlgorithm::HS384 => Hmac::Sha384,
        SecretAlgorithm::HS512 => Hmac::Sha512,
    }
}

pub(crate) fn told(flag: &str, path: &Path, error: &KeyError) -> String {
    format!("{flag} {}: {error}", path.display())
}
