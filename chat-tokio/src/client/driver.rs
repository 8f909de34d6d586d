//! The task that owns the machine: it feeds events in and performs the actions.
use std::future::ready;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;

use chat_proto::{Resume, ServerFrame, Token};
use chat_state::client::{
    Action, Actions, Client as Machine, Event, Outcome, SavedMessage, State, Stats, Ticket,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep};

use super::events::Events;
use super::handle::Client;
use super::link::Connect;
use super::options::{Options, Tokens};
use super::outlet::Outlet;
use super::wire::{Happened, Wire};
use crate::clock::Clock;
use crate::escape::Escaped;
use crate::random::Numbers;
use crate::transport::Utf8Bytes;

/// Commands that may wait for the task. Beyond it the caller waits.
const COMMANDS_MAX: usize = 64;

/// A command of the application.
#[derive(Debug)]
pub(super) enum Command {
    /// Hand an event to the machine.
    Tell(Event),
    /// Hand an event to the machine, and send the outcome of its ticket.
    Settle { ticket: Ticket, event: Event, answer: oneshot::Sender<Outcome> },
    /// Return what a later process needs to resume the session.
    Resume(oneshot::Sender<Option<Resume>>),
    /// Return the unsettled messages for a later process.
    SavedMessages(oneshot::Sender<Vec<SavedMessage>>),
    /// Return the sizes of the machine's collections.
    Stats(oneshot::Sender<Stats>),
    /// Close the client.
    Close(oneshot::Sender<()>),
}

pub(super) fn start(options: Options, connect: Box<dyn Connect>) -> (Client, Events) {
    let Options { config, tokens, events } = options;
    let (commands, orders) = mpsc::channel(COMMANDS_MAX);
    let (delivers, delivered) = mpsc::channel(events);
    let (state_is, state) = watch::channel(State::Idle);
    let clock = Clock::start();
    let needs_token = config.token.is_none() && tokens.is_some();
    let driver = Driver {
        machine: Machine::new(config),
        actions: Actions::new(),
        clock,
        numbers: Numbers::new(),
        connect,
        tokens,
        token: None,
        started: false,
        wire: Wire::default(),
        outlet: Outlet::new(delivers, state_is),
    };
    tokio::spawn(driver.run(orders, needs_token));
    let tickets = Arc::default();
    (Client { commands, state, tickets, clock }, Events::new(delivered))
}

struct Driver {
    machine: Machine,
    actions: Actions,
    clock: Clock,
    numbers: Numbers,
    connect: Box<dyn Connect>,
    tokens: Option<Tokens>,
    /// A credential that is being fetched.
    token: Option<Pin<Box<dyn Future<Output = Option<Token>> + Send>>>,
    started: bool,
    wire: Wire,
    outlet: Outlet,
}

/// The reason for a turn.
enum Wake {
    Command(Option<Command>),
    Wire(Happened),
    Token(Option<Token>),
    Timer,
    Read,
}

impl Driver {
    async fn run(mut self, mut orders: mpsc::Receiver<Command>, needs_token: bool) {
        if needs_token {
            self.fetch_token();
        } else {
            self.start();
        }
        let mut sleep = Box::pin(tokio::time::sleep_until(self.instant(0)));
        let answer = loop {
            match self.wake(&mut orders, &mut sleep).await {
                Wake::Command(Some(command)) => {
                    if let ControlFlow::Break(answer) = self.obey(command) {
                        break Some(answer);
                    }
                }
                // The last handle was dropped.
                Wake::Command(None) => break None,
                Wake::Wire(happened) => self.happened(happened),
                Wake::Token(token) => {
                    self.token = None;
                    self.handle(Event::Token { token });
                    self.start();
                }
                Wake::Timer => self.fire(),
                Wake::Read => {}
            }
        };
        drop(orders);
        self.handle(Event::Stop);
        self.wire.closed().await;
        if let Some(answer) = answer {
            // The caller may have stopped waiting.
            let _ = answer.send(());
        }
        self.outlet.finish().await;
    }

    async fn wake(
        &mut self,
        orders: &mut mpsc::Receiver<Command>,
        sleep: &mut Pin<Box<Sleep>>,
    ) -> Wake {
        let due = self.machine.poll_timeout().map(|due| self.instant(due.0));
        if let Some(due) = due.filter(|due| *due != sleep.deadline()) {
            sleep.as_mut().reset(due);
        }
        let (full, takes_commands) = (self.outlet.is_full(), self.outlet.takes_commands());
        let has_token = self.token.is_some();
        let token = self.token.as_mut();
        let token = async move {
            match token {
                Some(token) => token.await,
                None => None,
            }
        };
        tokio::select! {
            command = orders.recv(), if takes_commands => Wake::Command(command),
            happened = self.wire.next(!full) => Wake::Wire(happened),
            token = token, if has_token => Wake::Token(token),
            () = sleep.as_mut(), if due.is_some() => Wake::Timer,
            () = self.outlet.make_room(), if full => Wake::Read,
        }
    }

    fn instant(&self, ms: u64) -> Instant {
        self.clock.instant(chat_state::Mono(ms)).into()
    }

    fn start(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            self.handle(Event::Start);
        }
    }

    /// Performs a command. Breaks on a close.
    fn obey(&mut self, command: Command) -> ControlFlow<oneshot::Sender<()>> {
        match command {
            Command::Tell(event) => self.handle(event),
            Command::Settle { ticket, event, answer } => {
                self.outlet.wait(ticket, answer);
                self.handle(event);
            }
            Command::Resume(answer) => drop(answer.send(self.machine.resume())),
            Command::SavedMessages(answer) => {
                drop(answer.send(self.machine.saved_messages(self.clock.now())));
            }
            Command::Stats(answer) => drop(answer.send(self.machine.stats())),
            Command::Close(answer) => return ControlFlow::Break(answer),
        }
        ControlFlow::Continue(())
    }

    fn happened(&mut self, happened: Happened) {
        self.handle(match happened {
            Happened::Opened(link) => Event::Opened { link },
            Happened::Alive(link) => Event::Alive { link },
            Happened::Text(link, text) => received(link, &text),
            Happened::Closed(link, code) => {
                tracing::debug!(link = link.0, code, "the connection has ended");
                Event::Closed { link, code }
            }
        });
    }

    fn fire(&mut self) {
        if self.outlet.is_full()
            && let Some(link) = self.wire.open()
        {
            // The application does not read, so silence says nothing about the server.
            self.handle(Event::Alive { link });
        }
        let (now, random) = (self.clock.now(), self.numbers.next());
        self.machine.handle_timeout(now, random, &mut self.actions);
        self.perform();
    }

    fn handle(&mut self, event: Event) {
        let (now, random) = (self.clock.now(), self.numbers.next());
        self.machine.handle(now, random, event, &mut self.actions);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Open { link } => self.wire.connect(link, self.connect.connect()),
                Action::Transmit { link, id, request } => {
                    self.wire.transmit(link, request.encode(id.as_ref()));
                }
                Action::Close { link, code } => self.wire.close(link, code),
                Action::NeedToken => self.fetch_token(),
                Action::Deliver(delivery) => self.outlet.deliver(delivery),
            }
        }
    }

    fn fetch_token(&mut self) {
        self.token = Some(match &self.tokens {
            Some(make) => make(),
            None => Box::pin(ready(None)),
        });
    }
}

fn received(link: chat_state::client::LinkId, text: &Utf8Bytes) -> Event {
    match ServerFrame::decode(text) {
        Ok(frame) => Event::Received { link, frame },
        Err(error) => {
            let error = Escaped(error);
            tracing::warn!(%error, "the server sent a malformed frame");
            Event::Malformed { link }
        }
    }
}
