//! Whom an operator keeps out, kept in the log so that it outlives the process.
//!
//! Bans and revocations are entries of a room of the server's own, which no client can name. At the
//! start they are read in order; what holds is what the last of them said. The room grows by an
//! entry for each, some 150 bytes.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chat_proto::{Body, DisplayName, RoomName, Seq, Timestamp, UserId};
use chat_state::{
    AppendError, BANS_MAX, Draft, Keep, LogPage, Order, Outcome, ReadError, ReadRange, Revoke,
    TokenId,
};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::Handle;
use crate::auth::Gate;
use crate::clock::Clock;
use crate::log::{RoomBatch, RoomLog};

/// The pause after a read that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Entries of one read.
const PAGE: u32 = 1000;

/// A user who is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub user: UserId,
    /// Out of which room; `None`: of all, and of the server.
    pub room: Option<RoomName>,
    /// Until when; `None`: until it is lifted.
    pub until: Option<Timestamp>,
}

impl Ban {
    fn order(self) -> Order {
        Order::Ban { user: self.user, room: self.room, until: self.until }
    }
}

/// Why a ban, or the end of one, does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BanError {
    /// There are [`BANS_MAX`] bans already.
    TooMany,
    /// There is no such ban.
    Unknown,
    /// It is out of an inbox, which has nobody in it but its user.
    Inbox,
    /// The log can't be read, or does not take it, so that it would end with the process; why.
    Log(String),
}

impl std::fmt::Display for BanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany => write!(f, "there are {BANS_MAX} bans already: lift some"),
            Self::Unknown => f.write_str("there is no such ban"),
            Self::Inbox => {
                f.write_str("nobody can be kept out of an inbox: ban the user from the server")
            }
            Self::Log(why) => write!(f, "the log does not answer as it should: {why}"),
        }
    }
}

impl std::error::Error for BanError {}

/// What was ordered, as it stands in the log.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Ban { user: UserId, room: Option<RoomName>, until: Option<Timestamp> },
    Unban { user: UserId, room: Option<RoomName> },
    RevokeUser { user: UserId },
    RevokeToken { token: String },
}

/// Who is kept out of where, and until when.
type Bans = BTreeMap<(UserId, Option<RoomName>), Option<Timestamp>>;

/// What holds, and where it is kept.
pub(super) struct Moderation {
    log: Arc<dyn RoomLog>,
    clock: Clock,
    gate: Option<Arc<Gate>>,
    /// At most [`BANS_MAX`].
    bans: Mutex<Bans>,
    /// Set once the log was read.
    loaded: OnceCell<()>,
    /// Orders of bans are carried out one by one, so that the log has them in the order in which
    /// they hold.
    turn: tokio::sync::Mutex<()>,
}

impl Moderation {
    pub(super) fn new(log: Arc<dyn RoomLog>, clock: Clock, gate: Option<Arc<Gate>>) -> Self {
        let turn = tokio::sync::Mutex::default();
        Self { log, clock, gate, bans: Mutex::default(), loaded: OnceCell::new(), turn }
    }

    /// Reads what the log has, however often that takes; returns the bans that hold.
    pub(super) async fn load(&self) -> Vec<Order> {
        while let Err(error) = self.loaded.get_or_try_init(|| self.fold()).await {
            tracing::warn!(%error, "the bans can't be read; nobody is let in before");
            tokio::time::sleep(PAUSE).await;
        }
        self.list().into_iter().map(Ban::order).collect()
    }

    /// Waits until what the log has was read.
    async fn known(&self) -> Result<(), BanError> {
        let read = self.loaded.get_or_try_init(|| self.fold()).await;
        read.map(|_| ()).map_err(|error| BanError::Log(error.to_string()))
    }

    /// Returns the bans that hold, by user and room.
    fn list(&self) -> Vec<Ban> {
        let now = self.clock.now().wall;
        let mut bans = self.lock();
        bans.retain(|_, until| until.is_none_or(|until| until > now));
        let ban = |((user, room), until): (&(UserId, Option<RoomName>), &Option<Timestamp>)| Ban {
            user: user.clone(),
            room: room.clone(),
            until: *until,
        };
        bans.iter().map(ban).collect()
    }

    async fn fold(&self) -> Result<(), ReadError> {
        let mut from = Seq::ZERO.next();
        loop {
            let to = Seq::ZERO.plus(u64::MAX);
            let range = ReadRange { from, to, limit: PAGE, bytes: 1 << 20, keep: Keep::Oldest };
            let LogPage { head, entries } = self.log.read(room(), range).await?;
            for entry in &entries {
                if let Body::Message { content, .. } = &entry.body {
                    self.apply(content, entry.ts);
                }
            }
            match entries.last() {
                Some(last) if last.seq < head.last => from = last.seq.next(),
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// What is not understood was written by a later version; it is said, and skipped.
    fn apply(&self, content: &str, at: Timestamp) {
        let revoke = |what: &Revoke| {
            if let Some(gate) = &self.gate {
                gate.note_revoked(what, at);
            }
        };
        match serde_json::from_str(content) {
            Ok(Record::Ban { user, room, until }) => {
                self.lock().insert((user, room), until);
            }
            Ok(Record::Unban { user, room }) => {
                self.lock().remove(&(user, room));
            }
            Ok(Record::RevokeUser { user }) => revoke(&Revoke::User(user)),
            Ok(Record::RevokeToken { token }) => {
                if let Some(token) = TokenId::new(&token) {
                    revoke(&Revoke::Token(token));
                }
            }
            Err(error) => tracing::warn!(%error, "an order in the log is not understood"),
        }
    }

    async fn write(&self, record: &Record) -> Result<(), String> {
        let content = serde_json::to_string(record).map_err(|error| error.to_string())?;
        let name = "service.server";
        let user = UserId::new(name).map_err(|error| error.to_string())?;
        let username = DisplayName::new(name).map_err(|error| error.to_string())?;
        let body = Body::Message { content: content.into(), reply_to: None };
        let draft = Draft { user, username, key: None, ts: self.clock.now().wall, body };
        let batch = RoomBatch { room: room(), drafts: vec![draft] };
        match self.log.append(vec![batch]).await.into_iter().next() {
            Some(Ok(appended)) => match appended.outcomes.first() {
                Some(Outcome::New { .. }) => Ok(()),
                Some(Outcome::Duplicate { .. } | Outcome::Conflict) | None => {
                    Err("it gave no place".to_owned())
                }
            },
            Some(Err(AppendError::Refused(why) | AppendError::Unknown(why))) => Err(why),
            None => Err("it gave no answer".to_owned()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bans> {
        self.bans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Keeps a user out, on all workers, see [`Order::Ban`]. It holds once the log has it, and with
    /// a log on disk it outlives the process. A guest's id is bound to a session, so that a guest
    /// comes back as another one: bans are for servers that know their users.
    ///
    /// # Errors
    /// Why it does not hold.
    pub async fn ban(&self, ban: Ban) -> Result<(), BanError> {
        if ban.room.as_ref().is_some_and(RoomName::is_inbox) {
            return Err(BanError::Inbox);
        }
        let moderation = &self.shared.moderation;
        let _turn = moderation.turn.lock().await;
        moderation.known().await?;
        let key = (ban.user.clone(), ban.room.clone());
        let held = moderation.list().len();
        if held >= BANS_MAX && !moderation.lock().contains_key(&key) {
            return Err(BanError::TooMany);
        }
        let Ban { user, room, until } = ban.clone();
        moderation.write(&Record::Ban { user, room, until }).await.map_err(BanError::Log)?;
        moderation.lock().insert(key, ban.until);
        self.order(&ban.order()).await;
        Ok(())
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// Why it holds on, or that there is none.
    pub async fn unban(&self, user: &UserId, room: Option<&RoomName>) -> Result<(), BanError> {
        let moderation = &self.shared.moderation;
        let _turn = moderation.turn.lock().await;
        moderation.known().await?;
        let (user, room) = (user.clone(), room.cloned());
        let key = (user.clone(), room.clone());
        if !moderation.lock().contains_key(&key) {
            return Err(BanError::Unknown);
        }
        let record = Record::Unban { user: user.clone(), room: room.clone() };
        moderation.write(&record).await.map_err(BanError::Log)?;
        moderation.lock().remove(&key);
        self.order(&Order::Unban { user, room }).await;
        Ok(())
    }

    /// Returns the bans that hold, by user and room: at most [`BANS_MAX`]. Right after the start it
    /// waits until the log has told them.
    ///
    /// # Errors
    /// If the log can't be read.
    pub async fn bans(&self) -> Result<Vec<Ban>, BanError> {
        let moderation = &self.shared.moderation;
        moderation.known().await?;
        Ok(moderation.list())
    }

    /// Writes a revocation down, so that it outlives the process.
    pub(super) async fn write_revoked(&self, what: &Revoke) -> Result<(), String> {
        let record = match what {
            Revoke::User(user) => Record::RevokeUser { user: user.clone() },
            Revoke::Token(token) => Record::RevokeToken { token: token.as_str().to_owned() },
            // A key counts again where the settings name it again.
            Revoke::Session(_) | Revoke::Key(_) => return Ok(()),
        };
        self.shared.moderation.write(&record).await
    }
}

/// The room of orders.
fn room() -> RoomName {
    RoomName::reserved("~server").expect("it fits the grammar")
}
