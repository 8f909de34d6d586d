//! The reference server.
//!
//! It ends with 0 after a drain, 1 if it can't start or a worker has failed, 2 if its settings are
//! wrong (or a token is, see `token`), and with 128 and the signal's number if a second signal
//! comes during the drain.
mod api;
#[cfg(feature = "jwt")]
mod grant;
#[cfg(feature = "jwt")]
mod identity;
mod logging;
mod reload;
mod serve;
mod signals;
mod tls;
#[cfg(feature = "jwt")]
mod token;
mod webhooks;

use std::io::Write;
use std::process::ExitCode;

use chat_tokio::config::{AuthMode, Config, ConfigError, Loaded, Settings};

/// It gives back what a burst has taken; the C library of Linux keeps it.
#[cfg(all(unix, feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "token") {
        #[cfg(feature = "jwt")]
        return token::run(std::env::args_os().skip(2).collect());
        #[cfg(not(feature = "jwt"))]
        {
            eprintln!("chat-server: token: {NO_JWT}");
            return ExitCode::from(USAGE);
        }
    }
    match load() {
        Ok(Loaded::Run(settings)) => run(&settings),
        Ok(Loaded::Print(text)) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error @ ConfigError::Usage(_)) => {
            eprintln!("{error}");
            ExitCode::from(USAGE)
        }
        Err(error) => {
            eprintln!("chat-server: {error}");
            ExitCode::from(USAGE)
        }
    }
}

/// Reads the settings from the command line, the environment and the file.
fn load() -> Result<Loaded, ConfigError> {
    let read_file = |path: &std::path::Path| std::fs::read_to_string(path);
    Config::load(std::env::args_os(), std::env::vars_os(), read_file)
}

fn run(settings: &Settings) -> ExitCode {
    logging::init(settings.config.log_format, &settings.config.log_level);
    for (name, origin) in settings.given() {
        tracing::debug!("{name} is set by {origin}");
    }
    // Not when they are read: whoever makes tokens needs fewer of them.
    let tokens = match settings.config.auth.mode {
        AuthMode::Open => Ok(()),
        #[cfg(not(feature = "jwt"))]
        AuthMode::Jwt | AuthMode::Cookie => Err(format!("--auth: {NO_JWT}")),
        #[cfg(feature = "jwt")]
        AuthMode::Jwt | AuthMode::Cookie => settings.config.auth.check_tokens(),
    };
    if let Err(why) = tokens.and_then(|()| settings.config.door.check_proxies()) {
        eprintln!("chat-server: {why}");
        return ExitCode::from(USAGE);
    }
    if let Err(why) = settings.config.tls.files() {
        eprintln!("chat-server: {why}");
        return ExitCode::from(USAGE);
    }
    if let Err(why) = settings.config.api.check() {
        eprintln!("chat-server: {why}");
        return ExitCode::from(USAGE);
    }
    raise_open_files();
    match serve::serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat-server: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Writes to standard output and passes it on at once. A reader that has gone is no reason to
/// stop.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if let Err(error) = written {
        tracing::debug!("standard output is closed: {error}");
    }
}

/// A connection is an open file, and most systems begin with about a thousand of them.
fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!("up to {files} open files"),
        Err(error) => tracing::debug!("the limit of open files stays as it is: {error}"),
    }
}

/// What no other option can make up for.
#[cfg(not(feature = "jwt"))]
const NO_JWT: &str = "this server was built without the feature `jwt`";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
