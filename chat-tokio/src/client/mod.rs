//! A client that stays connected.
//!
//! [`Client`] is a handle, cheap to clone, of one task that drives the pure machine of
//! [`chat_state::client`] over any [`Link`]. It reconnects by itself, goes on with its session,
//! sends again what was not acknowledged, and fetches what it has missed.
//!
//! ```
//! use chat_proto::RoomName;
//! use chat_tokio::Server;
//! use chat_tokio::client::{Client, Delivery};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = Server::builder().listen("127.0.0.1:0".parse()?).start()?;
//! # let url = format!("ws://{}/ws", server.local_addr().expect("it listens"));
//! let (client, mut events) = Client::connect(&url).await?;
//! let lobby = RoomName::new("lobby")?;
//! client.join(&lobby).await?;
//! let sent = client.send(&lobby, "hello").await?;
//! while let Some(event) = events.next().await {
//!     if let Delivery::Entry(entry) = event {
//!         assert_eq!(entry.seq, sent.seq);
//!         break;
//!     }
//! }
//! client.close().await;
//! # server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # A user's inbox
//!
//! What the server's operator says to a user comes in a room of its own, which is joined like any
//! other. Nobody else can read it, and nobody says anything there.
//!
//! ```
//! use chat_proto::{RoomKind, RoomName};
//! # use chat_tokio::Server;
//! # use chat_tokio::server::Publish;
//! use chat_tokio::client::{Client, Delivery};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = Server::builder().listen("127.0.0.1:0".parse()?).start()?;
//! # let url = format!("ws://{}/ws", server.local_addr().expect("it listens"));
//! let (client, mut events) = Client::connect(&url).await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Delivery::Welcome(welcome) => client.join(&RoomName::own(&welcome.user)).await?,
//! #       Delivery::Joined { room, .. } => {
//! #           let username = chat_proto::DisplayName::new("The shop")?;
//! #           let (service, content) = ("shop".into(), "Your order is on its way".into());
//! #           let (key, reply_to) = (None, None);
//! #           let what = Publish { room, service, username, key, content, reply_to };
//! #           server.handle().publish(what).await?;
//! #       }
//!         Delivery::Entry(entry) if entry.room.kind() == RoomKind::Own => {
//!             println!("{}: {:?}", entry.username, entry.body);
//!             break;
//!         }
//!         _ => {}
//!     }
//! }
//! client.close().await;
//! # server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What comes and what is asked
//!
//! [`Events`] has everything that comes, in order: entries (each once), who comes and goes, what
//! is lost, the connection's state. Its queue is bounded, and when the application does not read
//! it, the client stops reading from the server instead of dropping anything. That includes
//! answers: whoever awaits one, of [`Client::send`] or [`Client::history`], must not be the one who
//! reads the events. A program that wants to do both in one place uses [`Client::post`], whose
//! outcome is an event.
//!
//! # What is deliberately absent
//!
//! Rules live in `chat-state`. Without the feature `tls` there is no `wss`: an application that
//! brings another TLS makes its own [`Link`] with [`Options::start_over`].

mod driver;
mod error;
mod events;
mod handle;
mod lines;
mod link;
mod memory;
mod options;
mod outlet;
mod websocket;
mod wire;

pub use chat_state::client::{
    Delivery, LeftReason, Outcome, SavedMessage, State, Stats, StopReason, Ticket, Times,
};

pub use self::error::{ConnectError, Error, UrlError};
pub use self::events::Events;
pub use self::handle::{Acked, Client, Rooms};
pub use self::lines::LinesLink;
pub use self::link::{Connect, ConnectFuture, Link, Received};
pub use self::memory::InProcess;
pub use self::options::Options;
pub use self::websocket::{WebSocketLink, WebSocketUrl};
