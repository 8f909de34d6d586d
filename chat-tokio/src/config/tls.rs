//! The options of TLS.
use std::path::PathBuf;

use super::options::{Opt, Set, YES_NO, path, put, show_path, show_word};
use super::values::word;

/// How the server proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, in PEM; `None`: no TLS is spoken.
    pub cert: Option<PathBuf>,
    /// The private key of the first certificate, in PEM.
    pub key: Option<PathBuf>,
    /// Whether the lines transport speaks TLS as well, if HTTP does.
    pub lines: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { cert: None, key: None, lines: true }
    }
}

impl TlsConfig {
    /// Returns the files of the certificate and the key, if TLS is spoken.
    ///
    /// # Errors
    /// Which option is missing.
    pub fn files(&self) -> Result<Option<(&PathBuf, &PathBuf)>, String> {
        match (&self.cert, &self.key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (Some(_), None) => {
                Err("--tls-cert needs --tls-key: the private key of the certificate".to_owned())
            }
            (None, Some(_)) => {
                Err("--tls-key needs --tls-cert: the certificate of the private key".to_owned())
            }
        }
    }
}

pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        name: "tls_cert",
        group: "TLS",
        value: "FILE",
        help: "Certificate chain in PEM, the server's own first. With it, TLS is spoken on all \
               addresses. The files may change while the server runs.",
        set: Set::One(|config, text| path(&mut config.tls.cert, text)),
        show: |config| show_path(config.tls.cert.as_ref()),
    },
    Opt {
        name: "tls_key",
        group: "TLS",
        value: "FILE",
        help: "Private key of the certificate, in PEM and not encrypted.",
        set: Set::One(|config, text| path(&mut config.tls.key, text)),
        show: |config| show_path(config.tls.key.as_ref()),
    },
    Opt {
        name: "tls_lines",
        group: "TLS",
        value: "yes|no",
        help: "Whether the lines transport speaks TLS, too, if there is a certificate.",
        set: Set::One(|config, text| put(&mut config.tls.lines, word(text, YES_NO))),
        show: |config| show_word(&config.tls.lines, YES_NO),
    },
];
