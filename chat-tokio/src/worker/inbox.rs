//! What reaches a worker from other threads.
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat_proto::Limits;
use chat_state::{Event, HubId, Lost, Order, Revoke};
use tokio::sync::{Notify, mpsc, oneshot};

use super::Worker;
use super::look::Look;
use crate::broker::SignalSink;
use crate::server::attach::{Attach, AttachError, NewConnection, Refused};

/// Messages that may wait for one worker: a burst of commits from the others. Beyond it signals are
/// lost, which the Hub is told, and connections are refused.
const INBOX: usize = 8192;

/// Messages taken in one go before other tasks get their turn.
const INBOX_BATCH: usize = 256;

/// What a worker can be told.
enum Message {
    Attach(NewConnection),
    Signal(HubId, chat_state::Signal),
    Drain(Duration),
    /// New limits; the sender is told once they count.
    Reconfigure(Box<Limits>, oneshot::Sender<()>),
    Revoke(Revoke),
    Operator(Order),
    Look(Look),
}

/// A worker as other threads see it.
#[derive(Clone, Debug)]
pub(crate) struct WorkerHandle {
    sender: mpsc::Sender<Message>,
    losses: Arc<Losses>,
}

/// Records which signals were lost while the inbox was full.
#[derive(Debug, Default)]
struct Losses {
    /// Set after `lost` has changed, so that an idle look at it takes no lock.
    any: AtomicBool,
    lost: Mutex<Option<Lost>>,
    noted: Notify,
}

/// If signals about more rooms were lost, all rooms are affected.
const ROOMS_LOST_MAX: usize = 1024;

impl Losses {
    fn add(&self, what: Lost) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        *lost = Some(match (lost.take(), what) {
            (Some(Lost::Rooms(mut rooms)), Lost::Rooms(more))
                if rooms.len() + more.len() <= ROOMS_LOST_MAX =>
            {
                rooms.extend(more);
                Lost::Rooms(rooms)
            }
            (None, Lost::Rooms(rooms)) if rooms.len() <= ROOMS_LOST_MAX => Lost::Rooms(rooms),
            (_, Lost::Rooms(_) | Lost::All) => Lost::All,
        });
        drop(lost);
        self.any.store(true, Ordering::Release);
        self.noted.notify_one();
    }

    fn take(&self) -> Option<Lost> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The receiving end.
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Message>,
    losses: Arc<Losses>,
}

/// Makes a worker's inbox.
pub(crate) fn channel() -> (WorkerHandle, Inbox) {
    let (sender, receiver) = mpsc::channel(INBOX);
    let losses = Arc::new(Losses::default());
    (WorkerHandle { sender, losses: losses.clone() }, Inbox { receiver, losses })
}

impl WorkerHandle {
    /// Begins a drain that is to be over after this time.
    pub(crate) async fn drain(&self, within: Duration) {
        // A worker that is gone has drained.
        let _ = self.sender.send(Message::Drain(within)).await;
    }

    /// Gives the worker new limits, already checked. Resolves once they count.
    pub(crate) async fn reconfigure(&self, limits: Limits) {
        let (done, counting) = oneshot::channel();
        // A worker that is gone has nobody for whom they could count.
        if self.sender.send(Message::Reconfigure(limits.into(), done)).await.is_ok() {
            let _ = counting.await;
        }
    }
}

impl WorkerHandle {
    /// Does what an operator orders.
    pub(crate) async fn operate(&self, order: Order) {
        // A worker that is gone has nobody to do it to.
        let _ = self.sender.send(Message::Operator(order)).await;
    }

    /// Asks a question; `None` if the worker is gone.
    pub(crate) async fn ask<T>(&self, look: impl FnOnce(oneshot::Sender<T>) -> Look) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Message::Look(look(reply))).await.ok()?;
        answer.await.ok()
    }

    /// Ends what is revoked.
    pub(crate) async fn revoke(&self, what: Revoke) {
        // A worker that is gone has nobody to end.
        let _ = self.sender.send(Message::Revoke(what)).await;
    }
}

impl Attach for WorkerHandle {
    fn attach(&self, new: NewConnection) -> Result<(), Refused> {
        let (why, message) = match self.sender.try_send(Message::Attach(new)) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Full(message)) => (AttachError::Full, message),
            Err(mpsc::error::TrySendError::Closed(message)) => (AttachError::Closed, message),
        };
        match message {
            Message::Attach(connection) => Err(Refused { why, connection }),
            Message::Signal(..)
            | Message::Drain(_)
            | Message::Reconfigure(..)
            | Message::Revoke(_)
            | Message::Operator(_)
            | Message::Look(_) => {
                unreachable!("a channel gives back what it was given")
            }
        }
    }

    fn would_attach(&self) -> Result<(), AttachError> {
        match self.sender.capacity() {
            _ if self.sender.is_closed() => Err(AttachError::Closed),
            0 => Err(AttachError::Full),
            _ => Ok(()),
        }
    }
}

impl SignalSink for WorkerHandle {
    fn signal(&self, from: HubId, signal: chat_state::Signal) {
        if let Err(refused) = self.sender.try_send(Message::Signal(from, signal))
            && let Message::Signal(_, signal) = refused.into_inner()
        {
            self.lost(signal.loss());
        }
    }

    fn lost(&self, what: Lost) {
        self.losses.add(what);
    }
}

/// Takes messages in. It ends when no handle is left.
pub(super) async fn run(worker: Rc<RefCell<Worker>>, mut inbox: Inbox) {
    let mut messages = Vec::with_capacity(INBOX_BATCH);
    loop {
        tokio::select! {
            taken = inbox.receiver.recv_many(&mut messages, INBOX_BATCH) => {
                if taken == 0 {
                    return std::future::pending().await;
                }
                let mut worker = worker.borrow_mut();
                for message in messages.drain(..) {
                    worker.take(message);
                }
            }
            () = inbox.losses.noted.notified() => {}
        }
        if let Some(lost) = inbox.losses.take() {
            let mut worker = worker.borrow_mut();
            worker.counts.signal_losses.add(1);
            worker.handle(Event::SignalsLost(lost));
        }
        tokio::task::yield_now().await;
    }
}

impl Worker {
    fn take(&mut self, message: Message) {
        match message {
            Message::Attach(new) => self.attach(new),
            Message::Signal(from, signal) => {
                self.counts.signals_received.add(1);
                self.handle(Event::Signal { from, signal });
            }
            Message::Drain(within) => {
                let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
                let deadline = self.clock.now().mono.plus(within);
                self.handle(Event::Drain { deadline });
            }
            Message::Revoke(what) => self.revoke(what),
            Message::Operator(order) => self.operate(order),
            Message::Look(look) => self.look(look),
            Message::Reconfigure(limits, done) => {
                self.limits = (*limits).clone();
                self.handle(Event::Reconfigure { limits: *limits });
                // Nobody may wait for it any more.
                let _ = done.send(());
            }
        }
    }
}
