//! Takes what comes on the connections of one thread, and keeps the accounts.
use super::connection::{Connection, State};
use super::frame;
use super::plan::{Dialect, Plan, Reads};
use super::seen::{Arrival, Seen};
use super::senders::Senders;
use super::stamp::Stamp;
use super::tally::Tally;
use super::words::{self, Said};

#[derive(Debug)]
pub(crate) struct Ledger {
    dialect: Dialect,
    senders_per_room: u32,
    pub(crate) senders: Senders,
    pub(crate) tally: Tally,
    /// Of each connection, for each sender of its room.
    seen: Vec<Seen>,
    /// Whether arrivals count as measured.
    pub(crate) measuring: bool,
    /// Whether we have asked for the connections' end.
    pub(crate) leaving: bool,
    pub(crate) connected_ns: u64,
    pub(crate) joined_ns: u64,
    pub(crate) received_ns: u64,
}

/// The connection is to be ended, for this reason.
pub(crate) struct End(pub(crate) String);

impl Ledger {
    pub(crate) fn new(plan: &Plan, connections: &[Connection]) -> Self {
        Self {
            dialect: plan.dialect,
            senders_per_room: plan.senders,
            senders: Senders::new(plan, connections),
            tally: Tally::default(),
            seen: vec![Seen::default(); connections.len() * plan.senders as usize],
            measuring: false,
            leaving: false,
            connected_ns: 0,
            joined_ns: 0,
            received_ns: 0,
        }
    }

    /// Takes one frame; `at` is the connection's place in its thread.
    pub(crate) fn frame(
        &mut self,
        at: usize,
        connection: &mut Connection,
        opcode: u8,
        payload: &[u8],
        now_ns: u64,
    ) -> Result<(), End> {
        match opcode {
            frame::TEXT => {
                if connection.state == State::Joined
                    && let Some(stamp) = Stamp::find(payload)
                {
                    self.delivery(at, connection, stamp, now_ns);
                    return Ok(());
                }
                self.other(at, connection, words::read(payload), now_ns)
            }
            frame::PING => {
                self.tally.heartbeats += 1;
                // If it breaks, the next read says so.
                let _ = connection.send_frame(frame::PONG, payload);
                Ok(())
            }
            frame::PONG => Ok(()),
            frame::CLOSE => {
                let _ = connection.send_frame(frame::CLOSE, payload);
                Err(End(Self::close_reason(connection, payload)))
            }
            opcode => Err(End(format!("the server sent a frame of the kind {opcode}"))),
        }
    }

    /// Counts the end of a connection.
    pub(crate) fn end(&mut self, connection: &mut Connection, End(reason): End) {
        let state = connection.state;
        if self.leaving && state >= State::Made {
            connection.abort();
            return;
        }
        connection.end();
        match state {
            State::Unborn | State::Ended => {}
            State::Connecting | State::Upgrading | State::Greeting => {
                self.tally.failures.add(reason);
            }
            State::Joining => {
                self.tally.join_failures.add(reason.clone());
                self.tally.closes.add(reason);
            }
            State::Made | State::Joined => match connection.role.reads {
                Reads::Always => self.tally.closes.add(reason),
                Reads::Late => self.tally.slow.closes.add(reason),
            },
        }
    }

    /// The connection stands, and the server has said hello if it has to.
    pub(crate) fn made(&mut self, connection: &mut Connection, now_ns: u64) {
        connection.state = State::Made;
        self.tally.connected += 1;
        self.tally.connect_times.record(now_ns.saturating_sub(connection.since_ns));
        self.connected_ns = now_ns;
    }

    fn delivery(&mut self, at: usize, connection: &Connection, stamp: Stamp, now_ns: u64) {
        let senders = self.senders_per_room;
        let first = connection.role.room * senders;
        let Some(place) = stamp.sender.checked_sub(first).filter(|place| *place < senders) else {
            self.tally.foreign += 1;
            return;
        };
        let seen = &mut self.seen[at * senders as usize + place as usize];
        let arrival = seen.take(stamp.number);
        if connection.role.reads == Reads::Late {
            match arrival {
                Arrival::New | Arrival::OutOfOrder => self.tally.slow.received += 1,
                Arrival::Repeated => self.tally.slow.repeated += 1,
            }
            return;
        }
        match arrival {
            Arrival::New => {}
            Arrival::OutOfOrder => self.tally.out_of_order += 1,
            Arrival::Repeated => {
                self.tally.repeated += 1;
                return;
            }
        }
        self.tally.received += 1;
        self.received_ns = now_ns;
        if self.measuring {
            self.tally.measured += 1;
            self.tally.latency.record(now_ns.saturating_sub(stamp.sent_ns));
        }
        if connection.role.sender == Some(stamp.sender) {
            self.senders.arrived(at, stamp.sender, now_ns);
        }
    }

    fn other(
        &mut self,
        at: usize,
        connection: &mut Connection,
        said: Said,
        now_ns: u64,
    ) -> Result<(), End> {
        match said {
            Said::Welcome if connection.state == State::Greeting => self.made(connection, now_ns),
            Said::Joined if connection.state == State::Joining => self.joined(connection, now_ns),
            Said::JoinNotice => {
                self.tally.join_notices += 1;
                // Before its own notice a connection is in no room, so the first is its own.
                if self.dialect == Dialect::Basic && connection.state == State::Joining {
                    self.joined(connection, now_ns);
                }
            }
            Said::LeaveNotice => self.tally.leave_notices += 1,
            Said::Ack => self.tally.acked += 1,
            Said::Ping => {
                self.tally.heartbeats += 1;
                let _ = connection.send_frame(frame::TEXT, words::PONG.as_bytes());
            }
            Said::Gap(entries) => match connection.role.reads {
                Reads::Always => self.tally.gaps += entries,
                Reads::Late => self.tally.slow.gaps += entries,
            },
            Said::Bye(code) => connection.bye = Some(code),
            Said::Error { id, code, retry_after_ms } => {
                return self.error(at, connection, id.as_deref(), code, retry_after_ms, now_ns);
            }
            Said::Welcome | Said::Joined | Said::Other => {}
        }
        Ok(())
    }

    fn joined(&mut self, connection: &mut Connection, now_ns: u64) {
        connection.state = State::Joined;
        self.tally.joined += 1;
        self.tally.join_times.record(now_ns.saturating_sub(connection.since_ns));
        self.joined_ns = now_ns;
    }

    fn error(
        &mut self,
        at: usize,
        connection: &mut Connection,
        id: Option<&str>,
        code: String,
        retry_after_ms: Option<u64>,
        now_ns: u64,
    ) -> Result<(), End> {
        match (connection.state, connection.role.sender) {
            (State::Greeting, _) => Err(End(format!("the server refuses the hello: {code}"))),
            (State::Joining, _) => {
                connection.state = State::Made;
                self.tally.join_failures.add(code);
                Ok(())
            }
            // A message is a request whose id is its number. With an unknown outcome it may come
            // all the same.
            (State::Joined, Some(sender))
                if code != "unknown_outcome"
                    && id.is_some_and(|id| id.parse::<u32>().is_ok_and(|number| number > 0)) =>
            {
                let until_ns = now_ns + retry_after_ms.unwrap_or(0) * 1_000_000;
                self.senders.refused(at, sender, now_ns, until_ns);
                self.tally.refused.add(code);
                Ok(())
            }
            _ => {
                self.tally.errors.add(code);
                Ok(())
            }
        }
    }

    fn close_reason(connection: &Connection, payload: &[u8]) -> String {
        let bye = connection.bye.as_deref();
        match payload.split_first_chunk() {
            Some((code, reason)) => {
                let code = u16::from_be_bytes(*code);
                let reason = String::from_utf8_lossy(reason);
                match bye.unwrap_or(&reason) {
                    "" => format!("closed with {code}"),
                    reason => format!("closed with {code} ({reason})"),
                }
            }
            None => "closed without a code".into(),
        }
    }
}
