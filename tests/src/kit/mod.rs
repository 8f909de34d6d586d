//! Conformance kits: what an implementation of a cut has to prove.
pub mod transport;
