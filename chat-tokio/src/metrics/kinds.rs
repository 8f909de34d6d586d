//! The types of frames, as labels: a short list, whatever peers send.
use chat_proto::{
    BasicRequest, ClientFrame, DecodeError, Dialect, ErrorCode, Request, ServerFrame,
};

/// Makes an enum whose variants have names on the wire.
macro_rules! kinds {
    ($(#[$doc:meta])* $enum:ident { $($name:ident = $wire:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $enum { $($name,)+ }

        impl $enum {
            /// All of them, in the order of their places.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// How many there are.
            pub(crate) const COUNT: usize = Self::ALL.len();

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $wire,)+ }
            }
        }
    };
}

kinds! {
    /// What a client sent.
    Received {
        Hello = "hello",
        Auth = "auth",
        Join = "join",
        Leave = "leave",
        Message = "message",
        History = "history",
        Members = "members",
        Rooms = "rooms",
        Typing = "typing",
        Ping = "ping",
        Pong = "pong",
        Broken = "broken",
        Other = "other",
    }
}

kinds! {
    /// What a client is sent.
    Sent {
        Welcome = "welcome",
        Authenticated = "authenticated",
        Joined = "joined",
        Left = "left",
        Ack = "ack",
        Page = "page",
        Members = "members",
        Rooms = "rooms",
        Pong = "pong",
        Error = "error",
        Join = "join",
        Leave = "leave",
        Message = "message",
        Typing = "typing",
        Presence = "presence",
        Gap = "gap",
        Hole = "hole",
        AuthExpiring = "auth_expiring",
        Bye = "bye",
        Ping = "ping",
        Other = "other",
    }
}

impl Received {
    pub(crate) fn of(frame: &ClientFrame) -> Self {
        match frame {
            ClientFrame::Basic(BasicRequest::Join { .. }) => Self::Join,
            ClientFrame::Basic(BasicRequest::Leave) => Self::Leave,
            ClientFrame::Basic(BasicRequest::Message { .. }) => Self::Message,
            ClientFrame::V1 { request, .. } => match request {
                Request::Hello { .. } => Self::Hello,
                Request::Auth { .. } => Self::Auth,
                Request::Join { .. } => Self::Join,
                Request::Leave { .. } => Self::Leave,
                Request::Message { .. } => Self::Message,
                Request::History { .. } => Self::History,
                Request::Members { .. } => Self::Members,
                Request::Rooms { .. } => Self::Rooms,
                Request::Typing { .. } => Self::Typing,
                Request::Ping => Self::Ping,
                Request::Pong => Self::Pong,
                _ => Self::Other,
            },
        }
    }

    /// A text that is no frame: of a type that is not known, or no frame at all.
    pub(crate) fn of_error(error: &DecodeError) -> Self {
        if error.code == ErrorCode::UnknownType { Self::Other } else { Self::Broken }
    }

    /// Tells whether the dialect has it.
    pub(crate) fn is_in(self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::V1 => true,
            Dialect::Basic => matches!(
                self,
                Self::Join | Self::Leave | Self::Message | Self::Broken | Self::Other
            ),
        }
    }
}

impl Sent {
    pub(crate) fn of(frame: &ServerFrame) -> Self {
        match frame {
            ServerFrame::Welcome(_) => Self::Welcome,
            ServerFrame::Authenticated { .. } => Self::Authenticated,
            ServerFrame::Joined(_) => Self::Joined,
            ServerFrame::Left { .. } => Self::Left,
            ServerFrame::Ack { .. } => Self::Ack,
            ServerFrame::Page(_) => Self::Page,
            ServerFrame::Members { .. } => Self::Members,
            ServerFrame::Rooms { .. } => Self::Rooms,
            ServerFrame::Pong { .. } => Self::Pong,
            ServerFrame::Error(_) => Self::Error,
            ServerFrame::Join { .. } => Self::Join,
            ServerFrame::Leave { .. } => Self::Leave,
            ServerFrame::Typing { .. } => Self::Typing,
            ServerFrame::Presence { .. } => Self::Presence,
            ServerFrame::Crowd { came: true, .. } => Self::Join,
            ServerFrame::Crowd { came: false, .. } => Self::Leave,
            ServerFrame::Gap { .. } => Self::Gap,
            ServerFrame::Hole { .. } => Self::Hole,
            ServerFrame::AuthExpiring { .. } => Self::AuthExpiring,
            ServerFrame::Bye { .. } => Self::Bye,
            ServerFrame::Ping { .. } => Self::Ping,
            ServerFrame::Entry(_) => Self::Message,
            _ => Self::Other,
        }
    }

    /// Tells whether the dialect has it.
    pub(crate) fn is_in(self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::V1 => true,
            Dialect::Basic => matches!(self, Self::Join | Self::Leave | Self::Message),
        }
    }
}

/// Both dialects, in the order of their places.
pub(crate) const DIALECTS: [Dialect; 2] = [Dialect::Basic, Dialect::V1];

/// Returns a dialect's place.
pub(crate) const fn place_of(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Basic => 0,
        Dialect::V1 => 1,
    }
}

/// Returns a dialect's label.
pub(crate) const fn label_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Basic => "basic",
        Dialect::V1 => chat_proto::SUBPROTOCOL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_stands_at_its_place() {
        for (at, kind) in Received::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
        for (at, kind) in Sent::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
        for (at, dialect) in DIALECTS.into_iter().enumerate() {
            assert_eq!(place_of(dialect), at);
        }
    }
}
