//! The table of the options: names, help, how each is set and shown.
use std::path::PathBuf;
use std::time::Duration;

use chat_proto::{LimitValues, Limits};
use toml::Value;

use super::values::{address, duration, filter, one_of, origin, show_duration, show_one_of, word};
use super::{Config, Durability, LogFormat, LogKind};
use super::{api, auth, door, tls};

/// An option of the server: one of [`OPTIONS`] or one of the limits.
#[derive(Clone, Copy)]
pub(super) enum Setting {
    Option(&'static Opt),
    Limit(&'static Limit),
}

/// A row of [`Limits::TABLE`].
type Limit = (&'static str, &'static str, u64, u64, u64);

/// An option that is not a limit.
pub(super) struct Opt {
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    /// What the help calls its value.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
    pub(super) set: Set,
    pub(super) show: fn(&Config) -> Value,
}

/// How an option takes its values. An error says what is allowed.
pub(super) enum Set {
    /// It has one value.
    One(fn(&mut Config, &str) -> Result<(), String>),
    /// It has any number of values; a later source replaces them all.
    Many(fn(&mut Config, &[&str]) -> Result<(), String>),
}

impl Setting {
    /// Returns all options, then all limits.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::options().chain(Limits::TABLE.iter().map(Self::Limit))
    }

    fn options() -> impl Iterator<Item = Self> {
        let parts = [OPTIONS, door::OPTIONS, tls::OPTIONS, auth::OPTIONS, api::OPTIONS];
        parts.into_iter().flatten().map(Self::Option)
    }

    /// Finds an option that is no limit.
    pub(super) fn option(name: &str) -> Option<Self> {
        Self::options().find(|setting| setting.name() == name)
    }

    /// Finds a limit.
    pub(super) fn limit(name: &str) -> Option<Self> {
        Limits::TABLE.iter().map(Self::Limit).find(|setting| setting.name() == name)
    }

    /// Returns the name, which no other option has, in snake case.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Option(option) => option.name,
            Self::Limit(limit) => limit.0,
        }
    }

    /// Returns the name with its table in the file.
    pub(super) fn key(self) -> String {
        match self {
            Self::Option(option) => option.name.to_owned(),
            Self::Limit(limit) => format!("limits.{}", limit.0),
        }
    }

    /// Returns the flag with its dashes.
    pub(super) fn flag(self) -> String {
        format!("--{}", self.name().replace('_', "-"))
    }

    /// Returns the environment's variable.
    pub(super) fn variable(self) -> String {
        format!("CHAT_{}", self.name().to_ascii_uppercase())
    }

    /// Returns the heading under which the help lists it.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Option(option) => option.group,
            Self::Limit(_) => "Limits",
        }
    }

    /// Returns what the help calls its value.
    pub(super) fn value_name(self) -> &'static str {
        match self {
            Self::Option(option) => option.value,
            Self::Limit(_) => "N",
        }
    }

    /// Returns its meaning.
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Option(option) => option.help,
            Self::Limit(limit) => limit.1.trim(),
        }
    }

    /// Returns its smallest and largest value, if it is a limit.
    pub(super) fn bounds(self) -> Option<(u64, u64)> {
        match self {
            Self::Option(_) => None,
            Self::Limit(&(_, _, _, min, max)) => Some((min, max)),
        }
    }

    /// Tells whether it may be given several times.
    pub(super) fn takes_many(self) -> bool {
        matches!(self, Self::Option(Opt { set: Set::Many(_), .. }))
    }

    /// Sets it. An error says what is allowed.
    pub(super) fn set(
        self,
        config: &mut Config,
        limits: &mut LimitValues,
        values: &[String],
    ) -> Result<(), String> {
        let values: Vec<&str> = values.iter().map(|value| value.trim()).collect();
        match (self, values.as_slice()) {
            (Self::Option(Opt { set: Set::Many(set), .. }), values) => set(config, values),
            (Self::Option(Opt { set: Set::One(set), .. }), [value]) => set(config, value),
            (Self::Limit(limit), [value]) => set_limit(limits, limit, value),
            (Self::Option(_) | Self::Limit(_), _) => Err("one value, not a list".to_owned()),
        }
    }

    /// Shows its value as the file spells it.
    pub(super) fn show(self, config: &Config) -> Value {
        match self {
            Self::Option(option) => (option.show)(config),
            Self::Limit(limit) => integer(config.limits.get(limit.0).unwrap_or_default()),
        }
    }
}

/// Takes any number: the bounds are checked when all sources have been heard.
fn set_limit(
    limits: &mut LimitValues,
    &(name, _, _, min, max): &Limit,
    text: &str,
) -> Result<(), String> {
    let allowed = || format!("a whole number from {min} to {max}");
    let value = text.parse().map_err(|_| allowed())?;
    match limits.set(name, value) {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => Err(allowed()),
    }
}

pub(super) fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

/// Takes the name of a file, or an empty text for none.
pub(super) fn path(slot: &mut Option<PathBuf>, text: &str) -> Result<(), String> {
    *slot = Some(text).filter(|text| !text.is_empty()).map(PathBuf::from);
    Ok(())
}

pub(super) fn show_path(path: Option<&PathBuf>) -> Value {
    string(&path.map(|path| path.display().to_string()).unwrap_or_default())
}

fn set_workers(config: &mut Config, text: &str) -> Result<(), String> {
    config.workers = text
        .parse()
        .ok()
        .filter(|workers| *workers <= WORKERS_MAX)
        .ok_or_else(|| format!("a whole number from 0 (one for each core) to {WORKERS_MAX}"))?;
    Ok(())
}

fn set_data_dir(config: &mut Config, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("the name of a folder".to_owned());
    }
    config.data_dir = PathBuf::from(text);
    Ok(())
}

/// Splits values at their commas. An empty item is skipped, so that an empty list can be given by
/// every source.
pub(super) fn list<'a>(texts: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let items = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
    items.filter(|item| !item.is_empty())
}

fn set_allow_origins(config: &mut Config, texts: &[&str]) -> Result<(), String> {
    config.allow_origins = list(texts).map(origin).collect::<Result<_, _>>()?;
    Ok(())
}

fn show_allow_origins(config: &Config) -> Value {
    Value::Array(config.allow_origins.iter().map(string).collect())
}

pub(super) fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn string(text: &impl ToString) -> Value {
    Value::String(text.to_string())
}

/// More threads than any machine that this is made for has cores.
const WORKERS_MAX: usize = 1024;

/// Less would refuse honest clients far away; more keeps the door open for idle ones.
const HANDSHAKE_BOUNDS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);

const DRAIN_BOUNDS: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

const SESSION_BOUNDS: std::ops::RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(24 * 3600);

const GRACE_BOUNDS: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);

/// What stands for "none" where an option can be without a value.
pub(super) const OFF: &str = "off";
const BUILT_IN: &str = "built-in";

pub(super) const YES_NO: &[(&str, bool)] = &[("yes", true), ("no", false)];
const LOGS: &[(&str, LogKind)] = &[("sqlite", LogKind::Sqlite), ("memory", LogKind::Memory)];
const DURABILITIES: &[(&str, Durability)] =
    &[("full", Durability::Full), ("normal", Durability::Normal)];
const FORMATS: &[(&str, LogFormat)] = &[("human", LogFormat::Human), ("json", LogFormat::Json)];

pub(super) fn show_word<T: PartialEq>(value: &T, words: &[(&str, T)]) -> Value {
    let found = words.iter().find(|(_, candidate)| candidate == value);
    string(&found.map_or("", |(word, _)| *word))
}

const OPTIONS: &[Opt] = &[
    Opt {
        name: "listen",
        group: "Addresses",
        value: "ADDR",
        help: "Address for HTTP and WebSocket; port 0 lets the system choose.",
        set: Set::One(|config, text| put(&mut config.listen, address(text))),
        show: |config| string(&config.listen),
    },
    Opt {
        name: "lines",
        group: "Addresses",
        value: "ADDR",
        help: "Address for the TCP lines transport, or `off`.",
        set: Set::One(|config, text| {
            config.lines = if text == OFF { None } else { Some(address(text)?) };
            Ok(())
        }),
        show: |config| config.lines.as_ref().map_or_else(|| string(&OFF), string),
    },
    Opt {
        name: "metrics_listen",
        group: "Addresses",
        value: "ADDR",
        help: "Address for /metrics, in the text format of Prometheus, beside /healthz and \
               /readyz; or `off`. The address of --listen: there.",
        set: Set::One(|config, text| {
            config.metrics_listen = if text == OFF { None } else { Some(address(text)?) };
            Ok(())
        }),
        show: |config| config.metrics_listen.as_ref().map_or_else(|| string(&OFF), string),
    },
    Opt {
        name: "share_port",
        group: "Addresses",
        value: "yes|no",
        help: "Let another server of the same user listen on the same addresses and use the same \
               folder, to take this one's place without a gap; it has to say so, too.",
        set: Set::One(|config, text| put(&mut config.share_port, word(text, YES_NO))),
        show: |config| show_word(&config.share_port, YES_NO),
    },
    Opt {
        name: "allow_origin",
        group: "Addresses",
        value: "ORIGIN",
        help: "Origin of pages that may connect, such as https://chat.example.org; `*`: any. May \
               be repeated, or separated by commas. Without it: pages of the server's own host.",
        set: Set::Many(set_allow_origins),
        show: show_allow_origins,
    },
    Opt {
        name: "web_dir",
        group: "Addresses",
        value: "DIR",
        help: "Folder to serve the page from, or `built-in`.",
        set: Set::One(|config, text| {
            config.web_dir = Some(text).filter(|text| *text != BUILT_IN).map(PathBuf::from);
            Ok(())
        }),
        show: |config| {
            config.web_dir.as_ref().map_or_else(|| string(&BUILT_IN), |dir| string(&dir.display()))
        },
    },
    Opt {
        name: "log",
        group: "Storage",
        value: "sqlite|memory",
        help: "Where messages are kept: in a file of the data folder, or in memory only.",
        set: Set::One(|config, text| put(&mut config.log, word(text, LOGS))),
        show: |config| show_word(&config.log, LOGS),
    },
    Opt {
        name: "data_dir",
        group: "Storage",
        value: "DIR",
        help: "Folder for the messages; created if missing.",
        set: Set::One(set_data_dir),
        show: |config| string(&config.data_dir.display()),
    },
    Opt {
        name: "durability",
        group: "Storage",
        value: "full|normal",
        help: "What an acked message survives: `full`, a loss of power; `normal`, the end of the \
               process (faster).",
        set: Set::One(|config, text| put(&mut config.durability, word(text, DURABILITIES))),
        show: |config| show_word(&config.durability, DURABILITIES),
    },
    Opt {
        name: "workers",
        group: "Running",
        value: "N",
        help: "Worker threads; 0: one for each core.",
        set: Set::One(set_workers),
        show: |config| integer(config.workers as u64),
    },
    Opt {
        name: "handshake_timeout",
        group: "Running",
        value: "SECONDS",
        help: "How long a connection has for its handshake; 10, 2.5, 500ms, 2m.",
        set: Set::One(|config, text| {
            put(&mut config.handshake_timeout, duration(text, HANDSHAKE_BOUNDS))
        }),
        show: |config| string(&show_duration(config.handshake_timeout)),
    },
    Opt {
        name: "session_timeout",
        group: "Running",
        value: "SECONDS",
        help: "How long a session outlives its connection.",
        set: Set::One(|config, text| {
            put(&mut config.session_timeout, duration(text, SESSION_BOUNDS))
        }),
        show: |config| string(&show_duration(config.session_timeout)),
    },
    Opt {
        name: "leave_grace",
        group: "Running",
        value: "SECONDS",
        help: "How long others do not see that a member has lost its connection.",
        set: Set::One(|config, text| put(&mut config.leave_grace, duration(text, GRACE_BOUNDS))),
        show: |config| string(&show_duration(config.leave_grace)),
    },
    Opt {
        name: "drain_timeout",
        group: "Running",
        value: "SECONDS",
        help: "How long connections have to leave when the server stops.",
        set: Set::One(|config, text| put(&mut config.drain_timeout, duration(text, DRAIN_BOUNDS))),
        show: |config| string(&show_duration(config.drain_timeout)),
    },
    Opt {
        name: "log_level",
        group: "Logging",
        value: "FILTER",
        help: "What is logged: error, warn, info, debug, trace, or a filter such as \
               `warn,chat_tokio=debug`. RUST_LOG is heard too.",
        set: Set::One(|config, text| put(&mut config.log_level, filter(text))),
        show: |config| string(&config.log_level),
    },
    Opt {
        name: "log_format",
        group: "Logging",
        value: "human|json",
        help: "Shape of the log lines on standard error.",
        set: Set::One(|config, text| put(&mut config.log_format, word(text, FORMATS))),
        show: |config| show_word(&config.log_format, FORMATS),
    },
    Opt {
        name: "trace_sample",
        group: "Logging",
        value: "1/N",
        help: "Log one of N requests with its session, its room and what became of it; 0: none.",
        set: Set::One(|config, text| put(&mut config.trace_sample, one_of(text))),
        show: |config| string(&show_one_of(config.trace_sample)),
    },
];
