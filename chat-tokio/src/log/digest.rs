//! What is kept of a body to tell a repeat from another message.
use chat_proto::Body;
use sha2::{Digest as _, Sha256};

/// The first 128 bits of the SHA-256 of a body's JSON.
///
/// Files hold it, so neither it nor the JSON of a body that there is may ever change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(pub(super) [u8; 16]);

impl Digest {
    /// Digests a body; `None` for one that this version can't write.
    pub(super) fn of(body: &Body) -> Option<Self> {
        serde_json::to_vec(body).ok().map(|json| Self::of_json(&json))
    }

    /// Digests a body that is JSON already.
    pub(super) fn of_json(json: &[u8]) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(json)[..16]);
        Self(digest)
    }
}

#[cfg(test)]
mod tests {
    use chat_proto::Seq;

    use super::*;

    #[test]
    fn a_digest_is_the_same_in_every_version() {
        let body = |content: &str, reply_to: Option<u64>| Body::Message {
            content: content.into(),
            reply_to: reply_to.map(|seq| Seq::new(seq).unwrap()),
        };
        for (body, digest) in [
            // printf %s '{"type":"message","content":"hi"}' | sha256sum | cut -c-32
            (body("hi", None), "25f409b3f44dabf9feb0665d8f216637"),
            (body("h\u{e9} \"\n", Some(41)), "c8b0023d12f6611150ed89e88b0fda42"),
        ] {
            let found = Digest::of(&body).unwrap();
            let hex: String = found.0.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, digest, "{body:?}");
        }
        let unknown = Body::Unknown { kind: "riddle".into() };
        assert_eq!(Digest::of(&unknown), None);
    }
}
