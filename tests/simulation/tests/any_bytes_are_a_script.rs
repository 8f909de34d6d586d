//! What the fuzz target plays, over random bytes.
use chat_simulation::world::run_bytes;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_script(data in proptest::collection::vec(any::<u8>(), 0..1500)) {
        run_bytes(&data);
    }
}
