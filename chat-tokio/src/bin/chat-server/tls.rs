//! TLS by the settings.
use chat_tokio::Handle;
use chat_tokio::config::{Config, TlsConfig};
use chat_tokio::server::Builder;
#[cfg(feature = "tls")]
use chat_tokio::tls::TlsIdentity;

/// What takes effect with a reload.
type Others = Vec<Box<dyn FnOnce() + Send>>;

/// Tells a server where to listen, and with which security.
///
/// # Errors
/// Which option can't be used, and why.
#[cfg(feature = "tls")]
pub(crate) fn listen(builder: Builder, config: &Config) -> Result<Builder, String> {
    let Some(identity) = identity(&config.tls)? else {
        return Ok(listen_plainly(builder, config));
    };
    let builder = match config.lines {
        Some(lines) if config.tls.lines => builder.listen_tls_lines(lines, identity.clone()),
        Some(lines) => builder.listen_lines(lines),
        None => builder,
    };
    Ok(builder.listen(config.listen).tls(identity))
}

#[cfg(not(feature = "tls"))]
pub(crate) fn listen(builder: Builder, config: &Config) -> Result<Builder, String> {
    match config.tls.files()? {
        None => Ok(listen_plainly(builder, config)),
        Some(_) => Err("--tls-cert: this server was built without the feature `tls`".to_owned()),
    }
}

/// Reads the certificate and its key.
#[cfg(feature = "tls")]
fn identity(tls: &TlsConfig) -> Result<Option<TlsIdentity>, String> {
    let Some((cert, key)) = tls.files()? else { return Ok(None) };
    let identity = TlsIdentity::from_files(cert, key).map_err(|error| {
        let is_key = error.file() == Some(key) && key != cert;
        let flag = if is_key { "--tls-key" } else { "--tls-cert" };
        format!("{flag} {error}")
    })?;
    Ok(Some(identity))
}

/// Checks the files of a running server, and says what lets them take effect.
///
/// # Errors
/// Which option can't be used, and why.
#[cfg(feature = "tls")]
pub(crate) fn reload(tls: &TlsConfig, handle: Handle) -> Result<Others, String> {
    if identity(tls)?.is_none() {
        return Ok(Vec::new());
    }
    Ok(vec![Box::new(move || {
        if let Err(error) = handle.reload_tls() {
            // They were whole a moment ago.
            tracing::error!(%error, "the certificate can't be read again");
        }
    })])
}

#[cfg(not(feature = "tls"))]
pub(crate) fn reload(_tls: &TlsConfig, _handle: Handle) -> Result<Others, String> {
    Ok(Vec::new())
}

fn listen_plainly(builder: Builder, config: &Config) -> Builder {
    let builder = builder.listen(config.listen);
    match config.lines {
        Some(lines) => builder.listen_lines(lines),
        None => builder,
    }
}
