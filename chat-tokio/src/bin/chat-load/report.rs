//! What is to be told in the end.
use std::time::Duration;

use serde_json::{Value, json};

use super::plan::{Dialect, Pace, Plan, Scenario, Span};
use super::tally::{Reasons, Tally, Times};
use super::usage::Cpu;

#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) plan: Plan,
    pub(crate) tally: Tally,
    pub(crate) measured: Measured,
}

/// What was measured from outside of the threads.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) ended: Ended,
    pub(crate) connect_time: Duration,
    pub(crate) join_time: Duration,
    /// How long it was measured: the sending, or the idling.
    pub(crate) time: Duration,
    /// CPU time of the server in `time`.
    pub(crate) server_cpu: Option<Cpu>,
    pub(crate) server_cpu_connecting: Option<Cpu>,
    pub(crate) server_cpu_joining: Option<Cpu>,
    /// CPU time of this process in `time`.
    pub(crate) own_cpu: Option<Cpu>,
    /// Bytes of the server in memory, before the first connection.
    pub(crate) resident_before: Option<u64>,
    pub(crate) resident_after: Option<u64>,
    /// While some did not read.
    pub(crate) resident_slow: Option<u64>,
    /// The most in a burst, and after the quiet that followed.
    pub(crate) resident_peak: Option<u64>,
    pub(crate) resident_quiet: Option<u64>,
}

/// Bytes by which the server's memory has grown, for each connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BurstMemory {
    pub(crate) idle: f64,
    pub(crate) peak: f64,
    /// After the quiet.
    pub(crate) quiet: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ended {
    #[default]
    AsPlanned,
    Interrupted,
    /// The server has ended every connection.
    ConnectionsLost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Well,
    /// Something was lost, repeated, out of order, refused or cut off.
    Faults,
}

impl Measured {
    pub(crate) fn new(resident_before: Option<u64>) -> Self {
        Self {
            ended: Ended::default(),
            connect_time: Duration::ZERO,
            join_time: Duration::ZERO,
            time: Duration::ZERO,
            server_cpu: None,
            server_cpu_connecting: None,
            server_cpu_joining: None,
            own_cpu: None,
            resident_before,
            resident_after: None,
            resident_slow: None,
            resident_peak: None,
            resident_quiet: None,
        }
    }
}

impl Report {
    /// Deliveries that the messages should have caused, with those who read.
    pub(crate) fn offered(&self) -> u64 {
        self.tally.accepted() * u64::from(self.plan.readers())
    }

    pub(crate) fn lost(&self) -> u64 {
        self.offered().saturating_sub(self.tally.received)
    }

    pub(crate) fn slow_offered(&self) -> u64 {
        self.tally.accepted() * u64::from(self.plan.slow)
    }

    pub(crate) fn deliveries_per_s(&self) -> f64 {
        per_second(self.tally.measured, self.measured.time)
    }

    pub(crate) fn connections_per_s(&self) -> f64 {
        per_second(self.tally.connected, self.measured.connect_time)
    }

    pub(crate) fn joins_per_s(&self) -> f64 {
        per_second(self.tally.joined, self.measured.join_time)
    }

    /// Returns the join notices that everybody should have got, if one worker has the rooms: the
    /// first hears of all, the last of none (in `basic` everybody of oneself as well).
    pub(crate) fn join_notices_expected(&self) -> u64 {
        let (rooms, members) = (u64::from(self.plan.rooms), u64::from(self.plan.members));
        match self.plan.dialect {
            Dialect::Basic => rooms * members * (members + 1) / 2,
            Dialect::V1 => rooms * members * members.saturating_sub(1) / 2,
        }
    }

    /// Returns what the server's memory has grown by for each connection, if it had nothing else
    /// to remember.
    pub(crate) fn bytes_per_connection(&self) -> Option<f64> {
        if self.plan.sends() && self.plan.burst.is_none() {
            return None;
        }
        self.grown_by(self.measured.resident_after)
    }

    fn grown_by(&self, resident: Option<u64>) -> Option<f64> {
        let (before, after) = self.measured.resident_before.zip(resident)?;
        let grown = after as f64 - before as f64;
        (self.tally.connected > 0).then(|| grown / self.tally.connected as f64)
    }

    /// Returns what a burst made of the server's memory.
    pub(crate) fn burst(&self) -> Option<BurstMemory> {
        let idle = self.bytes_per_connection()?;
        let peak = self.grown_by(self.measured.resident_peak)?;
        let quiet = self.grown_by(self.measured.resident_quiet)?;
        Some(BurstMemory { idle, peak, quiet })
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let Tally { failures, closes, join_failures, refused, errors, .. } = &self.tally;
        let reasons = [failures, closes, join_failures, refused, errors];
        let Tally { repeated, out_of_order, foreign, gaps, .. } = self.tally;
        let counts = [self.lost(), repeated, out_of_order, foreign, gaps, self.tally.slow.repeated];
        let well = reasons.into_iter().all(Reasons::is_empty) && counts.iter().all(|n| *n == 0);
        if well { Verdict::Well } else { Verdict::Faults }
    }

    /// Returns hints at what the figures may mean.
    pub(crate) fn notes(&self) -> Vec<String> {
        let Tally { refused, late, held_back, given_up, foreign, .. } = &self.tally;
        let mut notes = Vec::new();
        match self.measured.ended {
            Ended::AsPlanned => {}
            Ended::Interrupted => notes.push("stopped early by Ctrl-C".to_owned()),
            Ended::ConnectionsLost => notes.push("every connection has ended".to_owned()),
        }
        if self.plan.target.secured.as_ref().is_some_and(|secured| !secured.checked) {
            notes.push(
                "INSECURE: the server's certificate was not checked (--insecure); whatever \
                 answered there may be another server"
                    .to_owned(),
            );
        }
        if refused.has("rate_limited") {
            notes.push(
                "the server limits what a session may send, and what one address that is not its \
                 own machine's; `chat-server --messages-per-10s 0 --address-messages-per-10s 0` \
                 lifts that"
                    .to_owned(),
            );
        }
        if *late > 0 {
            notes.push(format!(
                "{late} messages were sent late: chat-load or this machine could not keep the rate"
            ));
        }
        if *held_back > 0 {
            notes.push(format!(
                "{held_back} messages were not sent: the server did not read their sender"
            ));
        }
        if *given_up > 0 {
            notes.push(format!("{given_up} messages did not come back to their sender in time"));
        }
        if *foreign > 0 {
            notes.push(format!("{foreign} deliveries were of no sender of this room"));
        }
        if self.plan.pid.is_some() && self.plan.sends() && self.measured.server_cpu.is_none() {
            notes.push("the server's process has gone, and its CPU time with it".to_owned());
        }
        notes
    }

    pub(crate) fn json(&self) -> Value {
        let mut all = json!({
            "scenario": self.plan.scenario.name(),
            "dialect": self.plan.dialect.name(),
            "url": self.plan.target.url,
            "seed": self.plan.seed,
            "threads": self.plan.threads,
            "ended": match self.measured.ended {
                Ended::AsPlanned => "as planned",
                Ended::Interrupted => "interrupted",
                Ended::ConnectionsLost => "connections lost",
            },
            "well": self.verdict() == Verdict::Well,
            "notes": self.notes(),
            "connections": self.connections_json(),
            "server_memory": self.memory_json(),
            "heartbeats_answered": self.tally.heartbeats,
            "server_errors": reasons(&self.tally.errors),
        });
        if self.plan.rooms > 0 {
            all["joins"] = self.joins_json();
        }
        if self.plan.sends() {
            all["messages"] = self.messages_json();
            all["deliveries"] = self.deliveries_json();
            if self.plan.burst.is_none() {
                all["latency_us"] = self.latency_json();
            }
        }
        if self.plan.slow > 0 {
            all["slow"] = self.slow_json();
        }
        if matches!(self.plan.scenario, Scenario::Fanout | Scenario::Slow | Scenario::Idle) {
            all["cpu"] = self.cpu_json();
        }
        all
    }

    fn connections_json(&self) -> Value {
        json!({
            "wanted": self.plan.connections,
            "made": self.tally.connected,
            "failed": reasons(&self.tally.failures),
            "closed": reasons(&self.tally.closes),
            "seconds": self.measured.connect_time.as_secs_f64(),
            "per_second": self.connections_per_s(),
            "time_us": times(&self.tally.connect_times),
            "server_cpu_us_per_connection":
                each(self.measured.server_cpu_connecting, self.tally.connected),
        })
    }

    fn joins_json(&self) -> Value {
        json!({
            "rooms": self.plan.rooms,
            "members": self.plan.members,
            "joined": self.tally.joined,
            "failed": reasons(&self.tally.join_failures),
            "seconds": self.measured.join_time.as_secs_f64(),
            "per_second": self.joins_per_s(),
            "time_us": times(&self.tally.join_times),
            "notices": self.tally.join_notices,
            "notices_expected": self.join_notices_expected(),
            "server_cpu_us_per_join": each(self.measured.server_cpu_joining, self.tally.joined),
        })
    }

    fn messages_json(&self) -> Value {
        let (in_flight, rate) = match self.plan.pace {
            Pace::InFlight(window) => (Some(window), None),
            Pace::Rate(rate) => (None, Some(rate)),
        };
        let span = match self.plan.span {
            Span::Time(_) => None,
            Span::Messages(messages) => Some(messages),
        };
        json!({
            "senders": self.plan.senders_in_all(),
            "in_flight": in_flight,
            "rate_deliveries_per_second": rate,
            "of_each_sender": span,
            "bytes": self.plan.content_bytes,
            "sent": self.tally.sent,
            "refused": reasons(&self.tally.refused),
            "acked": (self.plan.dialect == Dialect::V1).then_some(self.tally.acked),
            "late": self.tally.late,
            "held_back": self.tally.held_back,
            "given_up": self.tally.given_up,
        })
    }

    fn deliveries_json(&self) -> Value {
        json!({
            "offered": self.offered(),
            "received": self.tally.received,
            "lost": self.lost(),
            "repeated": self.tally.repeated,
            "out_of_order": self.tally.out_of_order,
            "told_to_page": self.tally.gaps,
            "measured": self.tally.measured,
            "measured_seconds": self.measured.time.as_secs_f64(),
            "per_second": self.deliveries_per_s(),
        })
    }

    fn latency_json(&self) -> Value {
        let mut all = times(&self.tally.latency);
        all["of"] = json!("all measured deliveries");
        all
    }

    fn slow_json(&self) -> Value {
        let slow = &self.tally.slow;
        json!({
            "members": slow.members,
            "cut_off": reasons(&slow.closes),
            "offered": self.slow_offered(),
            "received_late": slow.received,
            "repeated": slow.repeated,
            "told_to_page": slow.gaps,
        })
    }

    fn cpu_json(&self) -> Value {
        let of = |cpu: Option<Cpu>| {
            cpu.map(|cpu| {
                json!({
                    "user_seconds": cpu.user.as_secs_f64(),
                    "system_seconds": cpu.system.as_secs_f64(),
                    "us_per_delivery": each(Some(cpu), self.tally.measured),
                    "percent": 100.0 * cpu.total().as_secs_f64() / self.measured.time.as_secs_f64(),
                })
            })
        };
        json!({ "server": of(self.measured.server_cpu), "chat_load": of(self.measured.own_cpu) })
    }

    fn memory_json(&self) -> Value {
        json!({
            "bytes_before": self.measured.resident_before,
            "bytes_while_some_did_not_read": self.measured.resident_slow,
            "bytes_after": self.measured.resident_after,
            "bytes_per_connection": self.bytes_per_connection(),
            "burst": self.burst().map(|burst| json!({
                "bytes_at_the_peak": self.measured.resident_peak,
                "bytes_after_the_quiet": self.measured.resident_quiet,
                "bytes_per_connection_idle": burst.idle,
                "bytes_per_connection_at_the_peak": burst.peak,
                "bytes_per_connection_after_the_quiet": burst.quiet,
                "times_idle": burst.quiet / burst.idle,
            })),
        })
    }
}

fn reasons(reasons: &Reasons) -> Value {
    let all: serde_json::Map<String, Value> =
        reasons.iter().map(|(reason, count)| (reason.to_owned(), count.into())).collect();
    json!({ "count": reasons.count(), "reasons": all })
}

fn times(times: &Times) -> Value {
    let quantile = |quantile| (times.count() > 0).then(|| times.quantile_us(quantile));
    json!({
        "count": times.count(),
        "p50": quantile(0.5),
        "p90": quantile(0.9),
        "p99": quantile(0.99),
        "p99_9": quantile(0.999),
        "max": (times.count() > 0).then(|| times.max_us()),
    })
}

/// Returns the microseconds of CPU time that each has cost.
pub(crate) fn each(cpu: Option<Cpu>, count: u64) -> Option<f64> {
    let us = cpu?.total().as_secs_f64() * 1e6;
    (count > 0).then(|| us / count as f64)
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}
