//! Whom an operator keeps out, kept in the log so that it outlives the process.
//!
//! Bans and revocations are entries of a room of the server's own, which no client can name. At the
//! start they are read in order; what holds is what the last of them said. Where other servers may
//! share the log, it is asked again and again for what they have ordered.
//!
//! The room grows by an entry for each order, some 150 bytes. At the start, and once there are 1000
//! entries more than needed, what holds is written anew, 256 bans or revocations an entry, and what
//! is before it is trimmed.
mod follow;
mod held;
mod tidy;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chat_proto::{RoomName, Timestamp, UserId};
use chat_state::{BANS_MAX, Order, Revoke, RoomPolicy};

use self::held::{Held, Record};
use self::tidy::When;
use super::Handle;
use crate::auth::Revocations;
use crate::clock::Clock;
use crate::log::RoomLog;
use crate::worker::WorkerHandle;

/// The pause after a read that failed.
const PAUSE: Duration = Duration::from_secs(1);

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
    /// The ban is from an inbox, which only its user can join.
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
                f.write_str("users cannot be banned from an inbox: ban the user from the server")
            }
            Self::Log(why) => write!(f, "the log does not answer as it should: {why}"),
        }
    }
}

impl std::error::Error for BanError {}

/// What holds, where it is kept, and who is told.
pub(super) struct Moderation {
    log: Arc<dyn RoomLog>,
    /// Whether others may write to the log.
    is_shared: bool,
    clock: Clock,
    workers: Vec<WorkerHandle>,
    revoked: Arc<Revocations>,
    held: Mutex<Held>,
    /// Orders are carried out one by one, so that they hold in the order that the log has.
    turn: tokio::sync::Mutex<()>,
    /// What was said to fail, and still does.
    failing: Mutex<BTreeSet<&'static str>>,
}

impl Moderation {
    pub(super) fn new(
        log: Arc<dyn RoomLog>,
        clock: Clock,
        workers: Vec<WorkerHandle>,
        revoked: Arc<Revocations>,
    ) -> Self {
        let (held, turn, failing) = Default::default();
        let is_shared = log.capabilities().shared;
        Self { log, is_shared, clock, workers, revoked, held, turn, failing }
    }

    /// Reads what the log has, however often that takes; returns the bans that hold.
    pub(super) async fn load(&self) -> Vec<Order> {
        while let Err(error) = self.known().await {
            tracing::warn!(%error, "the bans can't be read; nobody is let in before");
            tokio::time::sleep(PAUSE).await;
        }
        self.list().into_iter().map(Ban::order).collect()
    }

    /// Waits until what the log has was read.
    async fn known(&self) -> Result<(), BanError> {
        let _turn = self.turn.lock().await;
        self.know().await
    }

    /// Reads what the log has, unless that is known. It has to be one's turn.
    async fn know(&self) -> Result<(), BanError> {
        if !self.is_shared && self.lock().place.epoch.is_some() {
            return Ok(());
        }
        self.catch_up().await.map_err(|error| BanError::Log(error.to_string()))
    }

    /// Returns the bans that hold, by user and room.
    fn list(&self) -> Vec<Ban> {
        let held = self.holding();
        let bans = held.bans.iter();
        bans.map(|((user, room), until)| {
            let (user, room, until) = (user.clone(), room.clone(), *until);
            Ban { user, room, until }
        })
        .collect()
    }

    /// Forgets bans that have ended; returns the rest.
    fn holding(&self) -> MutexGuard<'_, Held> {
        let now = self.clock.now().wall;
        let mut held = self.lock();
        held.bans.retain(|_, until| until.is_none_or(|until| until > now));
        held
    }

    async fn ban(&self, ban: Ban) -> Result<(), BanError> {
        let _turn = self.turn.lock().await;
        self.know().await?;
        let key = (ban.user.clone(), ban.room.clone());
        {
            let held = self.holding();
            if held.bans.len() >= BANS_MAX && !held.bans.contains_key(&key) {
                return Err(BanError::TooMany);
            }
        }
        self.write(Record::Ban(ban.into()), self.clock.now().wall).await
    }

    async fn unban(&self, user: UserId, room: Option<RoomName>) -> Result<(), BanError> {
        let _turn = self.turn.lock().await;
        self.know().await?;
        let key = (user, room);
        if !self.lock().bans.contains_key(&key) {
            return Err(BanError::Unknown);
        }
        let (user, room) = key;
        self.write(Record::Unban { user, room }, self.clock.now().wall).await
    }

    async fn revoke(&self, what: &Revoke) -> Result<(), BanError> {
        // It counts whether the log can be reached or not.
        let now = self.clock.now().wall;
        self.revoked.note(what, now, now);
        self.end(what).await;
        let Some(record) = Record::revoked(what) else { return Ok(()) };
        let _turn = self.turn.lock().await;
        self.write(record, now).await
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Keeps a user out, on all workers, see [`Order::Ban`]. It holds once the log has it, and with
    /// a log on disk it outlives the process; other servers that share the log follow within about
    /// a second. A guest's id is bound to a session, so that a guest comes back as another one:
    /// bans are for servers that know their users.
    ///
    /// As all orders, it has to be called inside a tokio runtime, and is done to its end, also if
    /// the answer is not waited for.
    ///
    /// # Errors
    /// Why it does not hold.
    pub async fn ban(&self, ban: Ban) -> Result<(), BanError> {
        if ban.room.as_ref().is_some_and(|room| !RoomPolicy::of(room.kind()).can_ban()) {
            return Err(BanError::Inbox);
        }
        let moderation = Arc::clone(&self.shared.moderation);
        to_its_end(async move {
            moderation.ban(ban).await?;
            moderation.tidy(When::Running).await;
            Ok(())
        })
        .await
    }

    /// Lifts a ban, also of another server that shares the log, which follows within about a
    /// second.
    ///
    /// # Errors
    /// Why it holds on, or that there is none.
    pub async fn unban(&self, user: &UserId, room: Option<&RoomName>) -> Result<(), BanError> {
        let (moderation, user) = (Arc::clone(&self.shared.moderation), user.clone());
        let room = room.cloned();
        to_its_end(async move {
            moderation.unban(user, room).await?;
            moderation.tidy(When::Running).await;
            Ok(())
        })
        .await
    }

    /// Returns the bans that hold, by user and room: at most [`BANS_MAX`]. Right after the start it
    /// waits until the log has told them.
    ///
    /// # Errors
    /// If the log can't be read.
    pub async fn bans(&self) -> Result<Vec<Ban>, BanError> {
        let moderation = Arc::clone(&self.shared.moderation);
        to_its_end(async move {
            moderation.known().await?;
            Ok(moderation.list())
        })
        .await
    }

    /// Ends a user's sessions, one session, or the sessions of one credential, on all workers: live
    /// connections are closed with 4001, sessions that could come back are forgotten. From then on
    /// the credential is refused, or those of the user that were made until now: for a week, and
    /// the newest 100 000 of such orders. Of a session, the credential may begin another one.
    ///
    /// Resolves when every worker has been told and the log has it: with a log on disk it outlives
    /// the process, and other servers that share the log follow within about a second.
    ///
    /// # Errors
    /// Why the log does not have it; it holds all the same, until the process ends.
    pub async fn revoke(&self, what: &Revoke) -> Result<(), BanError> {
        let (moderation, what) = (Arc::clone(&self.shared.moderation), what.clone());
        to_its_end(async move {
            moderation.revoke(&what).await?;
            moderation.tidy(When::Running).await;
            Ok(())
        })
        .await
    }
}

/// Does what was begun to its end, also if nobody waits for it any more: what the log has taken has
/// to be carried out.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, BanError>> + Send + 'static,
) -> Result<T, BanError> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(BanError::Log("the task was ended".to_owned())))
}
