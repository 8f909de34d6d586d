//! The end of every script: faults stop, everything converges, everybody leaves, nothing is left.
use std::collections::BTreeSet;

use chat_proto::{Body, Dialect, Entry, LeaveReason, Request, RoomName, ServerFrame};
use chat_state::{Event, Stats};

use super::broker::BrokerMood;
use super::check::Want;
use super::driver::World;
use super::input::room_name;
use super::judge::older_ones_are_fenced;
use super::log::LogMood;
use super::script::{Kind, Script};
use super::tokens::AuthorityMood;
use crate::adapter::HubAdapter;

/// Long enough for every retry (after at most 30 s), poll and announcement.
const CONVERGE_MS: u64 = 35_000;
/// How long a session without a connection is shown, and some more.
const GRACE_MS: u64 = 12_000;
/// Long enough for every timer of a connection that is gone.
const FORGET_MS: u64 = 130_000;

/// Plays a script to its end and beyond.
pub fn run(script: &Script) -> World {
    run_in(World::new(script.setup), script)
}

fn run_in(mut world: World, script: &Script) -> World {
    world.has_addresses = true;
    for step in &script.steps {
        world.apply(*step);
        world.bounds_hold();
    }
    world.heal();
    older_ones_are_fenced(&world);
    world.all_leave();
    world
}

impl World {
    /// Plays a script in a new world and returns every action that was asked for.
    #[must_use]
    pub fn trace_of(script: &Script) -> String {
        let mut world = Self::new(script.setup);
        world.trace = Some(String::new());
        run_in(world, script).trace.unwrap_or_default()
    }

    /// What a Hub holds is within its limits at any time.
    pub fn bounds_hold(&self) {
        for hub in &self.hubs {
            let stats = hub.stats();
            assert!(stats.sessions <= self.limits.connections as usize, "{stats:?}");
            assert!(stats.rooms <= self.limits.rooms_total as usize, "{stats:?}");
            assert!(stats.budgets <= 4 * self.limits.connections as usize, "{stats:?}");
        }
        for conn in &self.conns {
            assert!(conn.port.bytes <= self.limits.outbox_bytes as usize, "{}", conn.name);
            assert!(conn.view.rooms.len() <= self.limits.rooms as usize, "{}", conn.name);
        }
    }

    /// Stops all faults and demands that every member has every entry.
    pub fn heal(&mut self) {
        // Those who come now look whether all is well.
        self.has_addresses = false;
        self.log.mood = LogMood::Prompt;
        self.broker.mood = BrokerMood::Prompt;
        self.tokens.mood = AuthorityMood::Prompt;
        self.conns.iter_mut().for_each(|conn| conn.reading = true);
        self.flush();
        self.settle();
        while let Some((hub, event)) = self.log.answer(0) {
            self.tell(hub, event);
            self.settle();
        }
        while let Some((hub, event)) = self.tokens.answer(0, self.now.wall) {
            self.tell(hub, event);
            self.settle();
        }
        // What is late comes in the wrong order.
        while let Some(carried) = self.broker.take(self.broker.held().wrapping_sub(1)) {
            self.deliver(Some(carried));
            self.settle();
        }
        for hub in 0..self.hubs.len() {
            if let Some(lost) = self.broker.losses.take(hub) {
                self.tell(hub, Event::SignalsLost(lost));
            }
        }
        self.settle();
        // Whom a drain has closed already still counts elsewhere, until the room is empty.
        let drained = self.hubs.iter().filter_map(HubAdapter::deadline).max();
        self.pass(drained.map_or(0, |deadline| deadline.since(self.now.mono)));
        self.pass(CONVERGE_MS);
        // Whoever is slowed down may still have much to say.
        for _ in 0..100 {
            let open = self.open();
            if open
                .iter()
                .all(|c| self.conns[*c].input.is_empty() && !self.conns[*c].port.is_paused)
            {
                break;
            }
            self.pass(CONVERGE_MS);
        }
        self.let_grants_end();
        self.everybody_has_everything(&[]);
        self.everybody_knows_everybody();
        self.one_more_message_reaches_all();
        self.what_was_refused_is_not_there();
    }

    fn what_was_refused_is_not_there(&self) {
        for conn in &self.conns {
            for (room, text) in &conn.view.refused {
                let said = |e: &Entry| {
                    let Body::Message { content, .. } = &e.body else { return false };
                    **content == **text
                };
                let mut logs = self.log.of_room(room);
                let there = logs.any(|log| log.entries.iter().any(|e| said(e)));
                assert!(!there, "{}: {text:?} was refused and is in the log", conn.name);
            }
        }
    }

    /// Every member has every entry. Who follows a log that was replaced is only told once
    /// something is said there, so members of `said_in` follow the log that is in use.
    fn everybody_has_everything(&self, said_in: &[RoomName]) {
        for index in self.open() {
            let conn = &self.conns[index];
            let name = &conn.name;
            assert!(conn.port.is_read() && !conn.port.awaits_drain, "{name} hangs");
            assert!(conn.view.due.is_empty(), "{name} waits for {:?}", conn.view.due);
            for (room, sub) in &conn.view.rooms {
                let Some(log) = self.log.of_room(room).next() else { continue };
                let replaced = sub.epoch.as_ref().is_some_and(|e| *e != log.epoch);
                if replaced {
                    assert!(!said_in.contains(room), "{name}: old epoch");
                    continue;
                }
                assert!(
                    sub.last.is_none_or(|last| last == log.last()),
                    "{name} has {room} up to {:?} of {}",
                    sub.last,
                    log.last()
                );
            }
        }
    }

    /// All Hubs agree on the members of each room. Only a Hub that lost signals was told so, and of
    /// which rooms.
    fn everybody_knows_everybody(&mut self) {
        // Whoever was closed a moment ago, since its log was replaced, is still shown.
        self.pass(GRACE_MS);
        for index in self.open() {
            if self.conns[index].dialect() == Dialect::Basic {
                continue;
            }
            let rooms: Vec<RoomName> = self.conns[index].view.rooms.keys().cloned().collect();
            for room in rooms {
                let request = Request::Members { room: room.clone() };
                self.request(index, &request, Want::Members { room: room.clone() });
                self.settle();
                let (least, most) = self.members(&room);
                if let Some(ServerFrame::Members { view, .. }) =
                    self.conns[index].view.frames.last()
                {
                    let (hub, fits) = (self.conns[index].hub, least..=most);
                    assert!(fits.contains(&view.count), "{room} on hub {hub}: {view:?}, {fits:?}");
                }
                self.is_told_how_many(index, &room);
            }
        }
    }

    /// A member knows how many there are, at the latest once what is gathered was told: one may
    /// have gone a moment ago.
    fn is_told_how_many(&mut self, index: usize, room: &RoomName) {
        for patience in [CONVERGE_MS, 0] {
            let (least, most) = self.members(room);
            let conn = &self.conns[index];
            let told = conn.view.rooms.get(room).map(|sub| sub.count);
            if told.is_none_or(|told| (least..=most).contains(&told)) {
                return;
            }
            let (name, lines) = (&conn.name, &conn.view.lines);
            assert!(patience > 0, "{name} was told of {told:?} in {room}: {lines:#?}");
            self.pass(patience);
        }
    }

    /// Returns how many sessions are in a room, and how many connections they have there: more if
    /// the signal was lost that fences the old ones.
    fn members(&self, room: &RoomName) -> (u64, u64) {
        let open = self.open();
        let inside = open.iter().filter(|c| self.conns[**c].view.rooms.contains_key(room));
        let session = |c: &usize| (self.conns[*c].root, self.conns[*c].user.clone());
        let roots: Vec<_> = inside.map(session).collect();
        let sessions: BTreeSet<_> = roots.iter().collect();
        (sessions.len() as u64, roots.len() as u64)
    }

    fn one_more_message_reaches_all(&mut self) {
        let mut said_in = Vec::new();
        for room in [room_name(0), room_name(5), room_name(7)] {
            let hub = self.hubs.len() - 1;
            let last = self.connect(hub, Kind::V1, &format!("c{}", self.conns.len()));
            self.join(last, &room, 1);
            self.settle();
            let before = self.log.room(&room).last();
            self.say(last, &room, None, &format!("the last word in {room}"));
            self.settle();
            self.cut(last, LeaveReason::Disconnected);
            self.settle();
            // Where all places are taken, nothing could be said.
            if self.log.room(&room).last() > before {
                said_in.push(room);
            }
        }
        self.pass(CONVERGE_MS);
        self.everybody_has_everything(&said_in);
    }

    /// Lets everybody leave and demands that nothing is left.
    pub fn all_leave(&mut self) {
        for hub in 0..self.hubs.len() {
            if self.hubs[hub].deadline().is_some_and(|deadline| deadline <= self.now.mono) {
                assert!(self.open().iter().all(|c| self.conns[*c].hub != hub), "not drained");
            }
        }
        for index in self.open() {
            self.cut(index, LeaveReason::Disconnected);
        }
        self.settle();
        self.pass(FORGET_MS);
        for (hub, machine) in self.hubs.iter().enumerate() {
            assert_eq!(machine.stats(), Stats::default(), "hub {hub} is not empty");
            assert!(machine.follows_nothing(), "hub {hub} follows what it has forgotten");
            let (is_drained, expected) = (machine.is_drained(), machine.deadline().is_some());
            assert_eq!(is_drained, expected, "hub {hub} says that it is drained");
        }
    }
}
