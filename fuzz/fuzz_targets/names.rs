//! The fuzz target of [`chat_fuzz::names`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chat_fuzz::names(data));
