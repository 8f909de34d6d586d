//! Connections that have not said `hello`: so many at a time, and the newest ones.
//!
//! Whoever means it says `hello` within a round trip. So it is the oldest that makes place for one
//! more, as in Dovecot's login and in the backlogs of SYNs: were new ones refused instead, a few
//! silent connections would keep everybody out until their deadline.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use super::Episode;

/// All of them, over all listeners and workers.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// In the order in which they came.
    by_age: BTreeMap<u64, Arc<Ask>>,
    next: u64,
    crowded: Episode,
}

/// Whether one is asked to leave.
#[derive(Debug, Default)]
struct Ask {
    asked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Strangers {
    /// Lets one more wait; beyond the limit the oldest is asked to leave. 0: no limit.
    pub(super) fn enter(self: &Arc<Self>, limit: u32) -> Option<Stranger> {
        if limit == 0 {
            return None;
        }
        let ask = Arc::<Ask>::default();
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.by_age.insert(number, Arc::clone(&ask));
        let oldest = if waiting.by_age.len() > limit as usize {
            waiting.crowded.begin(|| {
                tracing::warn!(
                    limit,
                    "too many connections that have not said hello; closing the oldest of them"
                );
            });
            waiting.by_age.pop_first()
        } else {
            None
        };
        drop(waiting);
        if let Some((_, oldest)) = oldest {
            oldest.ask();
        }
        Some(Stranger { strangers: Arc::clone(self), limit, number, ask })
    }

    fn leave(&self, number: u64, limit: u32) {
        let mut waiting = self.lock();
        waiting.by_age.remove(&number);
        // They come and go in a moment: it is over once there are far fewer.
        if waiting.by_age.len() <= limit as usize / 2 {
            waiting.crowded.end(|| tracing::info!("fewer connections have not said hello"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().by_age.len()
    }
}

impl Ask {
    fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A connection that has not said `hello`, until it is dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    strangers: Arc<Strangers>,
    limit: u32,
    number: u64,
    ask: Arc<Ask>,
}

impl Stranger {
    /// Tells whether it has to make place for another one; if not, the task is woken when it has
    /// to.
    pub(crate) fn is_asked_to_leave(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.ask.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        // Whoever asks meanwhile waits for the lock, and finds the waker.
        self.ask.asked.load(Ordering::Acquire)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.leave(self.number, self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_place_for_one_more() {
        let strangers = Arc::<Strangers>::default();
        let mut all: Vec<_> = (0..5).filter_map(|_| strangers.enter(3)).collect();
        let cx = Context::from_waker(Waker::noop());
        let asked: Vec<_> = all.iter().map(|one| one.is_asked_to_leave(&cx)).collect();
        assert_eq!(asked, [true, true, false, false, false]);
        // One that has said hello makes place, and one that was asked to leave has none to give.
        drop(all.drain(0..3));
        all.extend(strangers.enter(3));
        assert!(all.iter().all(|one| !one.is_asked_to_leave(&cx)));
        drop(all);
        assert_eq!(strangers.len(), 0);
        assert!(strangers.enter(0).is_none(), "0 is no limit");
    }
}
