//! The limits of a server, which `welcome` states.
use core::fmt;
use core::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

/// Makes [`LimitValues`] and the table of bounds from one list.
macro_rules! limits {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $ty:ty = $default:literal, $min:literal..=$max:literal;
    )+) => {
        /// A value for each limit. The values may be out of bounds; [`build`](Self::build) checks
        /// them.
        ///
        /// A client reads the `limits` of `welcome` into this type, because another server may
        /// have other bounds. A number that a field cannot hold becomes the field's largest value.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct LimitValues {
            $($(#[doc = $doc])+ #[serde(deserialize_with = "saturating")] pub $name: $ty,)+
        }

        impl Default for LimitValues {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl LimitValues {
            /// Sets the limit with this name. Returns `None` if there is no such limit.
            ///
            /// # Errors
            /// Fails if the field cannot hold the value. The bounds are checked by
            /// [`build`](Self::build).
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

            /// Returns the limit with this name, or `None` if there is no such limit.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(u64::from(self.$name)),)+
                    _ => None,
                }
            }

            fn check_each(&self) -> Result<(), LimitsError> {
                $(
                    let (value, min, max) = (u64::from(self.$name), $min, $max);
                    if value < min || value > max {
                        return Err(LimitsError { name: stringify!($name), value, min, max });
                    }
                )+
                Ok(())
            }
        }

        impl Limits {
            /// Each limit's name, meaning, default, smallest and largest value.
            pub const TABLE: &'static [(&'static str, &'static str, u64, u64, u64)] =
                &[$((stringify!($name), concat!($($doc),+), $default, $min, $max),)+];
        }
    };
}

limits! {
    /// Bytes of one frame from a client. A longer frame closes the connection with 1009.
    frame_bytes: u32 = 16384, 256..=1_048_576;
    /// Bytes of a message's content. Longer content is refused with `too_large`; a `basic`
    /// connection is closed with 1009.
    message_bytes: u32 = 8192, 1..=1_048_576;
    /// Rooms that one session may be in at a time.
    rooms: u32 = 128, 1..=65_536;
    /// Rooms at a time, over all workers as far as they have told each other.
    rooms_total: u32 = 100_000, 1..=10_000_000;
    /// Members of one room, over all workers as far as they have told each other.
    members: u32 = 1_000_000, 1..=10_000_000;
    /// Connections of one worker.
    connections: u32 = 100_000, 1..=10_000_000;
    /// Entries of one history page.
    history: u32 = 200, 1..=1000;
    /// Bytes of the contents of one history page. A page has at least one entry.
    page_bytes: u32 = 131_072, 1024..=16_777_216;
    /// Members that a member list names. The count beside the list includes all members.
    members_listed: u32 = 200, 1..=1000;
    /// Rooms that one room list names.
    rooms_listed: u32 = 200, 1..=1000;
    /// Unanswered requests of one session. At the limit the server stops reading.
    in_flight: u32 = 256, 1..=65_536;
    /// Messages that a `chat.v1` session may send in 10 s, in one burst or spread out. Other
    /// requests cost a fraction of a message. 0: no limit.
    messages_per_10s: u32 = 500, 0..=10_000_000;
    /// The same for a `basic` connection, which is slowed down instead of refused. 0: no limit.
    basic_messages_per_10s: u32 = 0, 0..=10_000_000;
    /// Messages that all sessions of one user may send in 10 s together. A token's own budget
    /// replaces a smaller value. 0: no limit.
    user_messages_per_10s: u32 = 1000, 0..=10_000_000;
    /// Messages that all connections of one address (IPv6: one /64) may send in 10 s together. Many
    /// users may share an address. 0: no limit.
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
    /// Bytes in a connection's outbox from which the connection counts as congested (`chat.v1`).
    outbox_high_bytes: u32 = 131_072, 1024..=1_073_741_824;
    /// Bytes in a connection's outbox at which the connection is closed.
    outbox_bytes: u32 = 1_048_576, 4096..=1_073_741_824;
    /// Entries that a room keeps in memory for members that lag or join.
    recent_entries: u32 = 256, 1..=1_000_000;
    /// Bytes of contents that a room keeps in memory for members that lag or join.
    recent_bytes: u32 = 262_144, 1024..=1_073_741_824;
    /// Entries that a member may be behind. A live member beyond it gets a `gap`; a resumed session
    /// has to join again.
    behind_entries: u32 = 10_000, 1..=10_000_000;
    /// Messages of one room that wait for the log on one worker. At the limit reading stops; at
    /// twice the limit, a `basic` connection that says more is closed with 4101.
    room_drafts: u32 = 4096, 1..=1_000_000;
    /// Largest room in which typing is shown, in members.
    typing_members: u32 = 100, 0..=10_000;
    /// Largest room in which each join and leave is told separately, in members. A larger room
    /// tells them together, at most once a second.
    notice_members: u32 = 64, 0..=10_000;
}

impl LimitValues {
    /// Returns the limits if each value is within its bounds and the values fit together.
    ///
    /// # Errors
    /// Names the first limit that is out of bounds, its value and its bounds.
    pub fn build(self) -> Result<Limits, LimitsError> {
        self.check_each()?;
        let at_most = |name, value: u32, max: u32| {
            if value <= max {
                return Ok(());
            }
            Err(LimitsError { name, value: value.into(), min: 1, max: max.into() })
        };
        at_most("message_bytes", self.message_bytes, self.frame_bytes)?;
        at_most("outbox_high_bytes", self.outbox_high_bytes, self.outbox_bytes)?;
        Ok(Limits(self))
    }
}

/// The limits of a server. Each value is within its bounds.
///
/// ```
/// use chat_proto::{LimitValues, Limits};
///
/// let limits = LimitValues { history: 50, ..LimitValues::default() }.build()?;
/// assert_eq!((limits.history, limits.rooms), (50, Limits::default().rooms));
/// let error = LimitValues { history: 0, ..LimitValues::default() }.build().unwrap_err();
/// assert_eq!(error.to_string(), "limit `history` is 0, but has to be from 1 to 1000");
/// # Ok::<(), chat_proto::LimitsError>(())
/// ```
///
/// *Invariant:* only [`LimitValues::build`] and the defaults make a value of this type, and nothing
/// changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LimitValues")]
pub struct Limits(LimitValues);

impl Limits {
    /// Returns the values, for a change that has to be checked again.
    #[must_use]
    pub fn values(&self) -> &LimitValues {
        &self.0
    }
}

impl Deref for Limits {
    type Target = LimitValues;
    fn deref(&self) -> &LimitValues {
        &self.0
    }
}

impl TryFrom<LimitValues> for Limits {
    type Error = LimitsError;
    fn try_from(values: LimitValues) -> Result<Self, LimitsError> {
        values.build()
    }
}

/// A limit that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsError {
    /// Name of the limit.
    pub name: &'static str,
    /// The refused value.
    pub value: u64,
    /// The smallest allowed value.
    pub min: u64,
    /// The largest allowed value, given the other limits.
    pub max: u64,
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, min, max } = self;
        write!(f, "limit `{name}` is {value}, but has to be from {min} to {max}")
    }
}

impl core::error::Error for LimitsError {}

/// Reads a whole number. One beyond 32 bits becomes the largest value.
fn saturating<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = u64::deserialize(deserializer)?;
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert_eq!(LimitValues::default().build(), Ok(Limits::default()));
    }

    #[test]
    fn a_value_out_of_bounds_cannot_be_built() {
        for &(name, _, _, min, max) in Limits::TABLE {
            for value in [min.checked_sub(1), Some(max + 1)].into_iter().flatten() {
                let mut values = LimitValues::default();
                values.set(name, value).unwrap().unwrap();
                let error = LimitsError { name, value, min, max };
                assert_eq!(values.build(), Err(error), "{name}");
            }
        }
    }

    #[test]
    fn limits_that_do_not_fit_together_cannot_be_built() {
        let values = LimitValues { message_bytes: 20_000, ..LimitValues::default() };
        let error = values.build().unwrap_err();
        assert_eq!((error.name, error.max), ("message_bytes", 16_384));
        let values = LimitValues { outbox_bytes: 4096, ..LimitValues::default() };
        let error = values.build().unwrap_err();
        assert_eq!((error.name, error.max), ("outbox_high_bytes", 4096));
    }

    #[test]
    fn a_server_refuses_what_a_client_reads() {
        let text = r#"{"history":0,"in_flight":5000000000,"rooms":7}"#;
        let values: LimitValues = serde_json::from_str(text).unwrap();
        assert_eq!((values.history, values.in_flight, values.rooms), (0, u32::MAX, 7));
        assert_eq!(values.members, LimitValues::default().members);
        let error = serde_json::from_str::<Limits>(text).unwrap_err();
        assert!(error.to_string().starts_with("limit `history` is 0"), "{error}");
        let written = serde_json::to_string(&Limits::default()).unwrap();
        assert_eq!(serde_json::from_str::<Limits>(&written).unwrap(), Limits::default());
        assert!(serde_json::from_str::<LimitValues>(r#"{"rooms":-1}"#).is_err());
    }

    #[test]
    fn every_limit_is_reached_by_its_name() {
        let mut values = LimitValues::default();
        for &(name, _, default, _, max) in Limits::TABLE {
            assert_eq!(values.get(name), Some(default), "{name}");
            values.set(name, max).unwrap().unwrap();
            assert_eq!(values.get(name), Some(max), "{name}");
        }
        assert!(values.set("frame_byte", 1).is_none() && values.get("frame_byte").is_none());
        assert!(values.set("rooms", u64::MAX).unwrap().is_err());
    }
}
