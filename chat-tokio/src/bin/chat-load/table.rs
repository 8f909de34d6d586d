//! The report as people read it.
use std::fmt::Write;

use super::plan::{Dialect, Pace, Plan, Scenario, Span};
use super::report::{Report, each};
use super::tally::{Reasons, Times};
use super::usage::Cpu;

/// Returns the report as lines of a name and what there is to say of it.
pub(crate) fn table(report: &Report) -> String {
    let mut lines = Lines(String::new());
    let Plan { scenario, dialect, target, threads, seed, .. } = &report.plan;
    let (scenario, dialect) = (scenario.name(), dialect.name());
    let threads = if *threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
    lines.line(
        "chat-load",
        &format!("{scenario}, {dialect}, {}, {threads}, seed {seed}", target.url),
    );
    lines.line("load", &load(&report.plan));
    connections(&mut lines, report);
    if report.plan.rooms > 0 {
        joins(&mut lines, report);
    }
    if report.plan.sends() {
        deliveries(&mut lines, report);
    }
    if report.plan.slow > 0 {
        slow(&mut lines, report);
    }
    if report.plan.scenario == Scenario::Idle {
        lines.line("heartbeats", &format!("{} answered", grouped(report.tally.heartbeats)));
    }
    cost(&mut lines, report);
    lines.reasons("errors", &report.tally.errors);
    for note in report.notes() {
        lines.line("note", &note);
    }
    lines.0
}

fn load(plan: &Plan) -> String {
    let count =
        |count: u32, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let who = match plan.rooms {
        0 => count(plan.connections, "connection"),
        rooms => format!("{} × {}", count(rooms, "room"), count(plan.members, "member")),
    };
    let what = match plan.pace {
        _ if !plan.sends() => String::new(),
        Pace::InFlight(window) => {
            format!(", {} each, {window} in flight", count(plan.senders, "sender"))
        }
        Pace::Rate(rate) => {
            format!(", {} each, {rate} deliveries/s offered", count(plan.senders, "sender"))
        }
    };
    let slow = if plan.slow > 0 { format!(", {} slow in each", plan.slow) } else { String::new() };
    let size = match plan.sends() {
        true => format!(", {} bytes", plan.content_bytes),
        false => String::new(),
    };
    let span = match plan.span {
        _ if matches!(plan.scenario, Scenario::Connect | Scenario::Join) => String::new(),
        Span::Time(time) => format!(
            ", {} s{}",
            time.as_secs_f64(),
            match plan.warmup.as_secs_f64() {
                0.0 => String::new(),
                warmup => format!(" after {warmup} s of warming up"),
            }
        ),
        Span::Messages(messages) => format!(", {} of each sender", count(messages, "message")),
    };
    let burst = plan.burst.map(|burst| {
        let messages = count(burst.messages, "message");
        format!(", then a burst of {messages} to each room and {} s", burst.quiet.as_secs_f64())
    });
    format!("{who}{what}{slow}{size}{span}{}", burst.unwrap_or_default())
}

fn connections(lines: &mut Lines, report: &Report) {
    let tally = &report.tally;
    lines.line(
        "connections",
        &format!(
            "{} made of {}, {} failed, {} cut off, {}/s",
            grouped(tally.connected),
            grouped(report.plan.connections.into()),
            grouped(tally.failures.count()),
            grouped(tally.closes.count()),
            grouped(report.connections_per_s() as u64),
        ),
    );
    lines.reasons("  failed", &tally.failures);
    lines.reasons("  cut off", &tally.closes);
    lines.times("  time", &tally.connect_times);
    if let Some(us) = each(report.measured.server_cpu_connecting, tally.connected) {
        lines.line("  server CPU", &format!("{us:.1} µs each"));
    }
}

fn joins(lines: &mut Lines, report: &Report) {
    let tally = &report.tally;
    lines.line(
        "joins",
        &format!(
            "{} joined, {} failed, {}/s",
            grouped(tally.joined),
            grouped(tally.join_failures.count()),
            grouped(report.joins_per_s() as u64),
        ),
    );
    lines.reasons("  failed", &tally.join_failures);
    lines.times("  time", &tally.join_times);
    if report.plan.scenario == Scenario::Join {
        let (came, expected) = (tally.join_notices, report.join_notices_expected());
        let text = format!("{} came of {} with one worker", grouped(came), grouped(expected));
        lines.line("  notices", &text);
        if let Some(us) = each(report.measured.server_cpu_joining, tally.joined) {
            lines.line("  server CPU", &format!("{us:.1} µs each"));
        }
    }
}

fn deliveries(lines: &mut Lines, report: &Report) {
    let tally = &report.tally;
    let mut messages = format!("{} sent", grouped(tally.sent));
    if report.plan.dialect == Dialect::V1 {
        let _ = write!(messages, ", {} acked", grouped(tally.acked));
    }
    let _ = write!(messages, ", {} refused", grouped(tally.refused.count()));
    lines.line("messages", &messages);
    lines.reasons("  refused", &tally.refused);
    lines.line(
        "deliveries",
        &format!(
            "{} offered, {} received, {} lost, {} repeated, {} out of order",
            grouped(report.offered()),
            grouped(tally.received),
            grouped(report.lost()),
            grouped(tally.repeated),
            grouped(tally.out_of_order),
        ),
    );
    if tally.gaps > 0 {
        lines.line("  to page for", &grouped(tally.gaps));
    }
    if report.plan.burst.is_some() {
        return;
    }
    lines.line(
        "  measured",
        &format!(
            "{} in {:.2} s: {} deliveries/s",
            grouped(tally.measured),
            report.measured.time.as_secs_f64(),
            grouped(report.deliveries_per_s() as u64),
        ),
    );
    lines.times("  latency", &tally.latency);
}

fn slow(lines: &mut Lines, report: &Report) {
    let slow = &report.tally.slow;
    lines.line(
        "slow members",
        &format!(
            "{}, {} cut off; of {} deliveries {} came in the end, {} are to be paged for",
            grouped(slow.members),
            grouped(slow.closes.count()),
            grouped(report.slow_offered()),
            grouped(slow.received),
            grouped(slow.gaps),
        ),
    );
    lines.reasons("  cut off", &slow.closes);
}

fn cost(lines: &mut Lines, report: &Report) {
    let measured = &report.measured;
    let cpu = |cpu: Cpu| {
        let (user, system) = (cpu.user.as_secs_f64(), cpu.system.as_secs_f64());
        let mut all = format!("user {user:.2} s, system {system:.2} s");
        if !measured.time.is_zero() {
            let percent = 100.0 * cpu.total().as_secs_f64() / measured.time.as_secs_f64();
            all = format!("{percent:.0} % ({all})");
        }
        match each(Some(cpu), report.tally.measured) {
            Some(us) => format!("{us:.2} µs per delivery, {all}"),
            None => all,
        }
    };
    if let Some(server) = measured.server_cpu {
        lines.line("server CPU", &cpu(server));
    }
    if let Some(own) = measured.own_cpu {
        lines.line("own CPU", &cpu(own));
    }
    if let Some((before, after)) = measured.resident_before.zip(measured.resident_after) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let mut text = format!("{:.1} MiB before, {:.1} MiB after", mib(before), mib(after));
        if let Some(slow) = measured.resident_slow {
            let _ = write!(text, ", {:.1} MiB while some did not read", mib(slow));
        }
        if let Some(each) = report.bytes_per_connection() {
            let _ = write!(text, "; {each:.0} bytes more for each connection");
        }
        lines.line("server memory", &text);
    }
    if let Some((burst, plan)) = report.burst().zip(report.plan.burst) {
        let text = format!(
            "{:.0} bytes for each connection at the peak, {:.0} after {} s of quiet: {:.2} × idle",
            burst.peak,
            burst.quiet,
            plan.quiet.as_secs_f64(),
            burst.quiet / burst.idle,
        );
        lines.line("  burst", &text);
    }
}

struct Lines(String);

impl Lines {
    fn line(&mut self, name: &str, text: &str) {
        let _ = writeln!(self.0, "{name:<14}{text}");
    }

    fn reasons(&mut self, name: &str, reasons: &Reasons) {
        for (reason, count) in reasons.iter() {
            self.line(name, &format!("{} × {reason}", grouped(count)));
        }
    }

    fn times(&mut self, name: &str, times: &Times) {
        if times.count() == 0 {
            return;
        }
        let quantile = |quantile| milliseconds(times.quantile_us(quantile));
        let text = format!(
            "p50 {}  p90 {}  p99 {}  p99.9 {}  max {} ms, all {} counted",
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
            quantile(0.999),
            milliseconds(times.max_us()),
            grouped(times.count()),
        );
        self.line(name, &text);
    }
}

/// Three digits are what there is.
fn milliseconds(us: f64) -> String {
    match us / 1000.0 {
        ms @ ..10.0 => format!("{ms:.2}"),
        ms @ ..100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

/// Writes a number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (12_345_678, "12 345 678")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn times_have_three_digits() {
        for (us, text) in
            [(12.0, "0.01"), (1234.0, "1.23"), (12_340.0, "12.3"), (999_999.0, "1000")]
        {
            assert_eq!(milliseconds(us), text);
        }
    }
}
