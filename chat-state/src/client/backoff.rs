//! When to come back, and when not. Pure, so that every rule can be tested as a table.
use alloc::boxed::Box;
use alloc::string::String;

use chat_proto::{Advice, CloseCode, ErrorBody, ErrorCode};

use super::config::Times;
use super::event::StopReason;

/// Why there is no connection any more.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// The transport ended, or could not be made.
    Closed(Option<u16>),
    /// It did not open, or `hello` was not answered.
    NoAnswer,
    /// `hello` was refused.
    Refused(Box<ErrorBody>),
    /// The server fell silent, or what it sent had holes that nothing could fill.
    GivenUp,
}

/// The server's parting words.
#[derive(Clone, Debug)]
pub(super) struct Bye {
    pub(super) code: String,
    pub(super) reconnect: bool,
    pub(super) after_ms: u64,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Connect after this many milliseconds.
    Wait(u64),
    /// Connect with another credential.
    Token,
    /// Do not connect.
    Stop(StopReason),
}

/// Decides what follows a loss. `losses` counts those before it since the last sound connection.
pub(super) fn after(
    cause: Cause,
    bye: Option<&Bye>,
    losses: u32,
    times: &Times,
    random: u64,
) -> Next {
    let growing = || jitter(window(times, losses), random);
    let code = match cause {
        Cause::Refused(error) if error.code == ErrorCode::Unauthorized => return Next::Token,
        Cause::Refused(error) if error.retryable => {
            let asked = error.retry_after_ms.unwrap_or(0).min(times.retry_max_ms);
            return Next::Wait(asked.max(growing()));
        }
        Cause::Refused(error) => return Next::Stop(StopReason::Refused(error)),
        Cause::Closed(Some(code)) => code,
        // As 1006, the code of a connection that was lost.
        Cause::Closed(None) | Cause::NoAnswer => 1006,
        Cause::GivenUp => CloseCode::HeartbeatTimeout.number(),
    };
    let advice = Advice::of(code);
    match (advice, bye) {
        (Advice::FixFirst, _) if wants_token(code) => Next::Token,
        (Advice::FixFirst | Advice::StayAway, _) => Next::Stop(StopReason::Closed { code, advice }),
        (_, Some(bye)) if !bye.reconnect => Next::Stop(StopReason::Bye { code: bye.code.clone() }),
        (_, Some(bye)) => {
            let asked = bye.after_ms.min(times.retry_max_ms);
            Next::Wait(asked.saturating_add(jitter(spread(times, losses), random)))
        }
        (Advice::ResumeNow, None) => Next::Wait(jitter(spread(times, losses), random)),
        (Advice::BackOff, None) => Next::Wait(growing()),
    }
}

/// Tells whether another credential is what has to be fixed.
fn wants_token(code: u16) -> bool {
    [CloseCode::Unauthorized, CloseCode::AuthExpired].iter().any(|wants| wants.number() == code)
}

/// Returns how long to wait before a request that was refused, or did not help, is sent again;
/// `tries` counts those before it.
pub(super) fn retry(times: &Times, tries: u32, after_ms: Option<u64>, random: u64) -> u64 {
    let wait = after_ms.map_or_else(
        || jitter(window(times, tries), random),
        |asked| asked.min(times.retry_max_ms),
    );
    wait.max(times.retry_min_ms)
}

/// The longest delay after this many losses: it doubles with each.
fn window(times: &Times, n: u32) -> u64 {
    let factor = 1_u64.checked_shl(n).unwrap_or(u64::MAX);
    times.backoff_base_ms.saturating_mul(factor).min(times.backoff_max_ms)
}

/// The longest delay where one may come back at once. A server that says so again and again must
/// not be hammered: only the first time is free.
fn spread(times: &Times, losses: u32) -> u64 {
    match losses {
        0 => times.resume_spread_ms,
        _ => times.resume_spread_ms.max(window(times, losses)),
    }
}

/// Full jitter: anything from 0 to the window, so that a crowd spreads out.
fn jitter(window_ms: u64, random: u64) -> u64 {
    ((u128::from(window_ms) * u128::from(random)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = u64::MAX;

    fn wait(cause: Cause, losses: u32) -> u64 {
        match after(cause, None, losses, &Times::default(), MOST) {
            Next::Wait(ms) => ms,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn delays_double_up_to_a_limit() {
        let most = |n| wait(Cause::Closed(None), n) + 1;
        assert_eq!(
            [0, 1, 2, 5, 6, 63, 64, u32::MAX].map(most),
            [500, 1000, 2000, 16_000, 30_000, 30_000, 30_000, 30_000]
        );
        let most = |n| wait(Cause::Closed(Some(4200)), n) + 1;
        assert_eq!([0, 1, 2, 3, 99].map(most), [2000, 2000, 2000, 4000, 30_000]);
    }

    #[test]
    fn only_the_first_return_at_once_is_free() {
        let times = Times { resume_spread_ms: 200, ..Times::default() };
        let most = |losses| match after(Cause::Closed(Some(4200)), None, losses, &times, MOST) {
            Next::Wait(ms) => ms + 1,
            other => panic!("{other:?}"),
        };
        assert_eq!([0, 1, 2].map(most), [200, 1000, 2000]);
    }

    #[test]
    fn jitter_takes_all_of_the_window() {
        assert_eq!([0, MOST / 2 + 1, MOST].map(|random| jitter(1000, random)), [0, 500, 999]);
        assert_eq!(jitter(u64::MAX, MOST), u64::MAX - 1);
    }

    #[test]
    fn what_a_server_asks_for_is_honoured_within_reason() {
        let times = Times::default();
        assert_eq!(retry(&times, 0, Some(1200), MOST), 1200);
        assert_eq!(retry(&times, 0, Some(0), MOST), 100);
        assert_eq!(retry(&times, 0, Some(u64::MAX), MOST), 600_000);
        assert_eq!(retry(&times, 3, None, MOST), 3999);
        assert_eq!(retry(&times, 3, None, 0), 100);
        for after_ms in [0, 5000, u64::MAX] {
            let bye = Bye { code: String::new(), reconnect: true, after_ms };
            let next = after(Cause::Closed(Some(4100)), Some(&bye), 0, &times, 0);
            assert_eq!(next, Next::Wait(after_ms.min(600_000)));
        }
    }

    #[test]
    fn the_sterner_of_bye_and_close_wins() {
        let times = Times::default();
        let bye = |reconnect| Bye { code: "closing".into(), reconnect, after_ms: 0 };
        for code in [1006, 4100, 4200] {
            let next = after(Cause::Closed(Some(code)), Some(&bye(false)), 0, &times, 0);
            assert_eq!(next, Next::Stop(StopReason::Bye { code: "closing".into() }), "{code}");
        }
        let next = after(Cause::Closed(Some(4300)), Some(&bye(true)), 0, &times, 0);
        let advice = Advice::StayAway;
        assert_eq!(next, Next::Stop(StopReason::Closed { code: 4300, advice }));
    }
}
