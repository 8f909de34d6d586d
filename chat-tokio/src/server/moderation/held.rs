//! What holds, how it stands in the log, and how entries of the log change it.
use std::collections::BTreeMap;

use chat_proto::{Body, Entry, Epoch, RoomName, Seq, Timestamp, UserId};
use chat_state::{BANS_MAX, LogHead, Order, Revoke, TokenId};
use serde::{Deserialize, Serialize};

use super::Ban;

/// Bans, or revocations, of one entry of what is written anew: at most some 200 kB.
const PER_ENTRY: usize = 256;

/// What was ordered, as it stands in the log.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    Ban(Banned),
    Unban { user: UserId, room: Option<RoomName> },
    RevokeUser { user: UserId },
    RevokeToken { token: String },
    Anew(Anew),
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Banned {
    user: UserId,
    room: Option<RoomName>,
    until: Option<Timestamp>,
}

/// A part of all that held right after an entry. It counts only if the parts stand right behind
/// that entry: then nothing was ordered in between, and what is before them says nothing more.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Anew {
    after: Seq,
    /// Which part it is, from 0.
    part: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bans: Vec<Banned>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    users: Vec<(UserId, Timestamp)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<(String, Timestamp)>,
}

impl Anew {
    /// Returns what holds after an entry, in parts; at least one.
    pub(super) fn parts(
        after: Seq,
        bans: &[Ban],
        revoked: &[(Revoke, Timestamp)],
    ) -> impl Iterator<Item = Record> {
        let bans = bans.chunks(PER_ENTRY).map(|bans| {
            let bans = bans.iter().cloned().map(Banned::from).collect();
            Self { bans, ..Self::default() }
        });
        let revoked = revoked.chunks(PER_ENTRY).map(|revoked| {
            let mut part = Self::default();
            revoked.iter().for_each(|(what, since)| part.add(what, *since));
            part
        });
        let mut parts: Vec<Self> = bans.chain(revoked).collect();
        if parts.is_empty() {
            parts.push(Self::default());
        }
        let numbered = (0..).zip(parts);
        numbered.map(move |(part, all)| Record::Anew(Self { after, part, ..all }))
    }

    /// Returns how many parts that takes.
    pub(super) fn count(bans: usize, revoked: usize) -> u64 {
        (bans.div_ceil(PER_ENTRY) + revoked.div_ceil(PER_ENTRY)).max(1) as u64
    }

    fn add(&mut self, what: &Revoke, since: Timestamp) {
        match what {
            Revoke::User(user) => self.users.push((user.clone(), since)),
            Revoke::Token(token) => self.tokens.push((token.as_str().to_owned(), since)),
            // They are not remembered.
            Revoke::Session(_) | Revoke::Key(_) => {}
        }
    }
}

impl From<Ban> for Banned {
    fn from(Ban { user, room, until }: Ban) -> Self {
        Self { user, room, until }
    }
}

impl Record {
    /// Returns what is written of a revocation; `None`: nothing.
    pub(super) fn revoked(what: &Revoke) -> Option<Self> {
        match what {
            Revoke::User(user) => Some(Self::RevokeUser { user: user.clone() }),
            Revoke::Token(token) => Some(Self::RevokeToken { token: token.as_str().to_owned() }),
            // A key counts again where the settings name it again.
            Revoke::Session(_) | Revoke::Key(_) => None,
        }
    }
}

/// Who is kept out of where, and until when.
pub(super) type Bans = BTreeMap<(UserId, Option<RoomName>), Option<Timestamp>>;

/// What holds, as of a place in the log.
#[derive(Clone, Default)]
pub(super) struct Held {
    /// At most [`BANS_MAX`].
    pub(super) bans: Bans,
    pub(super) place: Place,
}

/// How far the log was read.
#[derive(Clone, Default)]
pub(super) struct Place {
    /// Which log; `None`: it was not read yet.
    pub(super) epoch: Option<Epoch>,
    /// The last entry that was read.
    pub(super) last: Seq,
    /// The oldest entry of the log.
    pub(super) first: Seq,
    /// The first entry of what was last written anew.
    pub(super) anew: Option<Seq>,
    /// More may hold than the log says: it has begun anew.
    pub(super) lacking: bool,
}

impl Place {
    /// Tells whether an entry is the next one.
    pub(super) fn is_before(&self, epoch: &Epoch, seq: Seq) -> bool {
        self.epoch.as_ref() == Some(epoch) && self.last.next() == seq
    }

    /// Tells whether nothing is left to be read.
    pub(super) fn is_at(&self, head: &LogHead) -> bool {
        self.epoch.as_ref() == Some(&head.epoch) && self.last >= head.last
    }

    /// Returns how many entries there are from the last time that all was written anew.
    pub(super) fn grown(&self) -> u64 {
        let from = self.anew.unwrap_or(self.first);
        self.last.next().get().saturating_sub(from.get())
    }
}

/// What holds, while entries are taken in.
pub(super) struct Fold {
    pub(super) held: Held,
    /// In the order of the log.
    pub(super) revoked: Vec<(Revoke, Timestamp)>,
}

/// Whether a page of the log goes on where the last one ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Known,
    /// It is another log: it has to be read from its beginning.
    Other,
}

impl Fold {
    pub(super) fn new(held: Held) -> Self {
        Self { held, revoked: Vec::new() }
    }

    /// Looks which log a page is of.
    pub(super) fn meet(&mut self, head: &LogHead) -> Met {
        let place = &mut self.held.place;
        let is_its_beginning = place.last == Seq::ZERO;
        if place.epoch.as_ref() != Some(&head.epoch) {
            let lacking = place.lacking || !is_its_beginning;
            *place = Place { epoch: Some(head.epoch.clone()), lacking, ..Place::default() };
        }
        place.first = head.first;
        if is_its_beginning || place.last > Seq::ZERO { Met::Known } else { Met::Other }
    }

    /// Takes the next entry. What is not understood was written by a later version; it is said, and
    /// skipped.
    pub(super) fn take(&mut self, entry: &Entry) {
        self.held.place.last = entry.seq;
        let Body::Message { content, .. } = &entry.body else { return };
        match serde_json::from_str(content) {
            Ok(Record::Anew(anew)) if anew.after.next().plus(anew.part) == entry.seq => {
                if anew.part == 0 {
                    self.held.place.anew = Some(entry.seq);
                    // Whoever wrote it may not have known what the log lacks.
                    if !self.held.place.lacking {
                        self.held.bans.clear();
                    }
                }
                self.take_part(anew);
            }
            // Something was ordered in between.
            Ok(Record::Anew(_)) => {}
            Ok(record) => self.apply(record, entry.ts),
            Err(error) => tracing::warn!(%error, "an order in the log is not understood"),
        }
    }

    /// Does what was ordered at a time.
    pub(super) fn apply(&mut self, record: Record, at: Timestamp) {
        match record {
            Record::Ban(ban) => self.ban(ban),
            Record::Unban { user, room } => {
                self.held.bans.remove(&(user, room));
            }
            Record::RevokeUser { user } => self.revoked.push((Revoke::User(user), at)),
            Record::RevokeToken { token } => self.revoke_token(&token, at),
            Record::Anew(anew) => self.take_part(anew),
        }
    }

    fn take_part(&mut self, anew: Anew) {
        anew.bans.into_iter().for_each(|ban| self.ban(ban));
        let users = anew.users.into_iter().map(|(user, at)| (Revoke::User(user), at));
        self.revoked.extend(users);
        anew.tokens.iter().for_each(|(token, at)| self.revoke_token(token, *at));
    }

    fn revoke_token(&mut self, token: &str, at: Timestamp) {
        let token = TokenId::new(token).map(Revoke::Token);
        self.revoked.extend(token.map(|token| (token, at)));
    }

    /// Two servers that share the log may have ordered more than there may be: as on the Hub, the
    /// one that ends first makes place.
    fn ban(&mut self, Banned { user, room, until }: Banned) {
        let bans = &mut self.held.bans;
        bans.insert((user, room), until);
        if bans.len() > BANS_MAX {
            let ends = |until: &Option<Timestamp>| until.map_or(u64::MAX, |until| until.0);
            let first = bans.iter().min_by_key(|(_, until)| ends(until));
            if let Some(first) = first.map(|(ban, _)| ban.clone()) {
                bans.remove(&first);
            }
        }
    }
}

/// Returns what has to be ordered so that other bans hold than before.
pub(super) fn changes(before: &Bans, after: &Bans) -> Vec<Order> {
    let lifted = before.keys().filter(|ban| !after.contains_key(ban));
    let lifted = lifted.map(|(user, room)| Order::Unban { user: user.clone(), room: room.clone() });
    let others = after.iter().filter(|(ban, until)| before.get(ban) != Some(until));
    let others = others.map(|((user, room), until)| {
        let (user, room, until) = (user.clone(), room.clone(), *until);
        Order::Ban { user, room, until }
    });
    lifted.chain(others).collect()
}
