//! The deadlines, delays and intervals of a Hub.
use core::fmt;
use core::ops::Deref;

/// The longest time: a week, in milliseconds.
const WEEK: u64 = 7 * 24 * 3600 * 1000;

/// Makes [`TimeValues`], its defaults and its check from one list.
macro_rules! times {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $ty:ty = $default:literal, $min:literal..=$max:expr;
    )+) => {
        /// A value for each time of a Hub, in milliseconds where the name ends in `_ms`. The values
        /// may be out of bounds; [`build`](Self::build) checks them.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct TimeValues {
            $($(#[doc = $doc])+ pub $name: $ty,)+
        }

        impl Default for TimeValues {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl TimeValues {
            fn check_each(&self) -> Result<(), TimesError> {
                $(check(stringify!($name), u64::from(self.$name), $min, $max)?;)+
                Ok(())
            }
        }
    };
}

times! {
    /// Time for the `hello` of a `chat.v1` connection. Then the connection is closed with 4201.
    hello_ms: u64 = 10_000, 1..=WEEK;
    /// Time for the check of a credential. Then the client is told to come back later.
    auth_ms: u64 = 10_000, 1..=WEEK;
    /// How long before its credential ends a session gets `auth_expiring`. A credential with less
    /// than twice this time left is warned about at half of it.
    auth_warn_ms: u64 = 60_000, 0..=WEEK;
    /// Interval of the `ping` to a `chat.v1` peer. Proxies cut connections that are idle for 60 s.
    heartbeat_ms: u64 = 25_000, 1..=WEEK;
    /// Silence after which a `chat.v1` peer counts as gone. At least `heartbeat_ms`.
    heartbeat_dead_ms: u64 = 35_000, 1..=WEEK;
    /// Interval of the WebSocket ping to a `basic` peer.
    basic_heartbeat_ms: u64 = 54_000, 1..=WEEK;
    /// Silence after which a `basic` peer counts as gone. At least `basic_heartbeat_ms`.
    basic_dead_ms: u64 = 60_000, 1..=WEEK;
    /// Time for an append. Then its outcome is unknown.
    append_ms: u64 = 30_000, 1..=WEEK;
    /// Time for a read of the log. Then the read has failed.
    read_ms: u64 = 10_000, 1..=WEEK;
    /// How long a missing entry may take to arrive by a signal before the log is asked. 0: the log
    /// is asked at once.
    hole_ms: u64 = 20, 0..=WEEK;
    /// Delay before a failed read of the log is repeated. Each further failure doubles it, up to
    /// 30 s.
    retry_ms: u64 = 500, 1..=WEEK;
    /// Interval in which room counts are told to other Hubs.
    census_ms: u64 = 1000, 1..=WEEK;
    /// How long joins and leaves of a room above `notice_members` are collected before they are
    /// told. Rooms above 20 000 members add 1 ms for each 20 members.
    presence_ms: u64 = 1000, 1..=WEEK;
    /// Shortest interval between two `typing` events of one member. 0: each is passed on.
    typing_ms: u64 = 3000, 0..=WEEK;
    /// How long a `chat.v1` session is kept without a connection, with its budget and its newest
    /// `attempt`. 0: not at all.
    session_ms: u64 = 120_000, 0..=WEEK;
    /// How long a member that lost its connection is still shown. 0: it is shown as gone at once.
    grace_ms: u64 = 10_000, 0..=WEEK;
    /// How long a resume waits for the log. Rooms that are not recovered by then are reported as
    /// `unavailable`.
    resume_ms: u64 = 5000, 1..=WEEK;
    /// Pings from one statement of rooms' heads to the next. 0: heads are never stated.
    heads_every: u32 = 4, 0..=1_000_000;
    /// Interval in which the log is asked for the heads of rooms, 512 at a time in turn, because
    /// the signal of a room's last entry may be lost without notice. Only with other Hubs.
    poll_ms: u64 = 5000, 1..=WEEK;
}

impl TimeValues {
    /// Returns the times if each value is within its bounds and the values fit together.
    ///
    /// # Errors
    /// Names the first value that is out of bounds, and its bounds.
    pub fn build(self) -> Result<Times, TimesError> {
        self.check_each()?;
        check("heartbeat_dead_ms", self.heartbeat_dead_ms, self.heartbeat_ms, WEEK)?;
        check("basic_dead_ms", self.basic_dead_ms, self.basic_heartbeat_ms, WEEK)?;
        Ok(Times(self))
    }
}

/// The times of a Hub. Each value is within its bounds.
///
/// *Invariant:* only [`TimeValues::build`] and the defaults make a value of this type, and nothing
/// changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(TimeValues);

impl Times {
    /// Returns the values, for a change that has to be checked again.
    #[must_use]
    pub fn values(&self) -> &TimeValues {
        &self.0
    }
}

impl Deref for Times {
    type Target = TimeValues;
    fn deref(&self) -> &TimeValues {
        &self.0
    }
}

impl TryFrom<TimeValues> for Times {
    type Error = TimesError;
    fn try_from(values: TimeValues) -> Result<Self, TimesError> {
        values.build()
    }
}

/// A time that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimesError {
    /// Name of the field of [`TimeValues`].
    pub name: &'static str,
    /// The refused value.
    pub value: u64,
    /// The smallest allowed value, given the other times.
    pub min: u64,
    /// The largest allowed value.
    pub max: u64,
}

impl fmt::Display for TimesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, min, max } = self;
        write!(f, "time `{name}` is {value}, but has to be from {min} to {max}")
    }
}

impl core::error::Error for TimesError {}

fn check(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), TimesError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(TimesError { name, value, min, max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert_eq!(TimeValues::default().build(), Ok(Times::default()));
    }

    #[test]
    fn a_time_of_zero_is_refused_where_it_would_be_a_hot_loop() {
        let zero: [fn(&mut TimeValues); 7] = [
            |t| t.heartbeat_ms = 0,
            |t| t.basic_heartbeat_ms = 0,
            |t| t.append_ms = 0,
            |t| t.retry_ms = 0,
            |t| t.census_ms = 0,
            |t| t.presence_ms = 0,
            |t| t.poll_ms = 0,
        ];
        for set in zero {
            let mut values = TimeValues::default();
            set(&mut values);
            let error = values.build().unwrap_err();
            assert_eq!((error.value, error.min, error.max), (0, 1, WEEK), "{error}");
        }
    }

    #[test]
    fn a_zero_that_means_never_or_at_once_is_allowed() {
        let values = TimeValues {
            auth_warn_ms: 0,
            hole_ms: 0,
            typing_ms: 0,
            session_ms: 0,
            grace_ms: 0,
            heads_every: 0,
            ..TimeValues::default()
        };
        assert_eq!(values.clone().build().unwrap().values(), &values);
    }

    #[test]
    fn a_peer_is_not_gone_before_it_is_asked() {
        let values = TimeValues { heartbeat_ms: 35_001, ..TimeValues::default() };
        assert_eq!(
            values.build().unwrap_err().to_string(),
            "time `heartbeat_dead_ms` is 35000, but has to be from 35001 to 604800000"
        );
        let values = TimeValues { basic_dead_ms: 53_999, ..TimeValues::default() };
        assert_eq!(values.build().unwrap_err().name, "basic_dead_ms");
    }

    #[test]
    fn no_time_is_so_long_that_a_deadline_overflows() {
        let values = TimeValues { grace_ms: u64::MAX, ..TimeValues::default() };
        assert_eq!(values.build().unwrap_err().name, "grace_ms");
    }
}
