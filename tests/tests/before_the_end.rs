//! Whoever is closed gets what was said before, also where both come in one turn of a worker.
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use chat_proto::{CloseCode, Dialect, RoomName, Seq};
use chat_state::{AppendError, Appended, LogHead, LogPage, ReadError, ReadRange};
use chat_tests::wait::within;
use chat_tokio::Server;
use chat_tokio::log::{Capabilities, LogFuture, MemoryLog, RoomBatch, RoomLog};
use chat_tokio::server::attach::{Attach, NewConnection};
use chat_tokio::transport::memory::{MemoryPeer, pair};
use tokio::sync::watch;

const CAPACITY_BYTES: usize = 64 * 1024;

/// What is done when somebody asks for the room `now`: on the worker's thread, so that what it
/// wakes is polled in the order of waking.
type Deed = Box<dyn FnOnce() + Send>;

/// A log that answers no append before it is told to.
#[derive(Default)]
struct Held {
    log: MemoryLog,
    asked: watch::Sender<usize>,
    answers: watch::Sender<bool>,
    now: Mutex<Option<Deed>>,
}

impl RoomLog for Held {
    fn capabilities(&self) -> Capabilities {
        self.log.capabilities()
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        let (answer, mut answers) = (self.log.append(batches), self.answers.subscribe());
        self.asked.send_modify(|asked| *asked += 1);
        Box::pin(async move {
            answers.wait_for(|answers| *answers).await.expect("the log lives");
            answer.await
        })
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        self.log.head(room)
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        if let Some(deed) =
            self.now.lock().expect("nobody panicked").take_if(|_| room.as_str() == "now")
        {
            deed();
        }
        self.log.read(room, range)
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        self.log.trim(room, before)
    }
}

struct Member(MemoryPeer);

impl Member {
    async fn join(server: &Server, name: &str, room: &str) -> Self {
        let (transport, peer) = pair(CAPACITY_BYTES);
        let new = NewConnection::new(Box::new(transport), Dialect::V1);
        server.handle().attach(new).expect("it has room");
        let mut member = Self(peer);
        member.0.send(format!(r#"{{"type":"hello","name":"{name}"}}"#)).await.expect("it is open");
        member.0.send(format!(r#"{{"type":"join","room":"{room}"}}"#)).await.expect("it is open");
        for answer in ["welcome", "joined"] {
            let text = within(answer, member.0.recv()).await.expect("it is open");
            assert!(text.contains(answer), "{text}");
        }
        member
    }

    fn say_at_once(&mut self, text: String) {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(self.0.poll_send(&mut cx, &mut Some(text.into())).is_ready());
    }
}

#[tokio::test]
async fn who_breaks_a_rule_gets_what_was_said_before() {
    let log = Arc::new(Held::default());
    let server = Server::builder().workers(1).log(Arc::<Held>::clone(&log));
    let server = server.start().expect("a server");
    let mut ada = Member::join(&server, "ada", "lobby").await;
    let bob = Arc::new(Mutex::new(Member::join(&server, "bob", "lobby").await));
    let mut asked = log.asked.subscribe();
    let said = r#"{"type":"message","room":"lobby","content":"before the end"}"#;
    ada.0.send(said).await.expect("it is open");
    within("the log to be asked", asked.changed()).await.expect("it is open");

    // That the log has it and Bob's last words come to the worker at once.
    let (answers, speaker) = (log.answers.clone(), Arc::clone(&bob));
    *log.now.lock().expect("nobody panicked") = Some(Box::new(move || {
        answers.send_replace(true);
        speaker.lock().expect("nobody panicked").say_at_once("x".repeat(CAPACITY_BYTES + 1));
    }));
    let eve = Member::join(&server, "eve", "now").await;
    let mut bob = Arc::into_inner(bob).expect("it was done").into_inner().expect("nobody panicked");
    let mut heard = Vec::new();
    while let Some(text) = within("the end", bob.0.recv()).await {
        heard.push(text.to_string());
    }
    assert_eq!(bob.0.close_code(), Some(CloseCode::TooBig));
    assert!(heard.iter().any(|text| text.contains("before the end")), "{heard:?}");
    drop((ada, eve));
    server.shutdown().await;
}
