//! Messages of the server's own, or of a service behind it.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_proto::{Body, DisplayName, Epoch, Key, RoomName, Seq, Timestamp, UserId};
use chat_state::{AppendError, Draft, HubId, Outcome, Signal, SignalTo};
use tokio::sync::Semaphore;

use super::{Handle, Shared};
use crate::log::RoomBatch;

/// Prefix of the user ids of services: no credential is taken for one, and a guest's id begins
/// with another word.
pub const SERVICE_PREFIX: &str = "service.";

/// Messages that wait for the log at a time; one more is refused.
const WAITING_MAX: usize = 1024;

/// How long the log may take; as long as the Hub waits for it.
const LOG_TIME_MAX: Duration = Duration::from_secs(10);

/// Not the id of a Hub, so all Hubs get these signals.
const PUBLISHER: HubId = HubId { node: 0, incarnation: 0 };

/// A message of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where to; the [inbox](RoomName::own) of a user is a room, too.
    pub room: RoomName,
    /// Which service says it: the user is `service.` and this, `[a-z0-9._-]{1,56}`.
    pub service: String,
    /// What the service is called.
    pub username: DisplayName,
    /// Names the send, see G3: the same again gets the first answer again.
    pub key: Option<Key>,
    /// What is said.
    pub content: Arc<str>,
    /// The entry that it answers.
    pub reply_to: Option<Seq>,
}

/// A message that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The room, as its log spells it.
    pub room: RoomName,
    /// Which log.
    pub epoch: Epoch,
    /// Where.
    pub seq: Seq,
    /// When it was taken.
    pub ts: Timestamp,
    /// It was there before.
    pub duplicate: bool,
}

/// Why a message is not known to be in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// It can't be said; why.
    Invalid(String),
    /// It has more bytes than the limit `message_bytes`, which is this.
    TooLarge(u32),
    /// The key names another message.
    Conflict,
    /// Too many wait for the log. It is not in the log.
    Busy,
    /// The log does not take it, or can't be read. It is not in the log.
    Refused(String),
    /// It may be in the log or not: only the same key can tell.
    Unknown(String),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => f.write_str(why),
            Self::TooLarge(max) => {
                write!(f, "`content` has more bytes than the limit `message_bytes`, {max}")
            }
            Self::Conflict => f.write_str("this `key` was used for another message"),
            Self::Busy => write!(f, "more than {WAITING_MAX} messages wait for the log"),
            Self::Refused(why) => write!(f, "the log does not take it: {why}"),
            Self::Unknown(why) => {
                write!(f, "it may be in the log or not, send it again with its `key`: {why}")
            }
        }
    }
}

impl std::error::Error for PublishError {}

/// What was published, and what is on its way.
pub(super) struct Publishing {
    places: Arc<Semaphore>,
    done: AtomicU64,
}

impl Default for Publishing {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(WAITING_MAX)), done: AtomicU64::new(0) }
    }
}

impl Publishing {
    pub(super) fn get(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

impl Handle {
    /// Says something in a room as a service. Whoever is in the room gets it like any message, in
    /// its place in the room's log; nobody has to be there.
    ///
    /// It has to be called inside a tokio runtime. What was begun is done to its end, also if the
    /// answer is not waited for.
    ///
    /// # Errors
    /// Why it is not in the log, or not known to be.
    pub async fn publish(&self, what: Publish) -> Result<Published, PublishError> {
        let user = UserId::new(&format!("{SERVICE_PREFIX}{}", what.service))
            .map_err(|error| PublishError::Invalid(format!("`service`: {error}")))?;
        let limit = self.shared.message_bytes();
        if what.content.is_empty() || what.content.contains('\0') {
            let why = "`content` is empty or holds a NUL character";
            return Err(PublishError::Invalid(why.to_owned()));
        }
        if what.content.len() > limit as usize {
            return Err(PublishError::TooLarge(limit));
        }
        let places = self.shared.published.places.clone();
        let place = places.try_acquire_owned().map_err(|_| PublishError::Busy)?;
        let shared = self.shared.clone();
        let appending = tokio::spawn(async move {
            let _place = place;
            append(&shared, what, user).await
        });
        match tokio::time::timeout(LOG_TIME_MAX, appending).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PublishError::Unknown("the task was ended".to_owned())),
            Err(_) => Err(PublishError::Unknown("the log has not answered".to_owned())),
        }
    }
}

/// Offers a message to the log, and tells the Hubs: a signal may be lost, and then they find the
/// entry in the log, as they find each other's.
async fn append(shared: &Shared, what: Publish, user: UserId) -> Result<Published, PublishError> {
    let refused = |why: &dyn fmt::Display| PublishError::Refused(why.to_string());
    // Members see the room's name as its log spells it.
    let head = shared.log.head(what.room).await.map_err(|error| refused(&error.0))?;
    let (room, ts) = (head.room, shared.clock.now().wall);
    let body = Body::Message { content: what.content, reply_to: what.reply_to };
    let draft = Draft { user, username: what.username, key: what.key, ts, body };
    let batch = RoomBatch { room: room.clone(), drafts: vec![draft.clone()] };
    let answer = shared.log.append(vec![batch]).await.into_iter().next();
    let no_answer = || Err(AppendError::Unknown("the log gave no answer".into()));
    let appended = match answer.unwrap_or_else(no_answer) {
        Ok(appended) => appended,
        Err(AppendError::Refused(why)) => return Err(PublishError::Refused(why)),
        Err(AppendError::Unknown(why)) => {
            if let Ok(head) = shared.log.head(room.clone()).await {
                tell_grown(shared, room, head.epoch, head.last);
            }
            return Err(PublishError::Unknown(why));
        }
    };
    let epoch = appended.epoch;
    match appended.outcomes.first() {
        Some(Outcome::New { seq }) => {
            shared.published.done.fetch_add(1, Ordering::Relaxed);
            let entry = Arc::new(draft.into_entry(room.clone(), *seq));
            let to = SignalTo::Followers(room.clone());
            let entries = [entry].into();
            let signal = Signal::Committed { epoch: epoch.clone(), room: room.clone(), entries };
            shared.broker.publish(PUBLISHER, &to, signal);
            Ok(Published { room, epoch, seq: *seq, ts, duplicate: false })
        }
        Some(Outcome::Duplicate { seq, ts }) => {
            // The first send may have been cut off before it was told.
            tell_grown(shared, room.clone(), epoch.clone(), *seq);
            Ok(Published { room, epoch, seq: *seq, ts: *ts, duplicate: true })
        }
        Some(Outcome::Conflict) => Err(PublishError::Conflict),
        None => Err(PublishError::Unknown("the log gave no answer".to_owned())),
    }
}

fn tell_grown(shared: &Shared, room: RoomName, epoch: Epoch, last: Seq) {
    let to = SignalTo::Followers(room.clone());
    shared.broker.publish(PUBLISHER, &to, Signal::Grown { epoch, room, last });
}
