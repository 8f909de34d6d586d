//! Who the server says one is.
use alloc::boxed::Box;
use alloc::collections::VecDeque;

use chat_proto::{
    Entry, LimitValues, Position, Request, Resume, RoomName, SEQ_MAX, SessionId, UserId, Welcome,
};

use super::config::Config;

/// User ids that were one's own: a guest may get another with each session.
const USERS_MAX: usize = 16;

/// The facts of the session, which outlives connections.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: Option<SessionId>,
    /// Counts the connections, so that the server can tell which one is the latest.
    attempt: u64,
    /// The last one is the present one.
    users: VecDeque<UserId>,
    pub(super) limits: LimitValues,
    pub(super) heartbeat_ms: u64,
    /// Whether the server passes on who is typing.
    pub(super) has_typing: bool,
    /// Bytes that a `hello` may have.
    pub(super) hello_bytes: usize,
}

impl Session {
    pub(super) fn new(id: Option<SessionId>, attempt: u64) -> Self {
        let limits = LimitValues::default();
        Self {
            id,
            attempt,
            users: VecDeque::new(),
            hello_bytes: limits.frame_bytes as usize,
            limits,
            heartbeat_ms: 25_000,
            has_typing: false,
        }
    }

    pub(super) fn user(&self) -> Option<&UserId> {
        self.users.back()
    }

    pub(super) fn is_own(&self, entry: &Entry) -> bool {
        self.users.contains(&entry.user)
    }

    pub(super) fn welcome(&mut self, welcome: &Welcome) {
        self.id = Some(welcome.session.clone());
        self.users.retain(|user| *user != welcome.user);
        if self.users.len() == USERS_MAX {
            self.users.pop_front();
        }
        self.users.push_back(welcome.user.clone());
        self.limits = welcome.limits.clone();
        self.hello_bytes = self.limits.frame_bytes as usize;
        // What a server might say by mistake must neither flood it nor make one wait for ever.
        self.heartbeat_ms = welcome.heartbeat_ms.clamp(1000, 600_000);
        self.has_typing = welcome.features.iter().any(|feature| feature == "typing");
    }

    /// Returns what a later process goes on with.
    pub(super) fn resume(
        &self,
        positions: impl Iterator<Item = (RoomName, Position)>,
    ) -> Option<Resume> {
        let session = self.id.clone()?;
        Some(Resume { session, attempt: self.attempt, rooms: positions.collect() })
    }

    /// Makes the `hello` of the next connection, with as many of the positions as fit.
    pub(super) fn hello(
        &mut self,
        config: &Config,
        positions: impl Iterator<Item = (RoomName, Position)>,
    ) -> Request {
        self.attempt = SEQ_MAX.min(self.attempt + 1);
        let resume = self.resume(core::iter::empty());
        let mut hello = Request::Hello {
            name: config.name.clone(),
            token: config.token.clone(),
            features: config.features.clone(),
            resume: resume.map(Box::new),
        };
        // The id of the request comes on top.
        let mut bytes = hello.encode(None).len() + 32;
        if let Request::Hello { resume: Some(resume), .. } = &mut hello {
            let fitting = positions.take_while(|(room, position)| {
                bytes += encoded_len(room, position);
                bytes <= self.hello_bytes
            });
            resume.rooms = fitting.collect();
        }
        hello
    }
}

/// Returns how many bytes a position takes in a `hello`, or a few more.
fn encoded_len(room: &RoomName, position: &Position) -> usize {
    const AROUND: usize = r#""":{"epoch":"","seq":9007199254740991},"#.len();
    let escaped = room.as_str().bytes().filter(|b| matches!(b, b'"' | b'\\')).count();
    room.as_str().len() + escaped + position.epoch.as_str().len() + AROUND
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_proto::{DisplayName, Epoch, Seq};
    use std::collections::BTreeMap;
    use std::format;
    use std::vec::Vec;

    #[test]
    fn a_hello_names_as_many_rooms_as_fit() {
        let mut session = Session::new(Some(SessionId::new("s").unwrap()), 4);
        let position = Position { epoch: Epoch::new("e1").unwrap(), seq: Seq::new(7).unwrap() };
        let rooms: Vec<_> = (0..600)
            .map(|n| (RoomName::new(&format!("a \"room\" {n:03}")).unwrap(), position.clone()))
            .collect();
        let config = Config { features: Vec::from(["typing".into()]), ..Config::default() };
        for bytes in [256, 1000, 16_384] {
            session.hello_bytes = bytes;
            let hello = session.hello(&config, rooms.iter().cloned());
            let encoded = hello.encode(None).len() + 32;
            assert!(encoded <= bytes, "{encoded} of {bytes}");
            let Request::Hello { resume: Some(resume), .. } = hello else { panic!() };
            assert!(encoded + 4 * 60 > bytes / 2, "{} rooms in {bytes}", resume.rooms.len());
            assert!(resume.rooms.keys().eq(rooms.iter().take(resume.rooms.len()).map(|r| &r.0)));
        }
        session.hello_bytes = 0;
        let Request::Hello { resume: Some(resume), .. } =
            session.hello(&config, rooms.iter().cloned())
        else {
            panic!()
        };
        assert!(resume.rooms.is_empty());
    }

    #[test]
    fn a_position_is_as_long_as_it_is_written() {
        let position = Position { epoch: Epoch::new("e1").unwrap(), seq: Seq::new(7).unwrap() };
        let written = r#""a \"b\\c":{"epoch":"e1","seq":9007199254740991},"#;
        let room = RoomName::new(r#"a "b\c"#).unwrap();
        assert_eq!(encoded_len(&room, &position), written.len());
    }

    #[test]
    fn the_latest_user_is_the_present_one() {
        let mut session = Session::new(None, 0);
        assert_eq!(session.user(), None);
        for n in 0..40 {
            session.welcome(&welcome(n % 20));
        }
        assert_eq!(session.user().map(UserId::as_str), Some("u19"));
        assert_eq!(session.users.len(), USERS_MAX);
    }

    fn welcome(n: u32) -> Welcome {
        Welcome {
            id: None,
            session: SessionId::new("s").unwrap(),
            user: UserId::new(&format!("u{n}")).unwrap(),
            name: DisplayName::new("U").unwrap(),
            resumed: true,
            durability: chat_proto::Durability::Memory,
            heartbeat_ms: 1,
            limits: LimitValues::default(),
            features: Vec::new(),
            rooms: BTreeMap::new(),
        }
    }
}
