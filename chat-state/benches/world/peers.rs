//! A room in which other Hubs have members, too.
use chat_proto::{DisplayName, Member, Request, UserId};
use chat_state::{ConnId, Event, HubId, MemberId, RosterPart, Signal, Stamp};

use crate::world::{Meter, World, free, request, room};

/// Members that each peer has in the room.
const MEMBERS: u64 = 4;

/// Other Hubs, as they speak.
pub(crate) struct Peers {
    count: u64,
    /// How many further members they have had, one after the other.
    came: u64,
}

impl Peers {
    /// Lets this many peers have members in the world's room.
    pub(crate) fn new(count: u64, world: &mut World) -> Self {
        let mut peers = Self { count, came: 0 };
        peers.tell(world, &mut free);
        peers
    }

    /// Somebody enters a room that is not open on this Hub, and all peers tell their members.
    pub(crate) fn open(&mut self, world: &mut World, conn: ConnId, meter: Meter<'_>) {
        world.handle(request(conn, Request::Join { room: room(), history: 0 }), meter);
        world.perform_metered(meter);
        self.tell(world, meter);
    }

    /// A new member of one of the peers enters the room.
    pub(crate) fn join(&mut self, world: &mut World, meter: Meter<'_>) {
        let (node, nth) = (1 + self.came % self.count, self.came / self.count);
        self.came += 1;
        let (id, member) = member(node, MEMBERS + nth);
        let stamp = Stamp { version: 2 + nth, after: 1 + nth };
        let signal = Signal::Came { room: room(), id, member, attempt: 0, stamp };
        world.handle(Event::Signal { from: peer(node), signal }, meter);
        world.perform();
    }

    fn tell(&mut self, world: &mut World, meter: Meter<'_>) {
        for node in 1..=self.count {
            let members = (0..MEMBERS).map(|nth| member(node, nth)).collect();
            let part = RosterPart { room: room(), version: 1, count: MEMBERS, members };
            let signal = Signal::Rosters { parts: vec![part] };
            world.handle(Event::Signal { from: peer(node), signal }, meter);
            world.perform();
        }
    }
}

fn peer(node: u64) -> HubId {
    HubId { node, incarnation: 1 }
}

fn member(node: u64, nth: u64) -> (MemberId, Member) {
    let user = UserId::new(&format!("u{node}-{nth}")).expect("a plain word");
    let username = DisplayName::new(&format!("User {nth} of {node}")).expect("a plain name");
    (MemberId(node * 1_000_000 + nth), Member { user, username })
}
