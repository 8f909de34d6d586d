//! The members of one room: those on this Hub, and those that peers have reported.
//!
//! A member on this Hub is in exactly one of four states:
//!
//! | state | meaning | bound |
//! |---|---|---|
//! | live | gets every frame as it comes | with the next two: the limit `members` |
//! | behind | off the live list; the caller feeds it what it has missed | |
//! | away | has lost its connection a moment ago and is still shown | |
//! | departing | has left; its leave is told once the log has answered its drafts | its drafts |
//!
//! A member that a graceful shutdown disconnects stays away until a peer has it or the room is
//! closed: others do not see it go. Nobody enters a Hub that shuts down, so those are bounded too.
//!
//! A peer reports a count, which is whole, and some of its members, which are a sample of at most
//! `members_listed`. A member that several Hubs have for a moment, because it moves, counts once
//! if it is in the samples.
//!
//! *Invariant:* every live member was told the current count, or a notice is due.
mod elsewhere;
mod here;
mod live;
mod notices;
mod peers;
mod tell;
mod types;

#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{LeaveReason, Member, MembersView};

use self::elsewhere::Elsewhere;
use self::here::{Away, Departure, Here, Lost};
use self::notices::{Notice, Notices};
pub(crate) use self::types::{
    Attendee, Context, Drafts, Effect, Farewell, Part, Rules, Say, Spot, Told, Visibility,
};
use crate::ids::{ConnId, MemberId};
use crate::room::Roster;

/// Everybody in one room.
#[derive(Debug)]
pub(crate) struct Audience {
    visibility: Visibility,
    here: Here,
    elsewhere: Elsewhere,
    notices: Notices,
}

impl Audience {
    /// Makes the audience of a room that nobody is in.
    pub(crate) fn new(visibility: Visibility, listed: usize) -> Self {
        Self {
            visibility,
            here: Here::new(listed),
            elsewhere: Elsewhere::default(),
            notices: Notices::default(),
        }
    }

    /// Adds a member, which begins behind. [`Audience::go_live`] puts it on the live list.
    ///
    /// # Panics
    /// Panics if the member is live or behind already.
    pub(crate) fn enter(&mut self, cx: &mut Context<'_>, attendee: Attendee, told: Told) {
        let Attendee { conn, id, .. } = attendee;
        // A leave that was not told yet is told before the new join.
        if let Some(departure) = self.here.take_departing(id) {
            self.count_out(cx, departure);
        }
        match self.here.take_away(id) {
            // Others have never seen it go.
            Some(Away { lost: Lost::Connection(_), .. }) => cx.out.push(Effect::Back(id)),
            // No deadline ends a member that a shutdown has disconnected.
            Some(Away { lost: Lost::Shutdown, .. }) => {}
            None => self.count_in(cx, attendee),
        }
        self.here.put_behind(conn, self.notices.mark(told));
    }

    /// Moves a member that is behind to the live list and returns its place there. A member that
    /// has missed a change is told who is in the room.
    ///
    /// # Panics
    /// Panics if the connection is not behind.
    pub(crate) fn go_live(&mut self, cx: &mut Context<'_>, conn: ConnId) -> usize {
        let mark = self.here.take_behind(conn);
        let place = self.here.live.push(conn, || (cx.who)(conn).1);
        self.tell_back(cx, conn, mark);
        place
    }

    /// Takes a member off the live list until [`Audience::go_live`].
    ///
    /// # Panics
    /// Panics if nobody is at the place.
    pub(crate) fn fall_behind(&mut self, cx: &mut Context<'_>, conn: ConnId, place: usize) {
        self.take_off(cx, conn, Spot::Live(place));
        self.here.put_behind(conn, self.notices.mark(Told::View));
    }

    /// Records that a member that is behind is sent the current [`Audience::view`].
    ///
    /// # Panics
    /// Panics if the connection is not behind.
    pub(crate) fn note_told(&mut self, conn: ConnId) {
        self.here.take_behind(conn);
        self.here.put_behind(conn, self.notices.mark(Told::View));
    }

    /// Removes a member. If the log has yet to answer its drafts, others are told of the leave by
    /// [`Audience::answered`].
    pub(crate) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        attendee: Attendee,
        spot: Spot,
        farewell: Farewell,
    ) {
        let Attendee { conn, id, member } = attendee;
        self.take_off(cx, conn, spot);
        self.depart(cx, Departure { conn, id, member, reason: farewell.reason() }, farewell);
    }

    /// Records that a member has lost its connection, for the reason that others are told if it
    /// does not come back. [`Audience::end_away`] ends its time.
    pub(crate) fn lose(
        &mut self,
        cx: &mut Context<'_>,
        attendee: Attendee,
        spot: Spot,
        reason: LeaveReason,
    ) {
        let Attendee { conn, id, member } = attendee;
        self.take_off(cx, conn, spot);
        self.here.put_away(id, Away { conn, member, lost: Lost::Connection(reason) });
    }

    /// Removes a member that is away. Does nothing if it is not.
    pub(crate) fn end_away(&mut self, cx: &mut Context<'_>, id: MemberId, farewell: Farewell) {
        if self.here.away(id).is_some()
            && let Some(Away { conn, member, .. }) = self.here.take_away(id)
        {
            let reason = farewell.reason();
            self.depart(cx, Departure { conn, id, member, reason }, farewell);
        }
    }

    /// Tells of the members that have left and whose drafts the log has answered.
    pub(crate) fn answered(&mut self, cx: &mut Context<'_>, drafts_of: impl Fn(ConnId) -> Drafts) {
        let answered = |departure: &Departure| drafts_of(departure.conn) == Drafts::Answered;
        for departure in self.here.take_departures(answered) {
            self.count_out(cx, departure);
        }
    }

    /// Lists again, after the limit `members_listed` has changed.
    pub(crate) fn relist(&mut self, listed: usize, who: impl Fn(ConnId) -> Member) {
        self.here.live.relist(listed, who);
    }

    fn depart(&mut self, cx: &mut Context<'_>, departure: Departure, farewell: Farewell) {
        let Departure { conn, id, .. } = departure;
        match (self.visibility, farewell) {
            (Visibility::Hidden, _) => self.here.forget(id),
            (Visibility::Shown, Farewell::Silent) => {
                let member = departure.member;
                self.here.put_away(id, Away { conn, member, lost: Lost::Shutdown });
            }
            (Visibility::Shown, Farewell::Told(_, Drafts::Unanswered)) => {
                self.here.put_departing(departure);
            }
            (Visibility::Shown, Farewell::Told(_, Drafts::Answered)) => {
                self.count_out(cx, departure);
            }
        }
    }

    /// Adds a member to this Hub's part. A member that a peer has is not told as new.
    fn count_in(&mut self, cx: &mut Context<'_>, attendee: Attendee) {
        let Attendee { conn, id, member } = attendee;
        self.here.remember(id);
        if self.visibility == Visibility::Hidden {
            return;
        }
        let known = self.elsewhere.entered(id);
        self.elsewhere.came_back(id);
        let came = Say::Came { id, member: member.clone() };
        let notice = if known { Notice::Moved } else { Notice::Came(member, Some(conn)) };
        self.changed(cx, notice);
        cx.out.push(Effect::Say(came));
    }

    /// Removes a member from this Hub's part. A member that a peer has is not told as gone.
    fn count_out(&mut self, cx: &mut Context<'_>, departure: Departure) {
        let Departure { conn, id, member, reason } = departure;
        self.here.forget(id);
        let known = self.elsewhere.left(id);
        let went = Say::Went { id, member: member.clone(), reason };
        let notice = if known { Notice::Moved } else { Notice::Went(member, reason, Some(conn)) };
        self.changed(cx, notice);
        cx.out.push(Effect::Say(went));
    }

    fn take_off(&mut self, cx: &mut Context<'_>, conn: ConnId, spot: Spot) {
        match spot {
            Spot::Behind => {
                self.here.take_behind(conn);
            }
            Spot::Live(place) => {
                let moved = self.here.live.swap_remove(place, |conn| (cx.who)(conn).1);
                cx.out.extend(moved.map(|conn| Effect::Moved { conn, place }));
            }
        }
    }
}

/// What others may know of the audience.
impl Audience {
    /// Returns the live members.
    pub(crate) fn live(&self) -> &Roster {
        self.here.live.roster()
    }

    /// Returns the connections of all members that have one.
    pub(crate) fn conns(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.here.live.iter().chain(self.here.behind())
    }

    /// Returns whether a member has lost its connection a moment ago.
    pub(crate) fn is_away(&self, id: MemberId) -> bool {
        self.here.away(id).is_some()
    }

    /// Returns a member that has lost its connection a moment ago.
    pub(crate) fn away(&self, id: MemberId) -> Option<&Member> {
        self.here.away(id)
    }

    /// Returns whether a peer has named a member.
    pub(crate) fn is_elsewhere(&self, id: MemberId) -> bool {
        self.elsewhere.names(id)
    }

    /// Returns whether members wait for the log to answer their drafts before their leave is told.
    pub(crate) fn has_departing(&self) -> bool {
        self.here.has_departing()
    }

    /// Returns true if the room can be dropped: nobody is in it and no leave has to be told.
    pub(crate) fn is_empty(&self) -> bool {
        self.here.taken() == 0 && !self.here.has_departing()
    }

    /// Returns the members of this Hub that count against the limit `members`.
    pub(crate) fn taken(&self) -> usize {
        self.here.taken()
    }

    /// Returns the members of this Hub, with those whose leave is not told yet.
    pub(crate) fn count_here(&self) -> u64 {
        self.here.count()
    }

    /// Returns the members that only peers have.
    pub(crate) fn count_elsewhere(&self) -> u64 {
        self.elsewhere.count()
    }

    /// Returns the members on all Hubs, as far as they are known.
    pub(crate) fn count(&self) -> u64 {
        self.here.count() + self.elsewhere.count()
    }

    /// Lists the members: those here first, then those that only peers have. The cost is that of
    /// the members listed, however many peers and members there are.
    pub(crate) fn view(&self, cx: &Context<'_>) -> MembersView {
        if self.visibility == Visibility::Hidden {
            return MembersView { count: 0, members: Arc::default() };
        }
        let listed = cx.rules.listed;
        let mut members = self.here.list(listed, cx.who);
        let free = listed - members.len();
        if free > 0 && self.elsewhere.lists_anybody() {
            Arc::make_mut(&mut members).extend(self.elsewhere.list().take(free).cloned());
        }
        MembersView { count: self.count(), members }
    }

    /// Returns this Hub's part of the roster, for a peer that asks.
    pub(crate) fn part(&self, cx: &Context<'_>) -> Part {
        let members: Vec<_> = self.here.sample(cx.who).take(cx.rules.listed).collect();
        Part { count: self.here.count(), members }
    }
}
