//! The `basic` dialect is a contract with pages that exist: one test for each of its sentences, on
//! the wire, in raw JSON.
use chat_tests::process::{Home, Server, Spec};

mod bursts;
mod endings;
mod heartbeats;
mod identity;
mod messages;
mod rooms;
mod storms;

/// A server and what it left behind; the process goes first.
struct Running {
    server: Server,
    _home: Home,
}

async fn serve(spec: Spec) -> Running {
    let home = Home::default();
    // Whoever watches over `chat.v1` asks as often as it likes.
    let spec = spec.limit("messages_per_10s", 0);
    Running { server: Server::start(&home, &spec).await, _home: home }
}

/// Makes tests of scenarios: each on one worker and on two, where members of a room are spread
/// over both by the kernel.
macro_rules! on_workers {
    ($($scenario:ident)+) => {
        mod on_one_worker {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(chat_tests::process::Spec::default().workers(1)).await;
            })+
        }
        mod on_two_workers {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(chat_tests::process::Spec::default().workers(2)).await;
            })+
        }
    };
}
use on_workers;
