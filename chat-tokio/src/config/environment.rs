//! The environment's `CHAT_` variables.
use std::ffi::OsString;
use std::path::PathBuf;

use super::error::nearest;
use super::options::Setting;
use super::{ConfigError, Given, Origin};

pub(super) struct Environment {
    pub(super) given: Vec<Given>,
    /// The file and what named it.
    pub(super) config: Option<(PathBuf, Origin)>,
}

/// Reads the variables. The order in which they come does not matter.
pub(super) fn parse(
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Environment, ConfigError> {
    let mut found = Environment { given: Vec::new(), config: None };
    let mut rust_log = None;
    // A variable whose name is not text is nobody's of ours.
    let env = env.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    for (name, value) in env.filter(|(_, value)| !value.is_empty()) {
        if name == "CHAT_CONFIG" {
            found.config = Some((PathBuf::from(value), Origin::Variable(name)));
        } else if name == "RUST_LOG" {
            rust_log = Some(text(&name, "log_level", value)?);
        } else if let Some(setting) = Setting::all().find(|setting| setting.variable() == name) {
            let values = vec![text(&name, setting.name(), value)?];
            found.given.push(Given { setting, values, origin: Origin::Variable(name) });
        } else if name.starts_with("CHAT_") && !is_foreign(&name) {
            let hint = nearest(&name, Setting::all().map(Setting::variable))
                .map(|meant| format!("did you mean `{meant}`?"));
            return Err(ConfigError::UnknownVariable { name, hint });
        }
    }
    if let (Some(value), Some(setting)) = (rust_log, Setting::option("log_level")) {
        let origin = Origin::Variable("RUST_LOG".to_owned());
        found.given.insert(0, Given { setting, values: vec![value], origin });
    }
    Ok(found)
}

fn text(name: &str, key: &str, value: OsString) -> Result<String, ConfigError> {
    value.into_string().map_err(|value| ConfigError::Invalid {
        origin: Origin::Variable(name.to_owned()),
        key: key.to_owned(),
        value: value.to_string_lossy().into_owned(),
        allowed: "valid UTF-8".to_owned(),
    })
}

/// Tells whether a variable has our prefix without meaning us: the tests have some, and
/// Kubernetes and Docker make them up for a service named `chat` or `chat-…`
/// (`CHAT_SERVICE_HOST`, `CHAT_PORT`, `CHAT_PORT_8080_TCP_ADDR`).
fn is_foreign(name: &str) -> bool {
    const TESTS: [&str; 3] = ["CHAT_ALLOW_MISSING", "CHAT_IRC_DIR", "CHAT_SERVER_BIN"];
    let injected = name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_")
            && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| name.contains(protocol));
    TESTS.contains(&name) || injected
}
