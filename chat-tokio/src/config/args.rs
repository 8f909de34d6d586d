//! The command line.
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::options::Setting;
use super::{Config, ConfigError, Given, Origin};

pub(super) enum Parsed {
    /// Help or version.
    Print(String),
    Args(Args),
}

pub(super) struct Args {
    pub(super) given: Vec<Given>,
    /// The file and what named it.
    pub(super) config: Option<(PathBuf, Origin)>,
    pub(super) print_config: bool,
}

pub(super) fn parse(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Parsed, ConfigError> {
    match command().try_get_matches_from(args) {
        Ok(matches) => Ok(Parsed::Args(read(&matches))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Parsed::Print(error.to_string()))
            }
            _ => Err(ConfigError::Usage(error.to_string())),
        },
    }
}

fn read(matches: &ArgMatches) -> Args {
    let given = Setting::all().filter_map(|setting| {
        let values = matches.get_many::<String>(setting.name())?.cloned().collect();
        Some(Given { setting, values, origin: Origin::Flag(setting.flag()) })
    });
    Args {
        given: given.collect(),
        config: matches
            .get_one::<PathBuf>(CONFIG)
            .map(|path| (path.clone(), Origin::Flag("--config".to_owned()))),
        print_config: matches.get_flag(PRINT_CONFIG),
    }
}

fn command() -> Command {
    let defaults = Config::default();
    Command::new("chat-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A room-chat server: open its address in a browser and talk.")
        .help_template(TEMPLATE)
        .after_help(AFTER_HELP)
        .max_term_width(100)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(Setting::all().map(|setting| argument(setting, &defaults)))
        .next_help_heading("Other")
        .arg(
            Arg::new(CONFIG)
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Settings in TOML; --print-config shows how it looks."),
        )
        .arg(
            Arg::new(PRINT_CONFIG)
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help("Print the settings in force, ready for --config, and where they come from."),
        )
        .arg(help_flag("help", 'h', ArgAction::Help, "Print this help."))
        .arg(help_flag("version", 'V', ArgAction::Version, "Print the version."))
}

fn argument(setting: Setting, defaults: &Config) -> Arg {
    let default = setting.show(defaults);
    let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
    let help = match (setting.bounds(), default.as_str()) {
        (Some((min, max)), default) => {
            format!("{} [{min} to {max}; default: {default}]", setting.help())
        }
        (None, "[]") => setting.help().to_owned(),
        (None, default) => format!("{} [default: {default}]", setting.help()),
    };
    Arg::new(setting.name())
        .long(setting.name().replace('_', "-"))
        .value_name(setting.value_name())
        .help(help)
        .help_heading(setting.group())
        // A negative number is our error to explain, not an unknown flag.
        .allow_negative_numbers(true)
        .action(if setting.takes_many() { ArgAction::Append } else { ArgAction::Set })
}

fn help_flag(name: &'static str, short: char, action: ArgAction, help: &'static str) -> Arg {
    Arg::new(name).long(name).short(short).action(action).help(help)
}

const CONFIG: &str = "config";
const PRINT_CONFIG: &str = "print_config";

const TEMPLATE: &str = "\
{about}

  chat-server --listen 0.0.0.0:8080 --data-dir /var/lib/chat

{usage-heading} {usage}

{all-args}{after-help}";

const AFTER_HELP: &str = "\
Every option can also be given by the environment (--data-dir as CHAT_DATA_DIR) or in the file \
(data_dir = \"./data\"; limits under [limits]). The command line wins over the environment, the \
environment over the file. An empty variable counts as not set; unknown names are refused.

On SIGHUP the file is read again: limits, allowed origins and keys of tokens take effect at once, \
the log says what needs a restart, and a mistake changes nothing.";
