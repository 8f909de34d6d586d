//! Certificates made for a test, and whoever trusts them.
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use chat_tokio::clock::Clock;
use chat_tokio::tls::rustls::ServerConfig;
use chat_tokio::tls::rustls::crypto::aws_lc_rs::default_provider;
use chat_tokio::tls::rustls::pki_types::pem::PemObject;
use chat_tokio::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use chat_tokio::tls::{Roots, TlsIdentity};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who signs certificates in a test.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        let (params, key) = authority();
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }
}

fn authority() -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    // Two authorities are two names.
    let name = format!("{:x?}", &key.public_key_raw()[..8]);
    params.distinguished_name.push(DnType::CommonName, name);
    (params, key)
}

impl Authority {
    /// Makes an authority that signs itself, and whose certificate counts from one time to another,
    /// both in hours from now.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    #[must_use]
    pub fn lasting(hours: [i64; 2]) -> Self {
        let (mut params, key) = authority();
        [params.not_before, params.not_after] = hours.map(|hours| in_seconds(hours * 3600));
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Makes an authority whose certificate this one has signed, and which counts from one time to
    /// another, both in hours from now.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    #[must_use]
    pub fn intermediate(&self, hours: [i64; 2]) -> Self {
        let (mut params, key) = authority();
        [params.not_before, params.not_after] = hours.map(|hours| in_seconds(hours * 3600));
        let pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Returns its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a certificate of this machine and its key, in PEM.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    #[must_use]
    pub fn issue(&self) -> [String; 2] {
        self.sign(&machine())
    }

    /// Makes a certificate of this machine that counts from one time to another, both in hours
    /// from now, and its key, in PEM.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    #[must_use]
    pub fn issue_for(&self, hours: [i64; 2]) -> [String; 2] {
        self.issue_for_seconds(hours.map(|hours| hours * 3600))
    }

    /// The same in seconds.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    #[must_use]
    pub fn issue_for_seconds(&self, seconds: [i64; 2]) -> [String; 2] {
        let mut params = machine();
        [params.not_before, params.not_after] = seconds.map(in_seconds);
        self.sign(&params)
    }

    /// Makes what accepts connections under a certificate of this machine.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        let [certificate, key] = self.issue();
        let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key);
        Arc::new(config.expect("a pair")).into()
    }

    fn sign(&self, params: &CertificateParams) -> [String; 2] {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        [certificate.pem(), key.serialize_pem()]
    }

    /// Makes an identity of this machine.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    #[must_use]
    pub fn identity(&self) -> TlsIdentity {
        let [certificate, key] = self.issue();
        TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("an identity")
    }

    /// Returns the roots of a client that trusts it.
    ///
    /// # Panics
    /// Never: its own certificate is one.
    #[must_use]
    pub fn roots(&self) -> Roots {
        Roots::from_pem(self.pem.as_bytes()).expect("roots")
    }

    /// Makes a connection to a server that has a certificate of this authority.
    ///
    /// # Errors
    /// If it has not, or is none.
    ///
    /// # Panics
    /// If nobody listens there.
    pub async fn connect(&self, server: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(server).await.expect("it connects");
        tcp.set_nodelay(true).expect("an option of TCP");
        self.secure(tcp).await
    }

    /// Shakes hands over a connection.
    ///
    /// # Errors
    /// If the server has no certificate of this authority, or is none.
    ///
    /// # Panics
    /// Never: the server's name is one.
    pub async fn secure(&self, tcp: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::clone(self.roots().config())).connect(name, tcp).await
    }
}

fn in_seconds(seconds: i64) -> OffsetDateTime {
    let now = i64::try_from(Clock::start().now().wall.0 / 1000).expect("a time of our age");
    OffsetDateTime::from_unix_timestamp(now + seconds).expect("a time of our age")
}

fn machine() -> CertificateParams {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    CertificateParams::new(names).expect("names")
}

/// Returns the certificate that a server has shown.
///
/// # Panics
/// If it has shown none.
#[must_use]
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    chain.first().expect("its own").clone().into_owned()
}

/// A certificate and its key in two files.
#[derive(Debug)]
pub struct Files {
    dir: TempDir,
}

impl Files {
    /// Writes a new pair.
    ///
    /// # Panics
    /// If there is no room for it.
    #[must_use]
    pub fn of(authority: &Authority) -> Self {
        let files = Self { dir: tempfile::tempdir().expect("a folder") };
        files.write(&authority.issue());
        files
    }

    /// Puts these in place of those that were.
    ///
    /// # Panics
    /// If they can't be written.
    pub fn write(&self, [certificate, key]: &[String; 2]) {
        fs::write(self.certificate(), certificate).expect("a file");
        fs::write(self.key(), key).expect("a file");
    }

    /// Returns where the certificate is.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// Returns where its key is.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }
}
