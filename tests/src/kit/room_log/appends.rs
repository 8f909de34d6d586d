//! What becomes of drafts.
use chat_proto::{Body, DisplayName, Entry, Key, Timestamp, UserId};
use chat_state::{Draft, Outcome};

use super::{Kit, Verdict, batch, contents, draft, ensure, new, places, range, room, seq};

/// The places of a room are 1, 2, 3 …
pub async fn places_are_dense_from_one(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    for due in 1..=20 {
        let place = new(log.say("lobby", draft("ada", "", "hi")).await?)?;
        ensure!(place == due, "append {due} got place {place}");
        let head = log.head("lobby").await?;
        let ends = (head.first.get(), head.last.get());
        ensure!(ends == (1, due), "the ends are {ends:?} after {due} appends");
    }
    let seen = places(&log.all("lobby").await?);
    ensure!(seen == (1..=20).collect::<Vec<_>>(), "the places read are {seen:?}");
    Ok(())
}

/// The drafts of a batch become entries in their order.
pub async fn a_batch_keeps_its_order(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let texts: Vec<_> = (0..300).map(|n| n.to_string()).collect();
    for (half, due) in [(&texts[..150], 1), (&texts[150..], 151)] {
        let drafts = half.iter().map(|text| draft("ada", &format!("k{text}"), text)).collect();
        let outcomes = log.append("lobby", drafts).await?.outcomes;
        for (outcome, due) in outcomes.into_iter().zip(due..) {
            let place = new(outcome)?;
            ensure!(place == due, "place {place} instead of {due} within a batch");
        }
    }
    let entries = log.all("lobby").await?;
    ensure!(contents(&entries) == texts, "the order is {:?}", contents(&entries));
    Ok(())
}

/// The answers of an append come in the order of its batches.
pub async fn answers_follow_the_batches(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let name = |n: usize| format!("room-{}", 9 - n);
    let batches = |round: usize| {
        let drafts = |n| (0..n).map(|m| draft("ada", "", &format!("{round}/{n}/{m}"))).collect();
        (1..=9).map(|n| batch(&name(n), drafts(n))).collect::<Vec<_>>()
    };
    for round in 0..2 {
        for (n, appended) in (1..=9).zip(log.append_all(batches(round)).await?) {
            let found = appended.outcomes.len();
            ensure!(found == n, "a batch of {n} drafts was answered by {found} outcomes");
            let first = new(appended.outcomes[0])?;
            ensure!(first == (round * n) as u64 + 1, "a batch of {n} drafts begins at {first}");
            let epoch = log.head(&name(n)).await?.epoch;
            ensure!(appended.epoch == epoch, "an append and a head tell different epochs");
        }
    }
    for n in 1..=9 {
        let entries = log.all(&name(n)).await?;
        let due: Vec<_> =
            (0..2).flat_map(|round| (0..n).map(move |m| format!("{round}/{n}/{m}"))).collect();
        ensure!(contents(&entries) == due, "{} holds {:?}", name(n), contents(&entries));
    }
    Ok(())
}

/// What is said in one room shows in no other.
pub async fn rooms_are_separate(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    for n in 0..10 {
        let name = if n % 2 == 0 { "even" } else { "odd" };
        let place = new(log.say(name, draft("ada", "", name)).await?)?;
        ensure!(place == n / 2 + 1, "the place in {name} is {place}");
    }
    for name in ["even", "odd"] {
        let page = log.read(name, range(1, 100)).await?;
        ensure!(page.head.room == room(name), "{name} answers as {}", page.head.room);
        ensure!(page.entries.iter().all(|entry| entry.room == room(name)), "a foreign entry");
        ensure!(contents(&page.entries) == [name; 5], "{:?}", contents(&page.entries));
    }
    Ok(())
}

/// No batch, or a batch without drafts, is answered and changes nothing.
pub async fn an_append_may_be_empty(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    log.append_all(Vec::new()).await?;
    let appended = log.append("lobby", Vec::new()).await?;
    let head = log.head("lobby").await?;
    ensure!(head.last.get() == 0, "no draft became {} entries", head.last);
    ensure!(head.epoch == appended.epoch, "an append and a head tell different epochs");
    let batches = vec![batch("lobby", Vec::new()), batch("den", vec![draft("ada", "", "hi")])];
    let answers = log.append_all(batches).await?;
    ensure!(answers[0].outcomes.is_empty(), "no draft has outcomes");
    ensure!(new(answers[1].outcomes[0])? == 1, "an empty batch took a place of another room");
    Ok(())
}

/// Whatever a draft says is read as it was offered, byte for byte.
pub async fn contents_come_back_byte_for_byte(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    let everything: String = (1..0x3000).filter_map(char::from_u32).collect();
    let texts = [
        " leading and trailing ",
        "\"quotes\" \\ back\\\\slashes ' -- ; DROP TABLE entries; %s {} $1 ?1",
        "\u{1}\u{2}\t\r\n\u{7f}\u{85}\u{2028}\u{feff}",
        "e\u{301} is not \u{e9}, \u{fb01} is not fi, \u{212b} is not \u{c5}",
        "👩‍👩‍👧‍👦 \u{202e}right to left\u{202c} \u{fffd} \u{10ffff} \u{fffe}",
        "null",
        "",
        &everything,
        &"x".repeat(1_000_000),
    ];
    let stamps = [0, 1, 1_700_000_000_123, (1 << 53) - 1, u64::MAX >> 1];
    let mut offered = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let reply_to = (n % 2 == 1).then(|| seq(n as u64));
        offered.push(Draft {
            user: UserId::new("a.b_c-9").expect("valid"),
            username: DisplayName::new(["Ada", "Ada Lovelace", "Ада 艾達 ẞ"][n % 3])
                .expect("valid"),
            key: (n % 3 > 0).then(|| Key::new(&format!("ключ \"{n}\" \\'")).expect("valid")),
            ts: Timestamp(stamps[n % stamps.len()]),
            body: Body::Message { content: (*text).into(), reply_to },
        });
    }
    log.append("Café Zoë", offered.clone()).await?;
    let entries = log.all("café zoë").await?;
    ensure!(entries.len() == offered.len(), "{} of {} entries", entries.len(), offered.len());
    for (entry, (draft, n)) in entries.iter().zip(offered.into_iter().zip(1..)) {
        let due: Entry = draft.into_entry(room("Café Zoë"), seq(n));
        ensure!(**entry == due, "entry {n} was offered as {due:?} and is read as {entry:?}");
        ensure!(entry.room.as_str() == "Café Zoë", "entry {n} spells its room {}", entry.room);
    }
    Ok(())
}

/// A room is spelled as the log met it first, in `head` or `append`, also if it has no entries.
pub async fn the_first_spelling_stays(kit: &Kit) -> Verdict {
    let log = kit.fresh().await;
    log.head("Asked").await?;
    log.append("Said", vec![draft("ada", "", "hi")]).await?;
    // Of a room that was only asked for, another process that shares the log does not know.
    let shared = log.log.capabilities().shared;
    for (spelled, other) in [("Asked", "asked"), ("Said", "SAID")].into_iter().skip(shared.into()) {
        for _ in 0..2 {
            let head = log.head(other).await?;
            ensure!(head.room.as_str() == spelled, "{spelled} became {}", head.room);
            log.say(other, draft("ada", "k", "hi")).await?;
            let page = log.read(&other.to_uppercase(), range(1, 9)).await?;
            ensure!(page.head.room.as_str() == spelled, "{spelled} became {}", page.head.room);
            let same = page.entries.iter().all(|entry| entry.room.as_str() == spelled);
            ensure!(same && !page.entries.is_empty(), "an entry does not spell {spelled}");
        }
    }
    let again = log.say("said", draft("ada", "k", "hi")).await?;
    ensure!(matches!(again, Outcome::Duplicate { .. }), "another spelling is another room");
    Ok(())
}
