//! The costs of requests.
use chat_proto::{Limits, Request, Resume};

/// The cost of a message. All limits on messages in 10 s count in this unit.
pub(crate) const MESSAGE: Cost = Cost(1000);

/// The cost of a request, in thousandths of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost(pub(crate) u32);

/// Returns the cost of a request. All requests share one budget, so none is a way around it.
#[inline]
pub(crate) fn of_request(request: &Request, limits: &Limits) -> Cost {
    Cost(match request {
        Request::Message { .. } => return MESSAGE,
        Request::Hello { resume: Some(resume), .. } => return of_resume(resume, limits),
        Request::Hello { resume: None, .. } | Request::Auth { .. } => limits.cost_hello,
        Request::Join { .. } => limits.cost_join,
        Request::History { .. } => limits.cost_history,
        Request::Members { .. } | Request::Rooms { .. } => limits.cost_members,
        Request::Leave { .. } | Request::Typing { .. } | Request::Ping => limits.cost_leave,
        Request::Pong => limits.cost_pong,
        // `Request` is open for later versions.
        _ => return MESSAGE,
    })
}

/// Returns the cost of a resume: `cost_leave` for each room that it names, and that of a `hello`.
///
/// It is at most half of what a session or an address may spend in a window. Otherwise a resume of
/// many rooms could never be paid for.
#[inline(never)]
fn of_resume(resume: &Resume, limits: &Limits) -> Cost {
    let rooms = u32::try_from(resume.rooms.len()).unwrap_or(u32::MAX);
    let price = limits.cost_leave.saturating_mul(rooms).saturating_add(limits.cost_hello);
    let budgets = [limits.messages_per_10s, limits.address_messages_per_10s];
    let halves = budgets.into_iter().filter(|messages| *messages > 0);
    let most = halves.map(|messages| messages.saturating_mul(MESSAGE.0 / 2)).min();
    Cost(most.unwrap_or(u32::MAX).min(price).max(limits.cost_hello))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use chat_proto::{Epoch, LimitValues, Position, RoomName, Seq, SessionId};
    use std::format;

    fn limits(session: u32, address: u32) -> Limits {
        let values = LimitValues {
            messages_per_10s: session,
            address_messages_per_10s: address,
            cost_hello: 500,
            cost_leave: 100,
            cost_join: 700,
            ..LimitValues::default()
        };
        values.build().expect("within bounds")
    }

    fn resume(rooms: usize) -> Request {
        let position = Position { epoch: Epoch::new("e").expect("an epoch"), seq: Seq::ZERO };
        let name = |n| RoomName::new(&format!("r{n}")).expect("a name");
        let resume = Resume {
            session: SessionId::new("s").expect("a session"),
            attempt: 1,
            rooms: (0..rooms).map(|n| (name(n), position.clone())).collect(),
        };
        let (name, token) = (None, None);
        Request::Hello { name, token, features: [].into(), resume: Some(Box::new(resume)) }
    }

    #[test]
    fn requests_cost_what_the_limits_say() {
        let limits = limits(20, 0);
        let room = RoomName::new("den").expect("a name");
        let message =
            Request::Message { room: room.clone(), key: None, content: "x".into(), reply_to: None };
        let hello = Request::Hello { name: None, token: None, features: [].into(), resume: None };
        assert_eq!(of_request(&message, &limits), MESSAGE);
        assert_eq!(of_request(&hello, &limits), Cost(500));
        assert_eq!(of_request(&Request::Join { room, history: 0 }, &limits), Cost(700));
        assert_eq!(of_request(&Request::Ping, &limits), Cost(100));
    }

    #[test]
    fn a_resume_costs_by_its_rooms() {
        assert_eq!(of_request(&resume(0), &limits(20, 0)), Cost(500));
        assert_eq!(of_request(&resume(3), &limits(20, 0)), Cost(800));
    }

    #[test]
    fn a_resume_of_many_rooms_costs_at_most_half_of_the_smallest_budget() {
        assert_eq!(of_request(&resume(128), &limits(20, 0)), Cost(10_000));
        assert_eq!(of_request(&resume(128), &limits(20, 6)), Cost(3_000));
        assert_eq!(of_request(&resume(128), &limits(0, 0)), Cost(13_300), "no budget, no bound");
        assert_eq!(of_request(&resume(128), &limits(1, 0)), Cost(500));
        let dear = LimitValues { cost_hello: 900, ..limits(1, 0).values().clone() };
        let dear = dear.build().expect("within bounds");
        assert_eq!(of_request(&resume(9), &dear), Cost(900), "never less than a `hello`");
    }
}
