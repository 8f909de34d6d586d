//! One Client, its application, the server and the connection between them.
use std::collections::VecDeque;

use chat_proto::{ErrorCode, Key, Request, RequestId, RoomName, Timestamp};
use chat_simulation::adapter::ClientAdapter;
use chat_simulation::sim::Random;
use chat_state::client::{
    Action, Actions, Config, Event, LinkId, Outcome, Query, State, Stats, Ticket,
};
use chat_state::{Mono, Now};

use crate::app::App;
use crate::chaos::Anything;
use crate::server::{Fault, Server};

/// A step of a script. Every number is valid.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Join(u8),
    Leave(u8),
    Send(u8),
    Query(u8),
    Wake,
    /// Another user sends this many messages to a room.
    Others(u8, u8),
    /// As before, but the client receives only a `gap`.
    Gap(u8, u8),
    Ping,
    /// The server handles this many requests.
    Serve(u8),
    /// The client receives this many frames.
    Deliver(u8),
    /// The next frame is malformed.
    Mangle,
    Fault(u8),
    Cut(u8),
    Pass(u16),
    /// Hours pass, or a little more than a day, and the log forgets keys that are older.
    Hours(u8),
    /// The log loses its first entries.
    Trim(u8, u8),
    ReplaceLog(u8),
    LoseSession,
    /// An arbitrary event.
    Anything(Anything),
}

pub(crate) struct World {
    pub(crate) client: ClientAdapter,
    pub(crate) server: Server,
    pub(crate) app: App,
    now: Now,
    random: Random,
    link: Option<Line>,
    /// All messages sent, in order.
    pub(crate) sent: Vec<(RoomName, Key, Ticket)>,
}

/// The present link.
struct Line {
    id: LinkId,
    is_open: bool,
    up: VecDeque<(Option<RequestId>, Request)>,
}

pub(crate) fn room(n: u8) -> RoomName {
    RoomName::new(["den", "Lobby", "salon"][usize::from(n % 3)]).expect("a name")
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let mut world = Self {
            client: ClientAdapter::new(config),
            server: Server::new(),
            app: App::default(),
            now: Now { mono: Mono(0), wall: Timestamp(1_700_000_000_000) },
            random: Random::new(1),
            link: None,
            sent: Vec::new(),
        };
        world.handle(Event::Start);
        world
    }

    pub(crate) fn stats(&self) -> Stats {
        self.client.stats()
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Join(n) => self.handle(Event::Join { room: room(n) }),
            Step::Leave(n) => self.handle(Event::Leave { room: room(n) }),
            Step::Send(n) => self.send(room(n)),
            Step::Query(n) => self.query(n),
            Step::Wake => self.handle(Event::Wake),
            Step::Others(n, many) => {
                (0..many % 12).for_each(|_| self.server.somebody_says(&room(n), true));
            }
            Step::Gap(n, many) => self.server.gap(&room(n), u64::from(many % 12)),
            Step::Ping if self.link.is_some() => self.server.ping(),
            Step::Ping => {}
            Step::Serve(many) => self.serve(many),
            Step::Deliver(many) => (0..many % 8).for_each(|_| self.deliver()),
            Step::Mangle => self.mangle(),
            Step::Fault(n) => self.server.faults.push_back(fault(n)),
            Step::Cut(n) => {
                self.cut([None, Some(1006), Some(4100), Some(4200)][usize::from(n % 4)]);
            }
            Step::Pass(ms) => self.pass(u64::from(ms)),
            Step::Hours(n) => {
                let quarters = if n < 128 { u64::from(n % 12) } else { 24 * 4 + 1 };
                self.pass(quarters * 15 * 60 * 1000);
                (0..3).for_each(|n| self.server.forget_keys(&room(n)));
            }
            Step::Trim(n, many) => {
                let log = self.server.logs.room(&room(n));
                log.first = (log.first + u64::from(many % 6)).min(log.last() + 1);
            }
            Step::ReplaceLog(n) => {
                self.server.logs.replace(&room(n));
                self.cut(Some(4202));
            }
            Step::LoseSession => {
                self.server.lose_session();
                self.cut(None);
            }
            Step::Anything(ref anything) => self.anything(anything),
        }
    }

    fn anything(&mut self, anything: &Anything) {
        let present = self.link.as_ref().map_or(LinkId(0), |line| line.id);
        let is_linked = self.link.is_some();
        match anything {
            Anything::Opened(0) if is_linked => self.serve(0),
            Anything::Closed(0, code) => self.cut(*code),
            _ => self.handle(anything.event(present)),
        }
    }

    /// Replaces all logs, which voids everything that an arbitrary server has claimed.
    pub(crate) fn begin_anew(&mut self) {
        self.cut(None);
        (0..3).for_each(|n| self.server.logs.replace(&room(n)));
    }

    /// Ends all faults, and runs until the Client has nothing left to do. The server's pings name
    /// the heads of the rooms.
    pub(crate) fn heal(&mut self) {
        self.server.faults.clear();
        if matches!(self.client.state(), State::Stopped { .. } | State::Idle) {
            self.handle(Event::Start);
        }
        let begin = self.now.mono;
        loop {
            self.serve(u8::MAX);
            while !self.server.down.is_empty() {
                self.deliver();
            }
            if self.link.as_ref().is_some_and(|line| !line.is_open || !line.up.is_empty()) {
                continue;
            }
            if self.is_quiet() {
                break;
            }
            let due = self.client.poll_timeout().expect("a Client with work has a deadline");
            assert!(due.since(begin) < 7_200_000, "no end in sight: {}", self.shown());
            self.pass(due.since(self.now.mono));
            self.step(&Step::Ping);
        }
    }

    fn is_quiet(&self) -> bool {
        let Stats { outbox_entries, queries, requests, buffered, .. } = self.stats();
        let up_to_date = |(room, view): (&RoomName, &crate::app::View)| {
            let known = self.client.resume().and_then(|resume| resume.rooms.get(room).cloned());
            let last =
                self.server.logs.of_room(room).next().map(|log| (log.epoch.clone(), log.last()));
            view.is_in && known.map(|known| (known.epoch, known.seq.get())) == last
        };
        self.client.state() == State::Online
            && (outbox_entries, queries, requests, buffered) == (0, 0, 0, 0)
            && self.app.rooms.len() == self.stats().rooms
            && self.app.rooms.iter().all(up_to_date)
    }

    pub(crate) fn handle(&mut self, event: Event) {
        let out = self.client.handle(self.now, self.random.bits(), event);
        self.perform(out);
    }

    fn perform(&mut self, out: Actions) {
        for action in out {
            match action {
                Action::Open { link } => {
                    self.link = Some(Line { id: link, is_open: false, up: VecDeque::new() });
                }
                Action::Transmit { id, request, .. } => {
                    let line = self.link.as_mut().expect("there is a link");
                    line.up.push_back((id, request));
                }
                Action::Close { .. } => {
                    self.link = None;
                    self.server.cut();
                }
                Action::NeedToken => self.handle(Event::Token { token: None }),
                Action::Deliver(delivery) => {
                    if let Some(entry) = self.app.take(delivery) {
                        let log = self.server.logs.room(&entry.room);
                        let at = usize::try_from(entry.seq.get() - 1).expect("a small log");
                        // The log may have been replaced since the entry was sent.
                        assert!(log.entries.get(at).is_none_or(|known| known.seq == entry.seq));
                    }
                }
            }
        }
    }

    fn send(&mut self, room: RoomName) {
        let key = |ticket: Ticket| Key::new(&format!("k{:04}", ticket.0)).expect("a key");
        let ticket = self.app.ticket();
        self.sent.push((room.clone(), key(ticket), ticket));
        let content = format!("message {}", ticket.0).into();
        self.handle(Event::Send { ticket, room, key: key(ticket), content, reply_to: None });
    }

    fn query(&mut self, n: u8) {
        let ticket = self.app.ticket();
        let range = chat_proto::HistoryRange::Latest;
        let query = match n % 3 {
            0 => Query::Rooms { after: None },
            1 => Query::Members { room: room(n / 3) },
            _ => Query::History { room: room(n / 3), range, limit: None },
        };
        self.handle(Event::Query { ticket, query });
    }

    fn serve(&mut self, many: u8) {
        let Some(line) = &mut self.link else { return };
        if !line.is_open {
            line.is_open = true;
            let link = line.id;
            return self.handle(Event::Opened { link });
        }
        for _ in 0..many {
            let next = self.link.as_mut().and_then(|line| line.up.pop_front());
            let Some((id, request)) = next else { break };
            self.server.serve(id, request);
        }
    }

    fn deliver(&mut self) {
        let Some(line) = &self.link else { return };
        let link = line.id;
        if let Some(frame) = self.server.down.pop_front() {
            self.handle(Event::Received { link, frame });
        }
    }

    fn mangle(&mut self) {
        let Some(line) = &self.link else { return };
        let link = line.id;
        if self.server.down.pop_front().is_some() {
            self.handle(Event::Malformed { link });
        }
    }

    pub(crate) fn cut(&mut self, code: Option<u16>) {
        if let Some(line) = self.link.take() {
            self.server.cut();
            self.handle(Event::Closed { link: line.id, code });
        }
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now.mono.plus(ms);
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) {
            self.advance_to(due.max(self.now.mono));
            let out = self.client.fire(self.now, self.random.bits());
            self.perform(out);
        }
        self.advance_to(end);
    }

    fn advance_to(&mut self, to: Mono) {
        self.now.wall.0 += to.since(self.now.mono);
        self.now.mono = to;
        self.server.now = self.now.wall;
    }

    fn shown(&self) -> String {
        format!("{:?} {:?} {:?}", self.client.state(), self.stats(), self.app.rooms)
    }

    /// Returns true if the message was acknowledged.
    pub(crate) fn is_acked(&self, ticket: Ticket) -> bool {
        matches!(self.app.settled.get(&ticket), Some(Outcome::Acked { .. }))
    }
}

fn fault(n: u8) -> Fault {
    match n % 9 {
        0 => Fault::Refuse(ErrorCode::RateLimited, Some(1200)),
        1 => Fault::Refuse(ErrorCode::LogUnavailable, None),
        2 => Fault::Refuse(ErrorCode::NotMember, None),
        3 => Fault::Refuse(ErrorCode::RoomFull, None),
        4 | 5 => Fault::Unknown,
        6 | 7 => Fault::Silence,
        _ => Fault::Overlook,
    }
}
