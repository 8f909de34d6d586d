//! A log that is being opened.
use alloc::vec::Vec;

use chat_proto::Epoch;

use super::backoff::Backoff;
use super::{Ask, AskId, Cx, Effect, TailTimer};
use crate::ids::Mono;

/// A log whose ends are not known yet.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) state: State,
    pub(super) backoff: Backoff,
    pub(super) named: Named,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Asked {
        id: AskId,
        due: Mono,
    },
    /// The log could not be read and is asked again at this time.
    Failed {
        retry_at: Mono,
    },
}

/// The logs that appends and peers have named while the log was being opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    None,
    /// The entries that wait are those of this log.
    One(Epoch),
    /// There may be entries that nobody has told of: the head is asked once the log is open.
    Doubt,
}

impl Opening {
    pub(super) fn begin<T>(cx: Cx<'_>, id: AskId, out: &mut Vec<Effect<T>>) -> Self {
        let state = Self::ask(cx, id, out);
        Self { state, backoff: Backoff::default(), named: Named::None }
    }

    pub(super) fn ask<T>(cx: Cx<'_>, id: AskId, out: &mut Vec<Effect<T>>) -> State {
        let due = cx.now.plus(cx.config.read_ms);
        out.push(Effect::Ask(id, Ask::Open(cx.config.recent)));
        out.push(Effect::Arm(TailTimer::Open, due));
        State::Asked { id, due }
    }

    /// Notes a log that was named. Returns false if what is said of it cannot be relied on, since
    /// another one was named before.
    pub(super) fn has_named(&mut self, epoch: &Epoch) -> bool {
        match &self.named {
            Named::None => {
                self.named = Named::One(epoch.clone());
                true
            }
            Named::One(named) => named == epoch,
            Named::Doubt => false,
        }
    }

    pub(super) fn doubt(&mut self) {
        self.named = Named::Doubt;
    }
}
