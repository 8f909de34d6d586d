//! The only place that draws random numbers.
use chat_proto::SessionId;

/// Letters and digits that can't be taken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Makes a session's secret name: 26 letters of 5 bits.
pub(crate) fn session() -> SessionId {
    SessionId::new(&letters::<26>()).expect("letters and digits are a session id")
}

/// Makes the identity of a log.
pub(crate) fn letters<const N: usize>() -> String {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect()
}
