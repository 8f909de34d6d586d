//! Test support: conformance kits and what the end-to-end tests share.
//!
//! The end-to-end tests know a server by its binary and its wire only: [`process`] runs it,
//! [`client`] talks to it, [`browser`] looks at its page, [`scrape`] reads its metrics, [`wait`]
//! waits for it, [`hostile`] has what no honest client sends. [`tls`] makes certificates. [`kit`]
//! has the conformance kits. [`trims`] is for a process that is to be killed, [`soak`] for a long
//! run. The crate `chat-simulation` tests the core without IO and has the history checker.

pub mod browser;
pub mod by_hand;
pub mod client;
pub mod hostile;
pub mod irc;
pub mod kit;
pub mod process;
pub mod proxy;
pub mod replay;
pub mod scrape;
pub mod soak;
pub mod tls;
pub mod trims;
pub mod wait;
