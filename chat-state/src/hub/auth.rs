//! Authentication: asks the authority who a connection is, and enforces the end of its grant.
//!
//! Rare paths are kept out of line, so that messages do not pay for them.
//!
//! *Invariant:* a session is in no room that its grant does not allow.
use alloc::boxed::Box;

use chat_proto::{
    BasicRequest, Dialect, DisplayName, ErrorCode, LeaveReason, RequestId, Resume, RoomName,
    ServerFrame, Token as Credentials,
};

use super::pause::Reason;
use super::places::{KEPT_OUT, NOT_ALLOWED, Refusal};
use super::questions::Pending;
use super::{Actions, Hub};
use crate::event::{Action, Signal, SignalTo};
use crate::grant::{AuthError, Grant, Revoke};
use crate::identity;
use crate::ids::{ConnId, Now, Token};
use crate::reason::CloseReason;
use crate::room::policy::{JoinRule, RoomPolicy};
use crate::session::{Auth, Granted, Hello, Session, Stage, Waiting};
use crate::timers::Timer;
use crate::users::kept::KeptSession;
use crate::users::lingering::Owner;

/// The error text for another user's inbox, whether that room exists or not.
const NOT_THE_OWNER: &str = "an inbox is for its user's own sessions only";

impl Hub {
    /// Asks the authority about the credentials of a `hello`.
    #[inline(never)]
    pub(super) fn check_hello(
        &mut self,
        conn: ConnId,
        hello: Hello,
        token: Option<Credentials>,
        out: &mut Actions,
    ) {
        let session = &mut self.sessions[conn];
        let auth = session.auth.as_mut().expect("the authority knows the user");
        let Some(credentials) = token.or(auth.credentials.take()) else {
            let why = "this server requires a `token`";
            Self::refuse(conn, hello.id, ErrorCode::Unauthorized, why, out);
            return self.refuse_identity(conn, AuthError::Invalid, out);
        };
        session.stage = Stage::Checking;
        self.ask_authority(conn, Waiting::Hello(hello), credentials, out);
    }

    /// Asks the authority before the first `basic` frame is handled. Nothing is read meanwhile.
    #[inline(never)]
    pub(super) fn check_basic(&mut self, conn: ConnId, request: BasicRequest, out: &mut Actions) {
        let session = &mut self.sessions[conn];
        if session.stage == Stage::Checking {
            // The frame was read before the pause. `basic` has no errors, so it is dropped.
            return;
        }
        let auth = session.auth.as_mut().expect("the authority knows the user");
        let Some(credentials) = auth.credentials.take() else {
            return self.refuse_identity(conn, AuthError::Invalid, out);
        };
        session.stage = Stage::Checking;
        self.ask_authority(conn, Waiting::Basic(request), credentials, out);
        self.pause(conn, Reason::Identity, out);
    }

    /// Asks the authority to renew the grant of a session.
    #[inline(never)]
    pub(super) fn renew(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        credentials: Credentials,
        out: &mut Actions,
    ) {
        let session = &mut self.sessions[conn];
        match &session.auth {
            None => {
                let why = "this server takes no tokens";
                Self::refuse(conn, id, ErrorCode::Unauthorized, why, out);
            }
            Some(auth) if auth.asked.is_some() => {
                let why = "an `auth` is being checked already";
                Self::refuse(conn, id, ErrorCode::AuthUnavailable, why, out);
            }
            Some(_) => self.ask_authority(conn, Waiting::Renew(id), credentials, out),
        }
    }

    fn ask_authority(
        &mut self,
        conn: ConnId,
        waiting: Waiting,
        credentials: Credentials,
        out: &mut Actions,
    ) {
        let token = self.token(Pending::Auth(conn));
        let until = self.now.plus(self.config.times.auth_ms);
        let session = &mut self.sessions[conn];
        let auth = session.auth.as_mut().expect("the authority knows the user");
        auth.asked = Some((token, waiting));
        self.timers.arm(until, Timer::Hello(conn));
        out.push_back(Action::Authenticate { token, conn, credentials });
    }

    /// Treats an authority that has not answered in time as unavailable.
    #[inline(never)]
    pub(super) fn authority_due(&mut self, now: Now, conn: ConnId, out: &mut Actions) {
        let asked = self.sessions.get_mut(conn).and_then(|session| session.auth.as_mut());
        let token = asked.and_then(|auth| auth.asked.as_ref()).map(|(token, _)| *token);
        let Some(token) = token else { return };
        self.pending.answer(token);
        self.authenticated(now, conn, token, Err(AuthError::Unavailable), out);
    }

    /// Continues what has waited for the authority's answer.
    #[inline(never)]
    pub(super) fn authenticated(
        &mut self,
        now: Now,
        conn: ConnId,
        token: Token,
        result: Result<Box<Grant>, AuthError>,
        out: &mut Actions,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let asked = session.auth.as_mut().and_then(|auth| auth.asked.take());
        let Some((_, waiting)) = asked.filter(|(asked, _)| *asked == token) else { return };
        self.timers.disarm(Timer::Hello(conn));
        let result = result.and_then(|grant| match grant.expires {
            Some(end) if end <= now.wall => Err(AuthError::Expired),
            Some(_) | None => Ok(grant),
        });
        match (waiting, result) {
            (Waiting::Hello(mut hello), Ok(grant)) => {
                // The authority's display name takes precedence over the client's.
                hello.name = grant.name.clone().or(hello.name);
                self.admit_as(now, conn, *grant);
                self.greet(conn, hello, out);
            }
            (Waiting::Hello(hello), Err(error)) => {
                Self::refuse(conn, hello.id, code(error), reason(error), out);
                self.refuse_identity(conn, error, out);
            }
            (Waiting::Basic(request), Ok(grant)) => {
                let banned = self.bans.hold_for_server(&grant.user, self.now);
                self.admit_as(now, conn, *grant);
                if banned {
                    return self.close(conn, CloseReason::Banned, out);
                }
                if self.has_too_many_sessions(conn, None) {
                    // `basic` has no errors.
                    return self.close(conn, CloseReason::TooManySessions, out);
                }
                self.sessions[conn].stage = Stage::Active;
                self.begin_session(conn, out);
                self.session_came(conn, out);
                self.basic(now, conn, request, out);
                self.unpause(conn, Reason::Identity, out);
            }
            (Waiting::Basic(_), Err(error)) => self.refuse_identity(conn, error, out),
            (Waiting::Renew(id), Ok(grant)) => self.renewed(now, conn, id, *grant, out),
            (Waiting::Renew(id), Err(error)) => {
                Self::refuse(conn, id, code(error), reason(error), out);
            }
        }
    }

    fn renewed(
        &mut self,
        now: Now,
        conn: ConnId,
        id: Option<RequestId>,
        grant: Grant,
        out: &mut Actions,
    ) {
        let session = &self.sessions[conn];
        if session.user != grant.user {
            let why = "the credential belongs to another user: open another connection for it";
            return Self::refuse(conn, id, ErrorCode::Unauthorized, why, out);
        }
        let rooms = session.subscriptions.iter().filter_map(|s| self.rooms.get(s.room));
        let mut granted = rooms.filter(|room| room.policy().join == JoinRule::Granted);
        let covers = granted.all(|room| grant.rooms.allow(&room.name));
        let expires_in_ms = grant.expires.map(|end| end.0.saturating_sub(now.wall.0));
        self.set_grant(now, conn, grant);
        Self::reply(conn, ServerFrame::Authenticated { id, expires_in_ms }, out);
        if !covers {
            // The client reconnects and learns for each room whether it may still be in it.
            self.close(conn, CloseReason::GrantNarrowed, out);
        }
    }

    /// Returns true if a connection's user has more sessions than the limit allows. A resumed
    /// session counts once, together with its older connection.
    pub(super) fn has_too_many_sessions(&mut self, conn: ConnId, resume: Option<&Resume>) -> bool {
        let session = &self.sessions[conn];
        let (shares, most) = (session.shares, self.config.limits.user_sessions);
        let here = self.sessions_of_user(shares);
        if here == 0 {
            // A guest has a single session.
            return false;
        }
        let elsewhere = self.sessions_elsewhere(&session.user);
        let count = here.saturating_add(elsewhere);
        if count <= most {
            return false;
        }
        let session = &self.sessions[conn];
        let older = resume.map(|resume| session.member_of(&resume.session));
        // The older connection may be on another Hub. A client that lies gains one session.
        let replaces =
            older.is_some_and(|member| elsewhere > 0 || self.sessions.of(member).is_some());
        count - u32::from(replaces) > most
    }

    /// Gives a connection the identity that the authority has granted.
    fn admit_as(&mut self, now: Now, conn: ConnId, grant: Grant) {
        let session = &mut self.sessions[conn];
        session.user = grant.user.clone();
        session.member_id = identity::member_of(&session.id, &grant.user);
        let name = grant.name.clone().or_else(|| DisplayName::new(grant.user.as_str()).ok());
        session.name = name.unwrap_or_else(|| self.anonymous.clone());
        session.stage = Stage::Fresh;
        self.set_grant(now, conn, grant);
        self.share_of_user(conn);
    }

    fn set_grant(&mut self, now: Now, conn: ConnId, grant: Grant) {
        let warn_ms = self.config.times.auth_warn_ms;
        let session = &mut self.sessions[conn];
        let auth = session.auth.as_mut().expect("the authority knows the user");
        let left = grant.expires.map(|end| end.0.saturating_sub(now.wall.0));
        // Warn of a short grant at half its time, so that its renewal does not bring the next
        // warning at once.
        let due = left.map(|left| now.mono.plus(left.saturating_sub(warn_ms.min(left / 2))));
        let ends = left.map(|left| now.mono.plus(left));
        auth.granted = Some(Granted { grant, ends, warn_at: due });
        match due {
            Some(due) => self.timers.arm(due, Timer::Auth(conn)),
            None => self.timers.disarm(Timer::Auth(conn)),
        }
    }

    /// Warns a client that its grant ends soon, or closes its connection once it has ended.
    #[inline(never)]
    pub(super) fn grant_due(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get(conn) else { return };
        let granted = session.auth.as_ref().and_then(|auth| auth.granted.as_ref());
        let Some(ends) = granted.and_then(|granted| granted.ends) else { return };
        if self.now >= ends {
            return self.close(conn, CloseReason::GrantEnded, out);
        }
        self.timers.arm(ends, Timer::Auth(conn));
        self.warn_of_end(conn, out);
    }

    /// Warns a client that its grant ends soon, if that is due. A client that waits for `welcome`
    /// is warned directly after it.
    #[inline(never)]
    pub(super) fn warn_of_end(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if session.dialect != Dialect::V1 || session.stage != Stage::Active {
            return;
        }
        let granted = session.auth.as_mut().and_then(|auth| auth.granted.as_mut());
        let Some(granted) = granted else { return };
        if granted.warn_at.take_if(|at| *at <= self.now).is_some()
            && let Some(ends) = granted.ends
        {
            let expires_in_ms = ends.since(self.now);
            Self::reply(conn, ServerFrame::AuthExpiring { expires_in_ms }, out);
        }
    }

    /// Closes a connection that was not authenticated.
    #[inline(never)]
    fn refuse_identity(&mut self, conn: ConnId, error: AuthError, out: &mut Actions) {
        let reason = match error {
            AuthError::Invalid | AuthError::Expired => CloseReason::Unauthorized,
            AuthError::Unavailable => CloseReason::AuthUnavailable,
        };
        self.close(conn, reason, out);
    }

    /// Returns an error if a grant, a ban or a limit keeps a session out of a room.
    pub(super) fn may_enter(&self, session: &Session, name: &RoomName) -> Result<(), Refusal> {
        if !session.may_join(name) {
            let why = match RoomPolicy::of(name.kind()).join {
                JoinRule::Owner => NOT_THE_OWNER,
                JoinRule::Granted | JoinRule::Nobody => NOT_ALLOWED,
            };
            return Err(Refusal::new(ErrorCode::Forbidden, why));
        }
        if self.bans.hold_for_room(&session.user, name, self.now) {
            return Err(Refusal::new(ErrorCode::Forbidden, KEPT_OUT));
        }
        self.has_place_for_new(name)
    }

    /// Carries out a revocation here and on other Hubs.
    #[inline(never)]
    pub(super) fn revoke(&mut self, what: Revoke, out: &mut Actions) {
        self.end_revoked(&what, out);
        self.signal(SignalTo::Everyone, || Signal::Revoked(what), out);
    }

    /// Closes the connections that a revocation covers, and forgets the sessions it covers.
    #[inline(never)]
    pub(super) fn end_revoked(&mut self, what: &Revoke, out: &mut Actions) {
        for conn in self.sessions.conns() {
            let Some(session) = self.sessions.get(conn) else { continue };
            let ids = session.auth.as_deref().map(Auth::credential_ids).unwrap_or_default();
            if what.covers(&session.user, &session.id, &ids) {
                self.close(conn, CloseReason::Revoked, out);
            }
        }
        let revoked =
            |_, kept: &KeptSession| what.covers(&kept.user, &kept.session, &kept.credential);
        for member in self.kept.find(revoked) {
            self.kept.take(member);
        }
        let revoked =
            |_, owner: &Owner| what.covers(&owner.user, &owner.session, &owner.credential);
        for member in self.lingering.find(revoked) {
            self.end_lingering(member, Some(LeaveReason::Disconnected), out);
        }
    }
}

fn code(error: AuthError) -> ErrorCode {
    match error {
        AuthError::Invalid | AuthError::Expired => ErrorCode::Unauthorized,
        AuthError::Unavailable => ErrorCode::AuthUnavailable,
    }
}

fn reason(error: AuthError) -> &'static str {
    match error {
        AuthError::Invalid => "the credential is not taken here",
        AuthError::Expired => "the credential has expired",
        AuthError::Unavailable => "the credential can't be checked at the moment",
    }
}
