//! What has to hold at any time, and of whole histories.
use std::collections::BTreeMap;

use chat_proto::{CloseCode, Entry, RoomName};
use chat_state::client::Outcome as Settled;

use super::Sim;
use super::plan::{Plan, What};
use crate::history_check::{Logged, Outcome, Run, Send, check};
use crate::world::Preset;

fn alone(client: &str, content: &str) -> String {
    format!("{client}, only for {content}")
}

impl Sim {
    /// What is held is within its limits.
    pub(super) fn bounds_hold(&self) {
        for hub in self.nodes.iter().filter_map(|node| node.hub.as_ref()) {
            let stats = hub.stats();
            assert!(stats.sessions <= self.limits.connections as usize, "{stats:?}");
            assert!(stats.rooms <= self.limits.rooms_total as usize, "{stats:?}");
            assert!(stats.budgets <= 4 * self.limits.connections as usize, "{stats:?}");
        }
    }

    /// Each close has its cause.
    pub(super) fn close_is_right(&self, index: usize, code: CloseCode) {
        let link = &self.links[index];
        let is_tiny = self.setup.preset == Preset::Tiny;
        let right = match code {
            CloseCode::Draining => link.bye.is_some() || link.is_leaky,
            CloseCode::Overloaded | CloseCode::RateLimited => is_tiny,
            CloseCode::HeartbeatTimeout | CloseCode::Superseded => true,
            CloseCode::LogReplaced => self.has_replaced(),
            CloseCode::SlowConsumer => !self.trimmed.is_empty(),
            _ => false,
        };
        assert!(right, "a person was closed with {code}");
    }

    fn has_replaced(&self) -> bool {
        let rooms = (0..self.setup.rooms).map(super::apply::room_name);
        rooms.into_iter().any(|room| self.log.of_room(&room).count() > 1)
    }

    /// The history checker's word on every room whose log is the first one.
    pub(super) fn history_is_right(&mut self, plan: &Plan) {
        self.people.iter_mut().for_each(super::person::Person::end_all_seen);
        self.nobody_was_limited_for_others(plan);
        for room in (0..self.setup.rooms).map(super::apply::room_name) {
            let logs: Vec<_> = self.log.of_room(&room).collect();
            let [log] = *logs else { continue };
            let entries: Vec<Logged> = log.entries.iter().map(|e| self.logged(e)).collect();
            let runs = self.runs_of(&room);
            if let Err(violation) = check(&self.sends_to(&room), &runs, &entries) {
                panic!("{room}: {violation}");
            }
        }
    }

    /// An entry. What was given up before it was acknowledged may come at any time, and so may what
    /// a `basic` peer has said, which is never acknowledged: each has an order of its own.
    fn logged(&self, entry: &Entry) -> Logged {
        let mut logged = Logged::from(entry);
        if logged.key.is_none() {
            logged.client = alone(&logged.client, &logged.content);
        }
        let all = self.people.iter().flat_map(|person| &person.said);
        let mut given_up = all.filter(|said| said.is_given_up());
        if given_up.any(|said| said.content == logged.content) {
            logged.client = alone(&logged.client, &logged.content);
        }
        logged
    }

    fn runs_of(&self, room: &RoomName) -> Vec<Run> {
        let all = self.people.iter().flat_map(|person| &person.runs);
        let mut runs: Vec<Run> =
            all.filter(|(of, ..)| of == room).map(|(.., run)| run.clone()).collect();
        for shown in runs.iter_mut().flat_map(|run| &mut run.shown) {
            let people = self.people.iter().filter(|person| person.name == shown.client);
            let mut given_up = people.flat_map(|p| &p.said).filter(|said| said.is_given_up());
            let is_plain = shown.client.starts_with("plain");
            if is_plain || given_up.any(|said| said.content == shown.content) {
                shown.client = alone(&shown.client, &shown.content);
            }
        }
        runs
    }

    fn sends_to(&self, room: &RoomName) -> Vec<Send> {
        let mut sends = Vec::new();
        for person in &self.people {
            for said in person.said.iter().filter(|said| said.room == *room) {
                let outcome = match &said.outcome {
                    Some(Settled::Acked { seq, .. }) => Outcome::Acked(seq.get()),
                    Some(Settled::Refused(_) | Settled::Full) => Outcome::Refused,
                    _ => Outcome::Unknown,
                };
                let client = if said.is_given_up() {
                    alone(&person.name, &said.content)
                } else {
                    person.name.clone()
                };
                sends.push(Send {
                    client,
                    content: said.content.clone(),
                    key: Some(said.key.as_str().into()),
                    outcome,
                });
            }
        }
        for plain in &self.plain {
            // Whom a node refuses a room, since it is full or the node leaves service, stays where
            // it was and is not told: it may have said this elsewhere.
            for (client, content) in &plain.said {
                let (client, content) = (alone(client, content), content.clone());
                sends.push(Send { client, content, key: None, outcome: Outcome::Unknown });
            }
        }
        sends
    }

    /// Whoever keeps within the budget is never told that it is over.
    fn nobody_was_limited_for_others(&self, plan: &Plan) {
        if self.setup.preset == Preset::Tiny {
            return;
        }
        let mut said: BTreeMap<usize, u32> = BTreeMap::new();
        for step in &plan.steps {
            if let What::Say { who, times, .. } = step.what {
                *said.entry(usize::from(who) % self.people.len()).or_default() += u32::from(times);
            }
        }
        for (who, person) in self.people.iter().enumerate() {
            let much = said.get(&who).copied().unwrap_or(0) > self.limits.messages_per_10s / 2;
            assert!(much || person.limited == 0, "{} was limited", person.name);
        }
    }
}
