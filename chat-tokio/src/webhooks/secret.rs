//! What events are signed with.
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a secret, as Standard Webhooks wants.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A shared secret: 24 to 64 bytes. It is never shown.
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

/// Why a text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// It is no Base64 after `whsec_`.
    NotBase64,
    /// It has too few or too many bytes; how many.
    Length(usize),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64 => f.write_str("it has to be `whsec_` and Base64"),
            Self::Length(n) => {
                let (min, max) = (BYTES.start(), BYTES.end());
                write!(f, "it has {n} bytes behind its Base64: {min} to {max} are wanted")
            }
        }
    }
}

impl std::error::Error for SecretError {}

impl WebhookSecret {
    /// Reads a secret: Base64, with or without `whsec_` before it.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text));
        let bytes = bytes.map_err(|_| SecretError::NotBase64)?;
        if BYTES.contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(SecretError::Length(bytes.len()))
        }
    }

    /// Returns the value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let code = Hmac::<Sha256>::new_from_slice(&self.0);
        let mut code = code.expect("a secret may have any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            code.update(part);
        }
        format!("v1,{}", STANDARD.encode(code.finalize().into_bytes()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(!format!("{secret:?}").contains("Mf"));
    }

    #[test]
    fn a_short_or_damaged_secret_is_refused() {
        let error = |text: &str| WebhookSecret::parse(text).unwrap_err();
        assert_eq!(error("whsec_"), SecretError::Length(0));
        assert_eq!(error("whsec_AAAA"), SecretError::Length(3));
        assert_eq!(error("whsec_*"), SecretError::NotBase64);
        assert!(WebhookSecret::parse(&format!("{}\n", "A".repeat(32))).is_ok());
    }
}
