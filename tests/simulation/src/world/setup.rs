//! What a world is made of.
use chat_proto::{LimitValues, Limits};
use chat_state::{Config, HubId, Peers, Times};

/// How big the Hubs' limits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// As shipped.
    Default,
    /// Small memory for those who lag, so that the log is read all the time.
    ShortRing,
    /// Every limit so small that scripts run into it.
    Tiny,
}

/// How many Hubs, and their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// 1 to 3.
    pub hubs: usize,
    /// Their limits.
    pub preset: Preset,
}

impl Setup {
    /// Returns the settings of one Hub.
    #[must_use]
    pub fn config(self, hub: usize) -> Config {
        Config {
            hub: HubId { node: hub as u64, incarnation: 1 },
            peers: if self.hubs > 1 { Peers::Some } else { Peers::None },
            limits: self.preset.limits(),
            times: Times::default(),
            ..Config::default()
        }
    }
}

impl Preset {
    /// Returns the limits.
    ///
    /// # Panics
    /// Never: they are within their bounds.
    #[must_use]
    pub fn limits(self) -> Limits {
        let values = match self {
            Self::Default => LimitValues::default(),
            Self::ShortRing => LimitValues {
                recent_entries: 2,
                history: 3,
                outbox_high_bytes: 1024,
                members_listed: 3,
                notice_members: 2,
                ..LimitValues::default()
            },
            Self::Tiny => LimitValues {
                message_bytes: 200,
                rooms: 2,
                rooms_total: 2,
                members: 3,
                connections: 5,
                history: 3,
                page_bytes: 1024,
                members_listed: 2,
                rooms_listed: 1,
                in_flight: 2,
                messages_per_10s: 8,
                basic_messages_per_10s: 8,
                address_messages_per_10s: 12,
                outbox_high_bytes: 1024,
                outbox_bytes: 4096,
                recent_entries: 2,
                recent_bytes: 1024,
                behind_entries: 5,
                room_drafts: 3,
                typing_members: 2,
                notice_members: 1,
                ..LimitValues::default()
            },
        };
        values.build().expect("within bounds")
    }
}
