//! (user, room, key) is taken once.
use chat_proto::Timestamp;
use chat_state::{Draft, Outcome};
use tokio::task::JoinSet;

use super::{Kit, Log, Verdict, Wrong, batch, contents, draft, ensure, new, places, seq};

/// Checks that a draft is answered by the place and time of the first one of its key.
async fn ensure_duplicate(log: &Log, name: &str, again: Draft, first: (u64, u64)) -> Verdict {
    let outcome = log.say(name, again).await?;
    let due = Outcome::Duplicate { seq: seq(first.0), ts: Timestamp(first.1) };
    ensure!(outcome == due, "a repeat is {outcome:?} instead of {due:?}");
    Ok(())
}

fn at(ts: u64, draft: Draft) -> Draft {
    Draft { ts: Timestamp(ts), ..draft }
}

/// A draft sent again is answered by the first one's place and time, and takes no place.
pub async fn a_repeat_is_a_duplicate(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    for n in 1..=50 {
        let text = format!("text {n}");
        let said = at(1000 + n, draft("ada", &format!("k{n}"), &text));
        let place = new(log.say("lobby", said).await?)?;
        ensure!(place == n, "a repeat took a place: {place} instead of {n}");
        for back in [0, 1, 10, 49] {
            let Some(old) = n.checked_sub(back).filter(|old| *old > 0) else { continue };
            let again = draft("ada", &format!("k{old}"), &format!("text {old}"));
            ensure_duplicate(&log, "lobby", at(9999, again), (old, 1000 + old)).await?;
        }
    }
    let seen = places(&log.all("lobby").await?);
    ensure!(seen == (1..=50).collect::<Vec<_>>(), "the places read are {seen:?}");
    Ok(())
}

/// A known key with another body is refused as a conflict, and changes nothing.
pub async fn a_key_with_another_body_is_a_conflict(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    log.say("lobby", at(5, draft("ada", "k", "one"))).await?;
    let mut answer = draft("ada", "k", "one");
    let chat_proto::Body::Message { reply_to, .. } = &mut answer.body else {
        return Err(Wrong("the kit's drafts are messages".into()));
    };
    *reply_to = Some(seq(1));
    for other in [draft("ada", "k", "two"), draft("ada", "k", "one "), answer] {
        let outcome = log.say("lobby", other).await?;
        ensure!(outcome == Outcome::Conflict, "another body is {outcome:?}");
    }
    ensure_duplicate(&log, "lobby", draft("ada", "k", "one"), (1, 5)).await?;
    let entries = log.all("lobby").await?;
    ensure!(contents(&entries) == ["one"], "a conflict left {:?}", contents(&entries));
    let next = new(log.say("lobby", draft("ada", "l", "two")).await?)?;
    ensure!(next == 2, "a conflict took a place: the next one is {next}");
    Ok(())
}

/// The same key of another user, or in another room, is another key. Keys are compared exactly.
pub async fn a_key_belongs_to_a_user_and_a_room(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let users_and_keys = [("ada", "k"), ("bob", "k"), ("ada", "K"), ("ada", "k "), ("ad", "ak")];
    for name in ["lobby", "den"] {
        for ((user, key), due) in users_and_keys.into_iter().zip(1..) {
            let place = new(log.say(name, draft(user, key, "hi")).await?)?;
            ensure!(place == due, "{user}'s key {key:?} got place {place}");
        }
        for ((user, key), due) in users_and_keys.into_iter().zip(1..) {
            let first = (due, 1_700_000_000_000);
            ensure_duplicate(&log, name, draft(user, key, "hi"), first).await?;
        }
    }
    Ok(())
}

/// A key that comes twice in one batch is taken once, and the rest of the batch stays dense.
pub async fn a_key_twice_in_one_batch(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let say = |key: &str, text: &str| at(7, draft("ada", key, text));
    let drafts = vec![
        say("a", "1"),
        say("b", "2"),
        say("a", "1"),
        say("a", "3"),
        say("b", "2"),
        say("c", "4"),
    ];
    let outcomes = log.append("lobby", drafts).await?.outcomes;
    let duplicate = |place| Outcome::Duplicate { seq: seq(place), ts: Timestamp(7) };
    let fresh = |place| Outcome::New { seq: seq(place) };
    let due = [fresh(1), fresh(2), duplicate(1), Outcome::Conflict, duplicate(2), fresh(3)];
    ensure!(outcomes == due, "{outcomes:?} instead of {due:?}");
    let entries = log.all("lobby").await?;
    ensure!(contents(&entries) == ["1", "2", "4"], "{:?}", contents(&entries));
    Ok(())
}

/// Drafts without a key are never taken for repeats.
pub async fn no_key_is_no_repeat(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    for due in 1..=5 {
        let place = new(log.say("lobby", draft("ada", "", "same")).await?)?;
        ensure!(place == due, "the same text without a key got place {place}");
    }
    Ok(())
}

/// However many offer one key at the same time, one is new and the others get its place.
pub async fn a_key_is_taken_once_by_many_at_once(kit: &Kit) -> Verdict {
    const ROUNDS: usize = 10;
    const SENDERS: usize = 16;
    let log = kit.fresh().await;
    for round in 0..ROUNDS {
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let log = log.clone();
            senders.spawn(async move {
                // Some offer it among others, so that batches of several shapes meet.
                let mine = format!("{round}/{sender}");
                let shared = draft("ada", &format!("k{round}"), "shared");
                let drafts = match sender % 3 {
                    0 => vec![shared],
                    1 => vec![draft("ada", &mine, &mine), shared],
                    _ => vec![shared, draft("ada", &mine, &mine)],
                };
                let at = usize::from(sender % 3 == 1);
                let others = batch("den", vec![draft("ada", &mine, &mine)]);
                let mut all = log.append_all(vec![batch("lobby", drafts), others]).await?;
                Ok::<_, Wrong>(all.swap_remove(0).outcomes[at])
            });
        }
        let (mut first, mut repeats) = (Vec::new(), Vec::new());
        while let Some(outcome) = senders.join_next().await {
            match outcome.map_err(|error| Wrong(error.to_string()))?? {
                Outcome::New { seq } => first.push(seq),
                Outcome::Duplicate { seq, .. } => repeats.push(seq),
                Outcome::Conflict => return Err(Wrong("the same body is a conflict".into())),
            }
        }
        ensure!(first.len() == 1, "one key was new {} times", first.len());
        ensure!(repeats.iter().all(|seq| *seq == first[0]), "repeats are at {repeats:?}");
    }
    let entries = log.all("lobby").await?;
    let shared = contents(&entries).iter().filter(|text| **text == "shared").count();
    ensure!(shared == ROUNDS, "{ROUNDS} keys have {shared} entries");
    let due: Vec<_> = (1..=entries.len() as u64).collect();
    ensure!(places(&entries) == due, "the places are {:?}", places(&entries));
    Ok(())
}
