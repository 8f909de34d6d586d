//! Waiting for conditions: always with a deadline, always saying for what.
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::timeout;

/// Long enough for a debug build on a busy machine: reaching it means that something is stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a future.
///
/// # Panics
/// After [`PATIENCE`], naming what was awaited and where.
#[track_caller]
pub fn within<F: Future>(what: impl fmt::Display, future: F) -> impl Future<Output = F::Output> {
    within_time(PATIENCE, what, future)
}

/// Waits for a future that may take longer than [`PATIENCE`].
///
/// # Panics
/// After `patience`, naming what was awaited and where.
#[track_caller]
pub fn within_time<F: Future>(
    patience: Duration,
    what: impl fmt::Display,
    future: F,
) -> impl Future<Output = F::Output> {
    let at = Location::caller();
    async move {
        match timeout(patience, future).await {
            Ok(output) => output,
            Err(_) => panic!("waited {patience:?} in vain for {what} (asked at {at})"),
        }
    }
}

/// Asks again and again until there is an answer. Each question has to be a round trip of its own:
/// that is what paces the loop.
///
/// # Panics
/// After [`PATIENCE`], naming what was awaited and where.
#[track_caller]
pub fn eventually<T, F: AsyncFnMut() -> Option<T>>(
    what: impl fmt::Display,
    mut ask: F,
) -> impl Future<Output = T> {
    within(what, async move {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "in vain for the end of the world")]
    async fn the_deadline_names_what_was_awaited() {
        let never = std::future::pending::<()>();
        within_time(Duration::from_millis(1), "the end of the world", never).await;
    }

    #[tokio::test]
    async fn an_answer_ends_the_asking() {
        let mut n = 0;
        let answer = eventually("the third try", async || {
            n += 1;
            (n == 3).then_some(n)
        });
        assert_eq!(answer.await, 3);
    }
}
