//! What the tail of a room gives back with the outcome of a draft.
use chat_proto::RequestId;

use crate::ids::ConnId;

/// The author of a draft.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) conn: ConnId,
    pub(crate) id: Option<RequestId>,
}
