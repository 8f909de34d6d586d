//! Names for the logs of rooms.
use std::fmt::Write;

use chat_proto::{Epoch, RoomName};

use super::recent::RecentMap;

/// Makes epochs: a token drawn once, and a number for each. So an epoch differs from all that this
/// or another process made, and making one can't fail.
#[derive(Debug)]
pub(crate) struct Epochs {
    token: String,
    /// How many were made; `None`: the token alone is the epoch of every room.
    made: Option<u64>,
}

impl Epochs {
    /// Draws the token: 64 bits, since epochs need to differ from those of the same room only.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(crate) fn draw() -> Result<Self, getrandom::Error> {
        Ok(Self { token: format!("{:016x}", getrandom::u64()?), made: Some(0) })
    }

    /// Takes the token that several processes agree on, and makes nothing else of it: so they agree
    /// on the epoch of a room before one of them has given it entries.
    ///
    /// It is for logs that never forget a room that had entries, or the room's next log would bear
    /// the same name.
    #[cfg(feature = "sqlite")]
    pub(crate) fn agreed(token: &Epoch) -> Self {
        Self { token: token.as_str().to_owned(), made: None }
    }

    /// Makes the next epoch.
    pub(crate) fn make(&mut self) -> Epoch {
        let mut text = self.token.clone();
        if let Some(made) = &mut self.made {
            // Writing to a string does not fail. 11 hexadecimal digits last for 17 * 10^12 rooms.
            let _ = write!(text, "-{:x}", *made & 0xfff_ffff_ffff);
            *made += 1;
        }
        Epoch::new(&text).expect("16 + 1 + 11 letters and digits fit the grammar of epochs")
    }
}

/// The rooms without entries that somebody asked for: how they are spelled, and which epoch they
/// will have. They live here, bounded, so that asking for rooms at random fills neither the disk
/// nor the memory, and evicts no room that has entries.
#[derive(Debug)]
pub(crate) struct MetRooms {
    rooms: RecentMap<RoomName, (RoomName, Epoch)>,
    epochs: Epochs,
}

impl MetRooms {
    /// Makes the place for at most `max` rooms.
    pub(crate) fn new(max: usize, epochs: Epochs) -> Self {
        Self { rooms: RecentMap::new(max), epochs }
    }

    /// Returns the first spelling and the epoch of a room.
    pub(crate) fn meet(&mut self, room: &RoomName) -> (RoomName, Epoch) {
        if let Some(known) = self.rooms.get(room) {
            return known.clone();
        }
        let made = (room.clone(), self.epochs.make());
        self.rooms.insert(room.clone(), made.clone());
        made
    }

    /// Forgets a room, which has entries from here on and is known by them.
    pub(crate) fn leave(&mut self, room: &RoomName) {
        self.rooms.remove(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_differ_and_fit_their_grammar_to_the_end() {
        let mut epochs = Epochs::draw().unwrap();
        assert_ne!(epochs.make(), epochs.make());
        assert_ne!(Epochs::draw().unwrap().make(), Epochs::draw().unwrap().make());
        epochs.made = Some(u64::MAX - 1);
        assert_eq!(epochs.make().as_str().len(), 28);
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn who_agrees_on_a_token_makes_the_same_epochs() {
        let token = Epochs::draw().unwrap().make();
        let [mut here, mut there] = [Epochs::agreed(&token), Epochs::agreed(&token)];
        assert_eq!([here.make(), here.make()], [there.make(), token]);
    }

    #[test]
    fn a_room_keeps_its_first_spelling_and_epoch_until_it_is_forgotten() {
        let mut met = MetRooms::new(1, Epochs::draw().unwrap());
        let name = |text| RoomName::new(text).unwrap();
        let (spelled, epoch) = met.meet(&name("Lobby"));
        let again = met.meet(&name("lobby"));
        assert_eq!((again.0.as_str(), &again.1), (spelled.as_str(), &epoch));
        met.meet(&name("other"));
        assert_ne!(met.meet(&name("lobby")).1, epoch);
    }
}
