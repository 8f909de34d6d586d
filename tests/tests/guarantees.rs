//! The guarantees of the protocol, each over scripts of anything that can happen.
use chat_tests::world::{Script, World, run};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn g4_no_silent_loss(script in Script::any(120)) {
        run(&script);
    }

    #[test]
    fn g15_deterministic(script in Script::any(80)) {
        prop_assert_eq!(World::trace_of(&script), World::trace_of(&script));
    }
}
