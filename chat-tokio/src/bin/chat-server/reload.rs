//! What a running server does with settings that are read again.
use chat_tokio::config::{Config, Reloader, Settings};
use chat_tokio::{Changes, Handle, Server};

use super::serve::{When, authority, hosts, origins};

/// Makes what reads the settings of this process again.
pub(crate) fn reloader(server: &Server, settings: &Settings) -> Reloader {
    let handle = server.handle();
    Reloader::new(server.handle(), settings, super::load, move |config| {
        prepare(config, handle.clone())
    })
}

/// Reads what the settings name, and says what is to change.
async fn prepare(config: Config, handle: Handle) -> Result<Changes, String> {
    let listed = origins(&config.allow_origins).map_err(|why| format!("--allow-origin: {why}"))?;
    Ok(Changes {
        limits: Some(config.limits),
        origins: Some(listed),
        hosts: Some(hosts(&config.door.hosts)),
        authenticator: authority(&config.auth, When::Again).await?,
        others: super::tls::reload(&config.tls, handle)?,
    })
}

/// Reads the settings again, and tells in the log what has become of them.
pub(crate) async fn reload(reloader: Reloader) {
    match reloader.reload().await {
        Ok(reloaded) if reloaded.restart.is_empty() => {
            tracing::info!("the settings are read again: {reloaded}");
        }
        Ok(reloaded) => tracing::warn!("the settings are read again: {reloaded}"),
        Err(error) => {
            tracing::error!("the settings can't be read again, nothing has changed: {error}");
        }
    }
}
