//! Leads the threads from phase to phase.
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use chat_tokio::clock::Clock;
use tokio::time::{Interval, interval};

use super::engine::Engine;
use super::error::Failed;
use super::plan::{Burst, Plan, Scenario, Span};
use super::progress::Progress;
use super::report::{Ended, Measured, Report};
use super::shared::{Phase, Shared};
use super::tally::{Reasons, Tally};
use super::usage::{self, Cpu};

/// Runs a plan.
///
/// # Errors
/// If it can't begin, or what it needs to go on was not made.
pub(crate) async fn run(plan: Plan) -> Result<Report, Failed> {
    allow_files(&plan)?;
    if let Some(pid) = plan.pid {
        Cpu::of(&pid.to_string()).ok_or(Failed::NoProcess(pid))?;
    }
    let mut director = Director::start(plan)?;
    let went = director.conduct().await;
    let tally = director.finish().await?;
    went.map_err(|stopped| stopped.explain(&director.plan, &tally))?;
    let Director { plan, measured, .. } = director;
    Ok(Report { plan: Arc::unwrap_or_clone(plan), tally, measured })
}

/// A connection is an open file, and most systems begin with about a thousand of them.
fn allow_files(plan: &Plan) -> Result<(), Failed> {
    let needed = u64::from(plan.connections) + u64::from(plan.threads) * 3 + FILES_BESIDES;
    let (allowed, why) = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(allowed) => (allowed, None),
        Err(error) => (rlimit::Resource::NOFILE.get_soft().unwrap_or(0), Some(error)),
    };
    if needed > allowed { Err(Failed::Files { needed, allowed, why }) } else { Ok(()) }
}

struct Director {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    clock: Clock,
    threads: Vec<JoinHandle<std::io::Result<Tally>>>,
    ticks: Interval,
    progress: Progress,
    measured: Measured,
    /// The most of the server's memory so far, while that is looked at.
    peak: Option<u64>,
}

/// Why it is not worth going on.
enum Stopped {
    Connecting,
    Joining,
}

impl Director {
    fn start(plan: Plan) -> Result<Self, Failed> {
        let plan = Arc::new(plan);
        let shared = Arc::new(Shared::new(&plan));
        let clock = Clock::start();
        let mut director = Self {
            measured: Measured::new(plan.pid.and_then(usage::resident_bytes)),
            plan,
            shared,
            clock,
            threads: Vec::new(),
            ticks: interval(TICK),
            progress: Progress::new(),
            peak: None,
        };
        for thread in 0..director.plan.threads {
            let (plan, shared) = (director.plan.clone(), director.shared.clone());
            let engine = Engine::new(plan, shared, thread, clock).map_err(Failed::System)?;
            let builder = std::thread::Builder::new().name(format!("load-{thread}"));
            let spawned = builder.spawn(move || engine.run()).map_err(Failed::System)?;
            director.threads.push(spawned);
        }
        Ok(director)
    }

    async fn conduct(&mut self) -> Result<(), Stopped> {
        self.connect().await?;
        if self.plan.rooms > 0 && self.goes_on() {
            self.join().await?;
        }
        match self.plan.scenario {
            Scenario::Connect | Scenario::Join => {}
            Scenario::Idle => {
                if let Some(burst) = self.plan.burst {
                    self.fill(burst).await;
                }
                self.idle().await;
                if let Some(burst) = self.plan.burst {
                    self.burst(burst).await;
                }
            }
            Scenario::Fanout | Scenario::Slow => self.send().await,
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), Stopped> {
        let wanted = u64::from(self.plan.connections);
        let (began, cpu) = (self.now(), self.server_cpu());
        self.progress.stage("connecting");
        let answered = |shared: &Shared| shared.sum(|m| &m.connected) + shared.sum(|m| &m.failed);
        self.until_all(wanted, answered).await;
        let made = self.shared.sum(|m| &m.connected);
        let last = Duration::from_nanos(self.shared.latest(|m| &m.connected_ns));
        self.measured.connect_time = last.saturating_sub(began);
        self.measured.server_cpu_connecting = self.server_cpu_since(cpu);
        self.measured.resident_after = self.resident();
        let enough = match self.plan.scenario {
            Scenario::Connect => made > 0,
            Scenario::Join | Scenario::Fanout | Scenario::Idle | Scenario::Slow => made == wanted,
        };
        if enough || !self.goes_on() { Ok(()) } else { Err(Stopped::Connecting) }
    }

    async fn join(&mut self) -> Result<(), Stopped> {
        let wanted = u64::from(self.plan.connections);
        let (began, cpu) = (self.now(), self.server_cpu());
        self.progress.stage("joining");
        self.shared.enter(Phase::Join);
        let answered = |shared: &Shared| shared.sum(|m| &m.joined) + shared.sum(|m| &m.unjoined);
        self.until_all(wanted, answered).await;
        let joined = self.shared.sum(|m| &m.joined);
        let last = Duration::from_nanos(self.shared.latest(|m| &m.joined_ns));
        self.measured.join_time = last.saturating_sub(began);
        // The notices are still on their way, and are not to be measured.
        self.progress.stage("settling");
        self.shared.enter(Phase::Rest);
        self.until_quiet(QUIET_AFTER_JOIN, |shared| shared.sum(|m| &m.reads), |_| false).await;
        self.measured.server_cpu_joining = self.server_cpu_since(cpu);
        self.measured.resident_after = self.resident();
        let enough = match self.plan.scenario {
            Scenario::Join => joined > 0,
            Scenario::Connect | Scenario::Fanout | Scenario::Idle | Scenario::Slow => {
                joined == wanted
            }
        };
        if enough || !self.goes_on() { Ok(()) } else { Err(Stopped::Joining) }
    }

    async fn idle(&mut self) {
        let Span::Time(time) = self.plan.span else { return };
        self.progress.stage("idle");
        let (began, cpu, own) = (self.now(), self.server_cpu(), Cpu::of(usage::SELF));
        while self.goes_on() && self.now().saturating_sub(began) < time && !self.all_gone() {
            self.progress.time(self.now().saturating_sub(began), time, "");
            self.tick().await;
        }
        if self.all_gone() {
            self.measured.ended = Ended::ConnectionsLost;
        }
        self.measured.time = self.now().saturating_sub(began);
        self.take_cpu(cpu, own);
        self.measured.resident_after = self.resident();
    }

    /// Sends as many messages as a burst has, to members who read.
    async fn fill(&mut self, burst: Burst) {
        self.progress.stage("filling");
        self.shared.enter(Phase::Warm);
        let all = u64::from(burst.messages) * u64::from(self.plan.rooms * self.plan.members);
        let came = |shared: &Shared| shared.sum(|m| &m.received) + shared.sum(|m| &m.slow_received);
        self.until_all(all, came).await;
    }

    /// Sends the burst, lets those read who have not, and waits for what the server gives back.
    async fn burst(&mut self, burst: Burst) {
        self.progress.stage("burst");
        self.peak = self.resident();
        self.shared.enter(Phase::Measure);
        let all = u64::from(burst.messages) * 2 * u64::from(self.plan.senders_in_all());
        let all = all * u64::from(self.plan.readers());
        self.until_all(all, |shared| shared.sum(|m| &m.received)).await;
        self.shared.enter(Phase::Drain);
        self.thaw().await;
        self.progress.stage("quiet");
        let began = self.now();
        while self.goes_on() && self.now().saturating_sub(began) < burst.quiet && !self.all_gone() {
            self.progress.time(self.now().saturating_sub(began), burst.quiet, "");
            self.tick().await;
        }
        if self.all_gone() {
            self.measured.ended = Ended::ConnectionsLost;
        }
        self.measured.resident_peak = self.peak.take();
        self.measured.resident_quiet = self.resident();
    }

    async fn send(&mut self) {
        self.progress.stage("warming up");
        if !self.plan.warmup.is_zero() {
            self.shared.enter(Phase::Warm);
        }
        let began = self.now();
        while self.sending() && self.now().saturating_sub(began) < self.plan.warmup {
            self.progress.time(self.now().saturating_sub(began), self.plan.warmup, "");
            self.tick().await;
        }
        self.progress.stage("sending");
        let (began, cpu, own) = (self.now(), self.server_cpu(), Cpu::of(usage::SELF));
        self.shared.enter(Phase::Measure);
        match self.plan.span {
            Span::Time(time) => {
                while self.sending() && self.now().saturating_sub(began) < time {
                    self.show_sending(began, time);
                    self.tick().await;
                }
                self.measured.time = self.now().saturating_sub(began);
                self.take_cpu(cpu, own);
            }
            Span::Messages(messages) => {
                let all = u64::from(messages) * u64::from(self.plan.senders_in_all());
                let all = all * u64::from(self.plan.readers());
                while self.sending() {
                    self.progress.count(self.shared.sum(|m| &m.received), all);
                    self.tick().await;
                    // What was sent last may still be refused, and has to be sent again.
                    if self.shared.sum(|m| &m.active) == 0 {
                        self.until_delivered().await;
                    }
                }
                let last = Duration::from_nanos(self.shared.latest(|m| &m.received_ns));
                self.measured.time = last.saturating_sub(began);
                self.take_cpu(cpu, own);
            }
        }
        if self.all_gone() {
            self.measured.ended = Ended::ConnectionsLost;
        }
        self.progress.stage("draining");
        self.shared.enter(Phase::Drain);
        self.until_delivered().await;
        if self.plan.slow > 0 {
            self.thaw().await;
        }
        self.measured.resident_after = self.resident();
    }

    /// Lets those who have not read see what was kept for them.
    async fn thaw(&mut self) {
        self.progress.stage("slow ones");
        self.measured.resident_slow = self.resident();
        self.shared.enter(Phase::Thaw);
        let (readers, slow) = (u64::from(self.plan.readers()), u64::from(self.plan.slow));
        let done = move |shared: &Shared| {
            let messages = shared.sum(|m| &m.offered) / readers;
            shared.sum(|m| &m.slow_received) >= messages * slow
        };
        self.until_quiet(QUIET, |shared| shared.sum(|m| &m.reads), done).await;
    }

    /// Ends all threads and puts together what they have counted.
    async fn finish(&mut self) -> Result<Tally, Failed> {
        self.progress.stage("leaving");
        self.shared.enter(Phase::Leave);
        let began = self.now();
        while (!self.shared.all_in(Phase::Leave) || self.shared.sum(|m| &m.open) > 0)
            && self.now().saturating_sub(began) < LEAVE_TIME_MAX
            && self.measured.ended != Ended::Interrupted
        {
            self.tick().await;
        }
        self.shared.enter(Phase::End);
        self.progress.clear();
        let mut all = Tally::default();
        for thread in self.threads.drain(..) {
            let tally = thread.join().map_err(|_| Failed::Thread)?;
            all.merge(&tally.map_err(Failed::System)?);
        }
        Ok(all)
    }

    /// Waits until all connections have been answered, or no answer comes any more.
    async fn until_all(&mut self, wanted: u64, answered: impl Fn(&Shared) -> u64) {
        let (mut last, mut since) = (0, self.now());
        while self.goes_on() {
            let count = answered(&self.shared);
            if count != last {
                (last, since) = (count, self.now());
            }
            self.progress.count(count, wanted);
            if count >= wanted || self.now().saturating_sub(since) > PATIENCE {
                return;
            }
            self.tick().await;
        }
    }

    /// Waits until it is done, or a count has stood still for a time.
    async fn until_quiet(
        &mut self,
        quiet: Duration,
        count: impl Fn(&Shared) -> u64,
        done: impl Fn(&Shared) -> bool,
    ) {
        let began = self.now();
        let (mut last, mut since) = (count(&self.shared), began);
        while self.goes_on() && !self.all_gone() && !done(&self.shared) {
            let now = self.now();
            if count(&self.shared) != last {
                (last, since) = (count(&self.shared), now);
            }
            if now.saturating_sub(since) > quiet || now.saturating_sub(began) > SETTLE_TIME_MAX {
                return;
            }
            self.tick().await;
        }
    }

    /// Waits until all that was sent has come, or is lost, or somebody has to send again.
    async fn until_delivered(&mut self) {
        let draining = self.shared.phase() >= Phase::Drain;
        let done = |shared: &Shared| {
            let all_sent = match draining {
                true => shared.all_in(Phase::Drain),
                false => shared.sum(|m| &m.active) == 0,
            };
            match all_sent {
                true => shared.sum(|m| &m.received) >= shared.sum(|m| &m.offered),
                false => !draining,
            }
        };
        // An interrupt ends the sending, not the arrival of what is on its way.
        let ended = std::mem::take(&mut self.measured.ended);
        self.until_quiet(QUIET, |shared| shared.sum(|m| &m.received), done).await;
        if ended != Ended::AsPlanned {
            self.measured.ended = ended;
        }
    }

    /// Tells whether there is somebody to send, and time for it.
    fn sending(&self) -> bool {
        self.goes_on() && self.shared.sum(|m| &m.active) > 0 && !self.all_gone()
    }

    fn all_gone(&self) -> bool {
        let made = self.shared.sum(|m| &m.connected);
        made > 0 && self.shared.sum(|m| &m.closed) >= made
    }

    fn goes_on(&self) -> bool {
        self.measured.ended != Ended::Interrupted
    }

    /// Lets a moment pass. An interrupt is taken here; it is seen by [`Self::goes_on`].
    async fn tick(&mut self) {
        tokio::select! {
            _ = self.ticks.tick() => {}
            Ok(()) = tokio::signal::ctrl_c() => self.measured.ended = Ended::Interrupted,
        }
        if self.peak.is_some() {
            self.peak = self.peak.max(self.resident());
        }
    }

    fn show_sending(&self, began: Duration, time: Duration) {
        let passed = self.now().saturating_sub(began);
        let received = self.shared.sum(|m| &m.received);
        let offered = self.shared.sum(|m| &m.offered);
        let more = format!(", {received} deliveries, {} due", offered.saturating_sub(received));
        self.progress.time(passed, time, &more);
    }

    fn take_cpu(&mut self, server: Option<Cpu>, own: Option<Cpu>) {
        self.measured.server_cpu = self.server_cpu_since(server);
        self.measured.own_cpu = Cpu::of(usage::SELF).zip(own).map(|(now, then)| now.since(then));
    }

    fn server_cpu(&self) -> Option<Cpu> {
        self.plan.pid.and_then(|pid| Cpu::of(&pid.to_string()))
    }

    fn server_cpu_since(&self, earlier: Option<Cpu>) -> Option<Cpu> {
        self.server_cpu().zip(earlier).map(|(now, earlier)| now.since(earlier))
    }

    fn resident(&self) -> Option<u64> {
        self.plan.pid.and_then(usage::resident_bytes)
    }

    fn now(&self) -> Duration {
        self.clock.since_start()
    }
}

impl Stopped {
    fn explain(&self, plan: &Plan, tally: &Tally) -> Failed {
        let wanted = plan.connections;
        let unanswered = |reasons: &Reasons, done: u64| {
            let mut reasons = reasons.clone();
            let rest = u64::from(wanted).saturating_sub(done + reasons.count());
            if rest > 0 {
                let seconds = PATIENCE.as_secs();
                reasons.add_many(format!("nothing was heard for {seconds} s"), rest);
            }
            reasons
        };
        match self {
            Self::Connecting => Failed::Connecting {
                url: plan.target.url.clone(),
                made: tally.connected,
                wanted,
                reasons: unanswered(&tally.failures, tally.connected),
            },
            Self::Joining => Failed::Joining {
                joined: tally.joined,
                wanted,
                reasons: unanswered(&tally.join_failures, tally.joined),
            },
        }
    }
}

/// How finely the phases are led.
const TICK: Duration = Duration::from_millis(10);

/// Without any answer for so long, none will come.
const PATIENCE: Duration = Duration::from_secs(15);

/// Without any delivery for so long, what is missing is lost. Longer than a server's disk takes.
const QUIET: Duration = Duration::from_secs(5);

const QUIET_AFTER_JOIN: Duration = Duration::from_millis(300);

const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);

const LEAVE_TIME_MAX: Duration = Duration::from_secs(3);

/// The standard streams, and what the runtime has.
const FILES_BESIDES: u64 = 32;
