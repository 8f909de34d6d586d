//! The webhooks of the settings.
use chat_tokio::Builder;
use chat_tokio::config::Config;

/// Adds the webhooks, if the settings have some. An error names the option.
#[cfg(feature = "webhooks")]
pub(crate) fn add(builder: Builder, config: &Config) -> Result<Builder, String> {
    use chat_tokio::webhooks::{WebhookEvent, WebhookOptions, WebhookSecret};
    let Some(path) = &config.api.webhook_secret_file else { return Ok(builder) };
    let told =
        |why: &dyn std::fmt::Display| format!("--webhook-secret-file {}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    let secret = WebhookSecret::parse(&text).map_err(|error| told(&error))?;
    let options = WebhookOptions::new(&config.api.webhook_url, secret);
    let mut options = options.map_err(|why| format!("--webhook-url: {why}"))?;
    let wanted = &config.api.webhook_events;
    if !wanted.is_empty() {
        let is_wanted = |event: &WebhookEvent| wanted.iter().any(|name| name == event.name());
        options.events.retain(is_wanted);
    }
    #[cfg(feature = "tls")]
    if let Some(path) = &config.api.webhook_ca {
        let roots = chat_tokio::tls::Roots::from_file(path);
        options.roots = Some(roots.map_err(|error| format!("--webhook-ca {error}"))?);
    }
    if !options.is_private() {
        tracing::warn!(
            host = options.url.host(),
            "webhooks go to another machine in the clear: whoever is on the way reads them"
        );
    }
    Ok(builder.webhooks(options))
}

#[cfg(not(feature = "webhooks"))]
pub(crate) fn add(builder: Builder, config: &Config) -> Result<Builder, String> {
    if config.api.webhook_url.is_empty() {
        return Ok(builder);
    }
    Err("--webhook-url: this server was built without the feature `webhooks`".into())
}
