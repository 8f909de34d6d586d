//! The binary as a shell sees it: what it prints, where, and with which code it ends.
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn chat_server(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CHAT_") || name_text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(args: &[&str]) -> Output {
    chat_server(args).output().expect("the binary runs")
}

/// Returns the exit code and standard error; nothing may have gone to standard output.
fn failure(args: &[&str]) -> (Option<i32>, String) {
    let output = output(args);
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).expect("messages are text"))
}

#[test]
fn what_is_asked_for_goes_to_standard_output() {
    for (arg, start) in [
        ("--help", "A room-chat server"),
        ("-h", "A room-chat server"),
        ("--version", "chat-server "),
        ("--print-config", "# Settings of chat-server "),
    ] {
        let output = output(&[arg]);
        assert_eq!(output.status.code(), Some(0), "{arg}");
        assert!(output.stdout.starts_with(start.as_bytes()), "{arg}: {output:?}");
        assert!(output.stderr.is_empty(), "{arg}: {output:?}");
    }
}

#[test]
fn wrong_settings_end_with_2() {
    let (code, message) = failure(&["--lisen", "x"]);
    assert_eq!(code, Some(2));
    assert!(message.contains("'--listen'"), "{message}");
    let (code, message) = failure(&["--log", "paper"]);
    assert_eq!(code, Some(2));
    assert_eq!(message, "chat-server: --log is `paper`, but has to be `sqlite` or `memory`\n");
    for (args, why) in [
        (["--trusted-proxy", "10.0.0.1/8"], "is `10.0.0.1/8`, but has to be an IP address, or a"),
        (["--trusted-proxy", "proxy.example"], "has to be an IP address, or a network such as"),
        (["--allow-host", "chat.example:80"], "has to be `*` or a name such as chat.example.org"),
        (["--max-connections", "many"], "has to be a whole number from 1 to 100000000, or 0"),
        (["--max-connections-per-address", "-1"], "has to be a whole number from 1"),
        (["--max-connections-before-hello", "few"], "has to be a whole number from 1"),
        (["--max-http-connections", "0"], "has to be a whole number from 1 to 100000000"),
        (["--proxy-protocol", "v2"], "has to be `yes` or `no`"),
        (["--proxy-protocol", "yes"], "--proxy-protocol needs --trusted-proxy"),
        (["--lines-proxy-protocol", "yes"], "--lines-proxy-protocol needs --trusted-proxy"),
    ] {
        let (code, message) = failure(&args);
        assert_eq!(code, Some(2), "{args:?}: {message}");
        assert!(message.contains(args[0]) && message.contains(why), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_one_line_and_ends_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let file = file.to_str().expect("a plain path");
    let below = format!("{file}/below");
    let empty = dir.path().to_str().expect("a plain path");
    for (args, start, flag) in [
        (
            ["--listen", &address],
            format!("cannot listen on {address}: the port is in use"),
            "listen",
        ),
        (["--lines", &address], format!("cannot listen on {address}: the port is in use"), "lines"),
        (
            ["--listen", "192.0.2.1:0"],
            "cannot listen on 192.0.2.1:0: this machine".into(),
            "listen",
        ),
        (["--data-dir", &below], format!("the folder {below} can't be used: "), "data-dir"),
        (["--web-dir", &below], format!("cannot serve the page from {below}: "), "web-dir"),
        (["--web-dir", empty], format!("cannot serve the page from {empty}: it has no"), "web-dir"),
    ] {
        let mut all = vec!["--log-level", "off"];
        if flag != "listen" {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        if flag == "listen" {
            all.extend(["--open-to-everyone", "yes"]);
        }
        if flag != "data-dir" {
            all.extend(["--log", "memory"]);
        }
        all.extend(args);
        let (code, message) = failure(&all);
        assert_eq!(code, Some(1), "{args:?}: {message}");
        assert!(message.starts_with(&format!("chat-server: {start}")), "{message}");
        assert!(message.contains("; choose another "), "{message}");
        assert!(message.ends_with(&format!(" with --{flag}\n")), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[cfg(feature = "jwt")]
#[test]
fn tokens_are_made_and_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a plain path").to_owned()
    };
    let secret = file("secret", "a secret of more than 32 bytes, for tests\n");
    let other = file("other", "another secret of more than 32 bytes here\n");
    let about = ["--jwt-issuer", "us", "--jwt-audience", "chat", "--jwt-secret-file"];
    let who = ["token", "make", "--user", "ada", "--name", "Ada", "--room", "team-*", "--id", "t1"];
    let args: Vec<&str> = who.into_iter().chain(about).chain([secret.as_str()]).collect();
    let made = output(&args);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let check = |secret: &str, more: &[&str]| {
        let mut args = vec!["token", "check"];
        args.extend(about);
        args.push(secret);
        args.extend(more);
        let mut child = chat_server(&args).stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, &made.stdout).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    };
    let (code, text) = check(&secret, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(["ada", "Ada", "team-*", "t1"].iter().all(|part| text.contains(part)), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    assert!(lines[0].starts_with("user: ") && lines[0].ends_with(" ada"), "{text}");
    assert!(text.contains("\nrooms:             team-*\n"), "{text}");
    // What is left is an hour, the leeway, and less what has passed.
    assert!(lines[7].starts_with("expires: ") && lines[7].contains("T"), "{text}");
    assert!(
        ["(in 1 h 0 min, the leeway", "(in 59 min"].iter().any(|left| lines[7].contains(left)),
        "{text}"
    );
    let (code, text) = check(&secret, &["--json"]);
    assert_eq!(code, Some(0), "{text}");
    let start = r#"{"expires":"20"#;
    assert!(text.starts_with(start) && text.contains(r#""rooms":["team-*"]"#), "{text}");
    assert!(text.contains(r#""user":"ada""#) && text.lines().count() == 1, "{text}");
    let token = String::from_utf8(made.stdout.clone()).expect("text");
    for (secret, more, why) in [
        (&other, &[][..], "the token is refused: its signature is wrong"),
        (&secret, &["--jwt-algorithm", "HS512"], "the token is refused: no key of its issuer"),
    ] {
        let (code, text) = check(secret, more);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(why) && !text.contains(token.trim()), "{text}");
    }
}

#[cfg(not(feature = "jwt"))]
#[test]
fn who_wants_tokens_of_a_server_without_them_is_told_that_first() {
    for args in [&["--auth", "jwt"][..], &["--auth", "cookie"], &["token", "check"]] {
        let (code, text) = failure(args);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("this server was built without the feature `jwt`"), "{text}");
    }
}

#[cfg(feature = "jwt")]
#[test]
fn issuers_of_a_file_that_can_not_be_used_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("issuers.toml");
    let named = path.to_str().expect("a plain path");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "short\n").expect("a file");
    let table = format!("[[issuer]]\nname = 'a'\naudience = 'b'\nsecret_file = {secret:?}\n");
    let server = ["--auth", "jwt", "--log", "memory", "--listen", "127.0.0.1:0"];
    for (text, why) in [
        ("[[issuer]]\nnam = 'a'\n", "line 2: unknown field `nam`"),
        (&table, "the issuer `a`: secret_file "),
    ] {
        std::fs::write(&path, text).expect("a file");
        let (code, told) = failure(&[&server[..], &["--jwt-issuers", named]].concat());
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(&format!("--jwt-issuers {named}: {why}")), "{told}");
    }
    let (_, told) = failure(&[&server[..], &["--jwt-issuers", "/nowhere/issuers"]].concat());
    assert!(told.contains("--jwt-issuers /nowhere/issuers: No such file"), "{told}");
    // Half of an issuer in the options is no reason to take the file alone.
    let half = [&server[..], &["--jwt-issuers", named, "--jwt-issuer", "us"]].concat();
    let (code, told) = failure(&half);
    assert_eq!(code, Some(2));
    assert!(told.contains("--auth needs exactly one of --jwt-secret-file"), "{told}");
    std::fs::write(&secret, "a secret of more than 32 bytes, for tests").expect("a file");
    let own = ["--jwt-issuer", "a", "--jwt-audience", "b", "--jwt-secret-file"];
    let own = [&own[..], &[secret.to_str().expect("a plain path"), "--jwt-issuers", named]];
    let (code, told) = failure(&[&server[..], &own.concat()].concat());
    assert_eq!(code, Some(1));
    assert!(told.contains("the issuer `a`: it is that of --jwt-issuer, too"), "{told}");
}

#[cfg(feature = "jwt")]
#[test]
fn keys_that_can_not_be_used_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("short");
    std::fs::write(&path, "too short\n").expect("a file");
    let short = path.to_str().expect("a plain path");
    let about = ["--jwt-issuer", "us", "--jwt-audience", "chat", "--jwt-secret-file", short];
    let server = ["--auth", "jwt", "--log", "memory", "--listen", "127.0.0.1:0"];
    let make = ["token", "make", "--user", "ada"];
    for args in [&server[..], &make] {
        let (code, text) = failure(&[args, &about].concat());
        assert_eq!(code, Some(1), "{args:?}");
        assert!(text.contains("--jwt-secret-file") && text.contains("needs 32"), "{text}");
    }
    let (code, text) = failure(&server);
    assert_eq!(code, Some(2));
    assert!(text.contains("--auth needs exactly one of --jwt-secret-file"), "{text}");
    std::fs::write(&path, "a secret of more than 32 bytes, for tests\n").expect("a file");
    let wrong = ["token", "make", "--user", "Ada L"];
    let (code, text) = failure(&[&wrong[..], &about].concat());
    assert_eq!(code, Some(2));
    assert!(text.contains("`sub` is no user id"), "{text}");
}

#[cfg(feature = "tls")]
#[test]
fn certificates_that_can_not_be_used_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("cert.pem");
    std::fs::write(&path, "no certificate").expect("a file");
    let (file, nowhere) = (path.to_str().expect("a plain path"), dir.path().join("nowhere"));
    let nowhere = nowhere.to_str().expect("a plain path");
    let about = ["--log", "memory", "--listen", "127.0.0.1:0", "--log-level", "off"];
    for (more, code, why) in [
        (&["--tls-cert", file][..], 2, "--tls-cert needs --tls-key".to_owned()),
        (&["--tls-key", file], 2, "--tls-key needs --tls-cert".to_owned()),
        (&["--tls-cert", nowhere, "--tls-key", file], 1, format!("--tls-cert {nowhere}: No such")),
        (&["--tls-cert", file, "--tls-key", nowhere], 1, format!("--tls-key {nowhere}: No such")),
        (&["--tls-cert", file, "--tls-key", file], 1, format!("--tls-cert {file}: it has no")),
        (&["--tls-lines", "perhaps"], 2, "--tls-lines is `perhaps`, but has to be".to_owned()),
    ] {
        let (found, text) = failure(&[&about, more].concat());
        assert_eq!(found, Some(code), "{more:?}: {text}");
        assert!(text.starts_with(&format!("chat-server: {why}")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[cfg(all(feature = "jwt", feature = "tls"))]
#[test]
fn authorities_of_key_sets_that_can_not_be_used_are_told() {
    let about = ["--log", "memory", "--listen", "127.0.0.1:0", "--log-level", "off"];
    let auth = ["--auth", "jwt", "--jwt-issuer", "us", "--jwt-audience", "chat"];
    for (jwks, code, why) in [
        ("https://localhost/keys", 1, "--jwks-ca /no/such/file: No such file"),
        ("http://localhost/keys", 2, "--jwks-ca needs an https address in --jwks"),
        ("http://192.0.2.1/keys", 2, "--jwks-ca needs an https address in --jwks"),
    ] {
        let more = ["--jwks", jwks, "--jwks-ca", "/no/such/file"];
        let (found, text) = failure(&[&about[..], &auth, &more].concat());
        assert_eq!(found, Some(code), "{text}");
        assert!(text.starts_with(&format!("chat-server: {why}")), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn it_says_where_it_listens_and_a_signal_ends_it_with_0() {
    for signal in ["-TERM", "-INT"] {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("new/data");
        let mut server = start(&data);
        let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        let mut line = || lines.next().expect("one more line").expect("it is text");
        for prefix in ["chat-server listening on http://", "chat-server lines on "] {
            let line = line();
            let address = line.strip_prefix(prefix).expect(&line);
            std::net::TcpStream::connect(address).expect("it listens there");
        }
        assert!(data.is_dir(), "the data folder is made");
        let pid = server.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(kill.success());
        assert_eq!(server.wait().expect("it ends").code(), Some(0), "{signal}");
    }
}

/// The kernel would let a second server of one user in by mistake, and half of the clients with it.
#[cfg(unix)]
#[test]
fn an_address_is_shared_only_by_servers_that_both_say_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().to_str().expect("a plain path");
    let begin = |listen: &str, more: &[&str]| {
        let args = ["--data-dir", data, "--listen", listen];
        let mut server = chat_server(&[&args, more].concat()).spawn().expect("it runs");
        let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        let line = lines.next().expect("a line").expect("it is text");
        let address = line.strip_prefix("chat-server listening on http://").expect(&line);
        (server, address.to_owned(), lines)
    };
    let end = |server: &mut Child| {
        server.kill().expect("it runs");
        server.wait().expect("it ends");
    };
    let share = ["--share-port", "yes"];
    for (first, second) in [(&share[..], &[][..]), (&[], &share)] {
        let (mut server, address, _lines) = begin("127.0.0.1:0", first);
        let args = [&["--data-dir", data, "--listen", &address], second].concat();
        let (code, text) = failure(&args);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("chat.sqlite is in use by another server"), "{text}");
        assert!(text.contains("--share-port"), "{text}");
        // Nor with another folder.
        let other = dir.path().join("other");
        let args = ["--data-dir", other.to_str().expect("a plain path"), "--listen", &address];
        let (code, text) = failure(&[&args, second].concat());
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("the port is in use"), "{text}");
        end(&mut server);
    }
    let (mut server, address, _lines) = begin("127.0.0.1:0", &share);
    let (mut second, same, _more) = begin(&address, &share);
    assert_eq!(address, same);
    end(&mut server);
    end(&mut second);
}

#[cfg(unix)]
fn start(data: &Path) -> Child {
    chat_server(&["--listen", "127.0.0.1:0", "--lines", "localhost:0"])
        .arg("--data-dir")
        .arg(data)
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs")
}

#[cfg(all(feature = "api", feature = "webhooks"))]
#[test]
fn files_of_secrets_that_can_not_be_used_are_told_without_the_secret() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("secrets");
    std::fs::write(&path, "too-short\n").expect("a file");
    let file = path.to_str().expect("a plain path");
    let server = ["--log", "memory", "--listen", "127.0.0.1:0"];
    let api = ["--api-listen", "127.0.0.1:0", "--api-key-file", file];
    let hooks = ["--webhook-url", "http://localhost:1/", "--webhook-secret-file", file];
    for (args, why) in [(api, "at least 32 are wanted"), (hooks, "`whsec_` and Base64")] {
        let (code, text) = failure(&[&server[..], &args].concat());
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(why) && text.contains(args[2]), "{text}");
        assert!(!text.contains("too-short"), "{text}");
    }
    std::fs::write(&path, format!("whsec_{}\n", "A".repeat(32))).expect("a file");
    let odd = ["--webhook-url", "ftp://h/", "--webhook-secret-file", file];
    let (code, text) = failure(&[&server[..], &odd].concat());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--webhook-url: an address such as https://"), "{text}");
}
