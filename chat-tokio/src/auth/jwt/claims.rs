//! What a token says.
use chat_proto::{DisplayName, Timestamp, UserId};
use chat_state::{Grant, ROLES_MAX, RoomRights, TokenId};
use serde::{Deserialize, Serialize};

use super::Refusal;

/// The claims that are read; others are skipped.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jti: Option<String>,
    pub(super) exp: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<f64>,
    /// Patterns of rooms; absent: all rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rooms: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<OwnLimits>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct OwnLimits {
    pub(super) messages_per_10s: Option<u32>,
}

/// Who claims to have made a token.
#[derive(Deserialize)]
pub(super) struct IssuerOnly {
    pub(super) iss: String,
}

impl Claims {
    /// Returns what the claims grant. One that breaks its grammar refuses the token: half of a
    /// right is no right.
    pub(super) fn grant(self, leeway_s: u64) -> Result<Grant, Refusal> {
        let user = UserId::new(&self.sub)
            .map_err(|error| Refusal::invalid(format!("its `sub` is no user id: {error}")))?;
        let name = self.name.as_deref().map(DisplayName::new).transpose();
        let name = name.map_err(|error| Refusal::invalid(format!("its `name`: {error}")))?;
        let token_id = match self.jti.as_deref().map(TokenId::new) {
            None => None,
            Some(Some(id)) => Some(id),
            Some(None) => return Err(Refusal::invalid("its `jti` is empty or too long")),
        };
        let rooms = match &self.rooms {
            None => RoomRights::Any,
            Some(rooms) => RoomRights::matching(rooms.iter().map(String::as_str))
                .map_err(|error| Refusal::invalid(format!("its `rooms`: {error}")))?,
        };
        if self.roles.len() > ROLES_MAX {
            return Err(Refusal::invalid(format!("it has more than {ROLES_MAX} `roles`")));
        }
        Ok(Grant {
            name,
            token_id,
            issued: self.iat.map(|at| ms(at, 0)),
            expires: Some(ms(self.exp, leeway_s)),
            rooms,
            roles: self.roles,
            messages_per_10s: self.limits.and_then(|limits| limits.messages_per_10s),
            ..Grant::new(user)
        })
    }
}

/// Seconds since 1970 as a place in time, in milliseconds. What is out of all bounds is at a bound.
fn ms(seconds: f64, more_s: u64) -> Timestamp {
    Timestamp(((seconds + more_s as f64) * 1000.0) as u64)
}
