//! What a running server does with settings that are read again.
use std::sync::Arc;

use chat_tokio::config::{Config, Reloader, Settings};
use chat_tokio::{Changes, Handle, Server};
use tokio::sync::SetOnce;

use super::serve::{When, authority, hosts, origins};

/// What reads the settings again, once the server runs.
pub(crate) type Reloading = Arc<SetOnce<Reloader>>;

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

/// Reads the settings again, and tells in the log, and the caller, what has become of them.
pub(crate) async fn reload(reloading: Reloading) -> Result<String, String> {
    match reloading.wait().await.reload().await {
        Ok(reloaded) => {
            let told = reloaded.to_string();
            match reloaded.restart.is_empty() {
                true => tracing::info!("the settings are read again: {told}"),
                false => tracing::warn!("the settings are read again: {told}"),
            }
            Ok(told)
        }
        Err(error) => {
            tracing::error!("the settings can't be read again, nothing has changed: {error}");
            Err(error.to_string())
        }
    }
}
