//! What follows from a session's secret name.
use alloc::string::String;

use chat_proto::{SessionId, UserId};
use sha2::{Digest, Sha256};

use crate::ids::MemberId;

/// Letters and digits that can't be taken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Returns a guest's user id: `guest-` and 20 letters, 100 bits of the SHA-256 of the session's
/// secret name.
///
/// Whoever knows the name is the guest, on every Hub and after every restart; from the id the name
/// can't be found.
///
/// # Panics
/// Never: letters and digits are a user id.
#[must_use]
pub fn guest(session: &SessionId) -> UserId {
    let digest = digest("user", session);
    let mut id = String::from("guest-");
    for letter in &digest[..20] {
        id.push(char::from(ALPHABET[usize::from(letter % 32)]));
    }
    UserId::new(&id).expect("letters and digits are a user id")
}

/// Returns the name that Hubs have for a session among themselves.
pub(crate) fn member(session: &SessionId) -> MemberId {
    short(&digest("member", session))
}

/// Returns the name that Hubs have among themselves for the session of a user who is known.
pub(crate) fn member_of(session: &SessionId, user: &UserId) -> MemberId {
    let mut hash = Sha256::new();
    hash.update("member of");
    hash.update([0]);
    hash.update(session.as_str());
    // In neither name.
    hash.update([0]);
    hash.update(user.as_str());
    let digest: [u8; 32] = hash.finalize().into();
    short(&digest)
}

fn short(digest: &[u8; 32]) -> MemberId {
    MemberId(digest[..8].iter().fold(0, |id, byte| id << 8 | u64::from(*byte)))
}

/// Hashes for one purpose, so that the results for different ones have nothing in common.
fn digest(purpose: &str, session: &SessionId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(purpose);
    hash.update([0]);
    hash.update(session.as_str());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_bound_to_its_session() {
        let [a, b] = ["s1", "s2"].map(|s| SessionId::new(s).unwrap());
        assert_eq!(guest(&a), guest(&a));
        assert_ne!(guest(&a), guest(&b));
        assert_ne!(member(&a), member(&b));
        let [u, v] = ["u", "v"].map(|u| UserId::new(u).unwrap());
        assert_ne!(member_of(&a, &u), member_of(&a, &v));
        assert_ne!(member_of(&a, &u), member_of(&b, &u));
        assert_ne!(member_of(&a, &u), member(&a));
        assert!(!guest(&a).as_str().contains("s1"));
        assert_eq!(guest(&a).as_str().len(), 26);
    }

    /// Guests are known by it after an update, too: what is said in a log has it for an author.
    #[test]
    fn an_id_is_for_ever() {
        let session = SessionId::new("s3cret").unwrap();
        assert_eq!(guest(&session).as_str(), "guest-ba5qrrz8wka55wajsuwr");
    }
}
