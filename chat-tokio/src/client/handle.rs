//! The application's handle of a client.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_proto::{HistoryRange, MembersView, Page, Resume, RoomName, RoomSummary, Seq, Timestamp};
use chat_state::client::{Event, Outcome, Query, SavedMessage, State, Stats, Ticket};
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::Command;
use super::error::{ConnectError, Error};
use super::events::Events;
use super::options::Options;
use crate::clock::Clock;
use crate::random;

/// A handle of a client. Clones share the client; dropping the last one closes it like
/// [`Client::close`].
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) state: watch::Receiver<State>,
    pub(super) tickets: Arc<AtomicU64>,
    pub(super) clock: Clock,
}

/// The result of a message that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Its seq.
    pub seq: Seq,
    /// When the server accepted it.
    pub ts: Timestamp,
    /// True if an earlier attempt had stored it.
    pub duplicate: bool,
}

/// A part of the list of rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rooms {
    /// The rooms, ordered by name.
    pub rooms: Vec<RoomSummary>,
    /// True if there are more after the last one.
    pub has_more: bool,
}

impl Client {
    /// Starts a client for the server at this `ws://` address, with the default [`Options`], and
    /// waits until it is connected.
    ///
    /// The client tries until it succeeds or the server refuses it permanently. Dropping the future
    /// ends the client.
    ///
    /// # Errors
    /// If the address is invalid, or the server refuses.
    ///
    /// # Panics
    /// Outside of a tokio runtime with IO and time.
    pub async fn connect(url: &str) -> Result<(Self, Events), ConnectError> {
        let (client, events) = Options::default().start(url)?;
        client.online().await?;
        Ok((client, events))
    }

    /// Returns the default options.
    #[must_use]
    pub fn options() -> Options {
        Options::default()
    }

    /// Waits until the client is connected.
    ///
    /// # Errors
    /// If the client has stopped.
    pub async fn online(&self) -> Result<(), ConnectError> {
        let mut state = self.state.clone();
        let decided = |state: &State| matches!(state, State::Online | State::Stopped { .. });
        match state.wait_for(decided).await.as_deref() {
            Ok(State::Stopped { why }) => Err(ConnectError::Stopped(why.clone())),
            Ok(State::Online | State::Connecting | State::Idle | State::Waiting { .. }) => Ok(()),
            // The driver has ended.
            Err(_) => Err(ConnectError::Stopped(chat_state::client::StopReason::Asked)),
        }
    }

    /// Joins a room, and joins it again after every reconnect until [`Client::leave`].
    /// [`Delivery::Joined`](super::Delivery::Joined) tells that the session is a member. Messages
    /// may be sent before that.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn join(&self, room: &RoomName) -> Result<(), Error> {
        self.tell(Event::Join { room: room.clone() }).await
    }

    /// Leaves a room after its queued messages are settled.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn leave(&self, room: &RoomName) -> Result<(), Error> {
        self.tell(Event::Leave { room: room.clone() }).await
    }

    /// Sends a message to a joined room, and waits for the result. Messages of one room are sent
    /// one after the other, each once, across any number of reconnects.
    ///
    /// Dropping the future does not cancel the message.
    ///
    /// # Errors
    /// If the message is not known to be in the log.
    pub async fn send(
        &self,
        room: &RoomName,
        content: impl Into<Arc<str>>,
    ) -> Result<Acked, Error> {
        self.say(room, content.into(), None).await
    }

    /// Sends a message like [`Client::send`] in answer to an entry.
    ///
    /// # Errors
    /// If the message is not known to be in the log.
    pub async fn reply(
        &self,
        room: &RoomName,
        to: Seq,
        content: impl Into<Arc<str>>,
    ) -> Result<Acked, Error> {
        self.say(room, content.into(), Some(to)).await
    }

    /// Sends a message like [`Client::send`] but does not wait. The result arrives as
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

    /// Reads at most `limit` entries of a room's history. `None` means the server's limit.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn history(
        &self,
        room: &RoomName,
        range: HistoryRange,
        limit: Option<u32>,
    ) -> Result<Page, Error> {
        match self.query(Query::History { room: room.clone(), range, limit }).await? {
            Outcome::Page(page) => Ok(*page),
            other => Err(failure(other)),
        }
    }

    /// Reads the members of a room.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn members(&self, room: &RoomName) -> Result<MembersView, Error> {
        match self.query(Query::Members { room: room.clone() }).await? {
            Outcome::Members(view) => Ok(view),
            other => Err(failure(other)),
        }
    }

    /// Reads the list of rooms from the beginning, or after a given room.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn rooms(&self, after: Option<&RoomName>) -> Result<Rooms, Error> {
        match self.query(Query::Rooms { after: after.cloned() }).await? {
            Outcome::Rooms { rooms, has_more } => Ok(Rooms { rooms, has_more }),
            other => Err(failure(other)),
        }
    }

    /// Sends a typing notice. Dropped if it cannot be sent at once.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn typing(&self, room: &RoomName) -> Result<(), Error> {
        self.tell(Event::Typing { room: room.clone(), active: true }).await
    }

    /// Ends the typing notice. Dropped if it cannot be sent at once.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn typing_stopped(&self, room: &RoomName) -> Result<(), Error> {
        self.tell(Event::Typing { room: room.clone(), active: false }).await
    }

    /// Returns the state of the connection.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Returns a watch on the state of the connection.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Returns the clock of the times in [`State::Waiting`].
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Reports that the device woke up or the network returned. The client probes the connection,
    /// or connects at once.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn wake(&self) -> Result<(), Error> {
        self.tell(Event::Wake).await
    }

    /// Connects again after the client has stopped for a reason other than [`Client::close`].
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn restart(&self) -> Result<(), Error> {
        self.tell(Event::Start).await
    }

    /// Returns what a later process needs to resume the session ([`Options::resume`]), once there
    /// is one. Entries delivered after this call are delivered again.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn resume(&self) -> Result<Option<Resume>, Error> {
        self.ask(Command::Resume).await
    }

    /// Returns the sizes of the client's collections.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.ask(Command::Stats).await
    }

    /// Closes the client, and waits at most 2 seconds until the connection is closed. Unsettled
    /// messages are settled as stopped.
    pub async fn close(self) {
        // A driver that has ended needs no close.
        let _ = self.ask(Command::Close).await;
    }

    /// Returns the unsettled messages for a later process, which continues them with
    /// [`Client::restore`].
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn saved_messages(&self) -> Result<Vec<SavedMessage>, Error> {
        self.ask(Command::SavedMessages).await
    }

    /// Continues a message of an earlier process. Its room must be joined before. The result
    /// arrives as [`Delivery::Settled`](super::Delivery::Settled) with this ticket.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn restore(&self, message: SavedMessage) -> Result<Ticket, Error> {
        let ticket = self.ticket();
        self.tell(Event::Restore { ticket, message: Box::new(message) }).await?;
        Ok(ticket)
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

    async fn query(&self, query: Query) -> Result<Outcome, Error> {
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

/// Turns an outcome without an answer into an error.
fn failure(outcome: Outcome) -> Error {
    match outcome {
        Outcome::Refused(body) => Error::Refused(body),
        Outcome::Unknown(body) => Error::Unknown(body),
        Outcome::Full => Error::Full,
        Outcome::Expired => Error::Expired,
        Outcome::Stopped => Error::Stopped,
        Outcome::Acked { .. } | Outcome::Page(_) | Outcome::Members(_) | Outcome::Rooms { .. } => {
            debug_assert!(false, "the outcome is of another kind: {outcome:?}");
            Error::Stopped
        }
    }
}
