//! The authority: whose credentials are, how long they count, and when they are revoked.
use chat_proto::{DisplayName, Timestamp, Token as Credentials, UserId};
use chat_state::client::Event as ClientEvent;
use chat_state::{AuthError, Event, Grant, Revoke, Token};

use super::random::Random;
use super::{Due, Sim, WALL_MS};
use crate::world::{Rooms, Terms};

/// The lifetimes of credentials. The shortest is long enough for a Client that is warned at half
/// of it.
const LIFETIME_MS: [Option<u64>; 4] = [Some(30_000), Some(45_000), Some(90_000), None];
/// How long an application takes for a fresh credential.
const FRESH_MS: u64 = 3000;

/// How the authority behaves. Chances are out of 1000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Authority {
    /// How long it takes at most.
    pub slow_ms: u64,
    /// It says that it can't tell.
    pub unavailable: u16,
    /// It says nothing.
    pub silent: u16,
}

impl Authority {
    pub(super) fn any(random: &mut Random) -> Self {
        let chance = |random: &mut Random| u16::try_from(random.below(400)).expect("small");
        if random.permille(300) {
            return Self::default();
        }
        let slow_ms = if random.permille(300) { 12_000 } else { 300 };
        Self { slow_ms, unavailable: chance(random), silent: chance(random) }
    }
}

impl Sim {
    /// Returns a fresh credential of a person, where people need one.
    pub(super) fn fresh_token(&mut self, who: usize) -> Option<Credentials> {
        if !self.setup.has_tokens {
            return None;
        }
        let name = &self.people[who].name;
        let ms = LIFETIME_MS[self.random.index(LIFETIME_MS.len())];
        let terms = Terms {
            user: UserId::new(name).expect("a user id"),
            name: DisplayName::new(name).expect("a name"),
            expires: ms.map(|ms| Timestamp(self.true_wall().0 + ms)),
            rooms: Rooms::Any,
        };
        let token = self.tokens.issue(terms);
        self.people[who].token = Some(token.clone());
        Some(token)
    }

    /// A Client wants a fresh credential.
    pub(super) fn needs_token(&mut self, who: usize) {
        let wait = if self.setup.has_tokens { self.random.below(FRESH_MS) } else { 0 };
        let life = self.people[who].life;
        self.due(self.now + wait, Due::FreshToken { who, life });
    }

    pub(super) fn bring_token(&mut self, who: usize) {
        let token = self.fresh_token(who);
        self.act(who, ClientEvent::Token { token });
    }

    /// A Hub asks whose a credential is.
    pub(super) fn ask_authority(&mut self, node: usize, token: Token, credentials: Credentials) {
        let Authority { slow_ms, unavailable, silent } = self.authority;
        let at = self.now + self.random.below(slow_ms.max(1));
        let life = self.nodes[node].life;
        let result = if self.random.permille(silent) {
            return;
        } else if self.random.permille(unavailable) {
            Some(AuthError::Unavailable)
        } else {
            None
        };
        self.due(at, Due::Identify { node, life, token, credentials, result });
    }

    pub(super) fn identify(
        &mut self,
        node: usize,
        token: Token,
        credentials: &Credentials,
        error: Option<AuthError>,
    ) {
        let result = match error {
            Some(error) => Err(error),
            None => self.tokens.check(credentials, self.true_wall()),
        };
        // A credential counts for as long as it says, whatever the node's clock shows.
        let skew = self.nodes[node].wall;
        let result = result.map(|grant| {
            let expires = grant.expires.map(|end| Timestamp(end.0.saturating_add_signed(skew)));
            Box::new(Grant { expires, ..grant })
        });
        self.tell(node, Event::Authenticated { token, result });
    }

    /// Revokes what a person has; every node is told.
    pub(super) fn revoke(&mut self, who: usize, what: u8) {
        let person = &self.people[who];
        let grant = person.token.as_ref().and_then(|token| self.tokens.grant(token));
        let Some(grant) = grant.cloned() else { return };
        let what = match what % 3 {
            0 => Some(Revoke::User(grant.user)),
            1 => grant.token_id.map(Revoke::Token),
            _ => grant.key.map(Revoke::Key),
        };
        let Some(what) = what else { return };
        self.tokens.revoke(&what);
        for node in 0..self.nodes.len() {
            self.tell(node, Event::Revoke(what.clone()));
        }
    }

    /// The time by a clock that is right.
    fn true_wall(&self) -> Timestamp {
        let begins = u64::try_from(WALL_MS).expect("after 1970");
        Timestamp(begins + self.now)
    }
}
