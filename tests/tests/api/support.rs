//! A server in this process, with its API.
use std::net::SocketAddr;
use std::sync::Arc;

use chat_tests::client::ApiClient;
use chat_tests::process::API_KEY;
use chat_tokio::api::{ApiKeys, ApiOptions, Reload};
use chat_tokio::{Builder, Server};

/// Any port of this machine.
pub(crate) fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The other key that the API takes.
pub(crate) const OTHER_KEY: &str = "another-key-of-more-than-32-characters";

/// A server whose workers, authority and log are those of the builder.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) chat: SocketAddr,
    pub(crate) api: ApiClient,
}

pub(crate) fn serve(builder: Builder) -> Served {
    with_reload(builder, None)
}

pub(crate) fn with_reload(builder: Builder, reload: Option<Arc<dyn Reload>>) -> Served {
    let keys = ApiKeys::new([API_KEY, OTHER_KEY]).expect("good keys");
    let options = ApiOptions { listen: any(), keys, reload };
    let server = builder.listen(any()).api(options).start().expect("a server");
    let chat = server.local_addr().expect("it listens");
    let api = ApiClient::new(server.api_addr().expect("it listens"), API_KEY);
    Served { server, chat, api }
}

pub(crate) fn served(workers: usize) -> Served {
    serve(Server::builder().workers(workers))
}
