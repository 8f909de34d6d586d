//! Feeds one connection with everything bulky: missed entries, joins, history pages and lists.
//!
//! A feed holds the connection's **credit**: the bytes that may still be handed to its outbox
//! before the outbox has drained. Live entries and short replies do not pass through here.
//!
//! The feed serves its work round-robin and has at most one read of the log in flight, so a client
//! that resumes a hundred rooms costs a steady trickle, and no room starves another. It is pulled
//! with [`Feed::next`] and never pushes.
//!
//! *Invariant:* between two drains the owner is given work only while less than the whole credit is
//! spent, so it sends at most the credit and the last piece of work.
//!
//! *Bounds:* the owner queues each room at most once for each kind of work, and requests only while
//! the connection is below its limit of requests in flight.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::ids::Token;

/// The credit account and the queue of one connection; `W` is a piece of work.
#[derive(Debug)]
pub(crate) struct Feed<W> {
    /// Bytes sent, and bytes reserved for the read in flight, since the outbox last drained.
    spent: u32,
    gate: Gate,
    /// Most connections have none.
    backlog: Option<Box<Backlog<W>>>,
}

/// Whether the outbox takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// Nothing is served before [`Feed::drained`].
    Closed,
}

#[derive(Debug)]
struct Backlog<W> {
    /// Work in the order in which it is served.
    queue: VecDeque<W>,
    reading: Option<Reading<W>>,
    /// A read whose answer is not wanted any more. The log is busy with it all the same.
    dropped: Option<Token>,
    /// Work whose read has failed, until [`Feed::retry`].
    parked: Vec<W>,
    /// Reads that have failed since the last one that succeeded.
    failures: u32,
}

/// The read in flight.
#[derive(Debug)]
pub(crate) struct Reading<W> {
    /// The question to the log.
    pub(crate) token: Token,
    /// What it is for.
    pub(crate) work: W,
    /// Credit that was reserved for the answer.
    pub(crate) reserved: u32,
}

/// What the owner has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<W> {
    /// Nothing, until something is wanted, an answer comes or the outbox drains.
    Idle,
    /// Call [`Feed::drained`] once the outbox is below its low-water mark.
    AwaitDrain,
    /// Do this: send at most about `allowance` bytes and [`Feed::spend`] them, or ask the log and
    /// say so with [`Feed::reading`]. Queue what is left of it with [`Feed::want`].
    Serve { work: W, allowance: u32 },
}

/// The longest wait after failed reads, in milliseconds.
const RETRY_MS_MAX: u64 = 30_000;

impl<W> Default for Feed<W> {
    fn default() -> Self {
        Self { spent: 0, gate: Gate::Open, backlog: None }
    }
}

impl<W> Default for Backlog<W> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            reading: None,
            dropped: None,
            parked: Vec::new(),
            failures: 0,
        }
    }
}

impl<W> Feed<W> {
    /// Queues a piece of work.
    pub(crate) fn want(&mut self, work: W) {
        self.backlog.get_or_insert_default().queue.push_back(work);
    }

    /// Records that the outbox is over its high-water mark.
    pub(crate) fn congested(&mut self) {
        self.gate = Gate::Closed;
    }

    /// Records that the outbox is below its low-water mark, which restores the credit. A read in
    /// flight keeps its reservation.
    pub(crate) fn drained(&mut self) {
        self.gate = Gate::Open;
        let reading = self.backlog.as_ref().and_then(|backlog| backlog.reading.as_ref());
        self.spent = reading.map_or(0, |reading| reading.reserved);
    }

    /// Returns true if the outbox takes more.
    pub(crate) fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }

    /// Returns what to do next, given the bytes of the whole credit.
    pub(crate) fn next(&mut self, credit: u32) -> Next<W> {
        let Some(backlog) = &mut self.backlog else { return Next::Idle };
        let is_reading = backlog.reading.is_some() || backlog.dropped.is_some();
        if self.gate == Gate::Closed || is_reading || backlog.queue.is_empty() {
            return Next::Idle;
        }
        let allowance = credit.saturating_sub(self.spent);
        if allowance == 0 {
            self.gate = Gate::Closed;
            return Next::AwaitDrain;
        }
        let work = backlog.queue.pop_front().expect("the queue is not empty");
        self.release();
        Next::Serve { work, allowance }
    }

    /// Charges bytes that were sent.
    pub(crate) fn spend(&mut self, bytes: u32) {
        self.spent = self.spent.saturating_add(bytes);
    }

    /// Records that the log was asked, and reserves the credit for its answer.
    ///
    /// # Panics
    /// Panics if a read is in flight already.
    pub(crate) fn reading(&mut self, reading: Reading<W>) {
        assert!(self.awaited().is_none(), "a connection has one read in flight");
        self.spent = self.spent.saturating_add(reading.reserved);
        self.backlog.get_or_insert_default().reading = Some(reading);
    }

    /// Takes an answer and gives its reservation back: the owner charges what it sends. Returns
    /// `None` if the read was dropped.
    pub(crate) fn answered(&mut self, token: Token, outcome: Outcome) -> Option<W> {
        let backlog = self.backlog.as_mut()?;
        if backlog.dropped.take_if(|dropped| *dropped == token).is_some() {
            self.release();
            return None;
        }
        let reading = backlog.reading.take_if(|reading| reading.token == token)?;
        backlog.failures = match outcome {
            Outcome::Read => 0,
            Outcome::Failed => backlog.failures.saturating_add(1),
        };
        self.spent = self.spent.saturating_sub(reading.reserved);
        self.release();
        Some(reading.work)
    }

    /// Returns the question that the log has yet to answer.
    pub(crate) fn awaited(&self) -> Option<Token> {
        let backlog = self.backlog.as_ref()?;
        backlog.dropped.or(backlog.reading.as_ref().map(|reading| reading.token))
    }

    /// Sets work aside whose read has failed, and returns after how many milliseconds to call
    /// [`Feed::retry`]: `retry_ms`, doubled with each failure in a row, at most 30 s.
    pub(crate) fn park(&mut self, work: W, retry_ms: u64) -> u64 {
        let backlog = self.backlog.get_or_insert_default();
        backlog.parked.push(work);
        let doublings = backlog.failures.saturating_sub(1).min(16);
        retry_ms.saturating_mul(1 << doublings).min(RETRY_MS_MAX)
    }

    /// Queues what was parked.
    pub(crate) fn retry(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            let parked = core::mem::take(&mut backlog.parked);
            backlog.queue.extend(parked);
        }
    }

    /// Drops work. If the read in flight is for such work, its answer is not wanted: the credit
    /// that was reserved for it comes back, but the next read waits for the answer.
    pub(crate) fn remove(&mut self, is_dropped: impl Fn(&W) -> bool) {
        let Some(backlog) = &mut self.backlog else { return };
        backlog.queue.retain(|work| !is_dropped(work));
        backlog.parked.retain(|work| !is_dropped(work));
        if let Some(reading) = backlog.reading.take_if(|reading| is_dropped(&reading.work)) {
            backlog.dropped = Some(reading.token);
            self.spent = self.spent.saturating_sub(reading.reserved);
        }
        self.release();
    }

    /// Frees the backlog if it holds nothing. Failures are forgotten with it.
    fn release(&mut self) {
        if let Some(backlog) = &self.backlog
            && backlog.queue.is_empty()
            && backlog.parked.is_empty()
            && backlog.reading.is_none()
            && backlog.dropped.is_none()
            && backlog.failures == 0
        {
            self.backlog = None;
        }
    }
}

/// Whether a read has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Read,
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CREDIT: u32 = 64 * 1024;
    const PAGE: u32 = 8 * 1024;

    /// Returns true if the feed has work for a room.
    fn has(feed: &Feed<usize>, room: usize) -> bool {
        let Some(backlog) = &feed.backlog else { return false };
        let reading = backlog.reading.as_ref().map(|reading| &reading.work);
        backlog.queue.iter().chain(&backlog.parked).chain(reading).any(|work| *work == room)
    }

    /// A log of `len` entries of `bytes` each for every room, and how far each room was sent.
    struct Rooms {
        len: u32,
        bytes: u32,
        sent: Vec<u32>,
        tokens: u64,
    }

    impl Rooms {
        fn new(count: usize, len: u32, bytes: u32) -> Self {
            Self { len, bytes, sent: alloc::vec![0; count], tokens: 0 }
        }

        /// Serves until the feed is idle; returns the bytes sent and the rooms in their order.
        fn serve(&mut self, feed: &mut Feed<usize>) -> (u32, Vec<usize>) {
            let (mut bytes, mut order) = (0, Vec::new());
            while let Next::Serve { work, allowance } = feed.next(CREDIT) {
                let token = Token(self.tokens);
                self.tokens += 1;
                let reserved = allowance.min(PAGE);
                feed.reading(Reading { token, work, reserved });
                assert_eq!(feed.next(CREDIT), Next::Idle, "one read is in flight");
                let room = feed.answered(token, Outcome::Read).expect("it is awaited");
                let left = self.len - self.sent[room];
                let count = (reserved / self.bytes).max(1).min(left);
                self.sent[room] += count;
                feed.spend(count * self.bytes);
                bytes += count * self.bytes;
                order.push(room);
                if self.sent[room] < self.len {
                    feed.want(room);
                }
            }
            (bytes, order)
        }
    }

    #[test]
    fn a_hundred_rooms_never_exceed_the_credit_between_two_drains() {
        let (mut feed, mut rooms) = (Feed::default(), Rooms::new(100, 300, 300));
        (0..100).for_each(|room| feed.want(room));
        let mut drains = 0;
        while rooms.sent.iter().any(|sent| *sent < 300) {
            let (bytes, _) = rooms.serve(&mut feed);
            assert!(bytes <= CREDIT + PAGE, "{bytes} bytes without a drain");
            feed.drained();
            drains += 1;
        }
        assert!(drains > 100, "nine megabytes take many drains, not {drains}");
    }

    #[test]
    fn rooms_are_served_in_turn() {
        let (mut feed, mut rooms) = (Feed::default(), Rooms::new(3, 10_000, 300));
        (0..3).for_each(|room| feed.want(room));
        assert_eq!(rooms.serve(&mut feed).1[..6], [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn nothing_is_served_while_the_outbox_is_congested() {
        let mut feed = Feed::default();
        feed.want(1);
        feed.congested();
        assert_eq!(feed.next(CREDIT), Next::Idle);
        feed.drained();
        assert_eq!(feed.next(CREDIT), Next::Serve { work: 1, allowance: CREDIT });
    }

    #[test]
    fn a_drain_is_awaited_once_the_credit_is_spent() {
        let mut feed = Feed::default();
        feed.want(1);
        feed.spend(CREDIT);
        assert_eq!(feed.next(CREDIT), Next::AwaitDrain);
        assert_eq!(feed.next(CREDIT), Next::Idle, "it is asked for once");
        feed.drained();
        assert_eq!(feed.next(CREDIT), Next::Serve { work: 1, allowance: CREDIT });
    }

    #[test]
    fn the_answer_to_a_dropped_read_is_ignored_but_the_next_read_waits_for_it() {
        let mut feed = Feed::default();
        feed.reading(Reading { token: Token(7), work: 1, reserved: PAGE });
        feed.remove(|work| *work == 1);
        feed.want(2);
        assert_eq!((feed.next(CREDIT), feed.awaited()), (Next::Idle, Some(Token(7))));
        assert!(feed.answered(Token(7), Outcome::Read).is_none());
        assert_eq!(feed.awaited(), None);
        assert_eq!(feed.next(CREDIT), Next::Serve { work: 2, allowance: CREDIT });
    }

    #[test]
    fn failed_reads_are_retried_ever_more_slowly() {
        let mut feed = Feed::default();
        feed.want(1);
        let mut waits = Vec::new();
        for n in 0..8 {
            assert_eq!(feed.next(CREDIT), Next::Serve { work: 1, allowance: CREDIT });
            feed.reading(Reading { token: Token(n), work: 1, reserved: 0 });
            let work = feed.answered(Token(n), Outcome::Failed).expect("it is awaited");
            waits.push(feed.park(work, 500));
            assert_eq!(feed.next(CREDIT), Next::Idle, "it is parked");
            feed.retry();
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    proptest! {
        /// Whatever drains, congestion and removals come in between, no more than the credit and
        /// one page is sent between two drains, and everything that is not removed is served.
        #[test]
        fn the_credit_holds_and_nothing_is_forgotten(
            steps in proptest::collection::vec((0..6u8, 0..20usize), 1..200),
        ) {
            let (mut feed, mut rooms) = (Feed::default(), Rooms::new(20, 40, 700));
            let (mut wanted, mut since_drain) = ([false; 20], 0);
            for (step, room) in steps {
                match step {
                    0..=2 if !has(&feed, room) => {
                        rooms.sent[room] = 0;
                        wanted[room] = true;
                        feed.want(room);
                    }
                    0..=2 => {}
                    3 => {
                        feed.remove(|work| *work == room);
                        wanted[room] = false;
                    }
                    4 => feed.congested(),
                    _ => {
                        feed.drained();
                        since_drain = 0;
                    }
                }
                since_drain += rooms.serve(&mut feed).0;
                prop_assert!(since_drain <= CREDIT + PAGE);
            }
            for _ in 0..100 {
                feed.drained();
                rooms.serve(&mut feed);
            }
            for (room, wanted) in wanted.iter().enumerate() {
                prop_assert!(!wanted || rooms.sent[room] == 40, "room {} was not served", room);
            }
            prop_assert!(feed.backlog.is_none(), "an idle feed holds nothing");
        }
    }
}
