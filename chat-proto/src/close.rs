//! Why a connection ends, and whether to come back.
use core::fmt;

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Advice {
    /// Repair the cause first (a token, a name, a bug), then connect.
    FixFirst,
    /// Connect again after a growing, random delay.
    BackOff,
    /// Connect again at once (with a little jitter) and resume.
    ResumeNow,
    /// Do not come back by itself.
    StayAway,
}

impl Advice {
    /// Tells what to do after any close code, also one that this version does not know.
    ///
    /// 40xx fix first, 41xx back off, 42xx resume now, 43xx stay away. Of the codes of
    /// [RFC 6455 §7.4.1](https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1), those that say that
    /// the peer broke a rule mean "fix first"; all others, "back off".
    #[must_use]
    pub const fn of(code: u16) -> Self {
        match code {
            1002 | 1003 | 1007..=1010 | 4000..=4099 => Self::FixFirst,
            4200..=4299 => Self::ResumeNow,
            4300..=4399 => Self::StayAway,
            _ => Self::BackOff,
        }
    }

    /// Tells whether a client comes back by itself.
    #[must_use]
    pub const fn reconnect(self) -> bool {
        match self {
            Self::BackOff | Self::ResumeNow => true,
            Self::FixFirst | Self::StayAway => false,
        }
    }
}

/// Makes the enum, its numbers, its wire names and its list from one table.
macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $wire:literal;)+) => {
        /// The close codes of this version of the protocol; what is still to come has some of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum CloseCode {
            $($(#[$doc])* $name,)+
        }

        impl CloseCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the number of the WebSocket close frame.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number,)+ }
            }

            /// Returns the short reason that goes with the number.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $wire,)+ }
            }
        }
    };
}

close_codes! {
    /// The peer closed, or asked for it.
    Normal = 1000, "normal";
    /// The frames break RFC 6455.
    ProtocolError = 1002, "protocol_error";
    /// A kind of frame that is not taken here (binary).
    Unsupported = 1003, "unsupported";
    /// A text frame is not UTF-8.
    InvalidUtf8 = 1007, "invalid_utf8";
    /// A frame is longer than `frame_bytes`.
    TooBig = 1009, "too_big";
    /// Something of ours failed.
    Internal = 1011, "internal";
    /// Something else came before `hello`.
    HelloExpected = 4000, "hello_expected";
    /// The identity was refused.
    Unauthorized = 4001, "unauthorized";
    /// Too many frames that can't be read.
    BadFrames = 4002, "bad_frames";
    /// The credential has expired, or the session has a room that the fresh one does not allow:
    /// come back with a credential, and resume.
    AuthExpired = 4003, "auth_expired";
    /// The server leaves service.
    Draining = 4100, "draining";
    /// The server can't do its work at the moment (log unavailable, no room for connections).
    Overloaded = 4101, "overloaded";
    /// Persistently over the budget.
    RateLimited = 4129, "rate_limited";
    /// The connection did not take what was sent to it.
    SlowConsumer = 4200, "slow_consumer";
    /// Nothing was heard from the peer for too long, or no `hello` in time.
    HeartbeatTimeout = 4201, "heartbeat_timeout";
    /// A room's log is another one than before: what was remembered of it counts no more.
    LogReplaced = 4202, "log_replaced";
    /// A newer connection has taken the session over.
    Superseded = 4300, "superseded";
    /// An operator has closed it, or keeps its user out.
    Removed = 4301, "removed";
}

impl CloseCode {
    /// Tells what a client does after it.
    #[must_use]
    pub const fn advice(self) -> Advice {
        Advice::of(self.number())
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_says_whether_to_come_back() {
        for code in CloseCode::ALL {
            let expected = match code.number() {
                4000..=4099 => Advice::FixFirst,
                4100..=4199 => Advice::BackOff,
                4200..=4299 => Advice::ResumeNow,
                4300..=4399 => Advice::StayAway,
                1002 | 1003 | 1007 | 1009 => Advice::FixFirst,
                1000 | 1011 => Advice::BackOff,
                other => panic!("{other} has no advice"),
            };
            assert_eq!(code.advice(), expected, "{code}");
        }
        assert_eq!(Advice::of(4177), Advice::BackOff);
        assert_eq!(Advice::of(4299), Advice::ResumeNow);
        assert_eq!(Advice::of(1006), Advice::BackOff);
    }

    #[test]
    fn no_number_is_used_twice() {
        for (i, a) in CloseCode::ALL.iter().enumerate() {
            for b in &CloseCode::ALL[i + 1..] {
                assert_ne!(a.number(), b.number());
                assert_ne!(a.reason(), b.reason());
            }
        }
    }
}
