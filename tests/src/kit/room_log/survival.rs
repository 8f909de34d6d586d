//! What is left after a trim, and after the end of the log.
use chat_proto::{Durability, Timestamp};
use chat_state::Outcome;

use super::{Kit, Log, Verdict, contents, draft, ensure, new, places, range, seq};

/// A trimmed entry is gone, and no place is ever given twice, also if no entry is left.
pub async fn places_are_not_given_again_after_a_trim(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let drafts = (1..=10).map(|n| draft("ada", &format!("k{n}"), &n.to_string())).collect();
    let epoch = log.append("lobby", drafts).await?.epoch;
    // A trim to a place that is gone already changes nothing; one beyond the end takes all.
    for (before, due) in [(0, 1), (1, 1), (4, 4), (2, 4), (10, 10), (11, 11), (u64::MAX, 11)] {
        let first = log.trim("lobby", before).await?;
        ensure!(first == due, "the oldest place before {before} is {first} instead of {due}");
        let head = log.head("lobby").await?;
        ensure!(head.first.get() == due, "the log begins at {} instead of {due}", head.first);
        ensure!(head.last.get() == 10, "the last place became {}", head.last);
        ensure!(head.epoch == epoch, "a trim changed the epoch");
        let seen = places(&log.all("lobby").await?);
        ensure!(seen == (due..=10).collect::<Vec<_>>(), "{seen:?} is left");
    }
    let place = new(log.say("lobby", draft("ada", "", "after")).await?)?;
    ensure!(place == 11, "after a trim of 10 entries the next place is {place}");
    let page = log.read("lobby", range(0, 100)).await?;
    let ends = (page.head.first.get(), page.head.last.get());
    ensure!(ends == (11, 11) && page.head.epoch == epoch, "the ends are {ends:?}");
    ensure!(contents(&page.entries) == ["after"], "{:?} is left", contents(&page.entries));
    Ok(())
}

/// All answers about a room name one epoch. A log that was lost comes back with another, one that
/// was not with the same.
pub async fn the_epoch_names_the_log(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let asked = log.head("lobby").await?.epoch;
    let again = log.read("Lobby", range(0, 9)).await?.head.epoch;
    ensure!(asked == again, "an empty room has the epochs {asked:?} and {again:?}");
    for key in ["", "", "k", "k"] {
        let appended = log.append("lobby", vec![draft("ada", key, "hi")]).await?.epoch;
        ensure!(appended == asked, "an append changed the epoch {asked:?} to {appended:?}");
        let read = log.read("lobby", range(0, 9)).await?.head.epoch;
        let head = log.head("lobby").await?.epoch;
        ensure!(read == asked && head == asked, "the epoch {asked:?} became {read:?}, {head:?}");
    }
    let kept = survives(&log);
    let log = kit.reopen(log).await;
    let after = log.head("lobby").await?.epoch;
    ensure!((after == asked) == kept, "the epoch {asked:?} became {after:?} (kept: {kept})");
    let other = kit.fresh().await.head("lobby").await?.epoch;
    ensure!(other != asked && other != after, "two logs have the epoch {other:?}");
    Ok(())
}

/// What was acked is there after the end of the log, with its place and its room's spelling, and
/// its key, trimmed or not, is known, if the log says so.
pub async fn all_survives_a_reopening(kit: &Kit) -> Verdict {
    let mut log = kit.fresh().await;
    if !survives(&log) {
        log.say("lobby", draft("ada", "k", "1")).await?;
        let log = kit.reopen(log).await;
        let head = log.head("lobby").await?;
        let ends = (head.first.get(), head.last.get());
        ensure!(ends == (1, 0), "the kit's opener gave a lost log with the ends {ends:?}");
        return Ok(());
    }
    let said = |n: u64| {
        let key = if n.is_multiple_of(3) { String::new() } else { format!("k{n}") };
        chat_state::Draft { ts: Timestamp(n), ..draft("ada", &key, &n.to_string()) }
    };
    log.append("Lobby", (1..=9).map(said).collect()).await?;
    log.append("bare", (1..=3).map(said).collect()).await?;
    log.trim("lobby", 3).await?;
    log.trim("bare", 100).await?;
    for life in 1..=3 {
        let before = log.all("lobby").await?;
        log = kit.reopen(log).await;
        let page = log.read("LOBBY", range(0, 100)).await?;
        let ends = (page.head.first.get(), page.head.last.get());
        ensure!(ends == (3, 8 + life), "after {life} ends, the log's are {ends:?}");
        ensure!(page.head.room.as_str() == "Lobby", "the room is spelled {}", page.head.room);
        ensure!(page.entries == before, "{before:?} became {:?}", page.entries);
        for (name, n) in [("lobby", 5), ("lobby", 2), ("bare", 1)] {
            let outcome = log.say(name, said(n)).await?;
            let due = Outcome::Duplicate { seq: seq(n), ts: Timestamp(n) };
            ensure!(outcome == due, "a repeat of {n} in {name} after a reopening is {outcome:?}");
        }
        let more = draft("bob", &format!("l{life}"), "more");
        let more = chat_state::Draft { ts: Timestamp(9 + life), ..more };
        let place = new(log.say("lobby", more).await?)?;
        ensure!(place == 9 + life, "a reopened log goes on at {place}");
    }
    let head = log.head("bare").await?;
    let ends = (head.first.get(), head.last.get());
    ensure!(ends == (4, 3), "the ends of a room that was trimmed to nothing are {ends:?}");
    let place = new(log.say("bare", draft("ada", "", "next")).await?)?;
    ensure!(place == 4, "a room that was trimmed to nothing goes on at {place}");
    Ok(())
}

fn survives(log: &Log) -> bool {
    log.log.capabilities().durability > Durability::Memory
}
