//! The API of the settings.
#[cfg(feature = "api")]
mod with {
    use std::sync::Arc;

    use chat_tokio::api::{ApiKeys, ApiOptions, Reload};
    use chat_tokio::config::Config;
    use chat_tokio::{Builder, Server};

    use crate::reload::{self, Reloading};

    /// Adds the API, if the settings have one. An error names the option.
    pub(crate) fn add(
        builder: Builder,
        config: &Config,
        reloading: &Reloading,
    ) -> Result<Builder, String> {
        let (Some(listen), Some(path)) = (config.api.listen, &config.api.key_file) else {
            return Ok(builder);
        };
        let told =
            |why: &dyn std::fmt::Display| format!("--api-key-file {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        let keys = ApiKeys::parse(&text).map_err(|error| told(&error))?;
        if !listen.ip().is_loopback() {
            tracing::warn!(
                address = %listen,
                "other machines can reach the API, which speaks plain HTTP: put TLS in front of \
                 it, or its keys can be read on the way"
            );
        }
        Ok(builder.api(ApiOptions { listen, keys, reload: Some(by_request(reloading)) }))
    }

    /// Lets a request read the settings again. It is done on the thread that signals wake, and to
    /// its end, also if whoever asks has gone.
    fn by_request(reloading: &Reloading) -> Arc<dyn Reload> {
        let (runtime, reloading) = (tokio::runtime::Handle::current(), reloading.clone());
        Arc::new(move || {
            let reloaded = runtime.spawn(reload::reload(reloading.clone()));
            async move { reloaded.await.unwrap_or_else(|error| Err(error.to_string())) }
        })
    }

    /// Says where it is served.
    pub(crate) fn announce(server: &Server) {
        if let Some(address) = server.api_addr() {
            crate::print(&format!("chat-server api on http://{address}\n"));
        }
    }
}

#[cfg(not(feature = "api"))]
mod with {
    use chat_tokio::config::Config;
    use chat_tokio::{Builder, Server};

    pub(crate) fn add(
        builder: Builder,
        config: &Config,
        _: &crate::reload::Reloading,
    ) -> Result<Builder, String> {
        match config.api.listen {
            None => Ok(builder),
            Some(_) => Err("--api-listen: this server was built without the feature `api`".into()),
        }
    }

    pub(crate) const fn announce(_: &Server) {}
}

pub(crate) use with::{add, announce};
