//! The task of one connection: it reads, it waits until a blocked transport takes more, it closes.
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use chat_proto::LeaveReason;
use chat_state::{ConnId, CutOff, Event};
use tracing::Span;

use super::Worker;
use super::slots::Phase;
use crate::metrics::Received;
use crate::transport::{Inbound, Utf8Bytes};

/// Frames that one connection may have read before others get their turn.
const READS_PER_POLL: usize = 64;

/// The task of one connection. Dropped without having ended (a panic in it), it ends the
/// connection, so that the others do not see a ghost.
pub(super) struct Connection {
    worker: Rc<RefCell<Worker>>,
    conn: ConnId,
}

impl Connection {
    pub(super) fn new(worker: Rc<RefCell<Worker>>, conn: ConnId) -> Self {
        Self { worker, conn }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.worker.borrow_mut().poll_connection(self.conn, cx)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            worker.lose(self.conn, LeaveReason::Disconnected);
        }
    }
}

impl Worker {
    fn poll_connection(&mut self, conn: ConnId, cx: &mut Context<'_>) -> Poll<()> {
        let Some(slot) = self.slots.get_mut(conn) else { return Poll::Ready(()) };
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        if slot.blocked {
            self.flush(conn);
        }
        self.poll_read(conn, cx);
        self.poll_stranger(conn, cx);
        self.poll_close(conn, cx)
    }

    fn poll_read(&mut self, conn: ConnId, cx: &mut Context<'_>) {
        for _ in 0..READS_PER_POLL {
            let Some(slot) = self.slots.get_mut(conn) else { return };
            if !slot.may_read() {
                return;
            }
            let Poll::Ready(inbound) = slot.transport.poll_recv(cx) else { return };
            match inbound {
                Inbound::Text(text) => self.text(conn, &text),
                Inbound::Alive => {
                    // The transport may owe an answer, a pong.
                    self.slots.mark_dirty(conn);
                    self.handle(Event::Alive { conn });
                }
                Inbound::Violation(code) => self.violated(conn, CutOff::Transport(code)),
                Inbound::Left => self.gone(conn, LeaveReason::Left),
                Inbound::Closed => self.gone(conn, LeaveReason::Disconnected),
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Closes a connection that has to make place before it has said `hello`. What it has said is
    /// read before.
    fn poll_stranger(&mut self, conn: ConnId, cx: &Context<'_>) {
        let slot = self.slots.get_mut(conn).filter(|slot| slot.phase == Phase::Open);
        let Some(stranger) = slot.and_then(|slot| slot.stranger.as_ref()) else { return };
        if stranger.is_asked_to_leave(cx) {
            self.violated(conn, CutOff::CrowdedOut);
        }
    }

    /// The peer has gone. The Hub is told once the connection is dropped, in the same poll.
    fn gone(&mut self, conn: ConnId, why: LeaveReason) {
        if let Some(slot) = self.slots.get_mut(conn) {
            slot.phase = Phase::Gone(why);
        }
        self.note_gone(conn, why);
    }

    fn text(&mut self, conn: ConnId, text: &Utf8Bytes) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let decoded = slot.decoder.decode(text.as_str());
        let dialect = slot.decoder.dialect();
        match decoded {
            Ok(frame) => {
                // It is `hello`, or the end.
                slot.stranger = None;
                self.counts.note_received(dialect, Received::of(&frame), text.len());
                self.sample(&frame);
                let span = self.tracer.begin((self.index, conn), &frame, || self.hub.member(conn));
                let _request = span.as_ref().map(Span::enter);
                self.handle(Event::Received { conn, frame });
            }
            Err(error) => {
                self.counts.note_received(dialect, Received::of_error(&error), text.len());
                self.handle(Event::Malformed { conn, error, dialect });
            }
        }
    }

    fn violated(&mut self, conn: ConnId, reason: CutOff) {
        self.cut_off(conn, reason);
        self.perform_all();
    }

    /// Brings a connection that ends to its end.
    fn poll_close(&mut self, conn: ConnId, cx: &mut Context<'_>) -> Poll<()> {
        let Some(slot) = self.slots.get_mut(conn) else { return Poll::Ready(()) };
        if let Phase::Flushing(code) = slot.phase {
            match slot.transport.poll_send(cx, &mut slot.outbox) {
                Poll::Ready(Ok(())) => slot.phase = Phase::Closing(code),
                Poll::Ready(Err(_)) => slot.phase = Phase::Gone(LeaveReason::Disconnected),
                Poll::Pending => return Poll::Pending,
            }
        }
        match slot.phase {
            Phase::Open | Phase::Flushing(_) => Poll::Pending,
            Phase::Closing(code) => {
                if slot.transport.poll_close(cx, code).is_pending() {
                    return Poll::Pending;
                }
                self.forget(conn, LeaveReason::Disconnected);
                Poll::Ready(())
            }
            Phase::Gone(why) => {
                self.forget(conn, why);
                Poll::Ready(())
            }
        }
    }
}
