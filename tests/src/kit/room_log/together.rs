//! Many tasks at once.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_state::{Keep, LogPage, Outcome, ReadRange};
use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::{
    Kit, Log, Verdict, Wrong, batch, content, contents, draft, ensure, new, places, range,
};

/// Waits for all tasks and answers with what they did.
async fn join<T: 'static>(mut tasks: JoinSet<Result<T, Wrong>>) -> Result<Vec<T>, Wrong> {
    let mut done = Vec::new();
    while let Some(task) = tasks.join_next().await {
        done.push(task.map_err(|error| Wrong(error.to_string()))??);
    }
    Ok(done)
}

/// What was acked is read, by `head` and `read`, from that moment on.
pub async fn what_was_acked_is_read(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let log = log.clone();
        tasks.spawn(async move {
            for n in 0..30 {
                let (name, text) = (format!("room-{}", n % 3), format!("{task}/{n}"));
                let place = new(log.say(&name, draft("ada", &text, &text)).await?)?;
                let last = log.head(&name).await?.last.get();
                ensure!(last >= place, "place {place} was acked, but the log ends at {last}");
                let page = log.read(&name, range(place, place)).await?;
                ensure!(contents(&page.entries) == [text.as_str()], "what was acked is not read");
                let again = log.say(&name, draft("ada", &text, &text)).await?;
                let known = matches!(again, Outcome::Duplicate { seq, .. } if seq.get() == place);
                ensure!(known, "what was acked is {again:?} when repeated");
            }
            Ok(())
        });
    }
    join(tasks).await.map(drop)
}

/// Batches of many tasks over several rooms stay whole and in order, and leave no hole.
pub async fn batches_do_not_mix(kit: &Kit) -> Verdict {
    const TASKS: usize = 12;
    const ROUNDS: usize = 15;
    let log = kit.fresh().await;
    let names = ["a", "b", "c", "d", "e"];
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let log = log.clone();
        tasks.spawn(async move {
            let mut acked = Vec::new();
            for round in 0..ROUNDS {
                let wanted = (0..3).map(|n| names[(task + round + n * 2) % 5]);
                let size = 1 + (task + round) % 7;
                let text = |n: usize| format!("{task}/{round}/{n}");
                let drafts = |_| (0..size).map(|n| draft("ada", &text(n), &text(n))).collect();
                let batches = wanted.clone().map(|name| batch(name, drafts(name))).collect();
                for (name, appended) in wanted.zip(log.append_all(batches).await?) {
                    for (n, outcome) in appended.outcomes.into_iter().enumerate() {
                        acked.push((name, new(outcome)?, text(n)));
                    }
                }
            }
            Ok(acked)
        });
    }
    let acked = join(tasks).await?;
    let total: usize = acked.iter().map(Vec::len).sum();
    let mut rooms = BTreeMap::new();
    for name in names {
        rooms.insert(name, log.all(name).await?);
    }
    let held: usize = rooms.values().map(Vec::len).sum();
    ensure!(held == total, "{total} drafts became {held} entries");
    for (name, entries) in &rooms {
        let due: Vec<_> = (1..=entries.len() as u64).collect();
        ensure!(places(entries) == due, "the places of {name} are {:?}", places(entries));
    }
    for acked in acked {
        let mut before: BTreeMap<_, (u64, String)> = BTreeMap::new();
        for (name, place, text) in acked {
            let found = content(&rooms[name][place as usize - 1]);
            ensure!(found == text, "{text:?} was acked at {place} of {name}: {found:?} is there");
            if let Some((last, earlier)) = before.insert(name, (place, text.clone())) {
                let together =
                    earlier.rsplit_once('/').map(|it| it.0) == text.rsplit_once('/').map(|it| it.0);
                let right = if together { place == last + 1 } else { place > last };
                ensure!(right, "{earlier:?} is at {last} of {name} and {text:?} at {place}");
            }
        }
    }
    Ok(())
}

/// Pages that are read while others append and trim are contiguous, fit their ends, and never
/// show an entry in two ways.
pub async fn pages_are_whole_while_others_write(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for keep in [Keep::Oldest, Keep::Newest] {
        let (log, over) = (log.clone(), over.clone());
        readers.spawn(async move {
            let (mut seen, mut ends) = (BTreeMap::new(), (0, 0));
            while !over.load(Ordering::Acquire) {
                let wanted = ReadRange { limit: 20, keep, ..range(0, u64::MAX) };
                check_page(&log.read("lobby", wanted).await?, keep, &mut seen, &mut ends)?;
                tokio::task::yield_now().await;
            }
            Ok(())
        });
    }
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let log = log.clone();
        writers.spawn(async move {
            for n in 0..40 {
                let text = |m: u64| format!("{writer}/{n}/{m}");
                let drafts = (0..1 + n % 4).map(|m| draft("ada", &text(m), &text(m))).collect();
                log.append("lobby", drafts).await?;
                if writer == 0 && n % 5 == 0 {
                    log.trim("lobby", n * 2).await?;
                }
            }
            Ok(())
        });
    }
    let written = join(writers).await;
    over.store(true, Ordering::Release);
    written?;
    join(readers).await.map(drop)
}

/// A room is whole also at the moment when its first entries come: whoever asks then gets all of
/// them or none, under one epoch.
pub async fn a_room_begins_at_once(kit: &Kit) -> Verdict {
    const ROOMS: usize = 100;
    let log = kit.fresh().await;
    let mut tasks = JoinSet::new();
    for n in 0..ROOMS {
        let log = log.clone();
        tasks.spawn(async move {
            let name = format!("room-{n}");
            let said = vec![draft("ada", "a", "1"), draft("ada", "b", "2")];
            let (appended, page, head) = tokio::join!(
                log.append(&name, said),
                log.read(&name, range(0, 9)),
                log.head(&name)
            );
            let (appended, page, head) = (appended?, page?, head?);
            for ends in [&page.head, &head] {
                let (first, last) = (ends.first.get(), ends.last.get());
                ensure!(first == 1 && (last == 0 || last == 2), "a room begins as {ends:?}");
                ensure!(ends.epoch == appended.epoch, "a room begins with two epochs");
            }
            let (due, found) = (page.head.last.get(), places(&page.entries));
            ensure!(found == (1..=due).collect::<Vec<_>>(), "{found:?} in a page of 1..={due}");
            Ok(())
        });
    }
    join(tasks).await.map(drop)
}

fn check_page(
    page: &LogPage,
    keep: Keep,
    seen: &mut BTreeMap<u64, String>,
    ends: &mut (u64, u64),
) -> Verdict {
    let (first, last) = (page.head.first.get(), page.head.last.get());
    ensure!(first >= ends.0 && last >= ends.1, "the ends {ends:?} became {first} and {last}");
    *ends = (first, last);
    let due: Vec<_> = match keep {
        Keep::Oldest => (first..=last).take(20).collect(),
        Keep::Newest => (first.max(last.saturating_sub(19))..=last).collect(),
    };
    let found = places(&page.entries);
    ensure!(found == due, "a page of {first}..={last}, {keep:?}, has {found:?}");
    for entry in &page.entries {
        let text = content(entry);
        let before = seen.entry(entry.seq.get()).or_insert_with(|| text.to_owned());
        ensure!(before == text, "entry {} was {before:?} and is {text:?}", entry.seq);
    }
    Ok(())
}

/// Giving up an answer gives up no work, and does none twice.
pub async fn a_dropped_answer_drops_no_work(kit: &Kit) -> Verdict {
    const DRAFTS: usize = 40;
    let log = kit.fresh().await;
    let said = |n: usize| draft("ada", &format!("k{n}"), &format!("text {n}"));
    for n in 0..DRAFTS {
        // Polled once: some are ready then, the others are dropped halfway.
        let append = log.log.append(vec![batch("lobby", vec![said(n)])]);
        if let Some(answers) = append.now_or_never() {
            answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        drop(log.log.head(super::room("lobby")).now_or_never());
        drop(log.log.read(super::room("lobby"), range(0, 9)).now_or_never());
    }
    while log.head("lobby").await?.last.get() < DRAFTS as u64 {
        tokio::task::yield_now().await;
    }
    repeat_all(&log, DRAFTS, said).await?;
    let entries = log.all("lobby").await?;
    ensure!(entries.len() == DRAFTS, "{DRAFTS} drafts became {} entries", entries.len());
    Ok(())
}

async fn repeat_all(log: &Log, count: usize, said: impl Fn(usize) -> chat_state::Draft) -> Verdict {
    for n in 0..count {
        let again = log.say("lobby", said(n)).await?;
        let known = matches!(again, Outcome::Duplicate { .. });
        ensure!(known, "a draft whose answer was given up is {again:?} when repeated");
    }
    Ok(())
}
