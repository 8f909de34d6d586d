//! Test support: conformance kits and what the end-to-end tests share.
//!
//! The end-to-end tests know a server by its binary and its wire only: [`process`] runs it,
//! [`client`] talks to it, [`browser`] looks at its page, [`scrape`] reads its metrics, [`wait`]
//! waits for it, [`history_check`] judges what was seen, [`hostile`] has what no honest client
//! sends. [`tls`] makes certificates. [`kit`] has the conformance kits. [`trims`] is for a process
//! that is to be killed, [`soak`] for a long run. [`world`] plays scripts against the Hub alone.

pub mod browser;
pub mod by_hand;
pub mod client;
pub mod history_check;
pub mod hostile;
pub mod irc;
pub mod kit;
pub mod process;
pub mod proxy;
pub mod replay;
pub mod scrape;
pub mod sim;
pub mod soak;
pub mod tls;
pub mod trims;
pub mod wait;
pub mod world;
