//! Where events are seen: at the log, which knows what was said, and at the broker, which hears who
//! comes and goes.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chat_proto::{Body, LeaveReason, Member, RoomName, Seq};
use chat_state::{
    AppendError, Appended, Draft, HubId, LogHead, LogPage, MemberId, Outcome, ReadError, ReadRange,
    RoomPolicy, Signal, SignalTo,
};
use serde_json::json;

use super::{Hooks, WebhookEvent};
use crate::broker::{Broker, SignalSink};
use crate::clock::Clock;
use crate::log::{Capabilities, LogFuture, RoomBatch, RoomLog};

/// A log that tells of the messages that it takes, whoever says them.
pub(crate) struct TappedLog {
    pub(crate) log: Arc<dyn RoomLog>,
    pub(crate) hooks: Hooks,
}

impl RoomLog for TappedLog {
    fn capabilities(&self) -> Capabilities {
        self.log.capabilities()
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        let hooks = self.hooks.clone();
        let offered = batches.clone();
        let appending = self.log.append(batches);
        Box::pin(async move {
            let results = appending.await;
            for (batch, result) in offered.into_iter().zip(&results) {
                let Ok(appended) = result else { continue };
                for (draft, outcome) in batch.drafts.iter().zip(&appended.outcomes) {
                    if let Outcome::New { seq } = outcome {
                        tell_message(&hooks, (&batch.room, *seq), &appended.epoch, draft);
                    }
                }
            }
            results
        })
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        self.log.head(room)
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        self.log.read(room, range)
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        self.log.trim(room, before)
    }
}

fn tell_message(
    hooks: &Hooks,
    (room, seq): (&RoomName, Seq),
    epoch: &chat_proto::Epoch,
    draft: &Draft,
) {
    if !RoomPolicy::of(room.kind()).is_published {
        return;
    }
    let Body::Message { content, reply_to } = &draft.body else { return };
    let mut data = json!({
        "room": room, "epoch": epoch, "seq": seq, "ts": draft.ts, "user": draft.user,
        "username": draft.username, "content": content,
    });
    if let Some(reply_to) = reply_to {
        data["reply_to"] = json!(reply_to);
    }
    if let Some(key) = &draft.key {
        data["key"] = json!(key);
    }
    hooks.push(WebhookEvent::Message, draft.ts, data);
}

/// A broker that tells who comes and goes. Its Hubs have to signal, also a single one.
pub(crate) struct TappedBroker {
    broker: Arc<dyn Broker>,
    hooks: Hooks,
    clock: Clock,
    /// As many as there are memberships.
    members: Mutex<BTreeMap<(RoomName, MemberId), Membership>>,
}

/// One who moves comes on the next Hub before it goes from the last.
#[derive(Debug, Default)]
struct Membership {
    /// On how many Hubs the member is.
    hubs: u32,
    /// Why it has gone from the Hub that had it last, while earlier ones do not know yet.
    gone: Option<LeaveReason>,
}

impl TappedBroker {
    pub(crate) fn new(broker: Arc<dyn Broker>, hooks: Hooks, clock: Clock) -> Self {
        Self { broker, hooks, clock, members: Mutex::default() }
    }

    fn see(&self, signal: &Signal) {
        match signal {
            Signal::Came { room, id, member, .. } => {
                let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
                let membership = members.entry((room.clone(), *id)).or_default();
                membership.hubs += 1;
                membership.gone = None;
                if membership.hubs == 1 {
                    self.tell(WebhookEvent::Join, room, member, None);
                }
            }
            Signal::Went { room, id, member, reason, .. } => {
                let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
                let key = (room.clone(), *id);
                let before = members.remove(&key).unwrap_or_default();
                // An earlier connection was lost; why the member is gone is another thing.
                let gone = match reason {
                    LeaveReason::Left | LeaveReason::Removed => Some(*reason),
                    _ => before.gone,
                };
                if before.hubs > 1 {
                    members.insert(key, Membership { hubs: before.hubs - 1, gone });
                } else {
                    let reason = gone.unwrap_or(*reason);
                    self.tell(WebhookEvent::Leave, room, member, Some(reason));
                }
            }
            Signal::Committed { .. }
            | Signal::Grown { .. }
            | Signal::Alive { .. }
            | Signal::AskRosters { .. }
            | Signal::Rosters { .. }
            | Signal::AskDigest { .. }
            | Signal::Digest(_)
            | Signal::Typing { .. }
            | Signal::Resumed { .. }
            | Signal::Spent { .. }
            | Signal::Sessions { .. }
            | Signal::Revoked(_) => {}
        }
    }

    fn tell(
        &self,
        event: WebhookEvent,
        room: &RoomName,
        member: &Member,
        reason: Option<LeaveReason>,
    ) {
        let mut data = json!({"room": room, "user": member.user, "username": member.username});
        if let Some(reason) = reason {
            data["reason"] = json!(reason);
        }
        self.hooks.push(event, self.clock.now().wall, data);
    }
}

impl Broker for TappedBroker {
    fn connect(&self, hub: HubId, sink: Arc<dyn SignalSink>) {
        self.broker.connect(hub, sink);
    }

    fn disconnect(&self, hub: HubId) {
        self.broker.disconnect(hub);
    }

    fn follow(&self, hub: HubId, room: &RoomName) {
        self.broker.follow(hub, room);
    }

    fn unfollow(&self, hub: HubId, room: &RoomName) {
        self.broker.unfollow(hub, room);
    }

    fn publish(&self, from: HubId, to: &SignalTo, signal: Signal) {
        self.see(&signal);
        self.broker.publish(from, to, signal);
    }
}
