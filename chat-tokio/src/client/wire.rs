//! The connection that the machine wants, and those that are on their way out.
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use chat_state::client::LinkId;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::link::{ConnectFuture, Link, Received};
use crate::transport::Utf8Bytes;

/// How long the server may take to answer a close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

/// Connections that are being closed at a time; beyond it they are dropped without a word.
const CLOSINGS_MAX: usize = 4;

/// Texts that wait for a connection to take them. The machine has fewer requests in flight than
/// this; a connection that does not even take pings for so long is as good as gone.
const OUTBOX_TEXTS_MAX: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Wire {
    opening: Option<(LinkId, ConnectFuture)>,
    open: Option<Open>,
    closings: JoinSet<()>,
}

struct Open {
    id: LinkId,
    link: Box<dyn Link>,
    outbox: VecDeque<String>,
    /// Nothing can be sent any more; what has come can still be read.
    broken: bool,
}

/// What happens on a connection.
pub(super) enum Happened {
    Opened(LinkId),
    Text(LinkId, Utf8Bytes),
    Alive(LinkId),
    Closed(LinkId, Option<u16>),
}

impl Wire {
    pub(super) fn connect(&mut self, id: LinkId, future: ConnectFuture) {
        self.opening = Some((id, future));
    }

    /// Returns the connection that is open.
    pub(super) fn open(&self) -> Option<LinkId> {
        self.open.as_ref().map(|open| open.id)
    }

    /// Sends a text; it goes out with the next poll.
    pub(super) fn transmit(&mut self, id: LinkId, text: String) {
        if let Some(open) = self.open.as_mut().filter(|open| open.id == id && !open.broken) {
            open.outbox.push_back(text);
            if open.outbox.len() > OUTBOX_TEXTS_MAX {
                open.give_up();
            }
        }
    }

    /// Ends a connection, or the attempt to make it.
    pub(super) fn close(&mut self, id: LinkId, code: u16) {
        self.opening.take_if(|(opening, _)| *opening == id);
        if let Some(open) = self.open.take_if(|open| open.id == id) {
            self.see_off(open, code);
        }
    }

    /// Waits for what happens next; reads only if `reading`. Dropping it loses nothing.
    pub(super) async fn next(&mut self, reading: bool) -> Happened {
        poll_fn(|cx| self.poll_next(cx, reading)).await
    }

    /// Waits until all that were closed are gone.
    pub(super) async fn closed(&mut self) {
        while self.closings.join_next().await.is_some() {}
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, reading: bool) -> Poll<Happened> {
        while let Poll::Ready(Some(_)) = self.closings.poll_join_next(cx) {}
        if let Some((id, future)) = &mut self.opening
            && let Poll::Ready(result) = future.as_mut().poll(cx)
        {
            let id = *id;
            self.opening = None;
            return Poll::Ready(self.opened(id, result));
        }
        let Some(open) = &mut self.open else { return Poll::Pending };
        if !open.broken && matches!(open.link.poll_send(cx, &mut open.outbox), Poll::Ready(Err(_)))
        {
            open.give_up();
        }
        if !reading {
            return Poll::Pending;
        }
        let id = open.id;
        open.link.poll_recv(cx).map(|received| match received {
            Received::Text(text) => Happened::Text(id, text),
            Received::Alive => Happened::Alive(id),
            Received::Closed(code) => {
                // It may still have to be answered.
                self.close(id, GOING_AWAY);
                Happened::Closed(id, code)
            }
        })
    }

    fn opened(&mut self, id: LinkId, result: io::Result<Box<dyn Link>>) -> Happened {
        match result {
            Ok(link) => {
                let outbox = VecDeque::new();
                self.open = Some(Open { id, link, outbox, broken: false });
                Happened::Opened(id)
            }
            Err(error) => {
                tracing::debug!(%error, "no connection");
                Happened::Closed(id, None)
            }
        }
    }

    /// Lets a connection end in its own time.
    fn see_off(&mut self, open: Open, code: u16) {
        if self.closings.len() < CLOSINGS_MAX {
            let Open { mut link, mut outbox, broken, .. } = open;
            let close = async move {
                if !broken {
                    // If this fails there is nobody to be told more.
                    let _ = poll_fn(|cx| link.poll_send(cx, &mut outbox)).await;
                }
                poll_fn(|cx| link.poll_close(cx, code)).await;
            };
            self.closings.spawn(async move {
                // Past the deadline it is dropped.
                let _ = timeout(CLOSE_TIME_MAX, close).await;
            });
        }
    }
}

/// What a server may hear that has closed. Not 1000: that would end the session as well.
const GOING_AWAY: u16 = 1001;

impl Open {
    fn give_up(&mut self) {
        self.broken = true;
        self.outbox = VecDeque::new();
    }
}
