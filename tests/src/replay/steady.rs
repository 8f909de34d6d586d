//! The same with clients that stay connected, over connections that do not: all at once, in any
//! order that comes of it, and nobody waits for anybody.
//!
//! What makes the expectation definite: a membership begins behind all that was acked when the
//! join was asked for, and not behind more than was sent when it was told of; it is a part of the
//! log without holes; and the memberships that are left at the end reach to the end of the log.
//! With several workers a join may be done before news of what another one has acked gets there.
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use chat_proto::{Body, DisplayName};
use chat_tokio::client::{Client, Delivery, Events, LeftReason, Options, Outcome, Ticket};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_local;

use super::{ROOM, read_back};
use crate::client::name;
use crate::irc::{Event, Script};
use crate::wait::within_time;
use chat_simulation::history_check::{Logged, Run, Send, Shown, check};

/// Lines that are on their way at a time.
const IN_FLIGHT: usize = 64;

/// Places by which one worker may be behind what another has acked.
const BEHIND_MAX: u64 = IN_FLIGHT as u64;

/// Said when everybody is there. Whoever enters after the last line of the script begins behind it
/// and would be shown nothing to tell that by.
const LAST_WORD: &str = "the last word";

/// How long it may take until everything is settled and shown, with faults all the time.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// What was counted in a replay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Lines that were said.
    pub lines: u64,
    /// How often a line was shown to a member.
    pub shown: u64,
    /// Connections that were welcomed.
    pub welcomes: u64,
    /// Of these, those whose session went on.
    pub resumed: u64,
    /// Rooms that were entered again without losing the position.
    pub recovered: u64,
    /// Acks of what an earlier attempt had put into the log.
    pub duplicates: u64,
}

/// Replays a script by async clients, made by `options`, that connect to `through`; the history is
/// read from `direct`, a server with so many `workers`. `heal` is called when all is said.
///
/// # Panics
/// If anything was lost, repeated, reordered, altered, invented, or shown to somebody absent; or if
/// a send was not settled, or not exactly once.
pub async fn replay_steadily(
    (through, direct, workers): (SocketAddr, SocketAddr, usize),
    script: &Script,
    options: impl Fn() -> Options,
    heal: impl FnOnce(),
) -> Figures {
    let board = Rc::new(Board::default());
    board.0.borrow_mut().behind = if workers > 1 { BEHIND_MAX } else { 0 };
    let url = format!("ws://{through}/ws");
    let room = name(ROOM);
    let mut clients: Vec<Option<Client>> = script.speakers.iter().map(|_| None).collect();
    let free = Rc::new(Semaphore::new(IN_FLIGHT));
    let mut sent: Vec<(usize, Ticket, String)> = Vec::new();
    let play = async {
        for event in &script.events {
            match event {
                Event::Join(speaker) => {
                    let client = clients[*speaker].get_or_insert_with(|| {
                        let name = DisplayName::new(&script.speakers[*speaker]).expect("a name");
                        let options = options().name(name).history(0);
                        let (client, events) = options.start(&url).expect("an address");
                        spawn_local(read(events, *speaker, Rc::clone(&board), Rc::clone(&free)));
                        client
                    });
                    board.wants_in(*speaker, &script.speakers[*speaker]);
                    client.join(&room).await.expect("it lives");
                }
                Event::Leave(speaker) => {
                    // A client that is asked to leave, come back and leave before it could do
                    // the first does all of it at once: nobody is told that it came back.
                    board.until(|state| state.has_left_before(*speaker)).await;
                    let client = clients[*speaker].as_ref().expect("it has joined");
                    client.leave(&room).await.expect("it lives");
                    board.wants_out(*speaker);
                }
                Event::Line(speaker, text) => {
                    free.acquire().await.expect("it is never closed").forget();
                    let client = clients[*speaker].as_ref().expect("it has joined");
                    board.says();
                    let ticket = client.post(&room, text.as_str()).await.expect("it lives");
                    sent.push((*speaker, ticket, text.clone()));
                }
            }
            board.assert_right();
        }
        heal();
        board.until(State::is_present).await;
        if let Some(speaker) = board.anybody() {
            board.says();
            let client = clients[speaker].as_ref().expect("it has joined");
            let ticket = client.post(&room, LAST_WORD).await.expect("it lives");
            sent.push((speaker, ticket, LAST_WORD.into()));
        }
        board.until(State::is_settled).await;
    };
    within_time(PATIENCE, "all lines to be said and shown", play).await;
    let sends = board.sends(&sent, script);
    let log = read_back(direct, sent.len()).await;
    let log: Vec<Logged> = log.into_iter().map(|entry| Logged { key: None, ..entry }).collect();
    let runs = board.finish();
    check(&sends, &runs, &log).unwrap_or_else(|violation| panic!("{violation}"));
    for client in clients.iter().flatten() {
        let stats = client.stats().await.expect("it lives");
        let rest = (stats.outbox_entries, stats.outbox_bytes, stats.buffered, stats.queries);
        assert_eq!(rest, (0, 0, 0, 0), "{stats:?}");
    }
    board.0.borrow().figures
}

/// What all have seen.
#[derive(Default)]
struct Board(RefCell<State>, Notify);

#[derive(Default)]
struct State {
    figures: Figures,
    members: BTreeMap<usize, Member>,
    outcomes: BTreeMap<(usize, Ticket), Outcome>,
    /// The last place that an ack has named.
    acked: u64,
    /// How far behind this a membership may begin.
    behind: u64,
    runs: Vec<Run>,
    wrong: Option<String>,
}

#[derive(Default)]
struct Member {
    /// One for each join that was asked for and not ended: what was acked then.
    joins: VecDeque<Run>,
    /// Whether the first of these was told of.
    entered: bool,
    /// At what place it is.
    at: u64,
    /// Whether it is to be in the room at the end.
    wanted: bool,
}

impl Board {
    fn wants_in(&self, speaker: usize, member: &str) {
        let mut state = self.0.borrow_mut();
        let after = state.acked;
        let member = Run { member: member.into(), after, to: None, shown: Vec::new() };
        let place = state.members.entry(speaker).or_default();
        place.joins.push_back(member);
        place.wanted = true;
    }

    fn wants_out(&self, speaker: usize) {
        let mut state = self.0.borrow_mut();
        state.members.entry(speaker).or_default().wanted = false;
    }

    fn says(&self) {
        self.0.borrow_mut().figures.lines += 1;
    }

    fn assert_right(&self) {
        if let Some(what) = &self.0.borrow().wrong {
            panic!("{what}");
        }
    }

    /// Waits for everybody.
    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            self.assert_right();
            if holds(&self.0.borrow()) {
                return;
            }
            self.1.notified().await;
        }
    }

    /// Returns somebody who is to be in the room at the end.
    fn anybody(&self) -> Option<usize> {
        let state = self.0.borrow();
        state.members.iter().find(|(_, member)| member.wanted).map(|(speaker, _)| *speaker)
    }

    /// Returns what was sent, with its outcome: in this test all has to be in the log.
    fn sends(&self, sent: &[(usize, Ticket, String)], script: &Script) -> Vec<Send> {
        let state = self.0.borrow();
        let one = |(speaker, ticket, content): &(usize, Ticket, String)| {
            let outcome = match &state.outcomes[&(*speaker, *ticket)] {
                Outcome::Acked { seq, .. } => {
                    chat_simulation::history_check::Outcome::Acked(seq.get())
                }
                other => {
                    panic!("{} has not said {content:?}: {other:?}", script.speakers[*speaker])
                }
            };
            let client = script.speakers[*speaker].clone();
            Send { client, content: content.clone(), key: None, outcome }
        };
        sent.iter().map(one).collect()
    }

    fn finish(&self) -> Vec<Run> {
        let mut state = self.0.borrow_mut();
        let lines = state.figures.lines;
        let mut runs = std::mem::take(&mut state.runs);
        for member in state.members.values_mut().filter(|member| member.wanted) {
            let mut run = member.joins.pop_front().expect("it is there");
            run.to = Some(lines);
            runs.push(run);
        }
        runs
    }
}

impl State {
    /// Every line is settled, and whoever is to be in the room is there.
    fn is_present(&self) -> bool {
        let there = |member: &Member| {
            if member.wanted { member.entered && member.joins.len() == 1 } else { !member.entered }
        };
        self.outcomes.len() as u64 >= self.figures.lines && self.members.values().all(there)
    }

    /// Whoever is to leave has left as often as it was to before.
    fn has_left_before(&self, speaker: usize) -> bool {
        self.members.get(&speaker).is_none_or(|member| member.joins.len() < 2)
    }

    /// And has seen the last line.
    fn is_settled(&self) -> bool {
        let mut wanted = self.members.values().filter(|member| member.wanted);
        self.is_present() && wanted.all(|member| member.at >= self.figures.lines)
    }

    fn take(&mut self, speaker: usize, event: Delivery) -> Result<(), String> {
        let member = self.members.get_mut(&speaker).ok_or("it never wanted to join")?;
        match event {
            Delivery::Welcome(welcome) => {
                self.figures.welcomes += 1;
                self.figures.resumed += u64::from(welcome.resumed);
            }
            Delivery::Joined { fresh: true, .. } if !member.entered => {
                let run = member.joins.front().ok_or("it is in the room unasked")?;
                member.entered = true;
                member.at = run.after;
            }
            Delivery::Joined { fresh: true, .. } => return Err("its position was lost".into()),
            Delivery::Joined { fresh: false, .. } => self.figures.recovered += 1,
            Delivery::Left { why: LeftReason::Asked, .. } => {
                let run = member.joins.pop_front().ok_or("it has left unasked")?;
                member.entered = false;
                self.runs.push(run);
            }
            Delivery::Entry(entry) => {
                let run = member.joins.front_mut().filter(|_| member.entered);
                let run = run.ok_or_else(|| format!("it is absent, but was shown {entry:?}"))?;
                let before = entry.seq.get() - 1;
                if run.shown.is_empty() {
                    if before + self.behind < run.after || before > self.figures.lines {
                        return Err(format!("it entered after {}: {entry:?}", run.after));
                    }
                    run.after = before;
                }
                member.at = entry.seq.get();
                let Body::Message { content, .. } = &entry.body else {
                    return Err(format!("nobody did this: {entry:?}"));
                };
                let (seq, client) = (Some(entry.seq.get()), entry.username.to_string());
                run.shown.push(Shown { seq, client, content: content.to_string() });
                self.figures.shown += 1;
            }
            Delivery::Settled { ticket, outcome } => {
                if let Outcome::Acked { seq, duplicate, .. } = &outcome {
                    self.acked = self.acked.max(seq.get());
                    self.figures.duplicates += u64::from(*duplicate);
                }
                if self.outcomes.insert((speaker, ticket), outcome).is_some() {
                    return Err(format!("{ticket:?} was settled twice"));
                }
            }
            Delivery::State(_)
            | Delivery::Members { .. }
            | Delivery::Presence { .. }
            | Delivery::MemberJoined { .. }
            | Delivery::MemberLeft { .. } => {}
            other @ (Delivery::Lost { .. }
            | Delivery::Reset { .. }
            | Delivery::Left { .. }
            | Delivery::Typing { .. }) => return Err(format!("{other:?}")),
        }
        Ok(())
    }
}

async fn read(mut events: Events, speaker: usize, board: Rc<Board>, free: Rc<Semaphore>) {
    while let Some(event) = events.next().await {
        let settles = matches!(event, Delivery::Settled { .. });
        let leaves = matches!(event, Delivery::Left { .. });
        let mut state = board.0.borrow_mut();
        if let Err(what) = state.take(speaker, event) {
            state.wrong.get_or_insert(format!("speaker {speaker}: {what}"));
        }
        let wake = leaves || state.wrong.is_some() || state.is_present();
        drop(state);
        if settles {
            free.add_permits(1);
        }
        if wake {
            board.1.notify_one();
        }
    }
}
