//! The fuzz target of [`chat_fuzz::hub_script`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chat_fuzz::hub_script(data));
