//! What a page of history has to be.
use chat_proto::{HistoryRange, Page};

use super::log::SimLog;

/// What a request for history is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedPage {
    /// Which part of the history.
    pub range: HistoryRange,
    /// Entries at most.
    pub limit: u32,
    /// The newest entry that the Hub surely had when it was asked.
    pub known: u64,
}

/// A page is a part of the log, the part that was asked for, and says rightly in both directions
/// whether there is more. By the time it comes the log may have been trimmed, which a Hub that has
/// no reason to read does not notice, and have grown.
///
/// # Panics
/// If it is not so.
pub fn page_is_right(log: &SimLog, page: &Page, asked: AskedPage) {
    let log = log.of_epoch(&page.room, &page.epoch).expect("the log has this epoch");
    log.has(&page.events);
    assert!(page.events.len() <= asked.limit as usize, "{} for {asked:?}", page.events.len());
    for entry in &page.events {
        let fits = match asked.range {
            HistoryRange::Latest | HistoryRange::Around(_) => true,
            HistoryRange::Before(seq) => entry.seq < seq,
            HistoryRange::After(seq) => entry.seq > seq,
        };
        assert!(fits, "{} is not in {:?}", entry.seq, asked.range);
    }
    let (before, after) = (page.has_more_before, page.has_more_after);
    let ends = page.events.first().zip(page.events.last());
    let ends = ends.map(|(oldest, newest)| (oldest.seq.get(), newest.seq.get()));
    let shown =
        || format!("{before} {ends:?} {after} for {asked:?} of {}..={}", log.first, log.last());
    let Some((oldest, newest)) = ends else {
        // An empty page says on which side of it there is something.
        let expected = match asked.range {
            HistoryRange::Before(_) => (false, after),
            HistoryRange::After(_) => (before, false),
            // All that the Hub had was trimmed, and newer entries have come meanwhile.
            _ if asked.known < log.first => (false, after),
            HistoryRange::Latest | HistoryRange::Around(_) => (false, false),
        };
        assert_eq!((before, after), expected, "{}", shown());
        return assert!(asked.known < log.first || before || after, "{}", shown());
    };
    assert!(if before { oldest > 1 } else { oldest <= log.first }, "before: {}", shown());
    assert!(if after { newest < log.last() } else { newest >= asked.known }, "after: {}", shown());
}
