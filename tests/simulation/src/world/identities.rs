//! The peers' part where an authority says who they are, and what operators do to them.
use chat_proto::{
    CloseCode, DisplayName, Request, RoomName, SessionId, Timestamp, Token as Credentials, UserId,
};
use chat_state::{Event, Order, Revoke, Whom};

use super::check::Want;
use super::conn::Arrival;
use super::driver::World;
use super::script::{Kind, Operation, Revoked, Step};
use super::tokens::{Rooms, Terms};

/// How long credentials of scripts count.
const LIFETIMES_MS: [Option<u64>; 8] =
    [None, None, Some(400), Some(1500), Some(6000), Some(20_000), Some(70_000), Some(150_000)];

impl World {
    /// Issues a credential to a user who is called `name`; `ms` is how long it counts.
    ///
    /// # Panics
    /// If there is no such user id or name.
    pub fn issue(&mut self, user: &str, name: &str, ms: Option<u64>, rooms: Rooms) -> Credentials {
        let user = UserId::new(user).expect("a user id");
        let name = DisplayName::new(name).expect("a name");
        let expires = ms.map(|ms| Timestamp(self.now.wall.0 + ms));
        self.tokens.issue(Terms { user, name, expires, rooms })
    }

    /// Lets a peer connect with a credential; returns its index.
    pub fn sign_in(&mut self, hub: usize, kind: Kind, name: &str, with: &Credentials) -> usize {
        let arrival = Arrival { hub, kind, name, credentials: Some(with) };
        self.arrive(&arrival)
    }

    /// Lets a peer of `chat.v1` bring a fresh credential.
    pub fn renew(&mut self, index: usize, with: &Credentials) {
        let conn = &mut self.conns[index];
        if self.tokens.grant(with).is_some_and(|grant| Some(&grant.user) == conn.user.as_ref()) {
            conn.credentials = Some(with.clone());
        }
        self.request(index, &Request::Auth { token: with.clone() }, Want::Authenticated);
    }

    /// Lets a peer go on with its session by a new connection with a credential.
    pub fn resume_with(&mut self, hub: usize, old: usize, with: &Credentials) -> usize {
        let rooms = self.conns[old].view.positions();
        self.resume_as(hub, old, rooms, Some(with))
    }

    /// Revokes something: the authority refuses it from now on, and a Hub is told.
    pub fn revoke(&mut self, hub: usize, what: Revoke) {
        self.tokens.revoke(&what);
        self.tell(hub, Event::Revoke(what));
    }

    /// Tells all Hubs what an operator wants.
    pub fn order(&mut self, order: &Order) {
        for hub in 0..self.hubs.len() {
            self.tell(hub, Event::Operator(order.clone()));
        }
    }

    /// Returns the user of a connection, as far as its peer knows.
    #[must_use]
    pub fn user_of(&self, index: usize) -> UserId {
        let conn = &self.conns[index];
        let guest = || chat_state::guest(&session_of(conn.root));
        conn.user.clone().unwrap_or_else(guest)
    }

    /// Plays a step that is about identities.
    pub(super) fn apply_to_identities(&mut self, step: Step) {
        match step {
            Step::SignIn { hub, kind, user, terms } => {
                let name = format!("c{}", self.conns.len());
                let with = self.issue_by(&user_name(user), &name, terms);
                self.sign_in(usize::from(hub) % self.hubs.len(), kind, &name, &with);
            }
            Step::ResumeAs { conn, hub, user, terms } => {
                let known =
                    |c: &usize| self.conns[*c].view.welcome && self.conns[*c].user.is_some();
                let known: Vec<usize> = (0..self.conns.len()).filter(known).collect();
                if let Some(at) = usize::from(conn).checked_rem(known.len()) {
                    let name = self.conns[known[at]].name.clone();
                    let with = self.issue_by(&self.user_or(known[at], user), &name, terms);
                    self.resume_with(usize::from(hub) % self.hubs.len(), known[at], &with);
                }
            }
            Step::Renew { conn, user, terms } => {
                let open = self.open();
                let Some(at) = usize::from(conn).checked_rem(open.len()) else { return };
                if self.conns[open[at]].dialect() == chat_proto::Dialect::V1 {
                    let name = self.conns[open[at]].name.clone();
                    let with = self.issue_by(&self.user_or(open[at], user), &name, terms);
                    self.renew(open[at], &with);
                }
            }
            Step::Revoke { conn, what } => {
                if let Some(index) = usize::from(conn).checked_rem(self.conns.len()) {
                    self.revoke_of(index, what);
                }
            }
            Step::Order { conn, room, what, ms } => {
                if let Some(index) = usize::from(conn).checked_rem(self.conns.len()) {
                    let order = self.order_about(index, super::input::room_name(room), what, ms);
                    self.order(&order);
                }
            }
            Step::Authority { mood } => self.tokens.mood = mood,
            Step::Identify { n } => {
                if let Some((hub, event)) = self.tokens.answer(n.into(), self.now.wall) {
                    self.tell(hub, event);
                }
            }
            other => unreachable!("{other:?} is applied elsewhere"),
        }
    }

    /// Issues a credential by a number, which may make one that does not count.
    fn issue_by(&mut self, user: &str, name: &str, terms: u8) -> Credentials {
        let rooms = match terms / 8 % 4 {
            0 | 1 => Rooms::Any,
            2 => Rooms::Two,
            _ => Rooms::Lobby,
        };
        match terms / 32 {
            7 => Credentials("nobody's".into()),
            6 => self.issue(user, name, Some(0), rooms),
            _ => self.issue(user, name, LIFETIMES_MS[usize::from(terms % 8)], rooms),
        }
    }

    /// Returns the user of a connection, or now and then another one.
    fn user_or(&self, index: usize, n: u8) -> String {
        if n.is_multiple_of(8) { user_name(n / 8) } else { self.user_of(index).as_str().into() }
    }

    fn revoke_of(&mut self, index: usize, what: Revoked) {
        let conn = &self.conns[index];
        let grant = conn.credentials.as_ref().and_then(|with| self.tokens.grant(with)).cloned();
        let what = match what {
            Revoked::User => Some(Revoke::User(self.user_of(index))),
            Revoked::Session => Some(Revoke::Session(session_of(conn.root))),
            Revoked::Token => grant.and_then(|grant| grant.token_id).map(Revoke::Token),
            Revoked::Key => grant.and_then(|grant| grant.key).map(Revoke::Key),
        };
        if let Some(what) = what {
            self.revoke(self.conns[index].hub, what);
        }
    }

    fn order_about(&self, index: usize, room: RoomName, what: Operation, ms: u16) -> Order {
        let user = self.user_of(index);
        let until = Some(Timestamp(self.now.wall.0 + u64::from(ms)));
        match what {
            Operation::Kick => Order::Kick { room, whom: Whom::User(user) },
            Operation::BanFromRoom => Order::Ban { user, room: Some(room), until },
            Operation::Ban => Order::Ban { user, room: None, until },
            Operation::UnbanFromRoom => Order::Unban { user, room: Some(room) },
            Operation::Unban => Order::Unban { user, room: None },
            Operation::Close => {
                let code = match ms % 2 {
                    0 => CloseCode::Removed,
                    _ => CloseCode::HeartbeatTimeout,
                };
                Order::Close { whom: Whom::User(user), code }
            }
        }
    }

    /// Lets every credential end that does.
    pub(super) fn let_grants_end(&mut self) {
        let last = self.tokens.last_end().map_or(0, |end| end.0);
        self.pass(last.saturating_sub(self.now.wall.0));
    }
}

/// The session of the connection that began it.
pub(super) fn session_of(root: usize) -> SessionId {
    SessionId::new(&format!("s{root}")).expect("a session id")
}

/// The users of scripts.
fn user_name(n: u8) -> String {
    format!("u{}", n % 3)
}
