//! What an application holds of a client.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_proto::{HistoryRange, MembersView, Page, Resume, RoomName, RoomSummary, Seq, Timestamp};
use chat_state::client::{Event, Outcome, Query, State, Stats, Ticket};
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::Command;
use super::error::{ConnectError, Error};
use super::events::Events;
use super::options::Options;
use crate::clock::Clock;
use crate::random;

/// A client. Clones are handles of the same one; when the last one is dropped, it leaves as by
/// [`Client::close`].
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) state: watch::Receiver<State>,
    pub(super) tickets: Arc<AtomicU64>,
    pub(super) clock: Clock,
}

/// Where and when a message was put into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Its place.
    pub seq: Seq,
    /// When the server took it.
    pub ts: Timestamp,
    /// Whether an earlier attempt had put it there.
    pub duplicate: bool,
}

/// A part of the list of rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rooms {
    /// In the order of their names.
    pub rooms: Vec<RoomSummary>,
    /// Whether there are more after the last one.
    pub has_more: bool,
}

impl Client {
    /// Starts a client of the server at this `ws://` address, with the default [`Options`], and
    /// waits until it is connected.
    ///
    /// It tries until it succeeds or the server refuses it for good; dropping the future gives up.
    ///
    /// # Errors
    /// If that is no address, or the server refuses.
    ///
    /// # Panics
    /// Outside of a tokio runtime with IO and time.
    pub async fn connect(url: &str) -> Result<(Self, Events), ConnectError> {
        let (client, events) = Options::default().start(url)?;
        client.online().await?;
        Ok((client, events))
    }

    /// Begins to describe a client.
    #[must_use]
    pub fn options() -> Options {
        Options::default()
    }

    /// Waits until it is connected.
    ///
    /// # Errors
    /// If the client has stopped.
    pub async fn online(&self) -> Result<(), ConnectError> {
        let mut state = self.state.clone();
        let decided = |state: &State| matches!(state, State::Online | State::Stopped { .. });
        match state.wait_for(decided).await.as_deref() {
            Ok(State::Stopped { why }) => Err(ConnectError::Stopped(why.clone())),
            Ok(State::Online | State::Connecting | State::Idle | State::Waiting { .. }) => Ok(()),
            // The last word before the end was that it stops.
            Err(_) => Err(ConnectError::Stopped(chat_state::client::StopReason::Asked)),
        }
    }

    /// Wants to be in a room, now and after every reconnect, until [`Client::leave`]. That it is a
    /// member is told by [`Delivery::Joined`](super::Delivery::Joined); messages may be sent
    /// before.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn join(&self, room: &RoomName) -> Result<(), Error> {
        self.tell(Event::Join { room: room.clone() }).await
    }

    /// Leaves a room; what was to be said there is said before.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn leave(&self, room: &RoomName) -> Result<(), Error> {
        self.tell(Event::Leave { room: room.clone() }).await
    }

    /// Says something in a room that was joined, and waits for what becomes of it. Messages of one
    /// room are sent one after the other, across any number of reconnects, and each once.
    ///
    /// Dropping the future takes nothing back.
    ///
    /// # Errors
    /// Says why it is not known to be in the log.
    pub async fn send(
        &self,
        room: &RoomName,
        content: impl Into<Arc<str>>,
    ) -> Result<Acked, Error> {
        self.say(room, content.into(), None).await
    }

    /// As [`Client::send`], in answer to an entry.
    ///
    /// # Errors
    /// Says why it is not known to be in the log.
    pub async fn reply(
        &self,
        room: &RoomName,
        to: Seq,
        content: impl Into<Arc<str>>,
    ) -> Result<Acked, Error> {
        self.say(room, content.into(), Some(to)).await
    }

    /// Says something as [`Client::send`] does, but does not wait: what becomes of it comes as
    /// [`Delivery::Settled`](super::Delivery::Settled) with this ticket.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn post(
        &self,
        room: &RoomName,
        content: impl Into<Arc<str>>,
    ) -> Result<Ticket, Error> {
        let (ticket, event) = self.message(room, content.into(), None);
        self.tell(event).await?;
        Ok(ticket)
    }

    /// Reads a part of a room's history, of `limit` entries at most (`None`: as many as the
    /// server gives at once).
    ///
    /// # Errors
    /// Says why there is no answer.
    pub async fn history(
        &self,
        room: &RoomName,
        range: HistoryRange,
        limit: Option<u32>,
    ) -> Result<Page, Error> {
        match self.question(Query::History { room: room.clone(), range, limit }).await? {
            Outcome::Page(page) => Ok(*page),
            other => Err(failure(other)),
        }
    }

    /// Reads who is in a room.
    ///
    /// # Errors
    /// Says why there is no answer.
    pub async fn members(&self, room: &RoomName) -> Result<MembersView, Error> {
        match self.question(Query::Members { room: room.clone() }).await? {
            Outcome::Members(view) => Ok(view),
            other => Err(failure(other)),
        }
    }

    /// Reads which rooms somebody is in: the first ones, or those after a given one.
    ///
    /// # Errors
    /// Says why there is no answer.
    pub async fn rooms(&self, after: Option<&RoomName>) -> Result<Rooms, Error> {
        match self.question(Query::Rooms { after: after.cloned() }).await? {
            Outcome::Rooms { rooms, has_more } => Ok(Rooms { rooms, has_more }),
            other => Err(failure(other)),
        }
    }

    /// Tells that the user is typing. Dropped if it can't be sent at once.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn typing(&self, room: &RoomName) -> Result<(), Error> {
        self.tell(Event::Typing { room: room.clone(), active: true }).await
    }

    /// Tells that the user has stopped typing. Dropped if it can't be sent at once.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn typing_stopped(&self, room: &RoomName) -> Result<(), Error> {
        self.tell(Event::Typing { room: room.clone(), active: false }).await
    }

    /// Returns how the connection is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Returns how the connection is, for waiting until that changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Returns the clock whose time [`State::Waiting`] names.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Tells that the device woke up or the network came back: it asks the server for a sign of
    /// life at once, or does not wait any longer before it connects.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn wake(&self) -> Result<(), Error> {
        self.tell(Event::Wake).await
    }

    /// Connects again after it has stopped for another reason than [`Client::close`].
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn restart(&self) -> Result<(), Error> {
        self.tell(Event::Start).await
    }

    /// Returns what a later process needs to go on with the session ([`Options::resume`]), once
    /// there is one. It is as old as this answer: what was delivered since is delivered again.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn resume(&self) -> Result<Option<Resume>, Error> {
        self.ask(Command::Resume).await
    }

    /// Returns what the client holds.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.ask(Command::Stats).await
    }

    /// Leaves all rooms and the server, and waits until the connection is closed, 2 seconds at
    /// most. What was not acknowledged is settled as stopped.
    pub async fn close(self) {
        // If it is gone already, nothing is left to be closed.
        let _ = self.ask(Command::Close).await;
    }

    async fn say(
        &self,
        room: &RoomName,
        content: Arc<str>,
        reply_to: Option<Seq>,
    ) -> Result<Acked, Error> {
        let (ticket, event) = self.message(room, content, reply_to);
        match self.settle(ticket, event).await? {
            Outcome::Acked { seq, ts, duplicate } => Ok(Acked { seq, ts, duplicate }),
            other => Err(failure(other)),
        }
    }

    fn message(
        &self,
        room: &RoomName,
        content: Arc<str>,
        reply_to: Option<Seq>,
    ) -> (Ticket, Event) {
        let (ticket, room, key) = (self.ticket(), room.clone(), random::key());
        (ticket, Event::Send { ticket, room, key, content, reply_to })
    }

    async fn question(&self, query: Query) -> Result<Outcome, Error> {
        let ticket = self.ticket();
        self.settle(ticket, Event::Query { ticket, query }).await
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    async fn tell(&self, event: Event) -> Result<(), Error> {
        self.command(Command::Tell(event)).await
    }

    async fn settle(&self, ticket: Ticket, event: Event) -> Result<Outcome, Error> {
        self.ask(|answer| Command::Settle { ticket, event, answer }).await
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.command(make(answer)).await?;
        answered.await.map_err(|_| Error::Stopped)
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| Error::Stopped)
    }
}

/// Says why something has no answer of its own kind.
fn failure(outcome: Outcome) -> Error {
    match outcome {
        Outcome::Refused(body) => Error::Refused(body),
        Outcome::Unknown(body) => Error::Unknown(body),
        Outcome::Full => Error::Full,
        Outcome::Expired => Error::Expired,
        Outcome::Stopped => Error::Stopped,
        Outcome::Acked { .. } | Outcome::Page(_) | Outcome::Members(_) | Outcome::Rooms { .. } => {
            debug_assert!(false, "the answer is one of another question: {outcome:?}");
            Error::Stopped
        }
    }
}
