//! The options of the API for backends and operators, and of what they are told.
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Config;
use super::options::{OFF, Opt, Set, path, put, show_path, string};
use super::values::{address, is_https, word};

/// Where backends and operators ask, and who may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiConfig {
    /// Where the API is served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// A file with the keys of those who may ask, one on each line.
    pub key_file: Option<PathBuf>,
    /// Where events are posted; empty: nowhere.
    pub webhook_url: String,
    /// A file with the secret that events are signed with.
    pub webhook_secret_file: Option<PathBuf>,
    /// A file with the authorities that prove an `https` address, in PEM; `None`: those of the
    /// system.
    pub webhook_ca: Option<PathBuf>,
    /// Which events: `connect`, `join`, `leave`, `message`; empty: all.
    pub webhook_events: Vec<String>,
}

impl ApiConfig {
    /// Tells whether what belongs together is given together.
    ///
    /// # Errors
    /// Which option is missing.
    pub fn check(&self) -> Result<(), String> {
        let why = match (self.listen, &self.key_file) {
            (Some(_), None) => "--api-listen needs --api-key-file: nobody could ask",
            (None, Some(_)) => "--api-key-file needs --api-listen: nothing is served",
            (Some(_), Some(_)) | (None, None) => {
                match (self.webhook_url.is_empty(), &self.webhook_secret_file) {
                    (false, None) => {
                        "--webhook-url needs --webhook-secret-file: nobody could tell who posts"
                    }
                    (true, Some(_)) => "--webhook-secret-file needs --webhook-url",
                    (_, _) if self.webhook_ca.is_some() && !is_https(&self.webhook_url) => {
                        "--webhook-ca needs an https address in --webhook-url"
                    }
                    (false, Some(_)) | (true, None) => return Ok(()),
                }
            }
        };
        Err(why.to_owned())
    }
}

/// An empty item is skipped, so that an empty list can be given by every source.
fn set_events(config: &mut Config, texts: &[&str]) -> Result<(), String> {
    let items = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    config.api.webhook_events =
        items.map(|text| word(text, EVENTS).map(str::to_owned)).collect::<Result<_, _>>()?;
    Ok(())
}

const EVENTS: &[(&str, &str)] =
    &[("connect", "connect"), ("join", "join"), ("leave", "leave"), ("message", "message")];

pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        name: "api_listen",
        group: "API",
        value: "ADDR",
        help: "Address of the HTTP API for backends and operators, and of its page /admin/, or \
               `off`. It speaks plain HTTP: put TLS in front of it where other machines reach it.",
        set: Set::One(|config, text| {
            config.api.listen = if text == OFF { None } else { Some(address(text)?) };
            Ok(())
        }),
        show: |config| config.api.listen.as_ref().map_or_else(|| string(&OFF), string),
    },
    Opt {
        name: "api_key_file",
        group: "API",
        value: "FILE",
        help: "File with the keys of those who may use the API, one on each line: at least 32 \
               visible ASCII characters, at most 16 keys.",
        set: Set::One(|config, text| path(&mut config.api.key_file, text)),
        show: |config| show_path(config.api.key_file.as_ref()),
    },
    Opt {
        name: "webhook_url",
        group: "API",
        value: "URL",
        help: "Where to post what happens: an https address, or an http one, which is for a \
               receiver on this machine.",
        set: Set::One(|config, text| put(&mut config.api.webhook_url, Ok(text.to_owned()))),
        show: |config| string(&config.api.webhook_url),
    },
    Opt {
        name: "webhook_secret_file",
        group: "API",
        value: "FILE",
        help: "File with the secret that signs what is posted: `whsec_` and the Base64 of 24 to \
               64 bytes.",
        set: Set::One(|config, text| path(&mut config.api.webhook_secret_file, text)),
        show: |config| show_path(config.api.webhook_secret_file.as_ref()),
    },
    Opt {
        name: "webhook_ca",
        group: "API",
        value: "FILE",
        help: "Certificates in PEM that prove an https address of --webhook-url, instead of the \
               system's authorities.",
        set: Set::One(|config, text| path(&mut config.api.webhook_ca, text)),
        show: |config| show_path(config.api.webhook_ca.as_ref()),
    },
    Opt {
        name: "webhook_events",
        group: "API",
        value: "EVENT",
        help: "What is posted: connect, join, leave, message. May be repeated, or separated by \
               commas. Without it: all of them.",
        set: Set::Many(set_events),
        show: |config| toml::Value::Array(config.api.webhook_events.iter().map(string).collect()),
    },
];
