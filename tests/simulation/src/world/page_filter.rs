//! What pages of history are by their definition.
use chat_proto::HistoryRange;

use super::log::RoomLog;

/// The entries that are nearest to a place, so many that they fit into `bytes`: at least half as
/// many as could be.
fn nearest_that_fit(readable: &[(u64, usize)], at: u64, limit: usize, bytes: usize) -> Vec<u64> {
    let mut nearest = readable.to_vec();
    nearest.sort_by_key(|(seq, _)| (seq.abs_diff(at), *seq));
    nearest.truncate(limit);
    loop {
        let mut window = nearest.clone();
        window.sort_unstable();
        let mut used = 0;
        let fits = window.iter().enumerate().take_while(|(n, (_, size))| {
            used += size;
            *n == 0 || used <= bytes
        });
        let (fits, all) = (fits.count(), window.len());
        if fits == all {
            return window.into_iter().map(|(seq, _)| seq).collect();
        }
        nearest.truncate(fits.clamp(all / 2, all * 3 / 4).max(1));
    }
}

/// The page as a plain filter over the log has it, and whether there is more on both sides.
pub fn page_by_filter(
    log: &RoomLog,
    range: HistoryRange,
    limit: u32,
    bytes: usize,
) -> (Vec<u64>, (bool, bool)) {
    let readable: Vec<(u64, usize)> = log
        .entries
        .iter()
        .map(|e| (e.seq.get(), e.body.size()))
        .filter(|(seq, _)| *seq >= log.first)
        .collect();
    let (n, newest) = (u64::from(limit), log.last());
    let (low, high, from_the_end) = match range {
        HistoryRange::Latest => ((newest + 1).saturating_sub(n), newest, true),
        HistoryRange::Before(at) => {
            let end = at.get().min(newest + 1);
            (end.saturating_sub(n), end.saturating_sub(1), true)
        }
        HistoryRange::After(at) => (at.get() + 1, newest, false),
        HistoryRange::Around(at) => {
            let nearest = nearest_that_fit(&readable, at.get(), limit as usize, bytes);
            let ends = (nearest.iter().min(), nearest.iter().max());
            (ends.0.copied().unwrap_or(1), ends.1.copied().unwrap_or(0), false)
        }
    };
    let mut wanted: Vec<_> =
        readable.iter().copied().filter(|(seq, _)| (low..=high).contains(seq)).collect();
    if from_the_end {
        wanted.reverse();
    }
    let (mut page, mut used) = (Vec::new(), 0);
    for (seq, size) in wanted.into_iter().take(limit as usize) {
        used += size;
        if used > bytes && !page.is_empty() {
            break;
        }
        page.push(seq);
    }
    page.sort_unstable();
    let before = page.first().copied().unwrap_or(low);
    let after = page.last().copied().unwrap_or(high);
    let more_before = readable.iter().any(|(seq, _)| *seq < before);
    let more_after = readable.iter().any(|(seq, _)| *seq > after);
    (page, (more_before, more_after))
}
