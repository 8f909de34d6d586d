//! A key stays known when its entry is gone.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_proto::Timestamp;
use chat_state::{Draft, Outcome};
use chat_tokio::log::KEYS_REMEMBERED_MS;

use super::{Kit, Log, Verdict, Wrong, draft, ensure, new, places, seq};

/// When the first entry of a case is made.
const START: u64 = 1_700_000_000_000;

/// Keys of one user that a case makes beyond those that it checks for.
const EXCESS: u64 = 3;

/// Above this, how many keys a log remembers is not checked: it would take too long.
const KEYS_MAX: u64 = 5_000;

/// Drafts of one append.
const BATCH: usize = 500;

/// Makes the draft of a user's key that is this old, in milliseconds after the start.
fn said(user: &str, n: u64, ms: u64) -> Draft {
    let draft = draft(user, &format!("k{n}"), &format!("{user} {n}"));
    Draft { ts: Timestamp(START + ms), ..draft }
}

fn duplicate(place: u64, ms: u64) -> Outcome {
    Outcome::Duplicate { seq: seq(place), ts: Timestamp(START + ms) }
}

/// Returns how many keys of one user the log says that it remembers.
fn keys_per_user(log: &Log) -> Result<u64, Wrong> {
    let keys = log.log.capabilities().keys_per_user;
    ensure!(keys > 0, "the log says that it remembers no key whose entry is gone");
    Ok(keys)
}

/// A repeat of a trimmed entry is answered by the first place and time; with another body it is a
/// conflict. So is it of an entry that is there, also if no other is left, and neither takes a
/// place.
pub async fn a_key_outlives_its_entry(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    keys_per_user(&log)?;
    let users = ["ada", "bob", "eve", "ida", "joe", "kim"];
    let all = || users.iter().zip(1..).map(|(user, n)| said(user, n, n));
    log.append("lobby", all().collect()).await?;
    for before in [1, 4, 6, 100] {
        log.trim("lobby", before).await?;
        for (again, n) in all().zip(1..) {
            let due = duplicate(n, n);
            let outcome = log.say("lobby", Draft { ts: Timestamp(START + 99), ..again }).await?;
            ensure!(outcome == due, "{outcome:?} instead of {due:?} after a trim before {before}");
        }
        let others = all().map(|again| Draft { body: said("ada", 9, 9).body, ..again });
        let outcomes = log.append("lobby", others.collect()).await?.outcomes;
        let conflicts = outcomes.iter().all(|outcome| *outcome == Outcome::Conflict);
        ensure!(conflicts, "another body is {outcomes:?} after a trim before {before}");
    }
    // They are still the keys of their users, in their room.
    let others = vec![said("ada", 2, 9), said("ada", 1, 9), said("bob", 1, 9), said("bob", 1, 9)];
    let outcomes = log.append("lobby", others).await?.outcomes;
    let fresh = |place| Outcome::New { seq: seq(place) };
    let due = [fresh(7), duplicate(1, 1), fresh(8), duplicate(8, 9)];
    ensure!(outcomes == due, "{outcomes:?} instead of {due:?}");
    let place = new(log.say("den", said("ada", 1, 9)).await?)?;
    ensure!(place == 1, "a key that is gone in one room got place {place} in another");
    let seen = places(&log.all("lobby").await?);
    ensure!(seen == [7, 8], "{seen:?} is left");
    Ok(())
}

/// Of each user a room remembers as many keys as the log says, the newest, however many trims took
/// the entries; the keys of entries that are there do not count, nor do those of others.
pub async fn a_user_has_so_many_keys(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let keys = keys_per_user(&log)?;
    let (count, bounded) = (keys.min(KEYS_MAX) + EXCESS, keys <= KEYS_MAX);
    // Another one's key is older than all of them.
    let bob = said("bob", 1, 0);
    let ada: Vec<_> = (1..=count).map(|n| said("ada", n, n)).collect();
    let (there, early) = (said("ada", count + 1, count + 1), ada.len() / 2);
    let all: Vec<_> = [bob.clone()].into_iter().chain(ada.clone()).chain([there]).collect();
    for drafts in all.chunks(BATCH) {
        log.append("lobby", drafts.to_vec()).await?;
    }
    for before in [early as u64, count + 2] {
        log.trim("lobby", before).await?;
    }
    let excess = if bounded { EXCESS as usize } else { 0 };
    for (from, drafts) in (excess..).step_by(BATCH).zip(ada[excess..].chunks(BATCH)) {
        let outcomes = log.append("lobby", drafts.to_vec()).await?.outcomes;
        let due: Vec<_> =
            (from as u64 + 1..).map(|n| duplicate(n + 1, n)).take(drafts.len()).collect();
        let wrong = outcomes.iter().zip(&due).find(|(outcome, due)| outcome != due);
        ensure!(wrong.is_none(), "of {keys} keys, one after {from} is not known: {wrong:?}");
    }
    let outcome = log.say("lobby", bob).await?;
    ensure!(outcome == duplicate(1, 0), "the keys of others took a user's only one: {outcome:?}");
    for (again, due) in ada.into_iter().take(excess).zip(count + 3..) {
        let place = new(log.say("lobby", again).await?)?;
        ensure!(place == due, "a forgotten key is at {place} instead of {due}");
    }
    Ok(())
}

/// A key is known until an entry is more than a day younger; then it is old or new. Which entry it
/// is does not matter, nor when the trim was.
pub async fn a_key_is_known_for_a_day(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    keys_per_user(&log)?;
    log.append("lobby", vec![said("ada", 1, 0), said("bob", 1, 1)]).await?;
    log.trim("lobby", 2).await?;
    for name in ["lobby", "den"] {
        new(log.say(name, said("eve", 1, KEYS_REMEMBERED_MS)).await?)?;
        log.trim(name, 3).await?;
        for (user, place) in [("ada", 1), ("bob", 2)] {
            let outcome = log.say("lobby", said(user, 1, KEYS_REMEMBERED_MS)).await?;
            let due = duplicate(place, place - 1);
            ensure!(outcome == due, "{outcome:?} instead of {due:?} at the end of the day");
        }
    }
    new(log.say("lobby", said("eve", 2, KEYS_REMEMBERED_MS + 1)).await?)?;
    log.trim("lobby", 4).await?;
    match log.say("lobby", said("ada", 1, KEYS_REMEMBERED_MS + 1)).await? {
        Outcome::New { seq } => ensure!(seq.get() == 5, "an old key, new again, is at {seq}"),
        old => ensure!(old == duplicate(1, 0), "an old key is {old:?}"),
    }
    let outcome = log.say("lobby", said("bob", 1, KEYS_REMEMBERED_MS + 1)).await?;
    ensure!(outcome == duplicate(2, 1), "a key that is a day old is {outcome:?}");
    Ok(())
}

/// There is no moment between an entry and the memory of its key: while others trim, a repeat is
/// never new.
pub async fn a_key_is_known_while_its_entry_goes(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let count = keys_per_user(&log)?.min(200);
    let said_up_to = Arc::new(AtomicU64::new(0));
    let (trimming, goal) = (log.clone(), said_up_to.clone());
    let trims = tokio::spawn(async move {
        while goal.load(Ordering::Acquire) < count {
            trimming.trim("lobby", goal.load(Ordering::Acquire) + 1).await?;
            tokio::task::yield_now().await;
        }
        Ok::<_, Wrong>(())
    });
    let verdict = repeat_while_trimmed(&log, count, &said_up_to).await;
    // Also if something was wrong, so that the other task ends.
    said_up_to.store(count, Ordering::Release);
    trims.await.map_err(|error| Wrong(error.to_string()))??;
    verdict
}

async fn repeat_while_trimmed(log: &Log, count: u64, said_up_to: &AtomicU64) -> Verdict {
    for n in 1..=count {
        let place = new(log.say("lobby", said("ada", n, n)).await?)?;
        ensure!(place == n, "a repeat took a place: {place} instead of {n}");
        said_up_to.store(n, Ordering::Release);
        for old in [n, n.div_ceil(2), 1] {
            let outcome = log.say("lobby", said("ada", old, n)).await?;
            let due = duplicate(old, old);
            ensure!(outcome == due, "{outcome:?} instead of {due:?} while others trim");
        }
    }
    Ok(())
}
