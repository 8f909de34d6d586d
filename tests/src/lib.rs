//! Test support: conformance kits and what the end-to-end tests share.

pub mod kit;
