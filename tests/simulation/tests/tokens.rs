//! Scripts in which an authority says who peers are: grants end, are renewed and are revoked, and
//! operators order things about their users.
//!
//! What a Hub has to do about each of these is checked by its adapter, event by event. Scripts of
//! anything, in `guarantees.rs`, have some of these steps too.
use chat_simulation::world::{Script, closes_have_causes, run};
use proptest::prelude::*;

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(1000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// Nobody acts by a grant that has ended or was revoked; everybody else goes on.
    #[test]
    fn grants_count_until_they_end(script in Script::with_tokens(150)) {
        closes_have_causes(&run(&script), &script);
    }
}
