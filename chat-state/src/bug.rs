//! Deliberate bugs, for tests of the tests: each breaks a guarantee, and the tests have to notice.
//!
//! They exist behind the feature `deliberate-bugs` and one at a time; without it none can be had.

/// What is done wrong on purpose: first what a Hub can, then what a Client can.
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
    /// What sessions share is not charged.
    ForgetSharedBudget,
    /// A budget that nobody shares is kept for ever.
    LeakBudget,
    /// What was gathered of the comings and goings in a large room is not told.
    ForgetCrowd,

    /// A Client that loses its connection forgets how far its rooms were delivered.
    ForgetPositions,
    /// A resume names the place after the last entry that was delivered.
    ResumeTooFar,
    /// An entry that a Client has delivered is delivered again when it comes again.
    DeliverAgain,
    /// An entry is delivered although those before it are missing.
    DeliverOutOfOrder,
    /// What is missing is not paged for.
    NeverPage,
    /// The application is not told of entries that are not to be had.
    HideLost,
    /// A position is kept although the room's log is another one.
    KeepOldLog,
    /// What a ping says of the ends of rooms is not heard.
    IgnoreHeads,
    /// The end of another log is taken for that of the room's.
    TakeHeadsOfAnotherLog,
    /// What was to be said is forgotten when the connection is lost.
    ForgetOutbox,
    /// What is sent again has another key than before.
    SendAgainWithNewKey,
    /// A message is sent before the outcome of the one before it is known.
    SendAhead,
    /// The outcome of a send is told twice.
    SettleTwice,
    /// An unknown outcome is told as an ack.
    UnknownAsAcked,
    /// An unknown outcome is told as a refusal, and not asked for again.
    GiveUpOnUnknown,
    /// What was to be said is told as expired when the connection is lost.
    ExpireTooEarly,
    /// A send is never too old.
    NeverExpire,
    /// Another user's entry with the key of a send is taken for that send's.
    TakeAnybodysKey,
    /// A room is forgotten when the connection is lost.
    ForgetRoom,
    /// A room that was not recovered is not joined again.
    NeverRejoin,
    /// A room that is left without a connection is not left.
    ForgetLeave,
    /// After a loss a Client comes back at once, each time.
    NeverBackOff,
    /// What the server says before it closes is not heard.
    IgnoreBye,
    /// A Client comes back although it was told to stay away.
    ComeBackUnasked,
    /// The connections of a session are not counted.
    SameAttempt,
    /// A request counts as unanswered for ever.
    KeepRequest,
    /// A request that is not answered is not made again.
    WaitForEver,
    /// A server that is silent is not asked for a sign of life.
    TrustSilence,
}

#[cfg(feature = "deliberate-bugs")]
impl Bug {
    /// All those of a Hub.
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
        Self::ForgetSharedBudget,
        Self::LeakBudget,
        Self::ForgetCrowd,
    ];

    /// All those of a Client.
    pub const OF_CLIENT: &'static [Self] = &[
        Self::ForgetPositions,
        Self::ResumeTooFar,
        Self::DeliverAgain,
        Self::DeliverOutOfOrder,
        Self::NeverPage,
        Self::HideLost,
        Self::KeepOldLog,
        Self::IgnoreHeads,
        Self::TakeHeadsOfAnotherLog,
        Self::ForgetOutbox,
        Self::SendAgainWithNewKey,
        Self::SendAhead,
        Self::SettleTwice,
        Self::UnknownAsAcked,
        Self::GiveUpOnUnknown,
        Self::ExpireTooEarly,
        Self::NeverExpire,
        Self::TakeAnybodysKey,
        Self::ForgetRoom,
        Self::NeverRejoin,
        Self::ForgetLeave,
        Self::NeverBackOff,
        Self::IgnoreBye,
        Self::ComeBackUnasked,
        Self::SameAttempt,
        Self::KeepRequest,
        Self::WaitForEver,
        Self::TrustSilence,
    ];
}
