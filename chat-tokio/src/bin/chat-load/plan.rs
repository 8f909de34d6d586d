//! What is to be done, after the command line has been checked.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::shared::Phase;
use super::stamp::NUMBER_MAX;

/// Everything that a run is told.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) dialect: Dialect,
    pub(crate) target: Target,
    /// Process id of the server, if its CPU time and memory are wanted.
    pub(crate) pid: Option<u32>,
    pub(crate) connections: u32,
    /// 0: nobody joins.
    pub(crate) rooms: u32,
    /// Of each room, those included who do not read.
    pub(crate) members: u32,
    /// Members of each room that do not read.
    pub(crate) slow: u32,
    /// Senders of each room.
    pub(crate) senders: u32,
    pub(crate) pace: Pace,
    pub(crate) span: Span,
    pub(crate) warmup: Duration,
    /// What interrupts the idling.
    pub(crate) burst: Option<Burst>,
    pub(crate) content_bytes: usize,
    pub(crate) threads: u32,
    pub(crate) seed: u64,
    /// Connections that are being made at a time.
    pub(crate) connecting: u32,
    /// Joins that are under way at a time.
    pub(crate) joining: u32,
    pub(crate) json: Option<Json>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Connect,
    Join,
    Fanout,
    Idle,
    Slow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Basic,
    V1,
}

/// What decides when a message is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// So many messages of each sender are on their way at a time.
    InFlight(u32),
    /// So many deliveries are caused in a second, by all senders together.
    Rate(f64),
}

/// When it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Time(Duration),
    /// Each sender sends so many messages.
    Messages(u32),
}

/// Messages to idle members, who read nothing until all are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    /// To each room: once before it is idle, for the history that stays, and once in the burst.
    pub(crate) messages: u32,
    /// How long it is quiet afterwards.
    pub(crate) quiet: Duration,
}

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) address: SocketAddr,
    /// At `wss://`.
    pub(crate) secured: Option<Secured>,
}

/// What TLS needs, the same for all connections.
#[derive(Clone, Debug)]
pub(crate) struct Secured {
    pub(crate) config: Arc<ClientConfig>,
    /// Whose certificate is expected.
    pub(crate) name: ServerName<'static>,
    /// Whether the certificate is looked at.
    pub(crate) checked: bool,
}

/// Where the JSON goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Stdout,
    File(PathBuf),
}

/// What one connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) room: u32,
    /// Its place among the senders of all rooms.
    pub(crate) sender: Option<u32>,
    pub(crate) reads: Reads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Always,
    /// From the first message on it reads nothing until all others have everything.
    Late,
}

impl Plan {
    /// Returns the role of a connection, counted from 0. The first members of a room send, the
    /// last ones are slow.
    pub(crate) fn role(&self, connection: u32) -> Role {
        let Some(room) = connection.checked_div(self.members).filter(|_| self.rooms > 0) else {
            return Role { room: 0, sender: None, reads: Reads::Always };
        };
        let place = connection % self.members;
        let late = place >= self.members - self.slow;
        Role {
            room,
            sender: (place < self.senders).then(|| room * self.senders + place),
            reads: if late { Reads::Late } else { Reads::Always },
        }
    }

    /// Returns the members of each room from whom a delivery of each message is expected.
    pub(crate) fn readers(&self) -> u32 {
        self.members - self.slow
    }

    pub(crate) fn senders_in_all(&self) -> u32 {
        self.rooms * self.senders
    }

    /// Returns how many messages a sender may have had accepted by the end of a phase.
    pub(crate) fn messages_max(&self, phase: Phase) -> u32 {
        match (self.burst, self.span) {
            (Some(burst), _) if phase <= Phase::Warm => burst.messages,
            (Some(burst), _) => burst.messages * 2,
            (None, Span::Messages(messages)) => messages,
            (None, Span::Time(_)) => NUMBER_MAX,
        }
    }

    pub(crate) fn sends(&self) -> bool {
        self.senders > 0
    }

    pub(crate) fn room_name(&self, room: u32) -> String {
        format!("load-{:x}-{room}", self.seed)
    }

    /// Returns the connections that a thread has.
    pub(crate) fn share(&self, thread: u32) -> impl Iterator<Item = u32> {
        (thread..self.connections).step_by(self.threads as usize)
    }
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Join => "join",
            Self::Fanout => "fanout",
            Self::Idle => "idle",
            Self::Slow => "slow",
        }
    }
}

impl Dialect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::V1 => chat_proto::SUBPROTOCOL,
        }
    }
}
