//! The options of who may come in.
use std::path::PathBuf;
use std::time::Duration;

use super::options::{Opt, Set, YES_NO, path, put, show_path, show_word as text_of, string};
use super::values::{duration, is_https, show_duration, word};
use super::{Config, ConfigError, Origin};

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// How it is known who somebody is.
    pub mode: AuthMode,
    /// Whether everybody may come in from other machines, too, under any name.
    pub open_to_everyone: bool,
    /// The cookie that has the token, in the mode of that name.
    pub cookie: String,
    /// How long before its token ends a session is told: at most 1 h, in whole milliseconds.
    pub warning: Duration,
    /// A file with the secret of the tokens, without the line end.
    pub jwt_secret_file: Option<PathBuf>,
    /// The hash of the secret's tokens: 256, 384 or 512 bits.
    pub jwt_secret_bits: u16,
    /// A file with the public key of the tokens, in PEM.
    pub jwt_public_key: Option<PathBuf>,
    /// A file or an address of a JSON Web Key Set.
    pub jwks: Option<String>,
    /// A file with the authorities that prove an `https` address of the set, in PEM; `None`: those
    /// of the system.
    pub jwks_ca: Option<PathBuf>,
    /// The `iss` of the tokens.
    pub jwt_issuer: String,
    /// The `aud` of the tokens.
    pub jwt_audience: String,
    /// How far the clocks may differ: at most 60 s, in whole seconds.
    pub jwt_leeway: Duration,
    /// A file with issuers, as [`IssuerConfig::parse`](super::IssuerConfig::parse) reads it.
    pub jwt_issuers: Option<PathBuf>,
}

/// How it is known who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Everybody chooses a name.
    Open,
    /// By a token, in `hello` or a header.
    Jwt,
    /// By the same token in a cookie as well.
    Cookie,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            mode: AuthMode::Open,
            open_to_everyone: false,
            cookie: "chat_token".to_owned(),
            warning: Duration::from_secs(60),
            jwt_secret_file: None,
            jwt_secret_bits: 256,
            jwt_public_key: None,
            jwks: None,
            jwks_ca: None,
            jwt_issuer: String::new(),
            jwt_audience: String::new(),
            jwt_leeway: Duration::from_secs(5),
            jwt_issuers: None,
        }
    }
}

impl AuthConfig {
    /// Tells whether tokens can be checked with these settings.
    ///
    /// # Errors
    /// Which option is missing, or too many.
    pub fn check_tokens(&self) -> Result<(), String> {
        if self.jwt_issuers.is_some() && !self.has_own_issuer() {
            return Ok(());
        }
        let sources =
            [self.jwt_secret_file.is_some(), self.jwt_public_key.is_some(), self.jwks.is_some()];
        let why = if sources.iter().filter(|given| **given).count() != 1 {
            "--auth needs exactly one of --jwt-secret-file, --jwt-public-key and --jwks, or only \
             --jwt-issuers"
        } else if self.jwt_issuer.is_empty() {
            "--auth needs --jwt-issuer: what the `iss` of tokens has to be"
        } else if self.jwt_audience.is_empty() {
            "--auth needs --jwt-audience: what the `aud` of tokens has to be"
        } else if self.jwks_ca.is_some() && !self.jwks.as_ref().is_some_and(|at| is_https(at)) {
            "--jwks-ca needs an https address in --jwks"
        } else {
            return Ok(());
        };
        Err(why.to_owned())
    }
}

/// Checks what no option can see by itself.
pub(super) fn check(config: &Config, origin: impl Fn(&str) -> Origin) -> Result<(), ConfigError> {
    let wrong = |name: &str, why: &str| {
        Err(ConfigError::Conflict {
            origin: origin(name),
            key: name.to_owned(),
            why: why.to_owned(),
        })
    };
    let auth = &config.auth;
    if auth.mode == AuthMode::Open {
        let far = |address: std::net::SocketAddr| !address.ip().is_loopback();
        let named = [("listen", Some(config.listen)), ("lines", config.lines)];
        let far = named.iter().find(|(_, address)| address.is_some_and(far));
        if let (Some((name, _)), false) = (far, auth.open_to_everyone) {
            let why = "other machines could come in under any name: choose --auth jwt, or say \
                       --open-to-everyone yes";
            return wrong(name, why);
        }
        return Ok(());
    }
    if auth.mode == AuthMode::Cookie && config.allow_origins.iter().any(|origin| origin == "*") {
        let why = "with --auth cookie any page could connect in the name of its visitor: list them";
        return wrong("allow_origin", why);
    }
    Ok(())
}

fn set_cookie(config: &mut Config, text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if text.is_empty() || !text.bytes().all(plain) {
        return Err("the name of a cookie: letters, digits, `_`, `-` and `.`".to_owned());
    }
    text.clone_into(&mut config.auth.cookie);
    Ok(())
}

const MODES: &[(&str, AuthMode)] =
    &[("open", AuthMode::Open), ("jwt", AuthMode::Jwt), ("cookie", AuthMode::Cookie)];
const HASHES: &[(&str, u16)] = &[("HS256", 256), ("HS384", 384), ("HS512", 512)];
const WARNING: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const LEEWAY: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);

pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        name: "auth",
        group: "Identity",
        value: "open|jwt|cookie",
        help: "Who may come in: everybody under any name; who has a JSON Web Token; or the same \
               with the token in a cookie, for pages of this site.",
        set: Set::One(|config, text| put(&mut config.auth.mode, word(text, MODES))),
        show: |config| text_of(&config.auth.mode, MODES),
    },
    Opt {
        name: "open_to_everyone",
        group: "Identity",
        value: "yes|no",
        help: "Listen on addresses that other machines reach although everybody may choose any \
               name.",
        set: Set::One(|config, text| put(&mut config.auth.open_to_everyone, word(text, YES_NO))),
        show: |config| text_of(&config.auth.open_to_everyone, YES_NO),
    },
    Opt {
        name: "jwt_secret_file",
        group: "Identity",
        value: "FILE",
        help: "File with the secret that signs tokens: at least 32 bytes; a line end is not part \
               of it.",
        set: Set::One(|config, text| path(&mut config.auth.jwt_secret_file, text)),
        show: |config| show_path(config.auth.jwt_secret_file.as_ref()),
    },
    Opt {
        name: "jwt_algorithm",
        group: "Identity",
        value: "HS256|HS384|HS512",
        help: "The secret's algorithm. Of other keys the kind decides: RS256, ES256 or EdDSA.",
        set: Set::One(|config, text| put(&mut config.auth.jwt_secret_bits, word(text, HASHES))),
        show: |config| text_of(&config.auth.jwt_secret_bits, HASHES),
    },
    Opt {
        name: "jwt_public_key",
        group: "Identity",
        value: "FILE",
        help: "File with the public key that proves tokens, in PEM: RSA, EC (P-256) or Ed25519.",
        set: Set::One(|config, text| path(&mut config.auth.jwt_public_key, text)),
        show: |config| show_path(config.auth.jwt_public_key.as_ref()),
    },
    Opt {
        name: "jwks",
        group: "Identity",
        value: "FILE|URL",
        help: "JSON Web Key Set that proves tokens: a file, an https address, or an http address \
               of this machine. It is read again when it changes.",
        set: Set::One(|config, text| {
            config.auth.jwks = Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
            Ok(())
        }),
        show: |config| string(&config.auth.jwks.clone().unwrap_or_default()),
    },
    Opt {
        name: "jwks_ca",
        group: "Identity",
        value: "FILE",
        help: "Certificates in PEM that prove an https address of --jwks, instead of the \
               system's authorities.",
        set: Set::One(|config, text| path(&mut config.auth.jwks_ca, text)),
        show: |config| show_path(config.auth.jwks_ca.as_ref()),
    },
    Opt {
        name: "jwt_issuer",
        group: "Identity",
        value: "TEXT",
        help: "What the `iss` of tokens has to be.",
        set: Set::One(|config, text| put(&mut config.auth.jwt_issuer, Ok(text.to_owned()))),
        show: |config| string(&config.auth.jwt_issuer),
    },
    Opt {
        name: "jwt_audience",
        group: "Identity",
        value: "TEXT",
        help: "What the `aud` of tokens has to be, or to have.",
        set: Set::One(|config, text| put(&mut config.auth.jwt_audience, Ok(text.to_owned()))),
        show: |config| string(&config.auth.jwt_audience),
    },
    Opt {
        name: "jwt_leeway",
        group: "Identity",
        value: "SECONDS",
        help: "How far the clocks of this machine and of the issuer may differ.",
        set: Set::One(|config, text| put(&mut config.auth.jwt_leeway, duration(text, LEEWAY))),
        show: |config| string(&show_duration(config.auth.jwt_leeway)),
    },
    Opt {
        name: "jwt_issuers",
        group: "Identity",
        value: "FILE",
        help: "TOML file of several issuers: for each a table [[issuer]] with name, audience, and \
               secret_file (and algorithm), public_key or jwks (and jwks_ca); leeway_s. In place \
               of the one of the other options, or besides.",
        set: Set::One(|config, text| path(&mut config.auth.jwt_issuers, text)),
        show: |config| show_path(config.auth.jwt_issuers.as_ref()),
    },
    Opt {
        name: "auth_warning",
        group: "Identity",
        value: "SECONDS",
        help: "How long before its token ends a session is asked for another one.",
        set: Set::One(|config, text| put(&mut config.auth.warning, duration(text, WARNING))),
        show: |config| string(&show_duration(config.auth.warning)),
    },
    Opt {
        name: "auth_cookie",
        group: "Identity",
        value: "NAME",
        help: "The cookie of --auth cookie. Whoever sets it makes it HttpOnly, Secure and \
               SameSite.",
        set: Set::One(set_cookie),
        show: |config| string(&config.auth.cookie),
    },
];
