//! What has to hold at any time, and of whole histories.
use std::collections::BTreeMap;

use chat_proto::{CloseCode, Entry};
use chat_state::client::Outcome as Settled;

use super::Sim;
use super::plan::{Plan, What};
use crate::history_check::{Logged, Outcome, Run, Send, check};
use crate::world::{Preset, RoomLog};

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
        let has_tokens = self.setup.has_tokens;
        let right = match code {
            CloseCode::Draining => link.bye.is_some() || link.is_leaky,
            CloseCode::Overloaded => is_tiny || has_tokens,
            CloseCode::Unauthorized | CloseCode::AuthExpired => has_tokens,
            CloseCode::RateLimited => is_tiny,
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

    /// The history checker's word on every log that a room has had.
    pub(super) fn history_is_right(&mut self, plan: &Plan) {
        self.people.iter_mut().for_each(super::person::Person::end_all_seen);
        self.nobody_was_limited_for_others(plan);
        for room in (0..self.setup.rooms).map(super::apply::room_name) {
            for log in self.log.of_room(&room) {
                let entries: Vec<Logged> =
                    log.entries.iter().map(|e| self.logged(log, e)).collect();
                if let Err(violation) = check(&self.sends_to(log), &self.runs_of(log), &entries) {
                    panic!("{room} of {:?}: {violation}", log.epoch);
                }
            }
        }
    }

    /// Returns the sender by whom the order of an entry is checked. A message that was not acked in
    /// this log, or that a `basic` peer sent, may come at any time, so it has a sender of its own.
    fn sender(&self, log: &RoomLog, client: &str, content: &str) -> String {
        let mut said = self.people.iter().flat_map(|person| &person.said);
        let said = said.find(|said| said.content == *content);
        match said.is_none_or(|said| said.is_stray(log)) {
            true => alone(client, content),
            false => client.to_owned(),
        }
    }

    fn logged(&self, log: &RoomLog, entry: &Entry) -> Logged {
        let logged = Logged::from(entry);
        Logged { client: self.sender(log, &logged.client, &logged.content), ..logged }
    }

    fn runs_of(&self, log: &RoomLog) -> Vec<Run> {
        let all = self.people.iter().flat_map(|person| &person.runs);
        let of_log = all.filter(|(room, epoch, _)| (room, epoch) == (&log.room, &log.epoch));
        let mut runs: Vec<Run> = of_log.map(|(.., run)| run.clone()).collect();
        for shown in runs.iter_mut().flat_map(|run| &mut run.shown) {
            shown.client = self.sender(log, &shown.client, &shown.content);
        }
        runs
    }

    /// What was said, and what became of it in this log.
    fn sends_to(&self, log: &RoomLog) -> Vec<Send> {
        let mut sends = Vec::new();
        for person in &self.people {
            for said in person.said.iter().filter(|said| said.room == log.room) {
                let outcome = match &said.outcome {
                    _ if said.is_stray(log) => Outcome::Unknown,
                    Some(Settled::Acked { seq, .. }) => Outcome::Acked(seq.get()),
                    _ => Outcome::Refused,
                };
                sends.push(Send {
                    client: self.sender(log, &person.name, &said.content),
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
