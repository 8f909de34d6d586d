//! A room-chat server on tokio: workers around the pure Hub of `chat-state`, with transports, room
//! logs and HTTP.
//!
//! ```
//! use chat_tokio::Server;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().workers(2).listen("127.0.0.1:0".parse()?).start()?;
//! println!("listening on {:?}", server.local_addr());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The cuts
//!
//! * [`transport::Transport`]: how frames travel.
//! * [`log::RoomLog`]: where entries get their place and survive.
//! * [`broker::Broker`]: what carries hints between Hubs.
//! * [`auth::Authenticator`]: whose a credential is.
//! * [`server::attach::Attach`]: who takes a connection; [`Handle`] does.
//! * `client::Link`: how frames travel, seen from the other end, that of the `client` (feature
//!   `client`).
//!
//! [`accept`] and [`http`] bring connections in; [`http::router`] mounts in an axum application.
//! [`metrics`] tells what a server does, [`http::Health`] whether it can.
//! `tls` secures them (feature `tls`).
//! [`Handle`] is also for those who run a server; `api` (feature `api`) gives it to them over HTTP.
//!
//! # What is deliberately absent
//!
//! Rules of the chat live in `chat-state`, spelling in `chat-proto`. Only [`clock`] reads a clock.

pub mod accept;
#[cfg(feature = "api")]
pub mod api;
pub mod auth;
pub mod broker;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
pub mod escape;
pub mod http;
mod live;
pub mod log;
pub mod metrics;
mod outbox;
#[cfg(any(feature = "jwt", feature = "webhooks"))]
mod outgoing;
mod random;
pub mod server;
#[cfg(feature = "tls")]
pub mod tls;
pub mod transport;
#[cfg(feature = "webhooks")]
pub mod webhooks;
mod worker;

pub use chat_state::Revoke;
pub use live::Live;
pub use outbox::Outbox;
pub use server::{Builder, Changes, Drained, Handle, ReconfigureError, Server, StartError};
