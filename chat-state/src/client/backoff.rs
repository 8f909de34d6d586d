//! Decides when to reconnect and when to repeat a request. Pure functions.
use alloc::boxed::Box;
use alloc::string::String;

use chat_proto::{Advice, CloseCode, ErrorBody, ErrorCode};

use super::config::Times;
use super::event::StopReason;
use crate::ids::Mono;

/// The present time and a fresh random number, for a delay that is about to be drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    pub(super) now: Mono,
    pub(super) random: u64,
}

/// Why the connection has ended.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// The transport has ended, or could not be opened.
    Closed(Option<u16>),
    /// The transport did not open, or `hello` was not answered.
    NoAnswer,
    /// `hello` was refused.
    Refused(Box<ErrorBody>),
    /// The server was silent, or its pages did not supply entries that exist.
    Abandoned,
}

/// The `bye` of a server.
#[derive(Clone, Debug)]
pub(super) struct Bye {
    pub(super) code: String,
    pub(super) reconnect: bool,
    pub(super) after_ms: u64,
}

/// What follows the end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Connect after this many milliseconds.
    Wait(u64),
    /// Connect with another credential, after this many milliseconds at the earliest.
    Token(u64),
    /// Do not connect.
    Stop(StopReason),
}

/// When a request may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryAfter {
    /// After a back-off delay.
    BackOff,
    /// After the time that the server has named, in milliseconds.
    Server(u64),
}

impl RetryAfter {
    pub(super) fn of(error: &ErrorBody) -> Self {
        error.retry_after_ms.map_or(Self::BackOff, Self::Server)
    }
}

/// The end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    pub(super) cause: Cause,
    /// The last `bye` of the server.
    pub(super) bye: Option<Bye>,
    /// Connections lost before, since the last stable one.
    pub(super) earlier: u32,
}

/// Decides what follows the end of a connection.
pub(super) fn after(loss: Loss, times: &Times, random: u64) -> Next {
    let growing = || jitter(bound(times, loss.earlier), random);
    let code = match loss.cause {
        Cause::Refused(error) if error.code == ErrorCode::Unauthorized => {
            CloseCode::Unauthorized.number()
        }
        Cause::Refused(error) if error.retryable => {
            let asked = error.retry_after_ms.unwrap_or(0).min(times.retry_max_ms);
            return Next::Wait(asked.max(growing()));
        }
        Cause::Refused(error) => return Next::Stop(StopReason::Refused(error)),
        Cause::Closed(Some(code)) => code,
        // 1006 is the code for a connection that ends without a code.
        Cause::Closed(None) | Cause::NoAnswer => 1006,
        Cause::Abandoned => CloseCode::HeartbeatTimeout.number(),
    };
    let advice = Advice::of(code);
    let resume = || jitter(resume_bound(times, loss.earlier), random);
    let after_bye = |bye: &Bye| bye.after_ms.min(times.retry_max_ms).saturating_add(resume());
    match (advice, loss.bye) {
        (Advice::FixFirst | Advice::StayAway, _) if !wants_token(code) => {
            Next::Stop(StopReason::Closed { code, advice })
        }
        (_, Some(bye)) if !bye.reconnect => Next::Stop(StopReason::Bye { code: bye.code }),
        (Advice::FixFirst | Advice::StayAway, bye) => {
            Next::Token(bye.as_ref().map_or(0, after_bye))
        }
        (_, Some(bye)) => Next::Wait(after_bye(&bye)),
        (Advice::ResumeNow, None) => Next::Wait(resume()),
        (Advice::BackOff, None) => Next::Wait(growing()),
    }
}

/// Returns true if the close code asks for another credential.
fn wants_token(code: u16) -> bool {
    [CloseCode::Unauthorized, CloseCode::AuthExpired].iter().any(|wants| wants.number() == code)
}

/// Returns the delay in milliseconds before a request is sent again. `tries` counts the attempts
/// before the present one.
pub(super) fn retry(times: &Times, tries: u32, after: RetryAfter, random: u64) -> u64 {
    let wait = match after {
        RetryAfter::BackOff => jitter(bound(times, tries), random),
        RetryAfter::Server(ms) => ms.min(times.retry_max_ms),
    };
    wait.max(times.retry_min_ms)
}

/// Returns the upper bound of the delay after `n` attempts.
fn bound(times: &Times, n: u32) -> u64 {
    let factor = 1_u64.checked_shl(n).unwrap_or(u64::MAX);
    times.backoff_base_ms.saturating_mul(factor).min(times.backoff_max_ms)
}

/// Returns the upper bound of the delay before a resume. Only the first loss is exempt from
/// back-off, so a server that repeats this advice is not flooded.
fn resume_bound(times: &Times, losses: u32) -> u64 {
    match losses {
        0 => times.resume_spread_ms,
        _ => times.resume_spread_ms.max(bound(times, losses)),
    }
}

/// Draws a delay between 0 and the bound (full jitter), which spreads out many clients.
fn jitter(bound_ms: u64, random: u64) -> u64 {
    ((u128::from(bound_ms) * u128::from(random)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: u64 = u64::MAX;

    fn loss(code: Option<u16>, bye: Option<Bye>, earlier: u32) -> Loss {
        Loss { cause: Cause::Closed(code), bye, earlier }
    }

    /// Returns the upper bound of the delay.
    fn longest(code: Option<u16>, earlier: u32, times: &Times) -> u64 {
        match after(loss(code, None, earlier), times, LARGEST) {
            Next::Wait(ms) => ms + 1,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn delays_double_up_to_a_limit() {
        let times = Times::default();
        assert_eq!(
            [0, 1, 2, 5, 6, 63, 64, u32::MAX].map(|n| longest(None, n, &times)),
            [500, 1000, 2000, 16_000, 30_000, 30_000, 30_000, 30_000]
        );
        assert_eq!(
            [0, 1, 2, 3, 99].map(|n| longest(Some(4200), n, &times)),
            [2000, 2000, 2000, 4000, 30_000]
        );
    }

    #[test]
    fn only_the_first_immediate_resume_is_exempt_from_back_off() {
        let times = Times { resume_spread_ms: 200, ..Times::default() };
        assert_eq!([0, 1, 2].map(|n| longest(Some(4200), n, &times)), [200, 1000, 2000]);
    }

    #[test]
    fn jitter_covers_the_whole_range() {
        assert_eq!([0, LARGEST / 2 + 1, LARGEST].map(|random| jitter(1000, random)), [0, 500, 999]);
        assert_eq!(jitter(u64::MAX, LARGEST), u64::MAX - 1);
    }

    #[test]
    fn delays_that_a_server_asks_for_are_honoured_within_bounds() {
        let times = Times::default();
        let server = |ms| retry(&times, 0, RetryAfter::Server(ms), LARGEST);
        assert_eq!([1200, 0, u64::MAX].map(server), [1200, 100, 600_000]);
        assert_eq!(retry(&times, 3, RetryAfter::BackOff, LARGEST), 3999);
        assert_eq!(retry(&times, 3, RetryAfter::BackOff, 0), 100);
        for after_ms in [0, 5000, u64::MAX] {
            let bye = Bye { code: String::new(), reconnect: true, after_ms };
            let next = after(loss(Some(4100), Some(bye), 0), &times, 0);
            assert_eq!(next, Next::Wait(after_ms.min(600_000)));
        }
    }

    #[test]
    fn a_fresh_credential_is_used_after_the_delay_that_a_bye_asks_for() {
        let times = Times::default();
        let bye = |reconnect| Some(Bye { code: "draining".into(), reconnect, after_ms: 5000 });
        for code in [4001, 4003] {
            assert_eq!(after(loss(Some(code), None, 0), &times, LARGEST), Next::Token(0));
            let next = after(loss(Some(code), bye(true), 0), &times, LARGEST);
            assert_eq!(next, Next::Token(5000 + 1999));
            let next = after(loss(Some(code), bye(false), 0), &times, 0);
            assert_eq!(next, Next::Stop(StopReason::Bye { code: "draining".into() }), "{code}");
        }
    }

    #[test]
    fn the_stricter_of_bye_and_close_code_wins() {
        let times = Times::default();
        let bye = |reconnect| Some(Bye { code: "closing".into(), reconnect, after_ms: 0 });
        for code in [1006, 4100, 4200] {
            let next = after(loss(Some(code), bye(false), 0), &times, 0);
            assert_eq!(next, Next::Stop(StopReason::Bye { code: "closing".into() }), "{code}");
        }
        let next = after(loss(Some(4300), bye(true), 0), &times, 0);
        let advice = Advice::StayAway;
        assert_eq!(next, Next::Stop(StopReason::Closed { code: 4300, advice }));
    }
}
