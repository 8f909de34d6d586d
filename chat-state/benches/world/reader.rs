//! A Client that is in a room.
use std::sync::Arc;

use chat_proto::{
    Body, DisplayName, Durability, Entry, Epoch, Joined, Key, LimitValues, MembersView, RequestId,
    RoomName, Seq, ServerFrame, SessionId, Timestamp, UserId, Welcome,
};
use chat_state::client::{Action, Actions, Client, Config, Delivery, Event, LinkId};
use chat_state::{Mono, Now};

use super::Meter;

pub(crate) struct Reader {
    client: Client,
    out: Actions,
    now: Now,
    room: RoomName,
    link: LinkId,
    last: Seq,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let mut reader = Self {
            client: Client::new(Config::default()),
            out: Actions::new(),
            now: Now { mono: Mono(1), wall: Timestamp(1_700_000_000_000) },
            room: RoomName::new("lobby").expect("a plain word"),
            link: LinkId(0),
            last: Seq::ZERO,
        };
        reader.handle(Event::Join { room: reader.room.clone() });
        reader.handle(Event::Start);
        reader.link = reader.first(|action| match action {
            Action::Open { link } => Some(link),
            _ => None,
        });
        reader.handle(Event::Opened { link: reader.link });
        let id = reader.first(asked);
        reader.hear(ServerFrame::Welcome(welcome(id).into()));
        let joined = Joined {
            id: reader.first(asked),
            room: reader.room.clone(),
            epoch: Epoch::new("e1").expect("a plain word"),
            head: Seq::ZERO,
            members: MembersView { count: 1, members: Arc::default() },
            events: Vec::new(),
            has_more_before: false,
        };
        reader.hear(ServerFrame::Joined(joined.into()));
        reader.out.clear();
        reader
    }

    /// The room's next entry comes and is handed on.
    pub(crate) fn receive(&mut self, meter: Meter<'_>) {
        self.last = self.last.next();
        let (room, seq, ts) = (self.room.clone(), self.last, self.now.wall);
        let user = UserId::new("guest-abcdefghijkmnpqrstuv").expect("a user id");
        let (user, username) = (user, DisplayName::new("Ada").expect("a plain word"));
        let key = Key::new("01J9ZC7V5T8N4M2K6Q0R3S1W8X").ok();
        let body = Body::Message { content: "Hello, everybody".into(), reply_to: None };
        let frame =
            ServerFrame::Entry(Arc::new(Entry::new(room, seq, ts, user, username, key, body)));
        let mut event = Some(Event::Received { link: self.link, frame });
        let (client, out, now) = (&mut self.client, &mut self.out, self.now);
        meter(&mut || {
            if let Some(event) = event.take() {
                client.handle(now, 7, event, out);
            }
        });
        let handed_on = |action| matches!(action, Action::Deliver(Delivery::Entry(_)));
        assert!(self.out.drain(..).any(handed_on), "the entry was handed on");
    }

    fn hear(&mut self, frame: ServerFrame) {
        self.handle(Event::Received { link: self.link, frame });
    }

    fn handle(&mut self, event: Event) {
        self.client.handle(self.now, 7, event, &mut self.out);
    }

    fn first<T>(&mut self, wanted: impl FnMut(Action) -> Option<T>) -> T {
        self.out.drain(..).find_map(wanted).expect("it was asked for")
    }
}

#[expect(clippy::option_option, reason = "a request may have no id")]
fn asked(action: Action) -> Option<Option<RequestId>> {
    match action {
        Action::Transmit { id, .. } => Some(id),
        _ => None,
    }
}

fn welcome(id: Option<RequestId>) -> Welcome {
    Welcome {
        id,
        session: SessionId::new("k3XcQ2Vn8sTq7LwPz1YbRg").expect("letters and digits"),
        user: UserId::new("guest-abcdefghijkmnpqrstuv").expect("a user id"),
        name: DisplayName::new("Ada").expect("a plain word"),
        resumed: false,
        durability: Durability::Disk,
        heartbeat_ms: 25_000,
        limits: LimitValues::default(),
        features: Vec::new(),
        rooms: std::collections::BTreeMap::new(),
    }
}
