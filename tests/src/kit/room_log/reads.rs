//! What a read answers with.
use std::fmt::Debug;

use chat_proto::Seq;
use chat_state::{Keep, LogPage, ReadRange};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{Kit, Log, Verdict, Wrong, contents, draft, ensure, places, range, seq};

type Places = &'static [u64];

/// A room that nobody wrote to has no entries, and begins at 1.
pub async fn an_unknown_room_is_empty(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    for name in ["never met", "Never Met", "other"] {
        let head = log.head(name).await?;
        let ends = (head.first.get(), head.last.get());
        ensure!(ends == (1, 0), "an unknown room's ends are {ends:?}");
        for wanted in [range(0, 0), range(1, 1), range(0, u64::MAX), range(5, 2)] {
            let page = log.read(name, wanted).await?;
            ensure!(page.entries.is_empty(), "an unknown room has entries");
            ensure!(page.head == head, "a page's ends are {:?}, not {head:?}", page.head);
        }
        let first = log.trim(name, 10).await?;
        ensure!(first == 1, "trimming an unknown room answers {first}");
    }
    Ok(())
}

/// A range is clipped to what there is; its ends belong to it.
pub async fn ranges_are_clipped(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let drafts = (1..=10).map(|n| draft("ada", "", &n.to_string())).collect();
    log.append("lobby", drafts).await?;
    log.trim("lobby", 4).await?;
    let many = u32::MAX;
    // from, to, limit, then the oldest and the newest that are kept of it.
    let table: &[(u64, u64, u32, Places, Places)] = &[
        (0, u64::MAX, many, &[4, 5, 6, 7, 8, 9, 10], &[4, 5, 6, 7, 8, 9, 10]),
        (5, 7, many, &[5, 6, 7], &[5, 6, 7]),
        (6, 6, 1, &[6], &[6]),
        (4, 4, many, &[4], &[4]),
        (10, 10, many, &[10], &[10]),
        (1, 4, many, &[4], &[4]),
        (10, 11, many, &[10], &[10]),
        (5, 9, 2, &[5, 6], &[8, 9]),
        (0, 100, 2, &[4, 5], &[9, 10]),
        (0, 100, 7, &[4, 5, 6, 7, 8, 9, 10], &[4, 5, 6, 7, 8, 9, 10]),
        (0, 100, 6, &[4, 5, 6, 7, 8, 9], &[5, 6, 7, 8, 9, 10]),
        (0, 0, many, &[], &[]),
        (1, 3, many, &[], &[]),
        (11, 11, many, &[], &[]),
        (11, u64::MAX, many, &[], &[]),
        (u64::MAX, u64::MAX, many, &[], &[]),
        (7, 5, many, &[], &[]),
        (u64::MAX, 0, many, &[], &[]),
        (5, 7, 0, &[], &[]),
    ];
    for &(from, to, limit, oldest, newest) in table {
        for (keep, due) in [(Keep::Oldest, oldest), (Keep::Newest, newest)] {
            let page = log.read("lobby", ReadRange { limit, keep, ..range(from, to) }).await?;
            let ends = (page.head.first.get(), page.head.last.get());
            ensure!(ends == (4, 10), "the ends are {ends:?}");
            let seen = places(&page.entries);
            ensure!(seen == due, "{from}..={to}, {limit} {keep:?}: {seen:?} instead of {due:?}");
            let texts: Vec<_> = due.iter().map(u64::to_string).collect();
            ensure!(contents(&page.entries) == texts, "{:?}", contents(&page.entries));
        }
    }
    Ok(())
}

/// A page ends before the entry that would exceed its bytes, but it has one if there is one.
pub async fn a_page_ends_at_its_bytes(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    // 10, 20, 4, 100 and 0 bytes.
    let drafts = [5, 10, 2, 50, 0].map(|size| draft("ada", "", &"é".repeat(size))).to_vec();
    log.append("lobby", drafts).await?;
    // bytes, then the oldest and the newest that are kept.
    let table: &[(u32, Places, Places)] = &[
        (0, &[1], &[5]),
        (9, &[1], &[5]),
        (10, &[1], &[5]),
        (29, &[1], &[5]),
        (30, &[1, 2], &[5]),
        (33, &[1, 2], &[5]),
        (34, &[1, 2, 3], &[5]),
        (99, &[1, 2, 3], &[5]),
        (100, &[1, 2, 3], &[4, 5]),
        (103, &[1, 2, 3], &[4, 5]),
        (104, &[1, 2, 3], &[3, 4, 5]),
        (123, &[1, 2, 3], &[3, 4, 5]),
        (124, &[1, 2, 3], &[2, 3, 4, 5]),
        (133, &[1, 2, 3], &[2, 3, 4, 5]),
        (134, &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]),
    ];
    for &(bytes, oldest, newest) in table {
        for (keep, due) in [(Keep::Oldest, oldest), (Keep::Newest, newest)] {
            let page = log.read("lobby", ReadRange { bytes, keep, ..range(0, 9) }).await?;
            let seen = places(&page.entries);
            ensure!(seen == due, "{bytes} bytes, {keep:?}: {seen:?} instead of {due:?}");
        }
    }
    Ok(())
}

/// Whatever is appended, trimmed and read in whatever order: pages are what a dumb model says.
pub async fn reads_match_a_model(kit: &Kit) -> Verdict {
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let handle = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&script(), |steps| {
            let verdict = handle.block_on(async { follow(&kit.fresh().await, &steps).await });
            verdict.map_err(|wrong| TestCaseError::fail(wrong.0))
        })
    });
    outcome.map_err(|error| Wrong(error.to_string()))
}

/// A step of a script; any part of a script is a script.
#[derive(Clone, Debug)]
enum Step {
    Append { room: usize, sizes: Vec<usize> },
    Trim { room: usize, before: u64 },
    Read { room: usize, from: u64, to: u64, limit: u32, bytes: u32, keep: Keep },
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    let room = 0..2_usize;
    let keep = prop_oneof![Just(Keep::Oldest), Just(Keep::Newest)];
    let limit = prop_oneof![0..6_u32, Just(u32::MAX)];
    let bytes = prop_oneof![0..120_u32, Just(u32::MAX)];
    let to = prop_oneof![0..40_u64, Just(u64::MAX)];
    let step = prop_oneof![
        2 => (room.clone(), prop::collection::vec(0..40_usize, 1..8))
            .prop_map(|(room, sizes)| Step::Append { room, sizes }),
        1 => (room.clone(), 0..40_u64).prop_map(|(room, before)| Step::Trim { room, before }),
        3 => (room, 0..40_u64, to, limit, bytes, keep).prop_map(
            |(room, from, to, limit, bytes, keep)| Step::Read { room, from, to, limit, bytes, keep }
        ),
    ];
    prop::collection::vec(step, 1..30)
}

/// A room as simply as it can be said: each entry's content, and how many are gone.
#[derive(Default)]
struct Model {
    said: Vec<String>,
    gone: usize,
}

impl Model {
    /// The places and contents that a read has to answer with.
    fn read(&self, range: &ReadRange) -> Vec<(u64, &str)> {
        let inside = |place: u64| (range.from.get()..=range.to.get()).contains(&place);
        let all: Vec<_> = (1..).zip(self.said.iter().map(String::as_str)).skip(self.gone).collect();
        let all: Vec<_> = all.into_iter().filter(|(place, _)| inside(*place)).collect();
        // The longest piece at the right end that is within the limits.
        let pieces = (0..=all.len()).rev().map(|count| match range.keep {
            Keep::Oldest => &all[..count],
            Keep::Newest => &all[all.len() - count..],
        });
        let bytes = |piece: &[(u64, &str)]| piece.iter().map(|(_, text)| text.len()).sum::<usize>();
        let fits = |piece: &&[(u64, &str)]| {
            piece.len() as u64 <= u64::from(range.limit)
                && (piece.len() <= 1 || bytes(piece) as u64 <= u64::from(range.bytes))
        };
        pieces.into_iter().find(fits).unwrap_or_default().to_vec()
    }
}

async fn follow(log: &Log, steps: &[Step]) -> Verdict {
    let names = ["lobby", "den"];
    let mut models = [Model::default(), Model::default()];
    for step in steps {
        match step {
            Step::Append { room, sizes } => {
                let said = &mut models[*room].said;
                let texts: Vec<_> =
                    sizes.iter().zip(said.len()..).map(|(size, n)| format!("{n:>size$}")).collect();
                let drafts = texts.iter().map(|text| draft("ada", "", text)).collect();
                log.append(names[*room], drafts).await?;
                said.extend(texts);
            }
            Step::Trim { room, before } => {
                let model = &mut models[*room];
                let goal = (*before as usize).saturating_sub(1).min(model.said.len());
                model.gone = model.gone.max(goal);
                let first = log.trim(names[*room], *before).await?;
                same("a trim's answer", &first, &(model.gone as u64 + 1))?;
            }
            &Step::Read { room, from, to, limit, bytes, keep } => {
                let range = ReadRange { from: seq(from), to: seq(to), limit, bytes, keep };
                compare(&log.read(names[room], range).await?, &models[room], &range)?;
            }
        }
    }
    Ok(())
}

fn compare(page: &LogPage, model: &Model, range: &ReadRange) -> Verdict {
    let ends = (model.gone as u64 + 1, model.said.len() as u64);
    same("the ends", &(page.head.first.get(), page.head.last.get()), &ends)?;
    let texts = contents(&page.entries);
    let entries: Vec<_> =
        page.entries.iter().map(|entry| entry.seq).map(Seq::get).zip(texts).collect();
    same("the entries", &entries, &model.read(range))
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, due: &T) -> Verdict {
    ensure!(found == due, "{what} are {found:?} instead of {due:?}");
    Ok(())
}
