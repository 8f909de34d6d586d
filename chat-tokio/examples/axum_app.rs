//! The chat inside an axum application of one's own, under `/chat`.
//!
//! Run it with `cargo run --example axum_app`, then open <http://127.0.0.1:3000/chat/>.
use std::error::Error;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use chat_tokio::Server;
use chat_tokio::http::{self, Page};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".into());

    // The workers run on threads of their own; without `listen` they wait to be given connections.
    let chat = Server::builder().workers(2).start()?;
    let chat_router = http::router(chat.handle().http_state(), Page::Embedded)?;

    let app = Router::new()
        .route("/", get(|| async { "An application with a chat at /chat/\n" }))
        .route("/chat", get(|| async { Redirect::permanent("/chat/") }))
        .nest_service("/chat/", chat_router);

    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}/chat/", listener.local_addr()?);
    let stop = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("can't wait for Ctrl-C: {error}");
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    println!("shutdown: {:?}", chat.shutdown().await);
    Ok(())
}
