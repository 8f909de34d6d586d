//! Whose tokens are taken: the one issuer of the options, and those of a file.
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::AuthConfig;
use super::values::is_https;

/// Bytes of the file, and issuers in it: more than anybody has, and no more than can be read at
/// once.
const FILE_BYTES_MAX: usize = 256 * 1024;
const ISSUERS_MAX: usize = 32;

/// Somebody whose tokens are taken, and what proves them: exactly one of `secret_file`,
/// `public_key` and `jwks`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What the `iss` of the tokens has to be.
    pub name: String,
    /// What the `aud` of the tokens has to be, or to have.
    pub audience: String,
    /// A file with the secret of the tokens, without the line end.
    pub secret_file: Option<PathBuf>,
    /// The secret's algorithm: `HS256`, `HS384` or `HS512`.
    #[serde(default)]
    pub algorithm: SecretAlgorithm,
    /// A file with the public key of the tokens, in PEM.
    pub public_key: Option<PathBuf>,
    /// A file or an address of a JSON Web Key Set.
    pub jwks: Option<String>,
    /// A file with the authorities that prove an `https` address of the set, in PEM; `None`: those
    /// of the system.
    pub jwks_ca: Option<PathBuf>,
    /// How far the clocks may differ: at most 60, in seconds.
    #[serde(default = "leeway_s")]
    pub leeway_s: u64,
}

/// The hash of a secret's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the algorithms")]
pub enum SecretAlgorithm {
    #[default]
    HS256,
    HS384,
    HS512,
}

const LEEWAY_S_MAX: u64 = 60;

fn leeway_s() -> u64 {
    AuthConfig::default().jwt_leeway.as_secs()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    issuer: Vec<IssuerConfig>,
}

impl IssuerConfig {
    /// Reads the issuers of a file's text: TOML with a table `[[issuer]]` for each.
    ///
    /// # Errors
    /// What is wrong with it: where, or of which issuer.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        if text.len() > FILE_BYTES_MAX {
            return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
        }
        let File { issuer: all } = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
            format!("line {line}: {}", error.message())
        })?;
        if all.is_empty() || all.len() > ISSUERS_MAX {
            return Err(format!("it has {} tables [[issuer]]: 1 to {ISSUERS_MAX} are", all.len()));
        }
        for (at, issuer) in all.iter().enumerate() {
            let told = |why: &str| Err(format!("the issuer `{}` {why}", issuer.name));
            if let Err(why) = issuer.check() {
                return told(&why);
            }
            if all[..at].iter().any(|other| other.name == issuer.name) {
                return told("is there twice");
            }
        }
        Ok(all)
    }

    fn check(&self) -> Result<(), String> {
        let sources = [self.secret_file.is_some(), self.public_key.is_some(), self.jwks.is_some()];
        let why = if self.name.is_empty() {
            "needs a name: what the `iss` of its tokens is"
        } else if self.audience.is_empty() {
            "needs an audience: what the `aud` of its tokens has to be"
        } else if sources.iter().filter(|given| **given).count() != 1 {
            "needs exactly one of secret_file, public_key and jwks"
        } else if self.jwks_ca.is_some() && !self.jwks.as_ref().is_some_and(|at| is_https(at)) {
            "has jwks_ca, which needs an https address in jwks"
        } else if self.leeway_s > LEEWAY_S_MAX {
            "has a leeway_s that is not from 0 to 60"
        } else {
            return Ok(());
        };
        Err(why.to_owned())
    }
}

impl AuthConfig {
    /// Returns the issuer of the options; `None` if only those of the file are wanted.
    #[must_use]
    pub fn issuer(&self) -> Option<IssuerConfig> {
        let is_given = self.has_own_issuer() || self.jwt_issuers.is_none();
        is_given.then(|| IssuerConfig {
            name: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
            secret_file: self.jwt_secret_file.clone(),
            algorithm: match self.jwt_secret_bits {
                384 => SecretAlgorithm::HS384,
                512 => SecretAlgorithm::HS512,
                _ => SecretAlgorithm::HS256,
            },
            public_key: self.jwt_public_key.clone(),
            jwks: self.jwks.clone(),
            jwks_ca: self.jwks_ca.clone(),
            leeway_s: self.jwt_leeway.as_secs(),
        })
    }

    /// Tells whether one of the options that make an issuer is given.
    pub(super) fn has_own_issuer(&self) -> bool {
        let texts = [&self.jwt_issuer, &self.jwt_audience];
        let files: [Option<&Path>; 3] = [
            self.jwt_secret_file.as_deref(),
            self.jwt_public_key.as_deref(),
            self.jwks_ca.as_deref(),
        ];
        texts.iter().any(|text| !text.is_empty())
            || files.iter().any(Option::is_some)
            || self.jwks.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[issuer]]\nname = 'a'\naudience = 'chat'\nsecret_file = 's'\n";

    #[test]
    fn each_table_is_an_issuer() {
        let more = "[[issuer]]\nname = 'b'\naudience = 'c'\njwks = 'https://b/keys'\n\
            jwks_ca = 'ca'\nleeway_s = 9\n[[issuer]]\nname = 'd'\naudience = 'c'\n\
            secret_file = 'f'\nalgorithm = 'HS512'\n";
        let all = IssuerConfig::parse(&format!("{GOOD}{more}")).unwrap();
        let names: Vec<&str> = all.iter().map(|issuer| &*issuer.name).collect();
        assert_eq!(names, ["a", "b", "d"]);
        assert_eq!((all[0].leeway_s, all[1].leeway_s), (5, 9));
        assert_eq!(all[0].algorithm, SecretAlgorithm::HS256);
        assert_eq!(all[2].algorithm, SecretAlgorithm::HS512);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let key = |line: &str| format!("{GOOD}{line}\n");
        for (text, why) in [
            (String::new(), "it has 0 tables [[issuer]]"),
            (GOOD.repeat(33), "it has 33 tables"),
            (GOOD.repeat(2), "the issuer `a` is there twice"),
            (key("jwks = 'k'"), "the issuer `a` needs exactly one of secret_file"),
            (key("secret = 'k'"), "line 5: unknown field `secret`"),
            (key("leeway_s = 61"), "the issuer `a` has a leeway_s"),
            (key("leeway_s = -1"), "line 5: "),
            (key("algorithm = 'none'"), "line 5: unknown variant `none`"),
            (key("jwks_ca = 'f'"), "the issuer `a` has jwks_ca"),
            (GOOD.replace("'chat'", "''"), "the issuer `a` needs an audience"),
            (GOOD.replace("'a'", "''"), "the issuer `` needs a name"),
            (GOOD.replace("name", "nam"), "line 2: unknown field `nam`"),
            ("issuer = 7".to_owned(), "line 1: "),
            (" ".repeat(FILE_BYTES_MAX + 1), "it is larger than"),
        ] {
            let told = IssuerConfig::parse(&text).unwrap_err();
            assert!(told.starts_with(why), "{told:?} is not {why:?}");
        }
    }
}
