//! Reading the settings again while the server runs.
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::options::Setting;
use super::{Config, ConfigError, Loaded, Settings};
use crate::server::{Changes, Handle, ReconfigureError};

/// Reads the settings again and lets them take effect: all of those that can, or none. Cloning
/// shares it; one reload runs at a time.
///
/// ```no_run
/// use chat_tokio::config::{Config, Loaded, Reloader};
/// use chat_tokio::{Changes, Server};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let load = || {
///     let read = |path: &std::path::Path| std::fs::read_to_string(path);
///     Config::load(std::env::args_os(), std::env::vars_os(), read)
/// };
/// let Loaded::Run(settings) = load()? else { return Ok(()) };
/// let server = Server::builder().limits(settings.config.limits.clone()).start()?;
/// let reloader = Reloader::new(server.handle(), &settings, load, |config| async move {
///     Ok(Changes { limits: Some(config.limits), ..Changes::default() })
/// });
/// println!("{}", reloader.reload().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    handle: Handle,
    load: Box<dyn Fn() -> Result<Loaded, ConfigError> + Send + Sync>,
    prepare: Box<dyn Fn(Config) -> Preparing + Send + Sync>,
    /// The settings in force.
    config: Mutex<Config>,
}

type Preparing = Pin<Box<dyn Future<Output = Result<Changes, String>> + Send>>;

impl Reloader {
    /// Makes one for a server that runs with these settings. `load` reads them again; `prepare`
    /// reads whatever they name (keys, certificates) and says what is to change. It is given the
    /// settings that will be in force, and changes nothing itself.
    #[must_use]
    pub fn new<F>(
        handle: Handle,
        settings: &Settings,
        load: impl Fn() -> Result<Loaded, ConfigError> + Send + Sync + 'static,
        prepare: impl Fn(Config) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Changes, String>> + Send + 'static,
    {
        Self(Arc::new(Inner {
            handle,
            load: Box::new(load),
            prepare: Box::new(move |config| Box::pin(prepare(config))),
            config: Mutex::new(settings.config.clone()),
        }))
    }

    /// Reads the settings and lets them take effect.
    ///
    /// # Errors
    /// Says what is wrong with the settings, or with what they name; nothing has changed then.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let Inner { handle, load, prepare, config: running } = &*self.0;
        let mut running = running.lock().await;
        // Whoever asks for a print gets one at the start, and no server.
        let Loaded::Run(mut settings) = load().map_err(ReloadError::Config)? else {
            return Ok(Reloaded::default());
        };
        let wanted = settings.config.clone();
        settings.config = running.clone();
        take_over(&mut settings.config, &wanted);
        // What is in force then has to go together, too.
        settings.check().map_err(ReloadError::Config)?;
        let reloaded = Reloaded {
            changed: differing(&running, &settings.config),
            restart: differing(&settings.config, &wanted),
        };
        let changes = prepare(settings.config.clone()).await.map_err(ReloadError::Prepare)?;
        handle.reconfigure(changes).await.map_err(ReloadError::Server)?;
        *running = settings.config;
        Ok(reloaded)
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

/// Takes over what can take effect while the server runs.
fn take_over(running: &mut Config, wanted: &Config) {
    running.limits = wanted.limits.clone();
    running.allow_origins.clone_from(&wanted.allow_origins);
    running.door.hosts.clone_from(&wanted.door.hosts);
    if running.auth.mode != wanted.auth.mode {
        // The options of one mode are none of another.
        return;
    }
    let (auth, new) = (&mut running.auth, wanted.auth.clone());
    auth.jwt_secret_file = new.jwt_secret_file;
    auth.jwt_secret_bits = new.jwt_secret_bits;
    auth.jwt_public_key = new.jwt_public_key;
    auth.jwks = new.jwks;
    auth.jwt_issuer = new.jwt_issuer;
    auth.jwt_audience = new.jwt_audience;
    auth.jwt_leeway = new.jwt_leeway;
    auth.jwt_issuers = new.jwt_issuers;
}

/// The options in which two configurations differ, as the file spells them.
fn differing(one: &Config, other: &Config) -> Vec<String> {
    let differs = |setting: &Setting| setting.show(one) != setting.show(other);
    Setting::all().filter(differs).map(Setting::key).collect()
}

/// What a reload has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Options that have changed, as the file spells them.
    pub changed: Vec<String>,
    /// Options that were changed, too, and take effect with the next start only.
    pub restart: Vec<String>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.changed.as_slice() {
            [] => f.write_str("no option has changed")?,
            changed => write!(f, "changed: {}", changed.join(", "))?,
        }
        match self.restart.as_slice() {
            [] => Ok(()),
            restart => write!(f, "; a restart is needed for: {}", restart.join(", ")),
        }
    }
}

/// Why the settings are what they were.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadError {
    /// The settings are refused.
    Config(ConfigError),
    /// What they name can't be used.
    Prepare(String),
    /// The server refuses them.
    Server(ReconfigureError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Prepare(why) => f.write_str(why),
            Self::Server(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReloadError {}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_proto::LimitValues;

    /// What takes effect while the server runs, beside the limits.
    const LIVE: &[&str] = &[
        "allow_origin",
        "allow_host",
        "jwt_secret_file",
        "jwt_algorithm",
        "jwt_public_key",
        "jwks",
        "jwt_issuer",
        "jwt_audience",
        "jwt_leeway",
        "jwt_issuers",
    ];

    /// Values of which each option takes one that is not its default.
    const VALUES: &[&str] = &[
        "3",
        "127.0.0.1:9",
        "yes",
        "memory",
        "jwt",
        "normal",
        "json",
        "debug",
        "HS512",
        "https://example.org",
        "192.0.2.0/24",
        "join",
        "another",
        "1/7",
        "no",
    ];

    /// The default configuration with another value of one option.
    fn with_another(setting: Setting) -> Config {
        let bounds = setting.bounds().map(|(min, max)| [min.to_string(), max.to_string()]);
        let values = VALUES.iter().map(|text| (*text).to_owned());
        for value in bounds.into_iter().flatten().chain(values) {
            let (mut config, mut limits) = (Config::default(), LimitValues::default());
            let set = setting.set(&mut config, &mut limits, &[value]);
            let Ok(limits) = limits.build() else { continue };
            config.limits = limits;
            if set.is_ok() && config != Config::default() {
                return config;
            }
        }
        panic!("`VALUES` has none for `{}`", setting.name());
    }

    #[test]
    fn an_option_takes_effect_or_is_told_to_need_a_restart() {
        for setting in Setting::all() {
            let (running, wanted) = (Config::default(), with_another(setting));
            let all = differing(&running, &wanted);
            assert_eq!(all, [setting.key()], "it is another value, and of this option only");
            let mut taken = running.clone();
            take_over(&mut taken, &wanted);
            let is_live = matches!(setting, Setting::Limit(_)) || LIVE.contains(&setting.name());
            let (changed, restart) = (differing(&running, &taken), differing(&taken, &wanted));
            assert_eq!((changed, restart) == (all, vec![]), is_live, "{}", setting.name());
        }
        assert!(LIVE.iter().all(|name| Setting::option(name).is_some()));
    }

    #[test]
    fn another_way_to_know_people_waits_for_the_next_start() {
        let (mut running, mut wanted) = (Config::default(), Config::default());
        wanted.auth.mode = super::super::AuthMode::Jwt;
        wanted.auth.jwt_issuer = "us".to_owned();
        take_over(&mut running, &wanted);
        assert_eq!(running, Config::default());
        assert_eq!(differing(&running, &wanted), ["auth", "jwt_issuer"]);
    }
}
