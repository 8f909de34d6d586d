//! The steps of a plan.
use chat_proto::{HistoryRange, RoomName, Seq};
use chat_state::client::{Event as ClientEvent, Query};
use chat_state::{Event, Lost};

use super::plan::What;
use super::{Due, Sim};

/// A room by its number.
pub(super) fn room_name(n: usize) -> RoomName {
    RoomName::new(["lobby", "den", "attic", "yard"][n % 4]).expect("a room's name")
}

impl Sim {
    pub(super) fn apply(&mut self, what: What) {
        let people = self.people.len();
        let person = |who: u8| usize::from(who) % people;
        let count = self.setup.rooms;
        let room_of = |room: u8| room_name(usize::from(room) % count);
        match what {
            What::Join { who, room } => {
                let (who, room) = (person(who), room_of(room));
                if self.people[who].client.is_some() {
                    self.people[who].wants.insert(room.clone());
                    self.act(who, ClientEvent::Join { room });
                }
            }
            What::Leave { who, room } => {
                let (who, room) = (person(who), room_of(room));
                if self.people[who].client.is_some() {
                    self.people[who].wants.remove(&room);
                    self.act(who, ClientEvent::Leave { room });
                }
            }
            What::Say { who, room, times } => {
                (0..times).for_each(|_| self.say(person(who), &room_of(room)));
            }
            What::Ask { who, room, what } => {
                let ask = self.question(room_of(room), what);
                self.inquire(person(who), ask);
            }
            What::Type { who, room } => {
                let event = ClientEvent::Typing { room: room_of(room), active: true };
                self.act(person(who), event);
            }
            What::Wake { who } => {
                self.people[person(who)].not_before = 0;
                self.act(person(who), ClientEvent::Wake);
            }
            What::SignOff { who, ms } => {
                let who = person(who);
                self.sign_off(who);
                let life = self.people[who].life;
                self.due(self.now + u64::from(ms), Due::SignOn { who, life });
            }
            What::Restart { who, ms } => self.get_up(person(who), ms.into()),
            What::ClockOfPerson { who, ms } => self.people[person(who)].wall += ms,
            _ => self.apply_to_the_rest(what),
        }
    }

    fn apply_to_the_rest(&mut self, what: What) {
        let node_of = |node: u8, nodes: usize| usize::from(node) % nodes;
        let (nodes, rooms) = (self.nodes.len(), self.setup.rooms);
        let room_of = |room: u8| room_name(usize::from(room) % rooms);
        match what {
            What::Cut { link, silent } => {
                if let Some(index) = self.live_link(link) {
                    self.cut(index, silent.into());
                }
            }
            What::Stall { link, ms } => {
                if let Some(index) = self.live_link(link) {
                    self.links[index].stalled_until = self.now + u64::from(ms);
                }
            }
            What::Slow { link, ms } => {
                if let Some(index) = self.live_link(link) {
                    self.links[index].slow_ms = ms.into();
                }
            }
            What::Swallow { link, frames } => {
                if let Some(index) = self.live_link(link).filter(|index| !self.was_ordered(*index))
                {
                    self.links[index].swallows = frames.into();
                    self.links[index].is_leaky = true;
                }
            }
            What::Hold { ms, hold_ms } => {
                self.holds = (hold_ms.into(), self.now + u64::from(ms));
            }
            What::Crash { node, ms } => self.kill(node_of(node, nodes), ms.into()),
            What::Drain { node, ms, down_ms } => {
                self.drain(node_of(node, nodes), ms.into(), down_ms.into());
            }
            What::ClockOfNode { node, ms } => self.nodes[node_of(node, nodes)].wall += ms,
            What::Disk(disk) => self.disk = disk,
            What::Carriage(carriage) => self.broker.carriage = carriage,
            What::Partition { a, b, ms } => self.part(node_of(a, nodes), node_of(b, nodes), ms),
            What::Trim { room, keep } => {
                self.trimmed.insert(room_of(room));
                self.log.trim(&room_of(room), keep.into());
            }
            What::Replace { room } => self.log.replace(&room_of(room)),
            What::Order { who, room, what, ms } => {
                self.order(usize::from(who) % self.people.len(), &room_of(room), what, ms.into());
            }
            What::Reload { other } => self.reload(other),
            What::Revoke { who, what } => self.revoke(usize::from(who) % self.people.len(), what),
            What::Authority(authority) => self.authority = authority,
            _ => self.apply_to_plain(what),
        }
    }

    fn apply_to_plain(&mut self, what: What) {
        let rooms = self.setup.rooms;
        let room_of = |room: u8| room_name(usize::from(room) % rooms);
        let count = self.plain.len();
        let plain = |who: u8| usize::from(who).checked_rem(count);
        match what {
            What::PlainJoin { who, room } => {
                if let Some(who) = plain(who) {
                    self.plain_joins(who, room_of(room));
                }
            }
            What::PlainLeave { who } => {
                if let Some(who) = plain(who) {
                    self.plain_leaves(who);
                }
            }
            What::PlainSay { who } => {
                if let Some(who) = plain(who) {
                    self.plain_says(who);
                }
            }
            What::PlainCut { who } => {
                if let Some(index) = plain(who).and_then(|who| self.plain[who].link) {
                    self.cut(index, 0);
                }
            }
            other => unreachable!("{other:?} is applied elsewhere"),
        }
    }

    fn question(&mut self, room: RoomName, what: u8) -> Query {
        let at = Seq::new(self.random.below(40)).expect("small");
        let limit = match what / 8 % 4 {
            0 => None,
            n => Some(u32::from(n) * 3),
        };
        let history = |range| Query::History { room: room.clone(), range, limit };
        match what % 8 {
            0 => Query::Members { room },
            1 => Query::Rooms { after: None },
            2 => history(HistoryRange::Latest),
            3 | 4 => history(HistoryRange::Before(at)),
            5 | 6 => history(HistoryRange::After(at)),
            _ => history(HistoryRange::Around(at)),
        }
    }

    fn drain(&mut self, node: usize, ms: u64, down_ms: u64) {
        let this = &mut self.nodes[node];
        if this.hub.is_none() || this.drains.is_some() {
            return;
        }
        let deadline = self.now + ms;
        this.drains = Some((deadline, down_ms));
        let life = this.life;
        self.tell(node, Event::Drain { deadline: chat_state::Mono(deadline) });
        self.due(deadline + 1, Due::DrainEnds { node, life });
    }

    fn part(&mut self, a: usize, b: usize, ms: u32) {
        if a == b {
            return;
        }
        let until = self.now + u64::from(ms);
        self.broker.part(a, b, until);
        for node in [a, b] {
            let life = self.nodes[node].life;
            let at = until + self.random.below(1000);
            self.due(at, Due::Tell { node, life, event: Box::new(Event::SignalsLost(Lost::All)) });
        }
    }
}
