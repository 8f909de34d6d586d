//! The newest place of a log that is said to be taken.
use chat_proto::Seq;

/// A place is taken for a mistake once this many answers in a row have not reached it. The first
/// ones may come from a replica that is behind.
const SHORT_ANSWERS: u8 = 3;

/// The newest place that an entry, a peer or the log has named.
#[derive(Debug, Default)]
pub(super) struct Newest {
    place: Seq,
    /// The newest place named since the log was last asked for entries.
    since_asked: Seq,
    /// Answers in a row that did not reach what was named before they were asked for.
    short_answers: u8,
}

impl Newest {
    pub(super) fn place(&self) -> Seq {
        self.place
    }

    pub(super) fn note(&mut self, place: Seq) {
        self.place = self.place.max(place);
        self.since_asked = self.since_asked.max(place);
    }

    /// The log is asked for entries.
    pub(super) fn asked(&mut self) {
        self.since_asked = Seq::ZERO;
    }

    /// The log has answered, and ends at `last`. Returns true if the place was a mistake: it is
    /// then the newest one that the log or later news have confirmed.
    pub(super) fn answered(&mut self, last: Seq) -> bool {
        let confirmed = last.max(self.since_asked);
        if self.place <= confirmed {
            self.short_answers = 0;
            return false;
        }
        self.short_answers += 1;
        if self.short_answers < SHORT_ANSWERS {
            return false;
        }
        *self = Self { place: confirmed, since_asked: self.since_asked, short_answers: 0 };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::tail::tests::seq;

    /// Asks the log, which ends at `last`, while a peer names `during`.
    fn ask(newest: &mut Newest, during: u64, last: u64) -> bool {
        newest.asked();
        newest.note(seq(during));
        newest.answered(seq(last))
    }

    #[test]
    fn a_place_that_three_answers_do_not_reach_was_a_mistake() {
        let mut newest = Newest::default();
        newest.note(seq(90));
        assert!(!ask(&mut newest, 5, 5));
        assert!(!ask(&mut newest, 6, 5));
        assert!(ask(&mut newest, 7, 6));
        assert_eq!(newest.place(), seq(7), "what was named meanwhile may be true");
    }

    #[test]
    fn only_answers_in_a_row_count() {
        let mut newest = Newest::default();
        newest.note(seq(9));
        assert!(!ask(&mut newest, 1, 8) && !ask(&mut newest, 1, 8) && !ask(&mut newest, 1, 9));
        newest.note(seq(10));
        assert!(!ask(&mut newest, 1, 9) && !ask(&mut newest, 1, 9));
        assert_eq!(newest.place(), seq(10));
    }
}
