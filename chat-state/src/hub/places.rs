//! Checks the limits `members` and `rooms_total`: a member takes a *place* in its room, and a room
//! takes a place on the server.
use chat_proto::{ErrorCode, RoomName};

use super::Hub;
use crate::room::policy::RoomPolicy;

/// The error that refuses a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) why: &'static str,
}

impl Refusal {
    pub(super) const fn new(code: ErrorCode, why: &'static str) -> Self {
        Self { code, why }
    }
}

/// The error text for a banned user.
pub(super) const KEPT_OUT: &str = "an operator keeps this user out";

/// The error text if a credential does not allow a room.
pub(super) const NOT_ALLOWED: &str = "the credential does not allow this room";

const ROOMS_EXHAUSTED: Refusal =
    Refusal::new(ErrorCode::RoomsExhausted, "the server has no place for more rooms");

const ROOM_FULL: Refusal =
    Refusal::new(ErrorCode::RoomFull, "the room has no place for more members");

impl Hub {
    /// Returns an error if a new member has no place in a room, as far as other Hubs have
    /// reported their members.
    pub(super) fn has_place_for_new(&self, name: &RoomName) -> Result<(), Refusal> {
        self.has_place(name)?;
        let taken = match self.rooms.find(name).and_then(|at| self.rooms.get(at)) {
            Some(room) => room.taken() as u64 + room.audience.count_elsewhere(),
            None => match self.peers.count(name) {
                0 => {
                    self.has_place_for_room(name)?;
                    0
                }
                elsewhere => elsewhere,
            },
        };
        if taken >= u64::from(self.config.limits.members) {
            return Err(ROOM_FULL);
        }
        Ok(())
    }

    /// Returns an error if the server has no place for a room that no Hub has reported. An unlisted
    /// room is let through, since it may be on another Hub already.
    fn has_place_for_room(&self, name: &RoomName) -> Result<(), Refusal> {
        let all = self.rooms.len() + self.peers.rooms_not_here();
        if all >= self.config.limits.rooms_total as usize && RoomPolicy::of(name.kind()).is_listed {
            return Err(ROOMS_EXHAUSTED);
        }
        Ok(())
    }

    /// Returns an error if a member that comes back has no place in a room. Other Hubs may still
    /// count that member, so their members are left out.
    pub(super) fn has_place(&self, name: &RoomName) -> Result<(), Refusal> {
        self.in_service()?;
        let limits = &self.config.limits;
        match self.rooms.find(name).and_then(|at| self.rooms.get(at)) {
            None if self.rooms.len() >= limits.rooms_total as usize => Err(ROOMS_EXHAUSTED),
            Some(room) if room.taken() >= limits.members as usize => Err(ROOM_FULL),
            None | Some(_) => Ok(()),
        }
    }

    /// Returns an error if the server drains.
    pub(super) fn in_service(&self) -> Result<(), Refusal> {
        match self.draining {
            Some(_) => Err(Refusal::new(ErrorCode::Draining, "the server is leaving service")),
            None => Ok(()),
        }
    }
}
