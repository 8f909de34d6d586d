//! The reaction of a Client to every close code in every state.
use chat_proto::{
    Advice, CloseCode, DisplayName, Durability, LimitValues, RequestId, ServerFrame, SessionId,
    Timestamp, Token, UserId, Welcome,
};
use chat_state::client::{
    Action, Actions, Client, Config, Delivery, Event, LinkId, State, StopReason,
};
use chat_state::{Mono, Now};

/// The largest random number: every delay is its upper bound less 1 ms.
const RANDOM: u64 = u64::MAX;

/// The reaction to a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Connects after a delay of at most this many milliseconds.
    Wait(u64),
    /// Asks for another credential.
    Token,
    /// Stops with this advice.
    Stop(Advice),
}

const BACK_OFF: Then = Then::Wait(500);
const RESUME_NOW: Then = Then::Wait(2000);
const FIX_FIRST: Then = Then::Stop(Advice::FixFirst);
const STAY_AWAY: Then = Then::Stop(Advice::StayAway);

/// Every code of the protocol, and samples of the ranges that it leaves open.
const TABLE: &[(Option<u16>, Then)] = &[
    (None, BACK_OFF),
    (Some(0), BACK_OFF),
    (Some(1000), BACK_OFF),
    (Some(1001), BACK_OFF),
    (Some(1002), FIX_FIRST),
    (Some(1003), FIX_FIRST),
    (Some(1005), BACK_OFF),
    (Some(1006), BACK_OFF),
    (Some(1007), FIX_FIRST),
    (Some(1008), FIX_FIRST),
    (Some(1009), FIX_FIRST),
    (Some(1010), FIX_FIRST),
    (Some(1011), BACK_OFF),
    (Some(1012), BACK_OFF),
    (Some(3000), BACK_OFF),
    (Some(3999), BACK_OFF),
    (Some(4000), FIX_FIRST),
    (Some(4001), Then::Token),
    (Some(4002), FIX_FIRST),
    (Some(4003), Then::Token),
    (Some(4050), FIX_FIRST),
    (Some(4099), FIX_FIRST),
    (Some(4100), BACK_OFF),
    (Some(4101), BACK_OFF),
    (Some(4129), BACK_OFF),
    (Some(4177), BACK_OFF),
    (Some(4199), BACK_OFF),
    (Some(4200), RESUME_NOW),
    (Some(4201), RESUME_NOW),
    (Some(4202), RESUME_NOW),
    (Some(4250), RESUME_NOW),
    (Some(4299), RESUME_NOW),
    (Some(4300), STAY_AWAY),
    (Some(4301), STAY_AWAY),
    (Some(4350), STAY_AWAY),
    (Some(4399), STAY_AWAY),
    (Some(4400), BACK_OFF),
    (Some(4999), BACK_OFF),
    (Some(u16::MAX), BACK_OFF),
];

/// The states that a Client can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Idle,
    Opening,
    Greeting,
    Online,
    Waiting,
    Token,
    Stopped,
}

const LINKED: [At; 3] = [At::Opening, At::Greeting, At::Online];
const UNLINKED: [At; 4] = [At::Idle, At::Waiting, At::Token, At::Stopped];

#[test]
fn the_table_has_every_code_of_the_protocol() {
    for code in CloseCode::ALL {
        assert!(TABLE.iter().any(|(known, _)| *known == Some(code.number())), "{code}");
    }
}

#[test]
fn every_code_has_its_reaction_in_every_state_with_a_link() {
    for at in LINKED {
        for (code, then) in TABLE {
            let mut test = Test::at(at);
            let link = test.link;
            let got = test.handle(Event::Closed { link, code: *code });
            test.check(&format!("{code:?} while {at:?}"), at, *code, *then, &got);
        }
    }
}

#[test]
fn a_close_of_an_earlier_link_changes_nothing() {
    for at in LINKED.into_iter().chain(UNLINKED) {
        for (code, _) in TABLE {
            let mut test = Test::at(at);
            let before = (test.client.state(), test.client.poll_timeout());
            for link in [LinkId(0), LinkId(test.link.0 + 1), LinkId(u64::MAX)] {
                assert_eq!(test.handle(Event::Closed { link, code: *code }), [], "{at:?}");
            }
            if UNLINKED.contains(&at) {
                let link = test.link;
                assert_eq!(test.handle(Event::Closed { link, code: *code }), [], "{at:?}");
            }
            assert_eq!((test.client.state(), test.client.poll_timeout()), before, "{at:?}");
        }
    }
}

#[test]
fn every_state_except_idle_and_stopped_times_out() {
    for at in LINKED.into_iter().chain(UNLINKED) {
        let mut test = Test::at(at);
        let rests = matches!(at, At::Idle | At::Stopped);
        assert_eq!(test.client.poll_timeout().is_none(), rests, "{at:?}");
        // First the server is silent, then the probe is not answered.
        let mut told = Vec::new();
        for _ in 0..2 {
            if let Some(due) = test.client.poll_timeout() {
                test.now.mono = due;
                told.extend(test.timeout());
            }
        }
        let is_state = |action: &Action| matches!(action, Action::Deliver(Delivery::State(_)));
        assert_eq!(told.iter().any(is_state), !rests, "{at:?}: {told:?}");
    }
}

struct Test {
    client: Client,
    now: Now,
    link: LinkId,
}

impl Test {
    fn at(at: At) -> Self {
        let config = Config { token: Some(Token("t1".into())), ..Config::default() };
        let now = Now { mono: Mono(1000), wall: Timestamp(1_700_000_000_000) };
        let mut test = Self { client: Client::new(config), now, link: LinkId(0) };
        if at != At::Idle {
            test.handle(Event::Start);
        }
        let link = test.link;
        if matches!(at, At::Greeting | At::Online | At::Waiting | At::Token | At::Stopped) {
            test.handle(Event::Opened { link });
        }
        if matches!(at, At::Online | At::Waiting | At::Token | At::Stopped) {
            test.handle(Event::Received { link, frame: welcome() });
        }
        let code = match at {
            At::Waiting => Some(1006),
            At::Token => Some(4001),
            At::Stopped => Some(4300),
            At::Idle | At::Opening | At::Greeting | At::Online => None,
        };
        if code.is_some() {
            test.handle(Event::Closed { link, code });
        }
        let state = test.client.state();
        let is_right = match at {
            At::Idle => state == State::Idle,
            At::Opening | At::Greeting | At::Token => state == State::Connecting,
            At::Online => state == State::Online,
            At::Waiting => matches!(state, State::Waiting { .. }),
            At::Stopped => matches!(state, State::Stopped { .. }),
        };
        assert!(is_right, "{at:?} is {state:?}");
        test
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut out = Actions::new();
        self.client.handle(self.now, RANDOM, event, &mut out);
        self.did(out)
    }

    fn timeout(&mut self) -> Vec<Action> {
        let mut out = Actions::new();
        self.client.handle_timeout(self.now, RANDOM, &mut out);
        self.did(out)
    }

    fn did(&mut self, out: Actions) -> Vec<Action> {
        for action in &out {
            if let Action::Open { link } = action {
                assert!(*link > self.link, "links count up");
                self.link = *link;
            }
        }
        out.into()
    }

    /// Checks the reaction to a close and what follows.
    fn check(&mut self, place: &str, at: At, code: Option<u16>, then: Then, got: &[Action]) {
        let connecting = Action::Deliver(Delivery::State(State::Connecting));
        let opened = Action::Open { link: LinkId(self.link.0 + 1) };
        match then {
            Then::Wait(most) => {
                let until = self.now.mono.plus(most - 1);
                let state = Delivery::State(State::Waiting { until });
                assert_eq!(got, [Action::Deliver(state)], "{place}");
                assert_eq!(self.client.poll_timeout(), Some(until), "{place}");
                self.now.mono = until;
                assert_eq!(self.timeout(), [connecting, opened], "{place}");
            }
            Then::Token => {
                let told = (at == At::Online).then_some(connecting);
                let expected: Vec<Action> = told.into_iter().chain([Action::NeedToken]).collect();
                assert_eq!(got, expected, "{place}");
                let token = Some(Token("t2".into()));
                assert_eq!(self.handle(Event::Token { token }), [opened], "{place}");
                // The credential was replaced before.
                let link = self.link;
                let again = self.handle(Event::Closed { link, code });
                let why = StopReason::Unauthorized;
                let state = Delivery::State(State::Stopped { why });
                assert_eq!(again, [Action::Deliver(state)], "{place}");
            }
            Then::Stop(advice) => {
                let why = StopReason::Closed { code: code.expect("a code"), advice };
                let state = Delivery::State(State::Stopped { why });
                assert_eq!(got, [Action::Deliver(state)], "{place}");
                assert_eq!(self.client.poll_timeout(), None, "{place}");
                self.now.mono = self.now.mono.plus(3_600_000);
                assert_eq!(self.timeout(), [], "{place}");
                assert_eq!(self.handle(Event::Wake), [], "{place}");
                assert_eq!(self.handle(Event::Start), [connecting, opened], "{place}");
            }
        }
    }
}

fn welcome() -> ServerFrame {
    let welcome = Welcome {
        id: Some(RequestId::new("1").expect("an id")),
        session: SessionId::new("s1").expect("a session"),
        user: UserId::new("u_ada").expect("a user"),
        name: DisplayName::new("Ada").expect("a name"),
        resumed: false,
        durability: Durability::Memory,
        heartbeat_ms: 25_000,
        limits: LimitValues::default(),
        features: Vec::new(),
        rooms: [].into(),
    };
    ServerFrame::Welcome(Box::new(welcome))
}
