//! The limits of a server, as it states them in `welcome`.
use core::fmt;

use serde::{Deserialize, Serialize};

/// Makes the struct, its defaults, its bounds and its list from one table.
macro_rules! limits {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $ty:ty = $default:literal, $min:literal..=$max:literal;
    )+) => {
        /// Every limit of a server. 0 means "none" only where the field says so.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: $ty,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// Each limit's name, meaning, default, smallest and largest value.
            pub const TABLE: &'static [(&'static str, &'static str, u64, u64, u64)] =
                &[$((stringify!($name), concat!($($doc),+), $default, $min, $max),)+];

            /// Checks that each value is within its bounds and that they fit together.
            ///
            /// # Errors
            /// Names the first limit that is out of bounds, its value and its bounds.
            pub fn check(&self) -> Result<(), LimitsError> {
                $(
                    let (value, min, max) = (u64::from(self.$name), $min, $max);
                    if value < min || value > max {
                        return Err(LimitsError { name: stringify!($name), value, min, max });
                    }
                )+
                self.check_together()
            }

            /// Sets a limit by its name; `None` if there is no such limit.
            ///
            /// # Errors
            /// As [`Limits::check`], for a value beyond the field's type.
            pub fn set(&mut self, name: &str, value: u64) -> Option<Result<(), LimitsError>> {
                match name {
                    $(stringify!($name) => Some(match value.try_into() {
                        Ok(v) => { self.$name = v; Ok(()) }
                        Err(_) => Err(LimitsError {
                            name: stringify!($name), value, min: $min, max: $max,
                        }),
                    }),)+
                    _ => None,
                }
            }

            /// Reads a limit by its name; `None` if there is no such limit.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(u64::from(self.$name)),)+
                    _ => None,
                }
            }
        }
    };
}

limits! {
    /// Bytes of one frame from a client; beyond it the connection closes with 1009.
    frame_bytes: u32 = 16384, 256..=1_048_576;
    /// Bytes of a message's content; beyond it the request is refused with `too_large`, and a
    /// `basic` connection closed with 1009.
    message_bytes: u32 = 8192, 1..=1_048_576;
    /// Rooms that one session may have joined at a time.
    rooms: u32 = 128, 1..=65_536;
    /// Rooms at a time, over all workers as far as they have told each other.
    rooms_total: u32 = 100_000, 1..=10_000_000;
    /// Members of one room, over all workers as far as they have told each other.
    members: u32 = 1_000_000, 1..=10_000_000;
    /// Connections of one worker.
    connections: u32 = 100_000, 1..=10_000_000;
    /// Entries of one history page.
    history: u32 = 200, 1..=1000;
    /// Bytes of the contents of one history page (at least one entry is always sent).
    page_bytes: u32 = 131_072, 1024..=16_777_216;
    /// Members that a member list names; the count beside it is always whole.
    members_listed: u32 = 200, 1..=1000;
    /// Rooms that one room list names.
    rooms_listed: u32 = 200, 1..=1000;
    /// Requests of one session whose reply is still due; beyond it the server stops reading.
    in_flight: u32 = 256, 1..=65_536;
    /// Messages that a `chat.v1` session may send in 10 s, all at once if it likes; other requests
    /// cost a part of a message. 0: no limit.
    messages_per_10s: u32 = 500, 0..=10_000_000;
    /// The same for a `basic` connection, which is slowed down instead of refused. 0: no limit.
    basic_messages_per_10s: u32 = 0, 0..=10_000_000;
    /// Messages that all sessions of one user may send in 10 s together; the own budget of a token
    /// counts where it is larger. 0: no limit.
    user_messages_per_10s: u32 = 1000, 0..=10_000_000;
    /// Messages that all connections of one address (IPv6: of one /64) may send in 10 s together,
    /// which may be many people behind one router. 0: no limit.
    address_messages_per_10s: u32 = 20_000, 0..=10_000_000;
    /// Sessions that one user may have at a time, over all workers as far as they have told each
    /// other.
    user_sessions: u32 = 64, 1..=65_536;
    /// Thousandths of a message that `hello` and `auth` cost.
    cost_hello: u32 = 500, 1..=1_000_000;
    /// Thousandths of a message that a `join` costs.
    cost_join: u32 = 500, 1..=1_000_000;
    /// Thousandths of a message that a `history` costs.
    cost_history: u32 = 500, 1..=1_000_000;
    /// Thousandths of a message that `members` and `rooms` cost.
    cost_members: u32 = 500, 1..=1_000_000;
    /// Thousandths of a message that `leave`, `typing` and `ping` cost.
    cost_leave: u32 = 100, 1..=1_000_000;
    /// Thousandths of a message that a `pong` costs.
    cost_pong: u32 = 20, 1..=1_000_000;
    /// Bytes waiting for one connection at which it counts as congested (`chat.v1`).
    outbox_high_bytes: u32 = 131_072, 1024..=1_073_741_824;
    /// Bytes waiting for one connection at which it is closed.
    outbox_bytes: u32 = 1_048_576, 4096..=1_073_741_824;
    /// Entries that a room keeps in memory for those who lag or join.
    recent_entries: u32 = 256, 1..=1_000_000;
    /// Bytes of contents that a room keeps in memory for those who lag or join.
    recent_bytes: u32 = 262_144, 1024..=1_073_741_824;
    /// Entries that a member may be behind: beyond it a live one is told to page, and one that
    /// comes back has to join again.
    behind_entries: u32 = 10_000, 1..=10_000_000;
    /// Drafts of one room that wait for the log on one worker; beyond it reading stops.
    room_drafts: u32 = 4096, 1..=1_000_000;
    /// Members of a room up to which typing is shown.
    typing_members: u32 = 100, 0..=10_000;
    /// Members of a room up to which each coming and going is told by itself; in a larger one they
    /// are told together, at most once a second.
    notice_members: u32 = 64, 0..=10_000;
}

impl Limits {
    fn check_together(&self) -> Result<(), LimitsError> {
        let at_most = |name, value: u32, max: u32| {
            if value <= max {
                return Ok(());
            }
            Err(LimitsError { name, value: value.into(), min: 1, max: max.into() })
        };
        at_most("message_bytes", self.message_bytes, self.frame_bytes)?;
        at_most("outbox_high_bytes", self.outbox_high_bytes, self.outbox_bytes)
    }
}

/// A limit that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsError {
    /// Which one.
    pub name: &'static str,
    /// What it was set to.
    pub value: u64,
    /// The smallest value allowed.
    pub min: u64,
    /// The largest value allowed, given the other limits.
    pub max: u64,
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, min, max } = self;
        write!(f, "limit `{name}` is {value}, but has to be from {min} to {max}")
    }
}

impl core::error::Error for LimitsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn a_limit_out_of_bounds_is_named() {
        let mut limits = Limits::default();
        limits.set("frame_bytes", 1).unwrap().unwrap();
        assert_eq!(limits.check().unwrap_err().name, "frame_bytes");
        let limits = Limits { message_bytes: 20_000, ..Limits::default() };
        assert_eq!(limits.check().unwrap_err().name, "message_bytes");
        assert!(Limits::default().set("frame_byte", 1).is_none());
        assert!(Limits::default().set("rooms", u64::MAX).unwrap().is_err());
    }

    #[test]
    fn every_limit_is_reached_by_its_name() {
        let mut limits = Limits::default();
        for &(name, _, default, _, max) in Limits::TABLE {
            assert_eq!(limits.get(name), Some(default), "{name}");
            limits.set(name, max).unwrap().unwrap();
            assert_eq!(limits.get(name), Some(max), "{name}");
        }
    }
}
