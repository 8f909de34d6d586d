//! What comes, for the application to read.
use std::pin::Pin;
use std::task::{Context, Poll};

use chat_state::client::Delivery;
use futures_util::Stream;
use tokio::sync::mpsc;

/// All that comes to a client, in order. It ends when the client has stopped for good and all was
/// read; dropping it means that nobody wants to know.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Delivery>,
}

impl Events {
    pub(super) fn new(receiver: mpsc::Receiver<Delivery>) -> Self {
        Self { receiver }
    }

    /// Waits for the next event; `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.receiver.recv().await
    }

    /// Returns the next event if there is one.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.receiver.try_recv().ok()
    }
}

impl Stream for Events {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.receiver.poll_recv(cx)
    }
}
