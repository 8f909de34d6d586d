//! CPU time and memory of a process, from `/proc`.
use std::fs;
use std::time::Duration;

/// CPU time of a process up to a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    /// Reads it; `None` if there is no such process, or no `/proc`.
    pub(crate) fn of(process: &str) -> Option<Self> {
        parse_stat(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// Returns what has come since an earlier moment.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

/// This process, in [`Cpu::of`].
pub(crate) const SELF: &str = "self";

/// Reads how many bytes of a process are in memory.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    parse_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// The name, which may hold anything, stands in parentheses; user and system time are the 12th and
/// the 13th field after it.
fn parse_stat(stat: &str) -> Option<Cpu> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let mut next = || times.next().flatten().map(|ticks| Duration::from_millis(ticks * TICK_MS));
    Some(Cpu { user: next()?, system: next()? })
}

fn parse_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Linux counts in `/proc` by hundredths of a second, whatever its timer does.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_stands_after_a_name_that_may_hold_anything() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 90 0 0 0 150 25 0 0 20 0 1 0 9 1 2";
        let cpu = parse_stat(stat).unwrap();
        assert_eq!(cpu.user, Duration::from_millis(1500));
        assert_eq!(cpu.system, Duration::from_millis(250));
        assert_eq!(cpu.since(cpu).total(), Duration::ZERO);
        assert!(parse_stat("7 (a) S 1").is_none());
    }

    #[test]
    fn memory_is_told_in_kib() {
        assert_eq!(parse_status("Name:\ta\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152));
        assert_eq!(parse_status("Name:\ta\n"), None);
    }
}
