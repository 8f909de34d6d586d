use std::ffi::OsString;
use std::io;

use super::options::Setting;
use super::*;

/// Loads with a file `chat.toml` (none if it is empty), variables and flags.
fn load(file: &str, env: &[(&str, &str)], args: &[&str]) -> Result<Loaded, ConfigError> {
    let config = if file.is_empty() { vec![] } else { vec!["--config", "chat.toml"] };
    let args = ["chat-server"].into_iter().chain(config).chain(args.iter().copied());
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load(args, env, |path| {
        assert_eq!(path, Path::new("chat.toml"));
        Ok(file.to_owned())
    })
}

fn settings(file: &str, env: &[(&str, &str)], args: &[&str]) -> Settings {
    match load(file, env, args) {
        Ok(Loaded::Run(settings)) => *settings,
        Ok(Loaded::Print(text)) => panic!("printed {text}"),
        Err(error) => panic!("{error}"),
    }
}

fn config(file: &str, env: &[(&str, &str)], args: &[&str]) -> Config {
    settings(file, env, args).config
}

fn refusal(file: &str, env: &[(&str, &str)], args: &[&str]) -> String {
    load(file, env, args).expect_err("it has to be refused").to_string()
}

fn printed(file: &str, env: &[(&str, &str)], args: &[&str]) -> String {
    match load(file, env, args) {
        Ok(Loaded::Print(text)) => text,
        other => panic!("nothing printed: {other:?}"),
    }
}

/// Three values for each option that differ from its default and from each other.
fn samples(setting: Setting) -> [String; 3] {
    let texts = match (setting, setting.name()) {
        (Setting::Limit(&(name, _, default, min, max)), _) => {
            // Close to the default, so that the limits still fit together.
            let step = |n| if default + n <= max { default + n } else { default - n };
            // An upper neighbour of a pair may grow only, a lower one shrink only.
            let lower = matches!(name, "message_bytes" | "outbox_high_bytes");
            let at = |n| if lower { default - n } else { step(n) };
            assert!(at(3) >= min, "{name}");
            return [at(1), at(2), at(3)].map(|value| value.to_string());
        }
        (_, "listen") => ["127.0.0.1:1", "[::1]:2", "localhost:0"],
        (_, "lines" | "api_listen" | "metrics_listen") => ["127.0.0.1:1", "[::1]:2", "localhost:0"],
        (_, "webhook_events") => ["join", "leave,message", "connect"],
        (_, "trace_sample") => ["1", "1/2", "1/1000"],
        (_, "log") => ["memory"; 3],
        (_, "durability") => ["normal"; 3],
        (_, "log_format") => ["json"; 3],
        (_, "log_level") => ["warn", "debug", "info,chat_tokio=trace"],
        (_, "workers") => ["0", "2", "8"],
        (_, "handshake_timeout") => ["500ms", "2.5", "2m"],
        (_, "session_timeout") => ["0", "2.5", "24h"],
        (_, "leave_grace") => ["0", "500ms", "10m"],
        (_, "drain_timeout") => ["0", "2.5", "1h"],
        (_, "auth") => ["jwt", "cookie", "jwt"],
        (_, "open_to_everyone" | "share_port") => ["yes"; 3],
        (_, "tls_lines") => ["no"; 3],
        (_, "jwt_algorithm") => ["HS384", "HS512", "HS384"],
        (_, "jwt_leeway") => ["0", "1", "1m"],
        (_, "auth_warning") => ["0", "2.5", "1h"],
        (_, "auth_cookie") => ["a", "b-c", "__Host-token"],
        (_, "allow_host") => ["*", "a.example,b.example", "xn--bcher-kva.example"],
        (_, "trusted_proxy") => ["10.0.0.0/8", "::1,192.0.2.1", "2001:db8::/32"],
        (_, "proxy_protocol" | "lines_proxy_protocol") => ["yes"; 3],
        (_, "max_connections" | "max_connections_per_address") => ["1", "2", "100000000"],
        (_, "max_connections_before_hello" | "max_http_connections") => ["1", "2", "100000000"],
        (_, "allow_origin") => ["*", "http://a.example,https://b.example", "app://x"],
        _ => ["./a", "/b", "c d"],
    };
    texts.map(str::to_owned)
}

fn in_file(setting: Setting, value: &str) -> String {
    let table = if matches!(setting, Setting::Limit(_)) { "[limits]\n" } else { "" };
    let quoted = toml::Value::String(value.to_owned());
    let value = value.parse::<u64>().map_or_else(|_| quoted.to_string(), |n| n.to_string());
    format!("{table}{} = {value}\n", setting.name())
}

#[test]
fn every_option_is_reached_in_three_ways_and_the_later_wins() {
    for setting in Setting::all() {
        let (flag, variable) = (setting.flag(), setting.variable());
        let [in_the_file, in_env, in_args] = samples(setting);
        let file = in_file(setting, &in_the_file);
        let env = [(variable.as_str(), in_env.as_str())];
        let args = [flag.as_str(), in_args.as_str()];
        let expected = |value: &str| {
            let (mut config, mut limits) = (Config::default(), LimitValues::default());
            setting.set(&mut config, &mut limits, &[value.to_owned()]).unwrap();
            config.limits = limits.build().unwrap();
            assert_ne!(config, Config::default(), "{flag}: {value} is the default");
            config
        };
        assert_eq!(config(&file, &[], &[]), expected(&in_the_file), "{file}");
        assert_eq!(config("", &env, &[]), expected(&in_env), "{variable}");
        assert_eq!(config("", &[], &args), expected(&in_args), "{flag}");
        assert_eq!(config(&file, &env, &[]), expected(&in_env), "{variable} over the file");
        assert_eq!(config(&file, &env, &args), expected(&in_args), "{flag} over all");
        let origins: Vec<_> = [
            settings(&file, &[], &[]).origin(setting),
            settings(&file, &env, &[]).origin(setting),
            settings(&file, &env, &args).origin(setting),
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        let line = if matches!(setting, Setting::Limit(_)) { 2 } else { 1 };
        assert_eq!(origins, [format!("chat.toml line {line}"), variable, flag]);
    }
}

#[test]
fn names_are_unique_and_the_help_has_them_all() {
    let mut names: Vec<_> = Setting::all().map(Setting::name).collect();
    let help = printed("", &[], &["--help"]);
    assert!(help.starts_with("A room-chat server"), "{help}");
    for setting in Setting::all() {
        let line = format!("{} <{}>", setting.flag(), setting.value_name());
        assert!(help.contains(&line), "{line} in {help}");
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_printed_settings_are_read_back_as_they_were() {
    let everything: Vec<String> = Setting::all()
        // It does not go together with a log in memory.
        .filter(|setting| setting.name() != "share_port")
        .flat_map(|setting| [setting.flag(), samples(setting)[1].clone()])
        .chain(["--print-config".to_owned()])
        .collect();
    let args: Vec<&str> = everything.iter().map(String::as_str).collect();
    let all = printed("", &[], &args);
    assert_eq!(config(&all, &[], &[]), config("", &[], &args[..args.len() - 1]));
    assert!(all.contains("# Set by --frame-bytes\nframe_bytes = 16386\n"), "{all}");

    let none = printed("", &[], &["--print-config"]);
    assert_eq!(config(&none, &[], &[]), Config::default());
    assert!(!none.contains("# Set by"), "{none}");
    assert!(none.lines().all(|line| line.chars().count() <= 100), "{none}");

    let mixed = printed("workers = 3", &[("CHAT_DATA_DIR", "a \"b\" \\c")], &["--print-config"]);
    assert!(mixed.contains("# Set by chat.toml line 1\nworkers = 3\n"), "{mixed}");
    assert!(mixed.contains("# Set by CHAT_DATA_DIR\n"), "{mixed}");
    assert_eq!(config(&mixed, &[], &[]).data_dir, Path::new("a \"b\" \\c"));
}

#[test]
fn unknown_names_are_refused_with_a_suggestion() {
    for (file, expected) in [
        (
            "workers = 2\n\n[limits]\nrooms = 3\nframe_byte = 1\n",
            "unknown key `limits.frame_byte` in chat.toml line 5; did you mean `frame_bytes`?",
        ),
        ("data-dir = 'x'", "unknown key `data-dir` in chat.toml line 1; did you mean `data_dir`?"),
        ("\nrooms = 2", "unknown key `rooms` in chat.toml line 2; it belongs under [limits]"),
        (
            "[limits]\nlisten = ':0'",
            "unknown key `limits.listen` in chat.toml line 2; it belongs above [limits]",
        ),
        ("[limit]\nrooms = 2", "unknown key `limit` in chat.toml line 1; did you mean `limits`?"),
        ("zzz = 2", "unknown key `zzz` in chat.toml line 1; see --help for all options"),
        ("yyy = 1\naaa = 2", "unknown key `yyy` in chat.toml line 1; see --help for all options"),
    ] {
        assert_eq!(refusal(file, &[], &[]), expected);
    }
    assert_eq!(
        refusal("", &[("CHAT_FRAME_BYTE", "1")], &[]),
        "unknown environment variable `CHAT_FRAME_BYTE`; did you mean `CHAT_FRAME_BYTES`?"
    );
    let flag = refusal("", &[], &["--frame-byte", "1"]);
    assert!(flag.contains("'--frame-byte'") && flag.contains("'--frame-bytes'"), "{flag}");
    assert!(refusal("", &[], &["stray"]).contains("'stray'"));
}

#[test]
fn wrong_values_name_their_source_and_what_is_allowed() {
    for (file, env, args, expected) in [
        (
            "\nworkers = \"many\"",
            None,
            None,
            "chat.toml line 2: `workers` is `many`, but has to be a whole number from 0 (one for \
             each core) to 1024",
        ),
        (
            "listen = [1, 2]",
            None,
            None,
            "chat.toml line 1: `listen` is `[1, 2]`, but has to be one value: a text or a number",
        ),
        (
            "[limits]\nrooms = -1",
            None,
            None,
            "chat.toml line 2: `limits.rooms` is `-1`, but has to be a whole number from 1 to \
             65536",
        ),
        (
            "",
            Some(("CHAT_LOG", "postgres")),
            None,
            "CHAT_LOG is `postgres`, but has to be `sqlite` or `memory`",
        ),
        (
            "",
            None,
            Some(["--drain-timeout", "-5"]),
            "--drain-timeout is `-5`, but has to be a time from 0s to 1h, in seconds or with a \
             unit: 10, 2.5, 500ms, 2m",
        ),
        (
            "[limits]\nrooms = 0x0",
            None,
            None,
            "limit `rooms` is 0, but has to be from 1 to 65536 (set by chat.toml line 2)",
        ),
        (
            "",
            None,
            Some(["--frame-bytes", "4096"]),
            "limit `message_bytes` is 8192, but has to be from 1 to 4096 (nobody set it; do so, \
             e.g. with --message-bytes)",
        ),
        (
            "listen = \n",
            None,
            None,
            "chat.toml line 1: string values must be quoted, expected literal string",
        ),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        let args: Vec<_> = args.into_iter().flatten().collect();
        assert_eq!(refusal(file, &env, &args), expected);
    }
    assert!(refusal("", &[], &["--listen"]).contains("--listen <ADDR>"));
}

#[test]
fn the_file_is_named_by_flag_or_variable() {
    let read = |args: &[&str], env: &[(&str, &str)]| {
        let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let args = ["chat-server"].iter().chain(args).copied();
        Config::load(args, env, |path| match path.to_str() {
            Some("a") => Ok("workers = 4".to_owned()),
            Some("b") => Ok("workers = 5".to_owned()),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
        })
    };
    let workers = |loaded| match loaded {
        Ok(Loaded::Run(settings)) => settings.config.workers,
        other => panic!("{other:?}"),
    };
    assert_eq!(workers(read(&[], &[("CHAT_CONFIG", "a")])), 4);
    assert_eq!(workers(read(&["--config", "b"], &[("CHAT_CONFIG", "a")])), 5);
    assert_eq!(
        read(&["--config=c"], &[]).unwrap_err().to_string(),
        "cannot read c (named by --config): no such file"
    );
}

#[test]
fn lists_come_from_repeats_commas_and_arrays() {
    let origins = ["https://a.example", "https://b.example"];
    let file = "allow_origin = ['https://a.example', 'https://b.example']";
    assert_eq!(config(file, &[], &[]).allow_origins, origins);
    let env = [("CHAT_ALLOW_ORIGIN", "https://a.example, https://b.example")];
    assert_eq!(config("", &env, &[]).allow_origins, origins);
    let args = ["--allow-origin", origins[0], "--allow-origin", origins[1]];
    assert_eq!(config("", &[], &args).allow_origins, origins);
    assert_eq!(config(file, &env, &["--allow-origin="]).allow_origins, [""; 0]);
}

#[test]
fn rust_log_weighs_less_than_our_own_variable() {
    let level = |file, env: &[(&str, &str)], args: &[&str]| config(file, env, args).log_level;
    let rust_log = ("RUST_LOG", "debug");
    assert_eq!(level("", &[rust_log], &[]), "debug");
    assert_eq!(level("log_level = 'warn'", &[rust_log], &[]), "debug");
    assert_eq!(level("", &[rust_log, ("CHAT_LOG_LEVEL", "warn")], &[]), "warn");
    assert_eq!(level("", &[("CHAT_LOG_LEVEL", "warn"), rust_log], &[]), "warn");
    assert_eq!(level("", &[rust_log], &["--log-level", "error"]), "error");
    assert_eq!(level("", &[("RUST_LOG", ""), ("CHAT_LOG_LEVEL", "")], &[]), "info");
}

#[test]
fn variables_made_by_others_are_left_alone() {
    for name in [
        "CHAT_SERVICE_HOST",
        "CHAT_SERVICE_PORT_HTTP",
        "CHAT_PORT",
        "CHAT_PORT_8080_TCP_ADDR",
        "CHAT_SERVER_PORT",
        "CHAT_SERVER_BIN",
        "OTHER",
    ] {
        assert_eq!(config("", &[(name, "x")], &[]), Config::default(), "{name}");
    }
}

#[test]
fn off_and_built_in_take_an_option_back() {
    let file = "lines = 'localhost:1'\nweb_dir = 'web'";
    assert!(config(file, &[], &[]).lines.is_some() && config(file, &[], &[]).web_dir.is_some());
    let args = ["--lines", "off", "--web-dir", "built-in"];
    assert_eq!(config(file, &[], &args), Config::default());
}

#[test]
fn version_is_printed() {
    let version = format!("chat-server {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed("", &[], &["--version"]), version);
}

#[test]
fn open_servers_stay_at_home_unless_told() {
    for far in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
        for flag in ["--listen", "--lines"] {
            let why = refusal("", &[], &[flag, far]);
            assert!(why.starts_with(&format!("{flag}: other machines could come in")), "{why}");
            config("", &[], &[flag, far, "--open-to-everyone", "yes"]);
            config("", &[], &[flag, far, "--auth", "jwt"]);
        }
    }
    let why = refusal("listen = \"0.0.0.0:80\"\n", &[], &[]);
    assert!(why.starts_with("chat.toml line 1: `listen`: other machines"), "{why}");
    config("", &[], &["--listen", "127.8.8.8:80", "--lines", "[::1]:81"]);
}

#[test]
fn what_is_shared_is_not_in_memory() {
    assert!(config("", &[("CHAT_SHARE_PORT", "yes")], &[]).share_port);
    let said = refusal("share_port = \"yes\"\nlog = \"memory\"", &[], &[]);
    assert!(said.contains("line 1: `share_port`: each server would have rooms"), "{said}");
}

#[test]
fn a_cookie_is_not_for_pages_of_everywhere() {
    let why = refusal("", &[("CHAT_AUTH", "cookie")], &["--allow-origin", "*"]);
    assert!(why.starts_with("--allow-origin: with --auth cookie any page"), "{why}");
    config("", &[], &["--auth", "jwt", "--allow-origin", "*"]);
}

#[test]
fn what_belongs_together_is_given_together() {
    for (args, why) in [
        (["--api-listen", "127.0.0.1:0"], "--api-listen needs --api-key-file"),
        (["--api-key-file", "keys"], "--api-key-file needs --api-listen"),
        (["--webhook-url", "http://h/"], "--webhook-url needs --webhook-secret-file"),
        (["--webhook-secret-file", "f"], "--webhook-secret-file needs --webhook-url"),
        (["--webhook-ca", "f"], "--webhook-ca needs an https address"),
    ] {
        let told = config("", &[], &args).api.check().unwrap_err();
        assert!(told.starts_with(why), "{told}");
    }
    let told = refusal("", &[], &["--webhook-events", "join,part"]);
    assert!(told.contains("`connect` or `join` or `leave` or `message`"), "{told}");
}
