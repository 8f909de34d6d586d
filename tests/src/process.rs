//! The reference server as a process of its own.
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, ExitStatus, Stdio};
use std::sync::OnceLock;

use chat_proto::Limits;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::client::ApiClient;
use crate::tls::Files;
use crate::wait::within;

/// The key of the API in tests.
pub const API_KEY: &str = "a-key-of-more-than-32-characters-for-tests";

/// Where the log of a server's rooms lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// In the process.
    Memory,
    /// In a file of the data directory.
    Sqlite,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Spec {
    workers: u32,
    log: Log,
    lines: bool,
    api: bool,
    metrics: bool,
    listen: String,
    flags: Vec<String>,
}

impl Default for Spec {
    fn default() -> Self {
        let listen = "127.0.0.1:0".into();
        let (log, flags) = (Log::Memory, Vec::new());
        Self { workers: 1, log, lines: false, api: false, metrics: false, listen, flags }
    }
}

impl Spec {
    /// Sets how many workers it runs.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Sets where its log lives.
    #[must_use]
    pub fn log(mut self, log: Log) -> Self {
        self.log = log;
        self
    }

    /// Sets the address, for a server that takes the place of another.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = address.into();
        self
    }

    /// Opens the port for plain lines.
    #[must_use]
    pub fn lines(mut self) -> Self {
        self.lines = true;
        self
    }

    /// Serves the API, which takes [`API_KEY`].
    #[must_use]
    pub fn api(mut self) -> Self {
        self.api = true;
        self
    }

    /// Opens the port for metrics.
    #[must_use]
    pub fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// Sets one of the limits by its name in [`Limits`].
    ///
    /// # Panics
    /// If there is no such limit: a test must not set what nobody reads.
    #[must_use]
    pub fn limit(self, name: &str, value: u64) -> Self {
        assert!(Limits::default().get(name).is_some(), "there is no limit `{name}`");
        self.flag(&format!("--{}", name.replace('_', "-")), &value.to_string())
    }

    /// Lets it speak TLS under this certificate.
    ///
    /// # Panics
    /// If the files have strange names.
    #[must_use]
    pub fn tls(self, files: &Files) -> Self {
        let (certificate, key) = (files.certificate(), files.key());
        self.flag("--tls-cert", certificate.to_str().expect("a plain path"))
            .flag("--tls-key", key.to_str().expect("a plain path"))
    }

    /// Adds any other flag.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    fn arguments(&self, data: &Path) -> Vec<OsString> {
        let log = match self.log {
            Log::Memory => "memory",
            Log::Sqlite => "sqlite",
        };
        let workers = self.workers.to_string();
        let mut all: Vec<OsString> =
            ["--listen", &self.listen, "--log", log, "--workers", &workers].map(Into::into).into();
        all.extend(["--data-dir".into(), data.into()]);
        if self.lines {
            all.extend(["--lines".into(), "127.0.0.1:0".into()]);
        }
        if self.api {
            let keys = data.with_file_name("api-keys");
            fs::write(&keys, format!("# for tests\n{API_KEY}\n")).expect("a file of keys");
            all.extend(["--api-listen".into(), "127.0.0.1:0".into()]);
            all.extend(["--api-key-file".into(), keys.into()]);
        }
        if self.metrics {
            all.extend(["--metrics-listen".into(), "127.0.0.1:0".into()]);
        }
        all.extend(self.flags.iter().map(Into::into));
        all
    }
}

/// What outlives a server's process: its data and what it said.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
}

impl Default for Home {
    fn default() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }
}

impl Home {
    /// Returns the data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn stderr_path(&self) -> PathBuf {
        self.dir.path().join("stderr.log")
    }

    /// Returns what all servers started here have written to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        let bytes = fs::read(self.stderr_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// When a test fails, what the server said is half of the explanation.
impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.stderr();
            let tail = said.len().saturating_sub(16 * 1024);
            let tail = (tail..said.len()).find(|&at| said.is_char_boundary(at)).unwrap_or(0);
            eprintln!("---- the server's stderr ----\n{}\n----", &said[tail..]);
        }
    }
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Kept open, or the server could not print any more.
    _stdout: Lines<BufReader<ChildStdout>>,
    http: SocketAddr,
    lines: Option<SocketAddr>,
    api: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

impl Server {
    /// Starts a server and waits until it listens.
    ///
    /// # Panics
    /// If the server can't be found or built, ends at once, or does not listen in time.
    pub async fn start(home: &Home, spec: &Spec) -> Self {
        let data = home.data();
        fs::create_dir_all(&data).expect("a directory for the data");
        let mut command = Command::new(server_binary());
        command.args(spec.arguments(&data));
        let stderr = OpenOptions::new().create(true).append(true).open(home.stderr_path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr.expect("stderr's file"));
        // A test must not depend on the environment of whoever runs it.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHAT_") {
                command.env_remove(name);
            }
        }
        let mut child = command.kill_on_drop(true).spawn().expect("the server's binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut stdout = BufReader::new(stdout).lines();
        let secured = spec.flags.iter().any(|flag| flag == "--tls-cert");
        let scheme = if secured { "https" } else { "http" };
        let listening = format!("chat-server listening on {scheme}://");
        let http = announced(&mut stdout, &listening, home).await;
        let lines = match spec.lines {
            true => Some(announced(&mut stdout, "chat-server lines on ", home).await),
            false => None,
        };
        let api = match spec.api {
            true => Some(announced(&mut stdout, "chat-server api on http://", home).await),
            false => None,
        };
        let metrics = match spec.metrics {
            true => Some(announced(&mut stdout, "chat-server metrics on http://", home).await),
            false => None,
        };
        Self { child, _stdout: stdout, http, lines, api, metrics }
    }

    /// Returns the address for HTTP and WebSocket.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Returns the address for plain lines.
    ///
    /// # Panics
    /// If the server was started without.
    #[must_use]
    pub fn lines(&self) -> SocketAddr {
        self.lines.expect("the server was started without --lines")
    }

    /// Returns a client of the API.
    ///
    /// # Panics
    /// If the server was started without.
    #[must_use]
    pub fn api(&self) -> ApiClient {
        ApiClient::new(self.api.expect("the server was started without an API"), API_KEY)
    }

    /// Returns the address for metrics.
    ///
    /// # Panics
    /// If the server was started without.
    #[must_use]
    pub fn metrics(&self) -> SocketAddr {
        self.metrics.expect("the server was started without --metrics-listen")
    }

    /// Returns the process id, as long as it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks the server to leave service (SIGTERM).
    ///
    /// # Panics
    /// If it has ended already.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks the server to read its settings again (SIGHUP).
    ///
    /// # Panics
    /// If it has ended already.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("the server still runs");
        let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("our own process takes a signal");
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn ended(&mut self) -> ExitStatus {
        within("the server's end", self.child.wait()).await.expect("our own process can be awaited")
    }

    /// Stops the server as an operator would, and expects a clean end.
    ///
    /// # Panics
    /// If it does not end in time, or not with 0.
    pub async fn stop(mut self) {
        self.terminate();
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "SIGTERM has to end the server with 0: {status}");
    }

    /// Takes the server away in the middle of whatever it does (SIGKILL).
    ///
    /// # Panics
    /// If it had ended by itself before.
    pub async fn kill(mut self) {
        self.child.start_kill().expect("our own process takes a signal");
        let status = self.ended().await;
        assert_eq!(status.code(), None, "the server had ended by itself: {status}");
    }
}

async fn announced(
    stdout: &mut Lines<BufReader<ChildStdout>>,
    prefix: &str,
    home: &Home,
) -> SocketAddr {
    loop {
        let line = within(format!("the line `{prefix}…`"), stdout.next_line()).await;
        let Some(line) = line.expect("stdout is text") else {
            panic!("the server ended before it said `{prefix}…`:\n{}", home.stderr());
        };
        if let Some(address) = line.strip_prefix(prefix) {
            let address = address.trim().trim_end_matches("/metrics");
            return address.parse().expect("an address and a port");
        }
    }
}

/// Returns the path of the server's binary: `CHAT_SERVER_BIN`, or what cargo builds.
///
/// # Panics
/// If it can't be found or built.
#[must_use]
pub fn server_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| binary("CHAT_SERVER_BIN", "chat-server", &[]))
}

/// Returns the path of the load tool's binary: `CHAT_LOAD_BIN`, or what cargo builds.
///
/// # Panics
/// If it can't be found or built.
#[must_use]
pub fn load_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| binary("CHAT_LOAD_BIN", "chat-load", &["--features", "load"]))
}

/// Returns the path of a binary: what the variable says, or what cargo builds. Cargo is asked once
/// by each test program, since a leftover of yesterday's sources would prove nothing.
fn binary(variable: &str, name: &str, features: &[&str]) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| build(name, features), PathBuf::from);
    assert!(File::open(&path).is_ok(), "there is no {name} at {}", path.display());
    path
}

fn build(name: &str, features: &[&str]) -> PathBuf {
    let root = workspace_root();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Blocking::new(cargo);
    command.current_dir(&root).args(["build", "-p", "chat-tokio", "--bin", name]).args(features);
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        command.arg("--release");
        "release"
    };
    let output = command.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} can't be built:\n{said}");
    target_dir().join(profile).join(name)
}

/// Returns the workspace's directory.
///
/// # Panics
/// Never: this crate lies in it.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the crate lies in the workspace").to_owned()
}

/// Returns where cargo puts what it builds.
#[must_use]
pub fn target_dir() -> PathBuf {
    let root = workspace_root();
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}
