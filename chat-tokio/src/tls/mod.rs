//! TLS, by rustls: certificates that change while the server runs, and whom a client trusts.
//!
//! ```no_run
//! use chat_tokio::Server;
//! use chat_tokio::tls::TlsIdentity;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = TlsIdentity::from_files("cert.pem", "key.pem")?;
//! let server = Server::builder().listen("0.0.0.0:443".parse()?).tls(identity.clone()).start()?;
//! // The server looks at the files by itself; this is for those who can't wait.
//! identity.reload()?;
//! # Ok(())
//! # }
//! ```
//!
//! TLS 1.2 and 1.3 are spoken. The cryptography is that of aws-lc-rs, whatever provider the process
//! has chosen for others.
//!
//! An idle WebSocket over TLS holds about 8 KB more than one without, half of it the buffer in
//! which rustls reads.
//!
//! # What is deliberately absent
//!
//! Certificates are neither made nor ordered here, and clients are not asked for theirs: whoever
//! wants that brings a [`rustls::ServerConfig`] ([`TlsIdentity::from_config`]).
mod error;
mod identity;
mod pem;
mod roots;
mod validity;

use std::sync::Arc;

pub use self::error::TlsError;
pub use self::identity::TlsIdentity;
pub(crate) use self::identity::{LOOK_EVERY, Spoken};
pub use self::roots::Roots;
pub use rustls;

/// The cryptography of this crate.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
