//! Places in a room's log, and the time shown to people.
use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::names::NameError;

/// The largest integer of the wire: 2^53 − 1, the last one that a JSON number in JavaScript holds
/// exactly ([RFC 8259 §6](https://www.rfc-editor.org/rfc/rfc8259#section-6)).
pub const SEQ_MAX: u64 = (1 << 53) - 1;

/// A place in a room's log: 1, 2, 3 … without holes. 0 means "before the first entry".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// Makes a place, or `None` beyond [`SEQ_MAX`].
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value <= SEQ_MAX { Some(Self(value)) } else { None }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the place after this one; the last place stays where it is.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// Returns the place `n` after this one, at most [`SEQ_MAX`].
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        let sum = self.0.saturating_add(n);
        Self(if sum > SEQ_MAX { SEQ_MAX } else { sum })
    }

    /// Returns the place `n` before this one, at least 0.
    #[must_use]
    pub const fn minus(self, n: u64) -> Self {
        Self(self.0.saturating_sub(n))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Seq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u64::deserialize(deserializer)?;
        Self::new(value).ok_or_else(|| {
            de::Error::invalid_value(de::Unexpected::Unsigned(value), &"a number up to 2^53-1")
        })
    }
}

/// The identity of a room's log. `seq`s of two epochs must not be compared.
///
/// Grammar: `1*32( ALPHA / DIGIT / "-" / "_" )`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// Makes an epoch.
    ///
    /// # Errors
    /// Says why when the text is empty, too long or has other characters than the grammar's.
    pub fn new(text: &str) -> Result<Self, NameError> {
        crate::names::token(text, 32).map(Self)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::text::Text::deserialize(deserializer)?;
        Self::new(text.as_str()).map_err(de::Error::custom)
    }
}

/// An epoch and a place in it: what a client has to remember to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which log.
    pub epoch: Epoch,
    /// The last entry that was seen.
    pub seq: Seq,
}

/// Wall-clock time for people: milliseconds since 1970-01-01 UTC. It never orders anything.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);
