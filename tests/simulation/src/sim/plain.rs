//! A `basic` peer: a page of a hundred lines, which prints what it gets.
use chat_proto::{BasicRequest, CloseCode, Dialect, RoomName};

use super::link::{Peer, Up};
use super::{Due, Sim};
/// A peer that can't resume: when its connection ends it comes back and enters its room anew.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) name: String,
    pub(super) life: u32,
    pub(super) link: Option<usize>,
    pub(super) is_open: bool,
    pub(super) room: Option<RoomName>,
    /// What it has said, and as whom: a log has it once or not at all.
    pub(super) said: Vec<(String, String)>,
    pub(super) is_gone: bool,
}

impl Plain {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            life: 0,
            link: None,
            is_open: false,
            room: None,
            said: Vec::new(),
            is_gone: false,
        }
    }
}

impl Sim {
    pub(super) fn plain_connects(&mut self, who: usize) {
        if self.plain[who].link.is_some() || self.plain[who].is_gone {
            return;
        }
        let node = self.random.index(self.nodes.len());
        let plain = &mut self.plain[who];
        plain.life += 1;
        // By another name: what is left of the connection before may still have to leave.
        plain.name = format!("plain{who}.{}", plain.life);
        let peer = (Peer::Plain { who }, plain.life);
        let index = self.connect(peer, node, Dialect::Basic);
        self.plain[who].link = Some(index);
    }

    pub(super) fn plain_opened(&mut self, who: usize) {
        self.plain[who].is_open = true;
        if let Some(room) = self.plain[who].room.clone() {
            self.plain_sends(who, &BasicRequest::Join { room });
        }
    }

    /// Its connection has ended.
    pub(super) fn plain_ends(&mut self, who: usize, code: Option<CloseCode>) {
        if let Some(code) = code {
            let known = [
                CloseCode::Overloaded,
                CloseCode::Draining,
                CloseCode::SlowConsumer,
                CloseCode::HeartbeatTimeout,
                CloseCode::LogReplaced,
            ];
            assert!(known.contains(&code), "a basic peer was closed with {code}");
        }
        let plain = &mut self.plain[who];
        plain.link = None;
        plain.is_open = false;
        let ms = 200 + self.random.below(2000);
        self.due(self.now + ms, Due::PlainBack { who });
    }

    pub(super) fn plain_hears(&mut self, index: usize, text: &str) {
        let link = &mut self.links[index];
        if !link.is_leaky {
            link.view.take(&self.log, Dialect::Basic, text);
        }
    }

    pub(super) fn plain_joins(&mut self, who: usize, room: RoomName) {
        self.plain[who].room = Some(room.clone());
        self.plain_sends(who, &BasicRequest::Join { room });
    }

    pub(super) fn plain_leaves(&mut self, who: usize) {
        self.plain[who].room = None;
        self.plain_sends(who, &BasicRequest::Leave);
    }

    pub(super) fn plain_says(&mut self, who: usize) {
        if self.plain[who].room.is_none() {
            return;
        }
        self.spoken += 1;
        let content = format!("m{} of {}", self.spoken, self.plain[who].name);
        let plain = &mut self.plain[who];
        plain.said.push((plain.name.clone(), content.clone()));
        self.plain_sends(who, &BasicRequest::Message { content: content.into() });
    }

    fn plain_sends(&mut self, who: usize, request: &BasicRequest) {
        let plain = &self.plain[who];
        if let Some(index) = plain.link.filter(|_| plain.is_open) {
            self.transmit(index, Up::Text(request.encode()));
        }
    }
}
