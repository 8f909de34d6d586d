//! Sends the requests that are due.
use chat_proto::{Request, RoomName};

use super::event::LinkId;
use super::machine::{Client, Turn};
use super::requests::Purpose;
use super::room::{Stage, Step};
use super::timers::Timer;

impl Client {
    /// Records that something about a room has changed: it may be done, or have a request to send.
    pub(super) fn touch(&mut self, name: &RoomName, turn: &mut Turn<'_>) {
        self.finish(name, turn);
        if self.connection.online().is_some() && self.rooms.contains_key(name) {
            self.ready.push(name);
        }
    }

    /// Sends what may be sent: queries first, then one request of each room in turn.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        if let Some(until) = self.rate_limited {
            if until > turn.now.mono {
                return self.timers.set(until, Timer::RateLimit);
            }
            self.rate_limited = None;
        }
        let Some(link) = self.connection.online() else { return };
        self.pump_queries(link, turn);
        while self.can_request() {
            let Some(name) = self.ready.pop() else { break };
            self.advance(link, &name, turn);
        }
    }

    /// Sends a room's next request, or sets its timer.
    fn advance(&mut self, link: LinkId, name: &RoomName, turn: &mut Turn<'_>) {
        let (now, user) = (turn.now.mono, self.session.user());
        let room = self.rooms.get(name).expect("a ready room exists");
        let timer = Timer::Room(name.clone());
        match room.next(now, &self.config, user) {
            Step::Wait(Some(at)) => return self.timers.set(at, timer),
            Step::Wait(None) => return self.timers.clear(&timer),
            Step::Join => {
                let request = Request::Join { room: name.clone(), history: self.config.history };
                let number = self.request(link, Purpose::Join(name.clone()), request, turn);
                let room = self.room_mut(name);
                room.stage = Stage::Joining(number);
                room.may_be_member = true;
            }
            Step::Leave => {
                let request = Request::Leave { room: name.clone() };
                let number = self.request(link, Purpose::Leave(name.clone()), request, turn);
                self.room_mut(name).stage = Stage::Leaving(number);
            }
            Step::Page(after) => self.request_page(link, name, after, turn),
            Step::Message(at) => self.send_message(link, name, at, turn),
        }
        if self.rooms.contains_key(name) {
            self.ready.push(name);
        }
    }
}
