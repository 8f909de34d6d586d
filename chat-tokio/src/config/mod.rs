//! The settings of the reference server.
//!
//! Every option can be given in three ways, and a later one wins: the file (`--config FILE` or
//! `CHAT_CONFIG`), the environment (`CHAT_…`), the command line (`--…`). What is given nowhere has
//! its default. The options stand in one table (`options`) and the limits in
//! [`Limits::TABLE`](chat_proto::Limits::TABLE); flags, variables, keys of the file, help and
//! `--print-config` all come from there, so a new option has no second place.
//!
//! A misspelt key, variable or flag is refused, never skipped: a server that runs with a limit
//! that nobody set is worse than one that doesn't start.
//!
//! ```
//! use chat_tokio::config::{Config, Loaded};
//!
//! let args = ["chat-server", "--listen", "localhost:9000"];
//! let env = [("CHAT_ROOMS".into(), "64".into())];
//! let Ok(Loaded::Run(settings)) = Config::load(args, env, |path| std::fs::read_to_string(path))
//! else {
//!     panic!("these settings are fine");
//! };
//! assert_eq!(settings.config.listen.port(), 9000);
//! assert_eq!(settings.config.limits.rooms, 64);
//! ```
mod api;
mod args;
mod auth;
mod door;
mod environment;
mod error;
mod file;
mod issuers;
mod options;
mod print;
mod reload;
mod tls;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_proto::{LimitValues, Limits};

pub use api::ApiConfig;
pub use auth::{AuthConfig, AuthMode};
pub use door::DoorConfig;
pub use error::{ConfigError, Origin};
pub use issuers::{IssuerConfig, SecretAlgorithm};
use options::Setting;
pub use reload::{ReloadError, Reloaded, Reloader};
pub use tls::TlsConfig;

/// What the reference server is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where HTTP and WebSocket are served. Port 0: the system chooses one.
    pub listen: SocketAddr,
    /// Where the lines transport is served; `None`: nowhere.
    pub lines: Option<SocketAddr>,
    /// Where metrics are served; `None`: nowhere. The address of `listen`: beside the page.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether another server of the same user may listen on the same addresses, and use the same
    /// folder: the next one, which is to take this one's place.
    pub share_port: bool,
    /// The folder of the room log, relative to the working directory. Created if missing.
    pub data_dir: PathBuf,
    /// Which room log.
    pub log: LogKind,
    /// What an ack survives, with the `sqlite` log.
    pub durability: Durability,
    /// Worker threads; 0: one for each core.
    pub workers: usize,
    /// A folder to serve the page from; `None`: the page that is built in.
    pub web_dir: Option<PathBuf>,
    /// Origins of pages that may connect: `scheme://host[:port]`, or `*` for any. Empty: those of
    /// the server's own host.
    pub allow_origins: Vec<String>,
    /// Who may connect, by which name, from where and how often.
    pub door: DoorConfig,
    /// Who may come in.
    pub auth: AuthConfig,
    /// The API for backends and operators.
    pub api: ApiConfig,
    /// How it proves who it is.
    pub tls: TlsConfig,
    /// How long a connection has for its handshake: from 100 ms to 10 min, in whole milliseconds.
    pub handshake_timeout: Duration,
    /// How long a session outlives its connection: at most 24 h, in whole milliseconds.
    pub session_timeout: Duration,
    /// How long others do not see that a member has lost its connection: at most 10 min, in whole
    /// milliseconds.
    pub leave_grace: Duration,
    /// How long connections have to leave when the server stops: at most 1 h, in whole
    /// milliseconds.
    pub drain_timeout: Duration,
    /// The shape of the log lines on standard error.
    pub log_format: LogFormat,
    /// What is logged, in `tracing`'s filter syntax.
    pub log_level: String,
    /// One of so many requests is logged with what became of it; `None`: none is.
    pub trace_sample: Option<NonZeroU32>,
    /// The limits of rooms, connections and frames.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            lines: None,
            metrics_listen: None,
            share_port: false,
            data_dir: PathBuf::from("./data"),
            log: LogKind::Sqlite,
            durability: Durability::Full,
            workers: 1,
            web_dir: None,
            allow_origins: Vec::new(),
            door: DoorConfig::default(),
            auth: AuthConfig::default(),
            api: ApiConfig::default(),
            tls: TlsConfig::default(),
            handshake_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(120),
            leave_grace: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            log_format: LogFormat::Human,
            log_level: "info".to_owned(),
            trace_sample: None,
            limits: Limits::default(),
        }
    }
}

/// Which room log keeps the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// A file in the data folder.
    Sqlite,
    /// The process's memory: everything is gone when it ends.
    Memory,
}

/// What an ack survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power.
    Full,
    /// The end of the process, not a loss of power.
    Normal,
}

/// The shape of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// What the command line asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Run with these settings.
    Run(Box<Settings>),
    /// Print this on standard output and be done: `--help`, `--version`, `--print-config`.
    Print(String),
}

/// A configuration and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The settings, each checked by itself and the limits together.
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
    /// The limits as given so far. They become `config.limits` once all sources are read.
    limits: LimitValues,
}

impl Settings {
    /// Returns each option that was given, as the file spells it, with what gave it.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        self.origins.iter().map(|(name, origin)| (*name, origin))
    }

    fn origin(&self, setting: Setting) -> Origin {
        self.origins.get(setting.name()).cloned().unwrap_or(Origin::Default)
    }

    fn apply(&mut self, given: Vec<Given>) -> Result<(), ConfigError> {
        for Given { setting, values, origin } in given {
            if let Err(allowed) = setting.set(&mut self.config, &mut self.limits, &values) {
                let (key, value) = (setting.key(), values.join(", "));
                return Err(ConfigError::Invalid { origin, key, value, allowed });
            }
            self.origins.insert(setting.name(), origin);
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), ConfigError> {
        self.config.limits = self.limits.clone().build().map_err(|error| {
            let setting = Setting::limit(error.name).expect("each limit is in the table");
            ConfigError::Limit { error, origin: self.origin(setting), flag: setting.flag() }
        })?;
        let origin = |name: &str| self.origins.get(name).cloned().unwrap_or(Origin::Default);
        if self.config.share_port && self.config.log == LogKind::Memory {
            let why =
                "each server would have rooms of its own: --log has to be `sqlite`".to_owned();
            let key = "share_port".to_owned();
            return Err(ConfigError::Conflict { origin: origin(&key), key, why });
        }
        auth::check(&self.config, origin)
    }
}

/// One option as a source gives it: raw, with where it stands.
struct Given {
    setting: Setting,
    values: Vec<String>,
    origin: Origin,
}

impl Config {
    /// Reads the settings from the command line (`args`, the program's name first), the
    /// environment and the file, if one is named. Touches nothing but its arguments.
    ///
    /// `RUST_LOG` is heard too: it sets `log_level` with less weight than `CHAT_LOG_LEVEL`. An
    /// empty variable counts as not set.
    ///
    /// # Errors
    /// The first unknown name, wrong value or unreadable file, with its place and what is allowed.
    pub fn load(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        read_file: impl FnOnce(&Path) -> io::Result<String>,
    ) -> Result<Loaded, ConfigError> {
        let args = match args::parse(args)? {
            args::Parsed::Print(text) => return Ok(Loaded::Print(text)),
            args::Parsed::Args(args) => args,
        };
        let env = environment::parse(env)?;
        let mut settings = Settings::default();
        if let Some((path, origin)) = args.config.or(env.config) {
            let text = read_file(&path).map_err(|error| ConfigError::Unreadable {
                path: path.clone(),
                origin,
                error: error.to_string(),
            })?;
            settings.apply(file::parse(&path, &text)?)?;
        }
        settings.apply(env.given)?;
        settings.apply(args.given)?;
        settings.check()?;
        Ok(if args.print_config {
            Loaded::Print(print::print(&settings))
        } else {
            Loaded::Run(Box::new(settings))
        })
    }
}
