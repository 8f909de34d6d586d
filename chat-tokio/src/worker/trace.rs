//! A span for some of the requests.
use std::num::NonZeroU32;

use chat_proto::{BasicRequest, ClientFrame, Request, RequestId, RoomName, ServerFrame};
use chat_state::{ConnId, MemberId};
use tracing::Span;
use tracing::field::{Empty, display};

use crate::escape::Escaped;
use crate::metrics::{Received, Sent};

/// Requests whose reply is awaited: beyond it the oldest span ends without one.
const OPEN_MAX: usize = 64;

/// Makes a span for one of so many requests. It ends with the reply, or with the request's own turn
/// if it will get none.
///
/// *Invariant:* no content, no credential and no session's secret name comes into a span, and no
/// name unescaped.
#[derive(Default)]
pub(super) struct Tracer {
    every: Option<NonZeroU32>,
    /// Requests since the last one that got a span.
    passed: u32,
    open: Vec<Open>,
}

struct Open {
    conn: ConnId,
    id: RequestId,
    span: Span,
}

impl Tracer {
    pub(super) fn new(every: Option<NonZeroU32>) -> Self {
        Self { every, ..Self::default() }
    }

    /// Makes a span if it is this request's turn. The session is asked for only then.
    pub(super) fn begin(
        &mut self,
        (worker, conn): (usize, ConnId),
        frame: &ClientFrame,
        session: impl FnOnce() -> Option<MemberId>,
    ) -> Option<Span> {
        let every = self.every?;
        self.passed += 1;
        if self.passed < every.get() {
            return None;
        }
        self.passed = 0;
        let span = tracing::info_span!(
            target: "chat_tokio::request",
            "request",
            r#type = Received::of(frame).name(),
            worker,
            slot = conn.slot,
            id = Empty,
            session = Empty,
            room = Empty,
            reply = Empty,
        );
        if let Some(MemberId(session)) = session() {
            span.record("session", display(format_args!("{session:016x}")));
        }
        if let Some(room) = room_of(frame) {
            span.record("room", display(Escaped(room)));
        }
        if let ClientFrame::V1 { id: Some(id), .. } = frame {
            span.record("id", display(Escaped(id.as_str())));
            if self.open.len() == OPEN_MAX {
                self.open.remove(0);
            }
            self.open.push(Open { conn, id: id.clone(), span: span.clone() });
        }
        Some(span)
    }

    /// A frame goes to a connection: it may be what a span waits for.
    pub(super) fn reply(&mut self, conn: ConnId, frame: &ServerFrame) {
        if self.open.is_empty() {
            return;
        }
        let Some(id) = frame.request_id() else { return };
        let at = self.open.iter().position(|open| open.conn == conn && open.id == *id);
        let Some(at) = at else { return };
        let Open { span, .. } = self.open.remove(at);
        let reply = match frame {
            ServerFrame::Error(error) => error.code.as_str(),
            _ => Sent::of(frame).name(),
        };
        span.record("reply", reply);
    }

    /// A connection has ended, and its requests with it.
    pub(super) fn gone(&mut self, conn: ConnId) {
        self.open.retain(|open| open.conn != conn);
    }
}

fn room_of(frame: &ClientFrame) -> Option<&RoomName> {
    match frame {
        ClientFrame::Basic(BasicRequest::Join { room }) => Some(room),
        ClientFrame::Basic(BasicRequest::Leave | BasicRequest::Message { .. }) => None,
        ClientFrame::V1 { request, .. } => match request {
            Request::Join { room, .. }
            | Request::Leave { room }
            | Request::Message { room, .. }
            | Request::History { room, .. }
            | Request::Members { room }
            | Request::Typing { room, .. } => Some(room),
            _ => None,
        },
    }
}
