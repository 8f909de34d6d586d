//! Runs the load tool.
use std::net::SocketAddr;
use std::process::Stdio;

use chat_tests::process::{Home, Server, Spec, load_binary};
use chat_tests::wait::within_time;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

/// A debug build, and waits of its own for what may never come.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);

pub(crate) const DIALECTS: [&str; 2] = ["basic", "chat.v1"];

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Returns the report, which is all that stands on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A run that goes on. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) async fn ended(self) -> Run {
        let output = within_time(PATIENCE, "chat-load's end", self.0.wait_with_output()).await;
        let output = output.expect("our own process can be awaited");
        let text = |bytes| String::from_utf8(bytes).expect("it writes text");
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let id = self.0.id().expect("it still runs");
        let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, Signal::INT).expect("our own process takes a signal");
    }
}

/// Starts it with these words.
pub(crate) fn start(words: &str) -> Running {
    let mut command = Command::new(load_binary());
    command.args(words.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.kill_on_drop(true).spawn().expect("chat-load's binary starts"))
}

pub(crate) async fn run(words: &str) -> Run {
    start(words).ended().await
}

/// Runs a scenario against a server, with a report.
pub(crate) async fn against(server: SocketAddr, scenario: &str, words: &str) -> Run {
    run(&format!("{scenario} --url ws://{server}/ws --json - {words}")).await
}

/// Starts a server that does not slow anybody down.
pub(crate) async fn server(home: &Home) -> Server {
    Server::start(home, &Spec::default().limit("messages_per_10s", 0)).await
}
