//! Drives a Client with text: server frames go in as JSON, and each action comes out as one line.
use chat_proto::{Body, Key, RoomName, ServerFrame, Timestamp};
use chat_state::client::{
    Action, Actions, Client, Config, Delivery, Event, LinkId, Outcome, State, StopReason, Ticket,
};
use chat_state::{Mono, Now};

pub(crate) struct Test {
    pub(crate) client: Client,
    pub(crate) now: Now,
    pub(crate) link: LinkId,
    /// The number of the last request that had an id.
    pub(crate) last: u64,
}

pub(crate) fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a room's name")
}

impl Test {
    pub(crate) fn new(config: Config) -> Self {
        let now = Now { mono: Mono(1000), wall: Timestamp(1_700_000_000_000) };
        Self { client: Client::new(config), now, link: LinkId(0), last: 0 }
    }

    /// Makes a Client that is online as `u_ada` and in no room.
    pub(crate) fn online(config: Config) -> Self {
        let mut test = Self::new(config);
        test.handle(Event::Start);
        test.opened();
        test.welcome("u_ada", "");
        test
    }

    /// Makes a Client that is in the lobby and has received its two entries.
    pub(crate) fn in_lobby(config: Config) -> Self {
        let mut test = Self::online(config);
        test.join("lobby");
        test.joined("lobby", "e1", 2, &[1, 2]);
        test
    }

    pub(crate) fn handle(&mut self, event: Event) -> Vec<String> {
        let mut out = Actions::new();
        self.client.handle(self.now, u64::MAX / 2 + 1, event, &mut out);
        self.shown(out)
    }

    pub(crate) fn pass(&mut self, ms: u64) -> Vec<String> {
        let end = self.now.mono.plus(ms);
        let mut lines = Vec::new();
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) {
            self.advance_to(due);
            let mut out = Actions::new();
            self.client.handle_timeout(self.now, u64::MAX / 2 + 1, &mut out);
            lines.extend(self.shown(out));
        }
        self.advance_to(end);
        lines
    }

    fn advance_to(&mut self, to: Mono) {
        self.now.wall.0 += to.since(self.now.mono);
        self.now.mono = to;
    }

    pub(crate) fn opened(&mut self) -> Vec<String> {
        let link = self.link;
        self.handle(Event::Opened { link })
    }

    pub(crate) fn closed(&mut self, code: Option<u16>) -> Vec<String> {
        let link = self.link;
        self.handle(Event::Closed { link, code })
    }

    /// Loses the connection and reconnects, up to the next `hello`.
    pub(crate) fn again(&mut self) -> Vec<String> {
        self.closed(None);
        self.pass(2000);
        self.opened()
    }

    pub(crate) fn server(&mut self, text: &str) -> Vec<String> {
        let link = self.link;
        let frame = ServerFrame::decode(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        self.handle(Event::Received { link, frame })
    }

    /// Answers the last `hello`; `more` has further fields.
    pub(crate) fn welcome(&mut self, user: &str, more: &str) -> Vec<String> {
        let limits = if more.contains("\"limits\"") { "" } else { r#","limits":{}"# };
        let features = if more.contains("\"features\"") { "" } else { r#","features":[]"# };
        self.server(&format!(
            r#"{{"type":"welcome","id":"{}","session":"s_{user}","user":"{user}","name":"Ada",
            "resumed":false,"durability":"disk","heartbeat_ms":25000{limits}{features}{more}}}"#,
            self.last
        ))
    }

    /// Answers the last `hello`; the lobby is recovered up to `head`.
    pub(crate) fn recovered(&mut self, user: &str, head: u64) -> Vec<String> {
        let rooms = format!(r#""lobby":{{"recovered":true,"epoch":"e1","head":{head}}}"#);
        self.welcome(user, &format!(r#","rooms":{{{rooms}}}"#))
    }

    pub(crate) fn joined(
        &mut self,
        room: &str,
        epoch: &str,
        head: u64,
        seqs: &[u64],
    ) -> Vec<String> {
        let events: Vec<_> = seqs.iter().map(|seq| message(room, *seq, "u_bob", "")).collect();
        self.server(&format!(
            r#"{{"type":"joined","id":"{}","room":"{room}","epoch":"{epoch}","head":{head},
            "members":{{"count":0,"members":[]}},"events":[{}],"has_more_before":false}}"#,
            self.last,
            events.join(",")
        ))
    }

    pub(crate) fn page(&mut self, epoch: &str, events: &[String]) -> Vec<String> {
        self.server(&format!(
            r#"{{"type":"page","id":"{}","room":"lobby","epoch":"{epoch}","events":[{}],
            "has_more_before":true,"has_more_after":false}}"#,
            self.last,
            events.join(",")
        ))
    }

    pub(crate) fn ack(&mut self, id: u64, seq: u64) -> Vec<String> {
        self.server(&format!(r#"{{"type":"ack","id":"{id}","room":"lobby","seq":{seq},"ts":5}}"#))
    }

    /// Refuses a request; `more` has further fields.
    pub(crate) fn error(&mut self, id: u64, code: &str, more: &str) -> Vec<String> {
        self.server(&format!(
            r#"{{"type":"error","id":"{id}","code":"{code}","message":""{more}}}"#
        ))
    }

    pub(crate) fn join(&mut self, name: &str) -> Vec<String> {
        self.handle(Event::Join { room: room(name) })
    }

    pub(crate) fn leave(&mut self, name: &str) -> Vec<String> {
        self.handle(Event::Leave { room: room(name) })
    }

    /// Sends a message to a room. Its key is made from the ticket.
    pub(crate) fn send(&mut self, name: &str, ticket: u64, content: &str) -> Vec<String> {
        self.handle(Event::Send {
            ticket: Ticket(ticket),
            room: room(name),
            key: Key::new(&format!("k{ticket}")).expect("a key"),
            content: content.into(),
            reply_to: None,
        })
    }

    fn shown(&mut self, out: Actions) -> Vec<String> {
        out.into_iter().map(|action| self.line(action)).collect()
    }

    fn line(&mut self, action: Action) -> String {
        match action {
            Action::Open { link } => {
                self.link = link;
                "open".into()
            }
            Action::Transmit { link, id, request } => {
                assert_eq!(link, self.link);
                if let Some(id) = id {
                    self.last = id.parse().expect("a number");
                }
                request.encode(None)
            }
            Action::Close { link, code } => {
                assert_eq!(link, self.link);
                format!("close {code}")
            }
            Action::NeedToken => "need token".into(),
            Action::Deliver(delivery) => line_of(delivery),
        }
    }
}

/// Makes a message as JSON; `more` has further fields.
pub(crate) fn message(room: &str, seq: u64, user: &str, more: &str) -> String {
    format!(
        r#"{{"type":"message","room":"{room}","seq":{seq},"ts":{seq},"user":"{user}",
        "username":"X","content":"c{seq}"{more}}}"#
    )
}

fn line_of(delivery: Delivery) -> String {
    match delivery {
        Delivery::State(State::Waiting { .. }) => "waiting".into(),
        Delivery::State(State::Stopped { why }) => match why {
            StopReason::Refused(error) => format!("stopped: {}", error.code),
            other => format!("stopped: {other:?}"),
        },
        Delivery::State(state) => format!("{state:?}").to_lowercase(),
        Delivery::Welcome(welcome) => format!("welcome {}", welcome.user),
        Delivery::Joined { room, epoch, fresh, members, has_more_before } => {
            assert!(fresh || !has_more_before);
            let how = match (fresh, members.is_some()) {
                (true, _) => "fresh",
                (false, true) => "again",
                (false, false) => "recovered",
            };
            let more = if has_more_before { " more" } else { "" };
            format!("joined {room} {} {how}{more}", epoch.as_str())
        }
        Delivery::Entry(entry) => match &entry.body {
            Body::Message { content, .. } => format!("{} {}: {content}", entry.room, entry.seq),
            other => format!("{} {}: {other:?}", entry.room, entry.seq),
        },
        Delivery::Lost { room, from, to } => format!("{room} {from}-{to}: lost"),
        Delivery::Reset { room, epoch } => format!("reset {room} {}", epoch.as_str()),
        Delivery::Left { room, why } => {
            let why = format!("{why:?}");
            format!("left {room}: {}", why.split('(').next().unwrap_or_default())
        }
        Delivery::Members { room, view } => format!("{room}: {} members", view.count),
        Delivery::Presence { room, count } => format!("{room}: {count} present"),
        Delivery::MemberJoined { room, member } => format!("{room}: {} joined", member.user),
        Delivery::MemberLeft { room, member, reason } => {
            format!("{room}: {} left: {reason:?}", member.user)
        }
        Delivery::Typing { room, member, active } => {
            format!("{room}: {} types: {active}", member.user)
        }
        Delivery::Settled { ticket, outcome } => format!("#{}: {}", ticket.0, outcome_of(&outcome)),
    }
}

fn outcome_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Acked { seq, duplicate: false, .. } => format!("acked {seq}"),
        Outcome::Acked { seq, duplicate: true, .. } => format!("acked {seq} again"),
        Outcome::Refused(error) => format!("refused: {}", error.code),
        Outcome::Unknown(error) => format!("unknown: {}", error.code),
        Outcome::Full => "full".into(),
        Outcome::Expired => "expired".into(),
        Outcome::Stopped => "stopped".into(),
        Outcome::Page(page) => format!("page of {}", page.events.len()),
        Outcome::Members(view) => format!("{} members", view.count),
        Outcome::Rooms { rooms, .. } => format!("{} rooms", rooms.len()),
    }
}
