//! The one timer of a worker.
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use chat_state::Mono;
use tokio::time::{Instant, Sleep};

use super::Worker;

/// When the timer's task has to look next.
#[derive(Default)]
pub(super) struct Alarm {
    due: Option<Mono>,
    /// The deadline that the task sleeps for.
    armed: Option<Mono>,
    waker: Option<Waker>,
}

impl Alarm {
    /// Something is due at this time: wakes the task if it sleeps for longer.
    pub(super) fn expect(&mut self, at: Option<Mono>) {
        let Some(at) = at else { return };
        if self.due.is_none_or(|due| at < due) {
            self.due = Some(at);
        }
        if self.armed.is_none_or(|armed| at < armed)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

/// Runs a worker's timers. It never ends.
pub(super) async fn run(worker: Rc<RefCell<Worker>>) {
    let mut sleep: Pin<Box<Sleep>> = Box::pin(tokio::time::sleep_until(far_off(&worker.borrow())));
    poll_fn(|cx| poll(&worker, &mut sleep, cx)).await;
}

fn poll(worker: &RefCell<Worker>, sleep: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    let mut worker = worker.borrow_mut();
    loop {
        worker.ring();
        let next = worker.timer.due;
        worker.timer.armed = next;
        worker.timer.waker = Some(cx.waker().clone());
        let at = next.map_or_else(|| far_off(&worker), |at| worker.clock.instant(at).into());
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
    }
}

/// A day: without a deadline the task still looks now and then.
fn far_off(worker: &Worker) -> Instant {
    const DAY_MS: u64 = 86_400_000;
    worker.clock.instant(worker.clock.now().mono.plus(DAY_MS)).into()
}

impl Worker {
    /// Fires what is due in the Hub. What is next is expected at the end of the turn.
    pub(super) fn fire(&mut self) {
        let Some(due) = self.hub.poll_timeout() else { return };
        let now = self.clock.now();
        if due <= now.mono {
            self.hub.handle_timeout(now, &mut self.actions);
            self.perform_all();
        }
    }

    /// Fires all that is due.
    fn ring(&mut self) {
        let now = self.clock.now();
        if self.timer.due.is_some_and(|due| due <= now.mono) {
            self.timer.due = None;
            self.fire();
            self.drop_overdue();
            self.timer.expect(self.hub.poll_timeout());
        }
    }
}
