//! The task of one connection: it reads, it waits until a blocked transport takes more, it closes.
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use chat_proto::{CloseCode, LeaveReason};
use chat_state::{ConnId, Event};
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
                Inbound::Violation(code) => self.violated(conn, code),
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
            self.counts.turned_away.add(1);
            self.violated(conn, CloseCode::Overloaded);
        }
    }

    fn gone(&mut self, conn: ConnId, why: LeaveReason) {
        if let Some(slot) = self.slots.get_mut(conn) {
            slot.phase = Phase::Gone;
        }
        self.note_gone(conn, why);
        self.handle(Event::Disconnected { conn, why });
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

    fn violated(&mut self, conn: ConnId, code: CloseCode) {
        self.cut_off(conn, code, LeaveReason::Disconnected);
        self.perform_all();
    }

    /// Brings a connection that ends to its end.
    fn poll_close(&mut self, conn: ConnId, cx: &mut Context<'_>) -> Poll<()> {
        let Some(slot) = self.slots.get_mut(conn) else { return Poll::Ready(()) };
        if let Phase::Flushing(code) = slot.phase {
            match slot.transport.poll_send(cx, &mut slot.outbox) {
                Poll::Ready(Ok(())) => slot.phase = Phase::Closing(code),
                Poll::Ready(Err(_)) => slot.phase = Phase::Gone,
                Poll::Pending => return Poll::Pending,
            }
        }
        match slot.phase {
            Phase::Open | Phase::Flushing(_) => Poll::Pending,
            Phase::Closing(code) => {
                if slot.transport.poll_close(cx, code).is_pending() {
                    return Poll::Pending;
                }
                self.slots.remove(conn);
                Poll::Ready(())
            }
            Phase::Gone => self.bury(conn),
        }
    }

    /// Forgets a connection whose transport is of no use; the Hub has to know before its place is
    /// given away.
    fn bury(&mut self, conn: ConnId) -> Poll<()> {
        self.handle(Event::Disconnected { conn, why: LeaveReason::Disconnected });
        self.slots.remove(conn);
        Poll::Ready(())
    }
}
