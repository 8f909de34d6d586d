//! The list of all metrics: what each is called, what it says, and what it is made of.
use std::time::Duration;

use chat_proto::{CloseCode, ErrorCode};

use super::count::{BOUNDS_US, Count, Times, WorkerCounts};
use super::family::{Family, Value};
use super::kinds::{DIALECTS, Received, Sent, label_of, place_of};
use super::{Gauges, Seen};
use crate::http::Ready;

/// Makes the metrics of what was seen of a server.
pub(super) fn families(seen: &Seen<'_>) -> Vec<Family> {
    let mut all = about_server(seen);
    all.extend(about_frames(seen));
    all.extend(about_times(seen));
    all.extend(about_trouble(seen));
    all.extend(about_log_and_broker(seen));
    all.extend(seen.edges.families());
    all
}

impl Seen<'_> {
    fn count(&self, of: impl Fn(&WorkerCounts) -> &Count) -> u64 {
        self.workers.iter().map(|(counts, _)| of(counts).get()).sum()
    }

    fn gauge(&self, of: impl Fn(&Gauges) -> u64) -> u64 {
        self.workers.iter().map(|(_, gauges)| of(gauges)).sum()
    }

    fn times(&self, of: impl Fn(&WorkerCounts) -> &Times) -> Value {
        let bounds = BOUNDS_US.iter().map(|us| Duration::from_micros(*us).as_secs_f64());
        let buckets = bounds.chain([f64::INFINITY]).enumerate();
        let buckets = buckets.map(|(at, bound)| (bound, self.count(|w| &of(w).buckets[at])));
        let sum = Duration::from_micros(self.count(|w| &of(w).sum_us)).as_secs_f64();
        Value::Times { buckets: buckets.collect(), sum }
    }

    fn errors(&self, code: ErrorCode) -> u64 {
        let at = ErrorCode::ALL.iter().position(|known| *known == code);
        self.count(|w| &w.errors[at.unwrap_or(ErrorCode::ALL.len())])
    }

    fn closes(&self, code: CloseCode) -> u64 {
        let at = CloseCode::ALL.iter().position(|known| *known == code);
        at.map_or(0, |at| self.count(|w| &w.closes[at]))
    }

    fn sent(&self, kind: Sent) -> u64 {
        self.workers.iter().map(|(counts, _)| counts.sent(kind)).sum()
    }
}

fn about_server(seen: &Seen<'_>) -> Vec<Family> {
    let mut connections = Family::gauge("chat_connections", "Open connections.");
    for dialect in DIALECTS {
        let n = seen.gauge(|g| g.connections[place_of(dialect)]);
        connections = connections.with(&[("dialect", label_of(dialect))], n);
    }
    let mut up = Family::gauge("chat_worker_up", "Whether a worker answers within a second.");
    let mut busy =
        Family::counter("chat_worker_busy_seconds_total", "Time that a worker did not wait.");
    for (index, (_, gauges)) in seen.workers.iter().enumerate() {
        up = up.with_worker(index, Value::Whole(gauges.answered.into()));
        busy = busy.with_worker(index, Value::Seconds(gauges.busy.as_secs_f64()));
    }
    let version = env!("CARGO_PKG_VERSION");
    let ready = u64::from(seen.ready == Ready::Ready);
    vec![
        Family::gauge("chat_build_info", "The version, always 1.").with(&[("version", version)], 1),
        Family::gauge("chat_in_service", "Whether the server has started and does not drain.")
            .with(&[], ready),
        up,
        busy,
        connections,
        Family::counter("chat_connections_opened_total", "Connections that were taken in.")
            .with(&[], seen.count(|w| &w.opened)),
        Family::gauge("chat_sessions", "Sessions that have a connection.")
            .with(&[], seen.gauge(|g| g.sessions)),
        Family::gauge("chat_sessions_away", "Sessions that may yet be resumed.")
            .with(&[], seen.gauge(|g| g.away)),
        Family::gauge("chat_rooms", "Rooms and inboxes that are held, once for each worker.")
            .with(&[], seen.gauge(|g| g.rooms)),
        Family::gauge("chat_members", "Members of all rooms but inboxes.")
            .with(&[], seen.gauge(|g| g.members)),
    ]
}

fn about_frames(seen: &Seen<'_>) -> Vec<Family> {
    let mut received =
        Family::counter("chat_received_frames_total", "Frames and other texts from clients.");
    let mut received_bytes =
        Family::counter("chat_received_bytes_total", "Bytes of the texts from clients.");
    let mut sent = Family::counter("chat_sent_frames_total", "Frames that were put in outboxes.");
    let mut sent_bytes =
        Family::counter("chat_sent_bytes_total", "Bytes of these frames as they are written.");
    let mut deliveries = Family::counter(
        "chat_deliveries_total",
        "Messages that were put in members' outboxes, one for each member.",
    );
    for dialect in DIALECTS {
        let (at, label) = (place_of(dialect), label_of(dialect));
        for kind in Received::ALL.iter().copied().filter(|kind| kind.is_in(dialect)) {
            let labels = [("dialect", label), ("type", kind.name())];
            let frames = seen.count(|w| &w.received[at].frames[kind as usize]);
            let bytes = seen.count(|w| &w.received[at].bytes[kind as usize]);
            received = received.with(&labels, frames);
            received_bytes = received_bytes.with(&labels, bytes);
        }
        for kind in Sent::ALL.iter().copied().filter(|kind| kind.is_in(dialect)) {
            let labels = [("dialect", label), ("type", kind.name())];
            let frames = seen.count(|w| &w.sent[at].frames[kind as usize]);
            let bytes = seen.count(|w| &w.sent[at].bytes[kind as usize]);
            sent = sent.with(&labels, frames);
            sent_bytes = sent_bytes.with(&labels, bytes);
            if kind == Sent::Message {
                deliveries = deliveries.with(&[("dialect", label)], frames);
            }
        }
    }
    vec![received, received_bytes, sent, sent_bytes, deliveries]
}

fn about_times(seen: &Seen<'_>) -> Vec<Family> {
    vec![
        Family::histogram("chat_append_seconds", "Calls of the log's append, of many rooms each.")
            .with_times(seen.times(|w| &w.append)),
        Family::histogram(
            "chat_commit_seconds",
            "From a message's receipt to its commit. Each worker measures one message at a time.",
        )
        .with_times(seen.times(|w| &w.commit)),
        Family::histogram(
            "chat_fanout_enqueue_seconds",
            "From the receipt of the same messages to the last outbox of the worker's members.",
        )
        .with_times(seen.times(|w| &w.enqueue)),
        Family::histogram(
            "chat_fanout_write_seconds",
            "From the receipt of the same messages to the last write, to those who take it.",
        )
        .with_times(seen.times(|w| &w.write)),
    ]
}

fn about_trouble(seen: &Seen<'_>) -> Vec<Family> {
    let mut closes =
        Family::counter("chat_closes_total", "Connections that the server closed, by code.");
    for code in CloseCode::ALL.iter().copied() {
        let number = code.number().to_string();
        let labels = [("code", number.as_str()), ("reason", code.reason())];
        closes = closes.with(&labels, seen.closes(code));
    }
    let mut errors = Family::counter("chat_errors_total", "Requests that were refused, by code.");
    for code in ErrorCode::ALL.iter().copied().chain([ErrorCode::Unknown]) {
        errors = errors.with(&[("code", code.as_str())], seen.errors(code));
    }
    let ended = "Connections that ended otherwise: the peer said goodbye, or was lost.";
    vec![
        Family::gauge("chat_outbox_bytes", "Bytes that wait for clients.")
            .with(&[], seen.gauge(|g| g.outbox_bytes)),
        Family::gauge("chat_congested_connections", "Connections whose outbox is over its mark.")
            .with(&[], seen.gauge(|g| g.congested)),
        Family::counter("chat_congestions_total", "How often an outbox went over its mark.")
            .with(&[], seen.count(|w| &w.congestions)),
        Family::counter(
            "chat_catch_ups_total",
            "How often a member that lagged was up to date again.",
        )
        .with(&[], seen.gauge(|g| g.catch_ups)),
        Family::counter(
            "chat_gaps_total",
            "How often a member was told to page for what it missed.",
        )
        .with(&[], seen.sent(Sent::Gap)),
        Family::counter("chat_pauses_total", "How often a connection was not read for a while.")
            .with(&[], seen.count(|w| &w.pauses)),
        closes,
        Family::counter("chat_disconnects_total", ended)
            .with(&[("reason", "goodbye")], seen.count(|w| &w.left))
            .with(&[("reason", "lost")], seen.count(|w| &w.lost)),
        errors,
        limits_hit(seen),
    ]
}

/// Told by the errors and closes that they cause, under the names of the options.
fn limits_hit(seen: &Seen<'_>) -> Family {
    let budget = seen.errors(ErrorCode::RateLimited) + seen.closes(CloseCode::RateLimited);
    let mut hit = Family::counter("chat_limits_hit_total", "How often a limit was hit, by limit.");
    for (limit, times) in [
        ("connections", seen.count(|w| &w.turned_away)),
        ("frame_bytes", seen.closes(CloseCode::TooBig)),
        ("members", seen.errors(ErrorCode::RoomFull)),
        ("message_bytes", seen.errors(ErrorCode::TooLarge)),
        ("messages_per_10s", budget),
        ("outbox_bytes", seen.closes(CloseCode::SlowConsumer)),
        ("rooms", seen.errors(ErrorCode::TooManyRooms)),
        ("rooms_total", seen.errors(ErrorCode::RoomsExhausted)),
    ] {
        hit = hit.with(&[("limit", limit)], times);
    }
    hit
}

fn about_log_and_broker(seen: &Seen<'_>) -> Vec<Family> {
    let mut appends = Family::counter("chat_log_appends_total", "Batches offered to the log.");
    for (at, result) in ["ok", "refused", "unknown"].into_iter().enumerate() {
        appends = appends.with(&[("result", result)], seen.count(|w| &w.appends[at]));
    }
    let mut reads = Family::counter("chat_log_reads_total", "Questions to the log.");
    for (at, result) in ["ok", "failed"].into_iter().enumerate() {
        reads = reads.with(&[("result", result)], seen.count(|w| &w.reads[at]));
    }
    vec![
        appends,
        Family::counter("chat_log_drafts_total", "Messages offered to the log.")
            .with(&[], seen.count(|w| &w.drafts)),
        reads,
        Family::gauge("chat_log_up", "Whether the log took the last probe.")
            .with(&[], seen.health.log.is_ok().into()),
        Family::counter("chat_broker_signals_total", "Signals between Hubs.")
            .with(&[("direction", "out")], seen.count(|w| &w.signals_sent))
            .with(&[("direction", "in")], seen.count(|w| &w.signals_received)),
        Family::counter("chat_broker_losses_total", "How often signals were lost.")
            .with(&[], seen.count(|w| &w.signal_losses)),
        Family::gauge("chat_broker_up", "Whether the last probe came back from the broker.")
            .with(&[], seen.health.broker.is_ok().into()),
    ]
}
