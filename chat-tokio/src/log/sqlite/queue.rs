//! What waits for the writer.
//!
//! A lock and not a channel: whoever offers wakes the writer only when there is enough for it to
//! begin, while a channel wakes it for each draft of a crowd.
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chat_state::Draft;

use super::writer::{Append, Job};
use super::{BUSY, CLOSED};

/// Calls that wait for the writer: it takes them all within two transactions of usual size.
pub(super) const JOBS_WAITING_MAX: usize = 4096;

/// Bytes of drafts that wait for the writer: about what it commits in a few seconds.
const BYTES_WAITING_MAX: usize = 64 * 1024 * 1024;

/// Bytes that a draft takes beside its body: names, key and the queue's own.
const DRAFT_BYTES: usize = 256;

/// What waits for the writer, and how the writer is woken.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    enough: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    trims: usize,
    /// Of all appends that wait.
    drafts: usize,
    bytes: usize,
    /// The drafts without which the writer sleeps on; `None` while it is awake.
    wanted: Option<usize>,
    closed: bool,
}

/// What the writer takes at a time.
pub(super) struct Taken {
    pub(super) jobs: Vec<Job>,
    /// Of its appends; one without drafts counts, too.
    pub(super) drafts: usize,
    /// Nothing will come any more, and nothing is left.
    pub(super) over: bool,
}

impl Queue {
    /// Puts a job, or says why not.
    pub(super) fn put(&self, job: Job) -> Result<(), &'static str> {
        let mut state = self.lock();
        if state.closed {
            return Err(CLOSED);
        }
        let (drafts, bytes, trims) = size(&job);
        // A single call larger than the limit must have a way in: when nothing else waits.
        let fits = state.bytes == 0 || state.bytes.saturating_add(bytes) <= BYTES_WAITING_MAX;
        if state.jobs.len() >= JOBS_WAITING_MAX || !fits {
            return Err(BUSY);
        }
        state.drafts += drafts;
        state.bytes += bytes;
        state.trims += trims;
        state.jobs.push_back(job);
        self.wake(state);
        Ok(())
    }

    /// Takes no more. What waits is still taken by the writer.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.wake(state);
    }

    /// Takes no more and forgets what waits: the writer is gone.
    pub(super) fn end(&self) {
        *self.lock() = State { closed: true, ..State::default() };
    }

    /// Waits until so many drafts are there, as long as patience lasts, and then until there is
    /// anything at all.
    pub(super) fn wait(&self, drafts: usize, patience: Duration) {
        let mut state = self.lock();
        if drafts > 1 {
            state.wanted = Some(drafts);
            let few = |state: &mut State| !state.has(drafts);
            let waited = self.enough.wait_timeout_while(state, patience, few);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.wanted = Some(1);
        let none = |state: &mut State| !state.has(1);
        let waited = self.enough.wait_while(state, none);
        waited.unwrap_or_else(PoisonError::into_inner).wanted = None;
    }

    /// Takes jobs in order until they have so many drafts. The append that reaches the number is
    /// taken whole.
    pub(super) fn take(&self, drafts_max: usize) -> Taken {
        let mut state = self.lock();
        let (mut jobs, mut taken) = (Vec::new(), 0);
        while taken < drafts_max
            && let Some(job) = state.jobs.pop_front()
        {
            let (drafts, bytes, trims) = size(&job);
            taken += drafts;
            state.drafts -= drafts;
            state.bytes -= bytes;
            state.trims -= trims;
            jobs.push(job);
        }
        let over = state.closed && jobs.is_empty();
        Taken { jobs, drafts: taken, over }
    }

    /// Wakes the writer if it waits for less than there is.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let enough = state.wanted.is_some_and(|drafts| state.has(drafts));
        if enough {
            // Once is enough.
            state.wanted = None;
        }
        drop(state);
        if enough {
            self.enough.notify_one();
        }
    }

    /// The state is whole between any two steps, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the drafts and the bytes that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.drafts, state.bytes)
    }
}

impl State {
    /// Tells whether so many drafts are there, or something that waits for no more of them.
    fn has(&self, drafts: usize) -> bool {
        self.drafts >= drafts || self.trims > 0 || self.closed
    }
}

/// What a job counts for: drafts, bytes and trims. An append without drafts wants an answer, too.
fn size(job: &Job) -> (usize, usize, usize) {
    match job {
        Job::Append(Append { batches, .. }) => {
            let drafts = batches.iter().map(|batch| batch.drafts.len()).sum::<usize>();
            let draft_bytes = |draft: &Draft| draft.body.size() + DRAFT_BYTES;
            let bytes = batches.iter().flat_map(|batch| &batch.drafts).map(draft_bytes).sum();
            (drafts.max(1), bytes, 0)
        }
        Job::Trim(_) => (0, 0, 1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use chat_proto::{Body, DisplayName, RoomName, Seq, Timestamp, UserId};
    use rusqlite::Connection;
    use tokio::sync::oneshot;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::super::super::RoomBatch;
    use super::super::super::epochs::{Epochs, MetRooms};
    use super::super::SqliteAccess;
    use super::super::writer::{self, Settings, Trim};
    use super::*;

    /// Longer than any test may take.
    const FOR_EVER: Duration = Duration::from_secs(3600);

    type Answers = oneshot::Receiver<Vec<Result<chat_state::Appended, chat_state::AppendError>>>;

    /// One call with this many drafts of this size.
    fn call(drafts: usize, content_bytes: usize) -> (Job, Answers) {
        let draft = Draft {
            user: UserId::new("ada").unwrap(),
            username: DisplayName::new("Ada").unwrap(),
            key: None,
            ts: Timestamp(1),
            body: Body::Message { content: "x".repeat(content_bytes).into(), reply_to: None },
        };
        let room = RoomName::new("lobby").unwrap();
        let (reply, answers) = oneshot::channel();
        let batches = vec![RoomBatch { room, drafts: vec![draft; drafts] }];
        (Job::Append(Append { batches, reply }), answers)
    }

    fn offer(queue: &Queue, drafts: usize) -> Result<(), &'static str> {
        queue.put(call(drafts, 2).0)
    }

    #[test]
    fn the_writer_sleeps_until_the_crowd_is_complete() {
        let queue = Arc::new(Queue::default());
        let writer = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.wait(4, FOR_EVER);
                queue.take(1000).drafts
            }
        });
        let wanted = || queue.lock().wanted;
        while wanted() != Some(4) {
            thread::yield_now();
        }
        for drafts in [1, 2] {
            offer(&queue, drafts).unwrap();
            assert_eq!(wanted(), Some(4), "nobody has woken it");
        }
        offer(&queue, 1).unwrap();
        assert_eq!(writer.join().unwrap(), 4);
        assert_eq!((wanted(), queue.waiting()), (None, (0, 0)));
    }

    #[test]
    fn patience_ends_and_a_trim_or_the_end_wait_for_no_crowd() {
        let queue = Queue::default();
        offer(&queue, 1).unwrap();
        queue.wait(2, Duration::ZERO);
        assert_eq!(queue.take(1000).drafts, 1);
        let (room, (reply, _)) = (RoomName::new("lobby").unwrap(), oneshot::channel());
        queue.put(Job::Trim(Trim { room, before: Seq::ZERO, reply })).unwrap();
        queue.wait(2, FOR_EVER);
        assert!(matches!(queue.take(1000).jobs[..], [Job::Trim(_)]));
        offer(&queue, 0).unwrap();
        queue.close();
        queue.wait(2, FOR_EVER);
        let taken = queue.take(1000);
        assert_eq!((taken.jobs.len(), taken.over), (1, false), "what waits is still done");
        queue.wait(2, FOR_EVER);
        assert!(queue.take(1000).over);
    }

    #[test]
    fn the_call_that_reaches_the_number_is_taken_whole() {
        let queue = Queue::default();
        for drafts in [2, 5, 1] {
            offer(&queue, drafts).unwrap();
        }
        assert_eq!(queue.take(3).drafts, 7);
        assert_eq!(queue.take(3).drafts, 1);
    }

    #[test]
    fn bytes_are_limited_and_a_call_beyond_the_limit_passes_alone() {
        let queue = Queue::default();
        let large = || call(1, BYTES_WAITING_MAX).0;
        queue.put(large()).unwrap();
        assert_eq!(offer(&queue, 1), Err(BUSY));
        assert_eq!(queue.take(1000).drafts, 1);
        offer(&queue, 1).unwrap();
        assert_eq!(queue.put(large()), Err(BUSY));
        assert_eq!(queue.take(1000).drafts, 1);
        assert_eq!(queue.waiting(), (0, 0));
    }

    #[test]
    fn when_the_writer_is_gone_nobody_waits_for_it() {
        let queue = Queue::default();
        let (append, mut answers) = call(1, 2);
        queue.put(append).unwrap();
        assert_eq!(answers.try_recv(), Err(TryRecvError::Empty));
        queue.end();
        assert_eq!(answers.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(offer(&queue, 1), Err(CLOSED));
    }

    #[test]
    fn a_writer_that_ends_by_itself_keeps_nobody_waiting() {
        let queue = Queue::default();
        let (append, mut answers) = call(1, 2);
        queue.put(append).unwrap();
        // Without tables it can't begin.
        let empty = Connection::open_in_memory().unwrap();
        let settings = Settings { keys_per_user: 1, access: SqliteAccess::Exclusive };
        let epochs = Epochs::draw().unwrap();
        writer::run(empty, settings, &Mutex::new(MetRooms::new(1, epochs)), &queue);
        assert_eq!(answers.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(offer(&queue, 1), Err(CLOSED));
    }
}
