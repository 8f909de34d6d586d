//! Deliberate bugs, for tests of the tests: each breaks a guarantee, and the tests have to notice.
//!
//! They exist behind the feature `deliberate-bugs` and one at a time; without it none can be had.

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "deliberate-bugs"), expect(unreachable_pub, reason = "none can be had"))]
pub enum Bug {
    /// A message is acknowledged before the log has taken it.
    AckBeforeAppend,
    /// A message is shown before the log has taken it.
    ShowBeforeCommit,
    /// An ack names the place after the entry's.
    AckWrongPlace,
    /// An unknown outcome is told as a refusal.
    UnknownAsRefused,
    /// A draft that the log did not take is not answered.
    DropRefusal,
    /// A request is answered twice.
    AnswerTwice,
    /// A room offers a second batch before the first one is answered.
    TwoBatches,
    /// Entries are delivered although those before them are missing.
    SkipCursorCheck,
    /// An entry that was delivered is delivered again.
    RepeatOldEntry,
    /// Entries with the key of another user's entry are left out.
    DeduplicateByKeyAlone,
    /// What the log says of its last entry is not heard.
    IgnoreLastHead,
    /// The history of a join ends one entry too early.
    HistoryOffByOne,
    /// One who lags is put back to the live ones before everything was fed.
    CatchUpSkips,
    /// One who does not keep up is closed instead of fed.
    CloseInsteadOfCatchUp,
    /// One who has left still gets the room's entries.
    DeliverAfterLeave,
    /// A connection is never read again.
    NeverUnpause,
    /// The older connection of a resumed session is not closed.
    ForgetFencing,
    /// A resumed session is in its room without what it has missed.
    ResumePartially,
    /// Any position is taken for one of this log.
    TrustAnyPosition,
    /// A session that has lost its connection is kept for ever.
    LeakSession,
    /// A room that nobody needs is kept.
    LeakEmptyRoom,
}

#[cfg(feature = "deliberate-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::AckBeforeAppend,
        Self::ShowBeforeCommit,
        Self::AckWrongPlace,
        Self::UnknownAsRefused,
        Self::DropRefusal,
        Self::AnswerTwice,
        Self::TwoBatches,
        Self::SkipCursorCheck,
        Self::RepeatOldEntry,
        Self::DeduplicateByKeyAlone,
        Self::IgnoreLastHead,
        Self::HistoryOffByOne,
        Self::CatchUpSkips,
        Self::CloseInsteadOfCatchUp,
        Self::DeliverAfterLeave,
        Self::NeverUnpause,
        Self::ForgetFencing,
        Self::ResumePartially,
        Self::TrustAnyPosition,
        Self::LeakSession,
        Self::LeakEmptyRoom,
    ];
}
