//! TLS by the settings.
use chat_tokio::config::Config;
use chat_tokio::server::Builder;

/// Tells a server where to listen, and with which security.
///
/// # Errors
/// Which option can't be used, and why.
#[cfg(feature = "tls")]
pub(crate) fn listen(builder: Builder, config: &Config) -> Result<Builder, String> {
    use chat_tokio::tls::TlsIdentity;

    let Some((cert, key)) = config.tls.files()? else { return Ok(listen_plainly(builder, config)) };
    let identity = TlsIdentity::from_files(cert, key).map_err(|error| {
        let is_key = error.file() == Some(key) && key != cert;
        let flag = if is_key { "--tls-key" } else { "--tls-cert" };
        format!("{flag} {error}")
    })?;
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

fn listen_plainly(builder: Builder, config: &Config) -> Builder {
    let builder = builder.listen(config.listen);
    match config.lines {
        Some(lines) => builder.listen_lines(lines),
        None => builder,
    }
}
