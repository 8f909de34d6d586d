//! One thread's Hub, its connections and their outboxes.
//!
//! A turn: events go into the Hub, its actions come out, frames are encoded once and pushed to
//! outboxes, each marked dirty once. At the end of the turn (`turn.rs`) what was said in it is
//! offered to the log, and one pass flushes every dirty outbox, all of its frames in one write.
//! All tasks of a worker run on one thread, and those that are ready run before the turn's end: a
//! loaded worker batches by itself, an idle one adds no latency.
//!
//! *Invariant:* nothing waits between an event and the end of its actions.
mod connection;
mod count;
mod fanout;
mod gathered;
mod inbox;
mod look;
mod slots;
mod timer;
mod trace;
mod turn;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZeroU32;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chat_proto::{Dialect, LeaveReason, Limits, RoomName, Token as Credentials};
use chat_state::{
    Action, Actions, AuthError, CloseReason, Config, ConnId, Connect, Draft, Event, Hub, HubId,
    Identity, Order, Probe, ReadRange, Revoke, Token,
};

use crate::accept::PeerKey;
use crate::auth::Gate;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::log::{LogFuture, RoomBatch, RoomLog};
use crate::metrics::WorkerCounts;
use crate::random;
use crate::server::attach::NewConnection;

use gathered::Gathered;
pub(crate) use inbox::{Inbox, WorkerHandle, channel};
pub(crate) use look::Look;
use slots::{Phase, Slot, Slots};

/// How long a connection may take to be closed properly, in milliseconds.
const CLOSE_PATIENCE_MS: u64 = 2000;

/// What a worker is made of.
pub(crate) struct Parts {
    /// The number of the worker in its server.
    pub(crate) index: usize,
    pub(crate) config: Config,
    pub(crate) log: Arc<dyn RoomLog>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) clock: Clock,
    /// Who says whose a credential is; `None`: everybody chooses a name.
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) counts: Arc<WorkerCounts>,
    /// One of so many requests gets a span.
    pub(crate) trace_sample: Option<NonZeroU32>,
    /// Told once, when a drain is over.
    pub(crate) drained: tokio::sync::oneshot::Sender<()>,
    /// Who is told of sessions that begin.
    #[cfg(feature = "webhooks")]
    pub(crate) hooks: Option<crate::webhooks::Hooks>,
}

/// One thread's Hub and what it drives.
pub(crate) struct Worker {
    me: Weak<RefCell<Self>>,
    hub: Hub,
    index: usize,
    id: HubId,
    limits: Limits,
    actions: Actions,
    /// Frames that wait for others to the same members, until the end of the turn at the latest.
    gathered: Gathered,
    slots: Slots,
    log: Arc<dyn RoomLog>,
    broker: Arc<dyn Broker>,
    clock: Clock,
    gate: Option<Arc<Gate>>,
    counts: Arc<WorkerCounts>,
    sample: Option<count::Sample>,
    tracer: trace::Tracer,
    /// Drafts of this turn: the log gets all rooms' at once.
    appends: Vec<(Token, RoomBatch)>,
    /// Events that came out of this turn's work, for the end of it.
    results: VecDeque<Event>,
    turn: Flag,
    timer: timer::Alarm,
    /// Connections that are being closed, with the time when patience ends, in order.
    closing: VecDeque<(chat_state::Mono, ConnId)>,
    drained: Option<tokio::sync::oneshot::Sender<()>>,
    #[cfg(feature = "webhooks")]
    hooks: Option<crate::webhooks::Hooks>,
    /// The thread is about to end: what is dropped now tells nobody.
    stopped: bool,
}

/// A flag with someone who waits for it.
#[derive(Default)]
struct Flag {
    set: bool,
    waker: Option<Waker>,
}

impl Flag {
    fn raise(&mut self) {
        if !std::mem::replace(&mut self.set, true)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    /// Waits for the flag and lowers it.
    fn poll_taken(&mut self, cx: &Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.set) {
            return Poll::Ready(());
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Rc<RefCell<Self>> {
        #[cfg(feature = "webhooks")]
        let hooks = parts.hooks;
        let Parts {
            index, config, log, broker, clock, gate, counts, trace_sample, drained, ..
        } = parts;
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                me: me.clone(),
                index,
                id: config.hub,
                limits: config.limits.clone(),
                hub: Hub::new(config),
                actions: Actions::new(),
                gathered: Gathered::default(),
                slots: Slots::default(),
                log,
                broker,
                clock,
                gate,
                counts,
                sample: None,
                tracer: trace::Tracer::new(trace_sample),
                appends: Vec::new(),
                results: VecDeque::new(),
                turn: Flag::default(),
                timer: timer::Alarm::default(),
                closing: VecDeque::new(),
                drained: Some(drained),
                #[cfg(feature = "webhooks")]
                hooks,
                stopped: false,
            })
        })
    }

    /// Runs a worker until the future ends. Has to be polled inside a `LocalSet`.
    pub(crate) async fn run(
        worker: Rc<RefCell<Self>>,
        inbox: Inbox,
        stop: impl Future<Output = ()>,
    ) -> Result<(), WorkerFailed> {
        let turns = tokio::task::spawn_local(turn::run(worker.clone()));
        let timers = tokio::task::spawn_local(timer::run(worker.clone()));
        let inputs = tokio::task::spawn_local(inbox::run(worker.clone(), inbox));
        // None of the three ends by itself; one that does has panicked.
        let result = tokio::select! {
            () = stop => Ok(()),
            _ = turns => Err(WorkerFailed),
            _ = timers => Err(WorkerFailed),
            _ = inputs => Err(WorkerFailed),
        };
        let mut worker = worker.borrow_mut();
        worker.stopped = true;
        worker.broker.disconnect(worker.id);
        result
    }

    /// Takes a new connection in and starts its task.
    pub(crate) fn attach(&mut self, new: NewConnection) {
        let NewConnection { transport, dialect, name, credentials, peer, place } = new;
        let properties = transport.properties();
        // Whoever comes from an address of many people's has no budget of an address.
        let exempt = |at| place.as_ref().is_some_and(|place| place.exempts(at));
        let peer = peer.filter(|at| !exempt(*at)).map(|at| PeerKey::from(at).into());
        let probe = if properties.pings { Probe::Transport } else { Probe::None };
        let identity = match self.gate {
            None => Identity::Guest { name },
            Some(_) => Identity::Wanted { credentials },
        };
        let session = random::session();
        self.counts.opened.add(1);
        let connect = Connect { session, dialect, identity, probe, peer };
        let now = self.clock.now();
        let conn = self.hub.connect(now, connect, &mut self.actions);
        self.slots.insert(conn, Slot::new(transport, dialect, properties.framing, place));
        self.perform_all();
        if let Some(me) = self.me.upgrade() {
            tokio::task::spawn_local(connection::Connection::new(me, conn));
        }
    }

    /// Hands an event to the Hub and does what it asks for.
    pub(crate) fn handle(&mut self, event: Event) {
        self.tell(event);
        self.perform_all();
    }

    /// Hands an event to the Hub. What it asks for queues up behind the actions that are being
    /// performed.
    fn tell(&mut self, event: Event) {
        let now = self.clock.now();
        let told = self.hub.handle(now, event, &mut self.actions);
        told.expect("a worker names only what its Hub has issued");
    }

    fn perform_all(&mut self) {
        while let Some(action) = self.actions.pop_front() {
            self.perform(action);
        }
        self.turn.raise();
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send { to, frame } => {
                #[cfg(feature = "webhooks")]
                self.tell_begun(&frame);
                self.send(&to, frame);
            }
            Action::Probe { conn } => {
                if let Some(slot) = self.slots.get_mut(conn) {
                    slot.transport.ping();
                    self.slots.mark_dirty(conn);
                }
            }
            Action::Close { conn, code: _, reason } => {
                self.push_gathered();
                self.begin_close(conn, reason);
            }
            Action::Note(noted) => tracing::debug!(worker = self.index, ?noted, "noted"),
            Action::Pause { conn } => {
                self.counts.pauses.add(1);
                if let Some(slot) = self.slots.get_mut(conn) {
                    slot.paused = true;
                }
            }
            Action::Unpause { conn } => {
                if let Some(slot) = self.slots.get_mut(conn) {
                    slot.paused = false;
                    slot.wake();
                }
            }
            Action::AwaitDrain { conn } => {
                self.push_gathered();
                if let Some(slot) = self.slots.get_mut(conn) {
                    slot.awaited = true;
                    self.slots.mark_dirty(conn);
                }
            }
            Action::Authenticate { token, credentials, .. } => self.check(token, credentials),
            Action::Append { token, room, drafts } => self.append(token, room, drafts),
            Action::Head { token, room } => self.head(token, room),
            Action::Load { token, room, range } => self.read(token, room, range),
            Action::Follow { room } => self.broker.follow(self.id, &room),
            Action::Unfollow { room } => self.broker.unfollow(self.id, &room),
            Action::Signal { to, signal } => {
                self.counts.signals_sent.add(1);
                self.broker.publish(self.id, &to, signal);
            }
            Action::DrainedAll => {
                self.push_gathered();
                if let Some(drained) = self.drained.take() {
                    // Nobody waits any more if the server gave up on the drain.
                    let _ = drained.send(());
                }
            }
        }
    }

    /// Tells a backend of a session that begins.
    #[cfg(feature = "webhooks")]
    fn tell_begun(&self, frame: &chat_proto::ServerFrame) {
        if let (Some(hooks), chat_proto::ServerFrame::Welcome(welcome)) = (&self.hooks, frame)
            && !welcome.resumed
            // A worker that has never met the session recovers its rooms all the same.
            && !welcome.rooms.values().any(|now| matches!(now, chat_proto::Recovery::Recovered(_)))
        {
            let data = serde_json::json!({"user": welcome.user, "username": welcome.name});
            let now = self.clock.now().wall;
            hooks.push(crate::webhooks::WebhookEvent::Connect, now, data);
        }
    }

    fn append(&mut self, token: Token, room: RoomName, drafts: Vec<Draft>) {
        self.counts.drafts.add(drafts.len() as u64);
        self.appends.push((token, RoomBatch { room, drafts }));
    }

    fn check(&mut self, token: Token, credentials: Credentials) {
        let answer = match &self.gate {
            Some(gate) => gate.check(credentials),
            None => Box::pin(std::future::ready(Err(AuthError::Invalid))),
        };
        self.await_answer(answer, move |result| Event::Authenticated {
            token,
            result: result.map(Box::new),
        });
    }

    /// Ends what is revoked, in its turn: whoever was let in before is known to the Hub by then.
    fn revoke(&mut self, what: Revoke) {
        self.results.push_back(Event::Revoke(what));
        self.turn.raise();
    }

    /// Does what an operator orders, in its turn like a revocation.
    pub(crate) fn operate(&mut self, order: Order) {
        self.results.push_back(Event::Operator(order));
        self.turn.raise();
    }

    fn read(&mut self, token: Token, room: RoomName, range: ReadRange) {
        let (answer, counts) = (self.log.read(room, range), self.counts.clone());
        self.await_answer(answer, move |result| {
            counts.note_read(&result);
            Event::Loaded { token, result }
        });
    }

    fn head(&mut self, token: Token, room: RoomName) {
        let (answer, counts) = (self.log.head(room), self.counts.clone());
        self.await_answer(answer, move |result| {
            counts.note_read(&result);
            Event::Head { token, result }
        });
    }

    /// Takes an answer now if it is there, else when it comes.
    fn await_answer<T: 'static>(
        &mut self,
        mut answer: LogFuture<T>,
        event: impl FnOnce(T) -> Event + 'static,
    ) {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(result) = answer.as_mut().poll(&mut cx) {
            self.results.push_back(event(result));
            return;
        }
        let me = self.me.clone();
        tokio::task::spawn_local(async move {
            let event = event(answer.await);
            if let Some(worker) = me.upgrade() {
                worker.borrow_mut().handle(event);
            }
        });
    }

    /// Stops reading from a connection and lets its task flush and close it.
    fn begin_close(&mut self, conn: ConnId, reason: CloseReason) {
        let now = self.clock.now().mono;
        let code = reason.code();
        let Some(slot) = self.slots.get_mut(conn) else { return };
        if slot.phase != Phase::Open {
            return;
        }
        slot.phase = Phase::Flushing(code);
        slot.wake();
        self.counts.note_close(code);
        if matches!(reason, CloseReason::TooManyConnections | CloseReason::CrowdedOut) {
            self.counts.turned_away.add(1);
        }
        self.tracer.gone(conn);
        let why = reason.as_str();
        tracing::debug!(slot = conn.slot, %code, reason = why, "closing a connection");
        let until = now.plus(CLOSE_PATIENCE_MS);
        self.closing.push_back((until, conn));
        self.timer.expect(Some(until));
        self.slots.mark_dirty(conn);
    }

    /// A connection's task has ended.
    fn lose(&mut self, conn: ConnId, why: LeaveReason) {
        if self.stopped {
            return;
        }
        let Some(slot) = self.slots.get_mut(conn) else { return };
        if slot.phase == Phase::Open {
            self.note_gone(conn, why);
        }
        self.forget(conn, why);
    }

    /// Drops a connection, and gives its id back to the Hub.
    fn forget(&mut self, conn: ConnId, why: LeaveReason) {
        let slot = self.slots.remove(conn).expect("a connection is forgotten once");
        // A task that is not the one that ends it notices that the slot is gone.
        slot.wake();
        self.handle(Event::Disconnected { conn, why });
    }

    /// Drops the connections that did not let themselves be closed in time.
    fn drop_overdue(&mut self) {
        let now = self.clock.now().mono;
        while let Some((until, conn)) = self.closing.front().copied() {
            if until > now {
                self.timer.expect(Some(until));
                return;
            }
            self.closing.pop_front();
            if self.slots.get_mut(conn).is_some() {
                self.forget(conn, LeaveReason::Disconnected);
            }
        }
    }

    /// Returns the mark above which an outbox counts as congested, in bytes.
    fn high_water(&self, dialect: Dialect) -> usize {
        match dialect {
            Dialect::Basic => self.limits.outbox_bytes as usize,
            Dialect::V1 => self.limits.outbox_high_bytes as usize,
        }
    }
}

/// A task of the worker has panicked: its connections are not served any more.
#[derive(Debug)]
pub(crate) struct WorkerFailed;
