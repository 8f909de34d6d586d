//! The only place that draws random numbers.
use chat_proto::SessionId;

/// Letters and digits that can't be taken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Makes a session's secret name: 26 letters of 5 bits.
pub(crate) fn session() -> SessionId {
    SessionId::new(&letters::<26>()).expect("letters and digits are a session id")
}

/// Makes the id of a Hub that shares its node with no other one, in this or in another process.
pub(crate) fn hub(now: chat_proto::Timestamp) -> chat_state::HubId {
    // 0 stands for senders that are no Hub.
    let node = getrandom::u64().expect("the system has randomness").max(1);
    chat_state::HubId { node, incarnation: now.0 }
}

/// Makes the identity of a log.
pub(crate) fn letters<const N: usize>() -> String {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect()
}

/// Makes the key of a send: nobody else's, and no earlier one's.
#[cfg(feature = "client")]
pub(crate) fn key() -> chat_proto::Key {
    chat_proto::Key::new(&letters::<26>()).expect("letters and digits are a key")
}

/// Numbers that nobody has to be unable to guess, each other than the one before: a
/// [SplitMix64](https://prng.di.unimi.it/splitmix64.c) that begins anywhere.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct Numbers(u64);

#[cfg(feature = "client")]
impl Numbers {
    pub(crate) fn new() -> Self {
        Self(getrandom::u64().expect("the system has randomness"))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
