//! What a run has shown, and whether that is good.
use std::fmt;

use super::Plan;
use super::member::Told;

/// What a run has shown.
#[derive(Debug)]
pub struct Report {
    plan: Plan,
    /// How long deliveries took, in microseconds: without and with the hostile ones.
    pub(super) quiet: Vec<u32>,
    pub(super) hostile: Vec<u32>,
    /// Bytes of the server's memory, once a second, with the hostile ones.
    pub(super) resident: Vec<u64>,
    pub(super) members: Vec<Told>,
    pub(super) attacks: u64,
    /// What the server has logged.
    pub(super) said: String,
}

/// By how much the latency may grow.
const TIMES: u32 = 3;

/// By how much the memory of the last quarter may be above that of the first: what allocators and
/// caches do in the beginning.
const GROWTH_PERCENT: u64 = 10;
const GROWTH_BYTES: u64 = 8 * 1024 * 1024;

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            plan: *plan,
            quiet: Vec::new(),
            hostile: Vec::new(),
            resident: Vec::new(),
            members: Vec::new(),
            attacks: 0,
            said: String::new(),
        }
    }

    /// Returns what did not hold.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> =
            self.members.iter().filter_map(|told| told.fault.clone()).take(10).collect();
        let (quiet, hostile) = (percentile(&self.quiet, 99), percentile(&self.hostile, 99));
        if self.quiet.is_empty() || self.hostile.is_empty() {
            faults.push("nothing was delivered".into());
        } else if hostile > TIMES * quiet {
            faults.push(format!("the p99 grew from {quiet} to {hostile} µs"));
        }
        let (first, last) = self.quarters();
        if last > first + first * GROWTH_PERCENT / 100 + GROWTH_BYTES {
            faults.push(format!("the memory grew from {first} to {last} bytes"));
        }
        if self.plan.hostile > 0 && self.attacks == 0 {
            faults.push("nobody attacked".into());
        }
        for line in self.said.lines().filter(|line| line.contains("panicked")) {
            faults.push(line.to_owned());
        }
        faults
    }

    /// The mean of the first and of the last quarter.
    fn quarters(&self) -> (u64, u64) {
        let quarter = (self.resident.len() / 4).max(1).min(self.resident.len());
        let mean = |part: &[u64]| part.iter().sum::<u64>() / part.len().max(1) as u64;
        let last = self.resident.len() - quarter;
        (mean(&self.resident[..quarter]), mean(&self.resident[last..]))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Told) -> u64| self.members.iter().map(of).sum::<u64>();
        let (first, last) = self.quarters();
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let p = percentile;
        writeln!(f, "plan       {:?}", self.plan)?;
        writeln!(f, "members    {}, {} attacks", self.members.len(), self.attacks)?;
        let (said, acked) = (sum(|told| told.said), sum(|told| told.acked));
        writeln!(f, "said       {said}, acked {acked}, delivered {}", sum(|told| told.delivered))?;
        let told =
            |all: &[u32]| format!("p50 {} p99 {} p99.9 {} µs", p(all, 50), p(all, 99), tail(all));
        writeln!(f, "quiet      {}", told(&self.quiet))?;
        writeln!(f, "hostile    {}", told(&self.hostile))?;
        writeln!(f, "memory     {:.1} MiB first, {:.1} MiB last", mib(first), mib(last))?;
        writeln!(f, "log lines  {}", self.said.lines().count())?;
        match self.faults().as_slice() {
            [] => write!(f, "all held"),
            faults => write!(f, "FAULTS\n  {}", faults.join("\n  ")),
        }
    }
}

fn percentile(all: &[u32], percent: usize) -> u32 {
    at(all, percent * 10)
}

fn tail(all: &[u32]) -> u32 {
    at(all, 999)
}

fn at(all: &[u32], permille: usize) -> u32 {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() * permille / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let told = Told { fault: None, delivered: 100, said: 1, acked: 1 };
        Report {
            quiet: vec![5000; 100],
            hostile: vec![15_000; 100],
            resident: vec![1 << 30; 8],
            members: vec![told],
            attacks: 1,
            ..Report::new(&Plan { seconds: 10, connections: 2, hostile: 50 })
        }
    }

    #[test]
    fn each_fault_is_told() {
        assert_eq!(report().faults(), [""; 0]);
        let one = |change: fn(&mut Report), part: &str| {
            let mut report = report();
            change(&mut report);
            let faults = report.faults();
            assert!(faults.len() == 1 && faults[0].contains(part), "{part}: {faults:?}");
        };
        one(|r| r.hostile = vec![15_001; 100], "the p99 grew from 5000 to 15001 µs");
        one(|r| r.resident[6..].fill(5 << 28), "the memory grew");
        one(|r| r.members[0].fault = Some("room 1: 3 instead of 2".into()), "3 instead of 2");
        one(|r| r.quiet.clear(), "nothing was delivered");
        one(|r| r.attacks = 0, "nobody attacked");
        one(|r| r.said = "a\nthread 'x' panicked at y\n".into(), "panicked at y");
    }
}
