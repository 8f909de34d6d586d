//! How the log of what operators order is kept short.
//!
//! What holds is appended anew first, as one batch; only then is trimmed what is before it. So the
//! log says the same at each moment, also if the rest is never done.
use chat_state::ReadError;

use super::Moderation;
use super::follow::room;
use super::held::Anew;

/// Entries beyond those that what holds takes, after which it is written anew.
const GROWN_MAX: u64 = 1000;

/// When the log is tidied.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// At the start: if anything is gained.
    Start,
    /// Once it has grown by [`GROWN_MAX`].
    Running,
}

impl Moderation {
    /// Writes what holds anew if the log has grown, and then trims what is before. If somebody
    /// orders something in between, what was written does not count, and nothing is trimmed.
    pub(super) async fn tidy(&self, when: When) {
        let _turn = self.turn.lock().await;
        match (self.has_grown(when), when) {
            (true, _) => {
                let written = self.write_anew(when).await;
                self.note("what operators have ordered can't be written anew", written.err());
            }
            // The last one may have been cut short before its trim was done.
            (false, When::Start) => {}
            (false, When::Running) => return,
        }
        let (first, anew) = {
            let held = self.lock();
            (held.place.first, held.place.anew)
        };
        if let Some(anew) = anew.filter(|anew| first < *anew) {
            let trimmed = self.log.trim(room(), anew).await;
            if let Ok(first) = trimmed {
                self.lock().place.first = first;
            }
            self.note("old orders of operators can't be trimmed", trimmed.err());
        }
    }

    fn has_grown(&self, when: When) -> bool {
        let revoked = self.revoked.len(self.clock.now().wall);
        let held = self.holding();
        let slack = match when {
            When::Start => 0,
            When::Running => GROWN_MAX,
        };
        held.place.lacking || held.place.grown() > Anew::count(held.bans.len(), revoked) + slack
    }

    async fn write_anew(&self, when: When) -> Result<(), ReadError> {
        self.catch_up().await?;
        if !self.has_grown(when) {
            // Somebody else has done it.
            return Ok(());
        }
        let now = self.clock.now().wall;
        let after = self.lock().place.last;
        let parts: Vec<_> = Anew::parts(after, &self.list(), &self.revoked.list(now)).collect();
        let written = self.append(parts.iter(), now).await.map_err(ReadError)?;
        let place = &mut self.lock().place;
        if place.is_before(&written.epoch, written.first) {
            place.last = after.plus(parts.len() as u64);
            (place.anew, place.lacking) = (Some(written.first), false);
        }
        Ok(())
    }
}
