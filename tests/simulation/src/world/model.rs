//! What one room does when nothing goes wrong, said as plainly as can be.
use chat_proto::Dialect;

/// Two peers and a room: who is in it and what each was told.
#[derive(Debug)]
pub struct Model {
    peers: [Peer; 2],
    hubs: usize,
    seq: u64,
}

#[derive(Debug)]
struct Peer {
    name: String,
    dialect: Dialect,
    inside: bool,
    /// It has lost its connection, and others have not seen it go.
    away: bool,
    told: Vec<String>,
    /// What was said while it was away.
    missed: Vec<String>,
}

impl Model {
    /// Makes a room that was never used and two peers outside it.
    #[must_use]
    pub fn new(peers: [(&str, Dialect); 2], hubs: usize) -> Self {
        let peer = |(name, dialect): (&str, Dialect)| {
            let told = match dialect {
                Dialect::Basic => Vec::new(),
                Dialect::V1 => vec![format!("welcome {name}")],
            };
            Peer {
                name: name.into(),
                dialect,
                inside: false,
                away: false,
                told,
                missed: Vec::new(),
            }
        };
        Self { peers: peers.map(peer), hubs, seq: 0 }
    }

    /// Returns what a peer was told.
    #[must_use]
    pub fn told(&self, who: usize) -> &[String] {
        &self.peers[who].told
    }

    /// A peer enters, or enters again.
    pub fn join(&mut self, who: usize) {
        let before = std::mem::replace(&mut self.peers[who].inside, true);
        let name = self.peers[who].name.clone();
        match self.peers[who].dialect {
            Dialect::Basic if before => return,
            Dialect::Basic => self.tell(who, format!("[lobby] join: {name} joined the room")),
            Dialect::V1 => {
                // A Hub that was not in the room has to ask the other one, and is answered after
                // the join.
                let other = self.peers[1 - who].inside;
                let both = self.members(who);
                let alone = self.hubs > 1 && !before;
                let shown = if alone { format!("1({name})") } else { both.clone() };
                let seq = self.seq;
                let more = if seq > 0 { " more-before" } else { "" };
                self.tell(who, format!("joined lobby at {seq} with {shown}{more}"));
                if alone && other {
                    self.tell(who, format!("[lobby] members {both}"));
                }
            }
        }
        if !before {
            self.tell_other(who, |dialect| match dialect {
                Dialect::Basic => format!("[lobby] join: {name} joined the room"),
                Dialect::V1 => format!("[lobby] join {name}"),
            });
        }
    }

    /// A peer leaves, or tries to.
    pub fn leave(&mut self, who: usize) {
        let before = std::mem::replace(&mut self.peers[who].inside, false);
        if self.peers[who].dialect == Dialect::V1 {
            let reply = if before { "left lobby" } else { "error not_member" };
            self.tell(who, reply.into());
        }
        if before {
            self.tell_gone(who, "Left");
        }
    }

    /// A peer's transport is gone.
    pub fn cut(&mut self, who: usize) {
        if std::mem::replace(&mut self.peers[who].inside, false) {
            self.tell_gone(who, "Left");
        }
    }

    /// A peer of `chat.v1` loses its connection: others do not see it go yet.
    pub fn lose(&mut self, who: usize) {
        self.peers[who].away = true;
    }

    /// A peer of `chat.v1` goes on with its session.
    pub fn back(&mut self, who: usize) {
        self.peers[who].away = false;
        let name = self.peers[who].name.clone();
        if !self.peers[who].inside {
            return self.tell(who, format!("welcome {name} again"));
        }
        self.tell(who, format!("welcome {name} again lobby to {}", self.seq));
        let members = self.members(who);
        self.tell(who, format!("[lobby] members {members}"));
        let missed = std::mem::take(&mut self.peers[who].missed);
        self.peers[who].told.extend(missed);
    }

    /// Lists the members as one sees them that has just come: on one Hub whoever came last is named
    /// last, and those that are away after all others.
    fn members(&self, who: usize) -> String {
        let (name, other) = (&self.peers[who].name, &self.peers[1 - who]);
        match (other.inside, &other.name) {
            (false, _) => format!("1({name})"),
            (true, other_name) if self.hubs == 1 && !other.away => {
                format!("2({other_name},{name})")
            }
            (true, other_name) => format!("2({name},{other_name})"),
        }
    }

    /// A peer speaks, or tries to.
    pub fn say(&mut self, who: usize, content: &str) {
        let (name, dialect) = (self.peers[who].name.clone(), self.peers[who].dialect);
        if !self.peers[who].inside {
            if dialect == Dialect::V1 {
                self.tell(who, "error not_member".into());
            }
            return;
        }
        self.seq += 1;
        let seq = self.seq;
        if dialect == Dialect::V1 {
            self.tell(who, format!("ack {seq}"));
        }
        let shown = |dialect| match dialect {
            Dialect::Basic => format!("[lobby] <{name}> {content}"),
            Dialect::V1 => format!("[lobby] {seq}<{name}>{content}"),
        };
        self.tell(who, shown(dialect));
        let other = &mut self.peers[1 - who];
        if other.inside && other.away {
            other.missed.push(shown(other.dialect));
        } else {
            self.tell_other(who, shown);
        }
    }

    fn tell_gone(&mut self, who: usize, reason: &str) {
        let name = self.peers[who].name.clone();
        self.tell_other(who, |dialect| match dialect {
            Dialect::Basic => format!("[lobby] leave: {name} left the room"),
            Dialect::V1 => format!("[lobby] leave {name} ({reason})"),
        });
    }

    fn tell(&mut self, who: usize, line: String) {
        self.peers[who].told.push(line);
    }

    fn tell_other(&mut self, who: usize, line: impl Fn(Dialect) -> String) {
        let other = &mut self.peers[1 - who];
        if other.inside && !other.away {
            other.told.push(line(other.dialect));
        }
    }
}
