//! The keys of those who may ask.
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes that a key has at the least.
pub const API_KEY_BYTES_MIN: usize = 32;

/// Keys that count at a time: an old one and a new one, for each of some services.
pub const API_KEYS_MAX: usize = 16;

/// Keys, any of which lets in. They are not kept as they are, but as codes under a secret of this
/// process, which also makes the comparison take the same time whatever is presented.
#[derive(Clone)]
pub struct ApiKeys {
    secret: [u8; 32],
    codes: Vec<[u8; 32]>,
}

/// Why keys are not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyError {
    /// There is none.
    None,
    /// There are more than [`API_KEYS_MAX`].
    TooMany,
    /// A key has less than [`API_KEY_BYTES_MIN`] bytes; which, from 1 on, and how many.
    TooShort(usize, usize),
    /// A key has a byte that a header can't carry; which, from 1 on.
    NotVisible(usize),
    /// The system gives no random numbers.
    NoRandomness,
}

impl fmt::Display for ApiKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is no key in it"),
            Self::TooMany => write!(f, "there are more than {API_KEYS_MAX} keys in it"),
            Self::TooShort(n, bytes) => {
                write!(f, "key {n} has {bytes} bytes: at least {API_KEY_BYTES_MIN} are wanted")
            }
            Self::NotVisible(n) => {
                write!(f, "key {n} has something else than visible ASCII characters")
            }
            Self::NoRandomness => f.write_str("the system gives no random numbers"),
        }
    }
}

impl std::error::Error for ApiKeyError {}

impl ApiKeys {
    /// Takes keys.
    ///
    /// # Errors
    /// Which one is not taken, and why; the key itself is not told.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, ApiKeyError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| ApiKeyError::NoRandomness)?;
        let mut all = Self { secret, codes: Vec::new() };
        for (n, key) in (1..).zip(keys) {
            if key.len() < API_KEY_BYTES_MIN {
                return Err(ApiKeyError::TooShort(n, key.len()));
            }
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(ApiKeyError::NotVisible(n));
            }
            if n > API_KEYS_MAX {
                return Err(ApiKeyError::TooMany);
            }
            let code = all.code(key.as_bytes()).finalize().into_bytes().into();
            all.codes.push(code);
        }
        if all.codes.is_empty() { Err(ApiKeyError::None) } else { Ok(all) }
    }

    /// Takes the keys of a text, one on each line; empty lines and those that begin with `#` are
    /// skipped.
    ///
    /// # Errors
    /// Which one is not taken, and why; the key itself is not told.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let lines = text.lines().map(str::trim);
        Self::new(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
    }

    /// Tells whether this is one of them.
    #[must_use]
    pub fn has(&self, key: &[u8]) -> bool {
        let code = self.code(key);
        // All are looked at, whichever fits.
        let fits = self.codes.iter().map(|known| code.clone().verify_slice(known).is_ok());
        fits.fold(false, |any, fits| any | fits)
    }

    fn code(&self, key: &[u8]) -> Hmac<Sha256> {
        let code = Hmac::<Sha256>::new_from_slice(&self.secret);
        let mut code = code.expect("a secret may have any length");
        code.update(key);
        code
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.codes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "one-0123456789-0123456789-012345";
    const TWO: &str = "two-0123456789-0123456789-012345";

    #[test]
    fn any_of_the_keys_lets_in() {
        let keys = ApiKeys::parse(&format!("# old\n{ONE}\r\n\n  {TWO}  \n")).unwrap();
        assert!(keys.has(ONE.as_bytes()) && keys.has(TWO.as_bytes()));
        for other in [&ONE[1..], "", "# old", &format!("{ONE}x"), &ONE.to_uppercase()] {
            assert!(!keys.has(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{keys:?}"), "ApiKeys(2)");
    }

    #[test]
    fn a_weak_or_unusable_key_is_refused() {
        let error = |text: &str| ApiKeys::parse(text).unwrap_err();
        assert_eq!(error("\n# nothing\n"), ApiKeyError::None);
        assert_eq!(error(&format!("{ONE}\n{}", &TWO[1..])), ApiKeyError::TooShort(2, 31));
        assert_eq!(error(&format!("{ONE} {TWO}")), ApiKeyError::NotVisible(1));
        assert_eq!(error(&format!("{ONE}\n").repeat(17)), ApiKeyError::TooMany);
        assert!(!error(&TWO[1..]).to_string().contains(&TWO[1..]));
    }
}
