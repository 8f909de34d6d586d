//! How what holds here and what the log says of it become the same.
//!
//! There is one door: what this server orders is written first, and then taken from the log in its
//! place, after whatever others that share the log have written before it. What comes of several
//! entries is carried out at once, so nobody is let in for a moment between two of them.
use std::sync::PoisonError;
use std::time::Duration;

use chat_proto::{Body, DisplayName, Epoch, RoomName, Seq, Timestamp, UserId};
use chat_state::{AppendError, Draft, Keep, Order, Outcome, ReadError, ReadRange, Revoke};

use super::held::{Fold, Met, Record, changes};
use super::tidy::When;
use super::{BanError, Moderation};
use crate::log::RoomBatch;

/// How often a log that other processes may share is asked for what they have ordered.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Entries of one read.
const PAGE: u32 = 1000;

/// Bytes of one read.
const PAGE_BYTES: u32 = 1 << 20;

/// What the log has taken.
pub(super) struct Written {
    pub(super) epoch: Epoch,
    /// The first entry.
    pub(super) first: Seq,
}

impl Moderation {
    /// Has the log tidy, and follows what others order, if anybody can; for as long as it is
    /// polled.
    pub(in crate::server) async fn keep(&self) {
        self.tidy(When::Start).await;
        if self.is_shared {
            loop {
                tokio::time::sleep(FOLLOW_EVERY).await;
                self.follow().await;
                self.tidy(When::Running).await;
            }
        }
    }

    async fn follow(&self) {
        let _turn = self.turn.lock().await;
        let read = match self.log.head(room()).await {
            Ok(head) if self.lock().place.is_at(&head) => Ok(()),
            Ok(_) => self.catch_up().await,
            Err(error) => Err(error),
        };
        self.note("what other servers have ordered can't be read", read.err());
    }

    /// Reads what is new in the log, and has it carried out. The first time nobody is told: the
    /// workers ask by themselves.
    pub(super) async fn catch_up(&self) -> Result<(), ReadError> {
        let mut fold = Fold::new(self.lock().clone());
        let begun = (fold.held.place.last, fold.held.place.epoch.clone());
        loop {
            let from = fold.held.place.last.next();
            let to = Seq::ZERO.plus(u64::MAX);
            let range = ReadRange { from, to, limit: PAGE, bytes: PAGE_BYTES, keep: Keep::Oldest };
            let page = self.log.read(room(), range).await?;
            if fold.meet(&page.head) == Met::Other {
                continue;
            }
            page.entries.iter().for_each(|entry| fold.take(entry));
            let place = &fold.held.place;
            if page.entries.is_empty() || place.last >= page.head.last {
                break;
            }
        }
        let place = &fold.held.place;
        if begun != (place.last, place.epoch.clone()) {
            self.settle(fold).await;
        }
        Ok(())
    }

    /// Makes what was taken in hold, here and on the workers.
    async fn settle(&self, fold: Fold) {
        let now = self.clock.now().wall;
        let Fold { held, mut revoked } = fold;
        // No clock of others may make it count for longer.
        revoked.retain(|(what, since)| self.revoked.note(what, (*since).min(now), now));
        let (orders, is_first) = {
            let mut known = self.lock();
            let orders = changes(&known.bans, &held.bans);
            (orders, std::mem::replace(&mut *known, held).place.epoch.is_none())
        };
        if is_first {
            return;
        }
        for order in orders {
            self.order(&order).await;
        }
        for (what, _) in revoked {
            self.end(&what).await;
        }
    }

    /// Writes an order down, and has it carried out after those that the log has before it.
    pub(super) async fn write(&self, record: Record, at: Timestamp) -> Result<(), BanError> {
        let written = self.append([&record].into_iter(), at).await.map_err(BanError::Log)?;
        let mut fold = Fold::new(self.lock().clone());
        if fold.held.place.is_before(&written.epoch, written.first) {
            fold.held.place.last = written.first;
        } else if self.catch_up().await.is_ok() {
            return Ok(());
        }
        // If the others' can't be read, this one holds all the same; it is read again with them.
        fold.apply(record, at);
        self.settle(fold).await;
        Ok(())
    }

    /// Appends orders, all of them or none.
    pub(super) async fn append<'a>(
        &self,
        records: impl Iterator<Item = &'a Record>,
        at: Timestamp,
    ) -> Result<Written, String> {
        let drafts: Result<Vec<_>, _> = records.map(|record| draft(record, at)).collect();
        let batch = RoomBatch { room: room(), drafts: drafts? };
        match self.log.append(vec![batch]).await.into_iter().next() {
            Some(Ok(appended)) => match appended.outcomes.first() {
                Some(Outcome::New { seq }) => Ok(Written { epoch: appended.epoch, first: *seq }),
                Some(Outcome::Duplicate { .. } | Outcome::Conflict) | None => {
                    Err("it gave no place".to_owned())
                }
            },
            Some(Err(AppendError::Refused(why) | AppendError::Unknown(why))) => Err(why),
            None => Err("it gave no answer".to_owned()),
        }
    }

    /// Says that something fails, once until it works again.
    pub(super) fn note(&self, what: &'static str, error: Option<ReadError>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => {
                failing.remove(what);
            }
            Some(error) => {
                if failing.insert(what) {
                    tracing::warn!(%error, "{what}");
                }
            }
        }
    }

    pub(super) async fn order(&self, order: &Order) {
        for worker in &self.workers {
            worker.operate(order.clone()).await;
        }
    }

    /// Ends the sessions of what is revoked.
    pub(super) async fn end(&self, what: &Revoke) {
        for worker in &self.workers {
            worker.revoke(what.clone()).await;
        }
    }
}

fn draft(record: &Record, at: Timestamp) -> Result<Draft, String> {
    let content = serde_json::to_string(record).map_err(|error| error.to_string())?;
    let name = "service.server";
    let user = UserId::new(name).map_err(|error| error.to_string())?;
    let username = DisplayName::new(name).map_err(|error| error.to_string())?;
    let body = Body::Message { content: content.into(), reply_to: None };
    Ok(Draft { user, username, key: None, ts: at, body })
}

/// The room of orders.
pub(super) fn room() -> RoomName {
    RoomName::server("~server").expect("it fits the grammar")
}
