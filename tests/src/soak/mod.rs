//! A long run: members who talk, strangers who attack, and one server that has to bear both.
//!
//! The first fifth of the time is quiet, and so is what the members' latency is compared with. Then
//! the hostile ones come, a part of all connections; the members stay the same and go on.
mod hostile;
mod member;
mod report;

use std::sync::Arc;
use std::time::Duration;

use chat_tokio::clock::Clock;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::V1Client;
use crate::process::{Home, Log, Server, Spec};
use crate::wait::eventually;
use member::Seen;
pub use report::Report;

/// Members of a room; one of them talks.
const MEMBERS: usize = 50;

/// How a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// All of it, without coming and going.
    pub seconds: u64,
    /// Members and hostile ones together.
    pub connections: usize,
    /// How many of a hundred are hostile.
    pub hostile: usize,
}

impl Plan {
    /// Reads the command line.
    ///
    /// # Errors
    /// Says what is not understood.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { seconds: 600, connections: 5000, hostile: 20 };
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            let value = args.next().and_then(|value| value.parse::<usize>().ok());
            let value = value.ok_or_else(|| format!("{flag} needs a whole number"))?;
            match flag.as_str() {
                "--seconds" if value >= 5 => plan.seconds = value as u64,
                "--connections" if value >= 2 => plan.connections = value,
                "--hostile" if value <= 99 => plan.hostile = value,
                _ => return Err(format!("`{flag} {value}` is not possible")),
            }
        }
        Ok(plan)
    }

    fn strangers(&self) -> usize {
        self.connections * self.hostile / 100
    }
}

/// What all tasks of a run share.
struct Shared {
    clock: Clock,
    seen: Seen,
    stop: watch::Sender<bool>,
}

/// Waits for the end of the run.
async fn over(stop: &mut watch::Receiver<bool>) {
    // Nobody to tell is the same as having been told.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Runs a plan against a server of its own.
///
/// # Panics
/// If the server can't be started, or a member can't come in or go.
pub async fn run(plan: &Plan) -> Report {
    open_files(plan.connections as u64 + 512);
    let home = Home::default();
    let spec = Spec::default().workers(2).log(Log::Sqlite).flag("--durability", "normal");
    let spec = spec.flag("--leave-grace", "0").flag("--session-timeout", "1");
    // As many as the quiet time fills: what comes later takes no more memory.
    let spec = spec.flag("--recent-entries", "100");
    let server = Server::start(&home, &spec).await;
    let (address, pid) = (server.http(), server.pid().expect("it runs"));
    let stop = watch::Sender::new(false);
    let shared = Arc::new(Shared { clock: Clock::start(), seen: Seen::default(), stop });
    let mut report = Report::new(plan);

    let mut members = JoinSet::new();
    for number in 0..plan.connections - plan.strangers() {
        let room = format!("room {}", number / MEMBERS);
        let (client, joined) = V1Client::member(address, &format!("m{number}"), &room).await;
        let talks = number % MEMBERS == 0;
        let member = member::run((client, joined), (room, talks), Arc::clone(&shared));
        members.spawn(member);
    }
    let quiet = plan.seconds / 5;
    shared.seen.begin();
    ticks(quiet, || {}).await;
    report.quiet = shared.seen.begin();
    let strangers = hostile::start(plan.strangers(), address, Arc::clone(&shared));
    ticks(plan.seconds - quiet, || report.resident.extend(resident_bytes(pid))).await;
    report.hostile = shared.seen.begin();
    shared.stop.send_replace(true);
    while let Some(told) = members.join_next().await {
        report.members.push(told.expect("a member does not panic"));
    }
    let strangers = tokio::task::spawn_blocking(move || strangers.join());
    report.attacks = strangers.await.ok().and_then(Result::ok).expect("a stranger does not panic");
    let (mut last, _) = V1Client::hello(address, "last").await;
    // Each question costs a part of a budget.
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    eventually("all rooms to be empty", async || {
        pace.tick().await;
        last.rooms().await.is_empty().then_some(())
    })
    .await;
    last.socket.close().await;
    server.stop().await;
    report.said = home.stderr();
    report
}

/// Calls something each second.
async fn ticks(seconds: u64, mut each: impl FnMut()) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    for _ in 0..seconds {
        ticks.tick().await;
        each();
    }
}

/// Reads how many bytes of a process are in memory; `None` where there is no `/proc`.
fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Asks the system for as many open files as the run needs.
fn open_files(files: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        limit.current = limit.maximum.map_or(Some(files), |maximum| Some(maximum.min(files)));
        // If it is refused, the first connection too many says so.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read_whole() {
        let parse = |text: &str| Plan::parse(text.split_whitespace().map(str::to_owned));
        let plan = Plan { seconds: 600, connections: 5000, hostile: 20 };
        assert_eq!(parse(""), Ok(plan));
        let short = Plan { seconds: 9, connections: 40, hostile: 50 };
        assert_eq!(parse("--seconds 9 --connections 40 --hostile 50"), Ok(short));
        for bad in ["--seconds", "--seconds x", "--seconds 1", "--hostile 100", "--what 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
