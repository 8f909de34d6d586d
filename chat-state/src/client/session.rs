//! What a Client knows of its session.
use alloc::boxed::Box;
use alloc::collections::VecDeque;

use chat_proto::{
    Entry, LimitValues, Position, Request, Resume, RoomName, SEQ_MAX, SessionId, UserId, Welcome,
};

use super::config::Config;

/// The number of user ids to remember. A guest may get another one with each session.
const USERS_MAX: usize = 16;

/// The session, which outlives connections.
#[derive(Debug)]
pub(super) struct Session {
    id: Option<SessionId>,
    /// Counts the connections, so that the server can tell which one is the newest.
    attempt: u64,
    /// The user ids of this Client, at most [`USERS_MAX`].
    users: VecDeque<UserId>,
    /// The user id of the last `welcome`.
    user: Option<UserId>,
    pub(super) limits: LimitValues,
    pub(super) heartbeat_ms: u64,
    /// The server relays typing notices.
    pub(super) has_typing: bool,
    /// Bytes that a `hello` may have.
    hello_bytes: usize,
}

impl Session {
    pub(super) fn new(resume: Option<&Resume>) -> Self {
        let limits = LimitValues::default();
        Self {
            id: resume.map(|resume| resume.session.clone()),
            attempt: resume.map_or(0, |resume| resume.attempt),
            users: VecDeque::new(),
            user: None,
            hello_bytes: limits.frame_bytes as usize,
            limits,
            heartbeat_ms: 25_000,
            has_typing: false,
        }
    }

    pub(super) fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// Returns true if this Client has written the entry, under its present or an earlier user id.
    pub(super) fn is_own(&self, entry: &Entry) -> bool {
        self.users.contains(&entry.user)
    }

    /// Remembers a user id of this Client.
    pub(super) fn remember(&mut self, user: &UserId) {
        self.users.retain(|known| known != user);
        if self.users.len() == USERS_MAX {
            self.users.pop_front();
        }
        self.users.push_back(user.clone());
    }

    pub(super) fn welcome(&mut self, welcome: &Welcome) {
        self.id = Some(welcome.session.clone());
        self.remember(&welcome.user);
        self.limits = welcome.limits.clone();
        self.hello_bytes = self.limits.frame_bytes as usize;
        // A wrong value must neither flood the server nor hide that it is gone.
        self.heartbeat_ms = welcome.heartbeat_ms.clamp(1000, 600_000);
        self.has_typing = welcome.features.iter().any(|feature| feature == "typing");
        self.user = Some(welcome.user.clone());
    }

    /// Returns what a later process resumes.
    pub(super) fn resume(
        &self,
        positions: impl Iterator<Item = (RoomName, Position)>,
    ) -> Option<Resume> {
        let session = self.id.clone()?;
        Some(Resume { session, attempt: self.attempt, rooms: positions.collect() })
    }

    /// Names no rooms in the next `hello`. They are joined after the `welcome` instead.
    pub(super) fn resume_without_rooms(&mut self) {
        self.hello_bytes = 0;
    }

    /// Makes the next `hello`, with as many of the positions as fit.
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
        // 32 bytes are for the id of the request.
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

/// Returns an upper bound of the bytes that a position takes in a `hello`.
fn encoded_len(room: &RoomName, position: &Position) -> usize {
    const SYNTAX: usize = r#""":{"epoch":"","seq":9007199254740991},"#.len();
    let escaped = room.as_str().bytes().filter(|b| matches!(b, b'"' | b'\\')).count();
    room.as_str().len() + escaped + position.epoch.as_str().len() + SYNTAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_proto::{DisplayName, Epoch, Seq};
    use std::collections::BTreeMap;
    use std::format;
    use std::vec::Vec;

    fn position() -> Position {
        Position { epoch: Epoch::new("e1").unwrap(), seq: Seq::new(7).unwrap() }
    }

    #[test]
    fn a_hello_names_as_many_rooms_as_fit() {
        let session = SessionId::new("s").unwrap();
        let resume = Resume { session, attempt: 4, rooms: BTreeMap::new() };
        let mut session = Session::new(Some(&resume));
        let rooms: Vec<_> = (0..600)
            .map(|n| (RoomName::new(&format!("a \"room\" {n:03}")).unwrap(), position()))
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
        session.resume_without_rooms();
        let Request::Hello { resume: Some(resume), .. } =
            session.hello(&config, rooms.iter().cloned())
        else {
            panic!()
        };
        assert!(resume.rooms.is_empty());
        assert_eq!(resume.attempt, 8);
    }

    #[test]
    fn the_length_of_a_position_includes_escapes() {
        let written = r#""a \"b\\c":{"epoch":"e1","seq":9007199254740991},"#;
        let room = RoomName::new(r#"a "b\c"#).unwrap();
        assert_eq!(encoded_len(&room, &position()), written.len());
    }

    #[test]
    fn the_newest_user_ids_are_remembered() {
        let mut session = Session::new(None);
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
