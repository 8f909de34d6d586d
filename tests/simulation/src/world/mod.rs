//! A whole room chat in one thread, without IO: the shipped Hubs and codec between a simulated log,
//! broker, clock and simulated connections, any of which can misbehave.
//!
//! A [`Script`] is data. [`run`] plays it, checks after every step what has to hold at any time
//! ([`View`] holds what each peer was sent against the log), then stops all faults, demands that
//! everything converges, lets everybody leave and demands that nothing is left in any Hub.
mod broker;
mod check;
mod conn;
mod driver;
mod fuzzing;
mod heal;
mod identities;
mod input;
mod judge;
mod log;
mod model;
mod page_filter;
mod pages;
mod render;
mod script;
mod setup;
mod story;
mod tokens;

pub use broker::{Broker, BrokerMood, Losses};
pub use check::{Sub, View, Want};
pub use conn::{Conn, Link};
pub use driver::World;
pub use fuzzing::run_bytes;
pub use heal::run;
pub use judge::{closes_have_causes, repeats_get_the_first_reply};
pub use log::{LogMood, RoomLog, SimLog};
pub use model::Model;
pub use page_filter::page_by_filter;
pub use pages::{AskedPage, page_is_right};
pub use script::{Ask, Kind, Operation, Revoked, Script, Step};
pub use setup::{Preset, Setup};
pub use story::{story, story_with};
pub use tokens::{AuthorityMood, Rooms, Terms, Tokens};
