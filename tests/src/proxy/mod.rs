//! A TCP proxy that makes things go wrong, as networks do.
//!
//! It forwards bytes as they are, each once and in order, and knows nothing of what they mean.
//! What goes wrong is a [`Plan`] (the same for the same seed, in bytes, so that it can fall into
//! the middle of a frame) or a wish of whoever holds the [`Proxy`]. Whatever is not forwarded is
//! lost, and then the connection never carries another byte that way.
mod connection;
mod lane;
mod plan;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_tokio::clock::Clock;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use self::connection::Connection;
pub use self::plan::{Cut, Fault, Mix, Plan, Side, Step, Steps, Way};

/// Connections that may be open at a time.
const CONNECTIONS_MAX: usize = 8192;

/// Connections that may wait to be accepted: a storm of them comes at once.
const BACKLOG: u32 = 4096;

/// Wishes that may wait for one connection.
const WISHES_MAX: usize = 64;

/// A proxy in front of one server. Dropping it ends what goes through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What a proxy has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that came.
    pub accepted: u64,
    /// Those that were sent away, because nobody was to be let in or the server did not answer.
    pub refused: u64,
    /// Bytes forwarded to the server.
    pub to_server: u64,
    /// Bytes forwarded to clients.
    pub to_client: u64,
    /// Connections cut by a RST.
    pub resets: u64,
    /// Connections cut by a FIN.
    pub finishes: u64,
    /// Stalls towards the server.
    pub stalls_to_server: u64,
    /// Stalls towards the client.
    pub stalls_to_client: u64,
    /// Delays.
    pub delays: u64,
    /// Connections of which the client's side was left open.
    pub half_open_clients: u64,
    /// Connections of which the server's side was left open.
    pub half_open_servers: u64,
}

impl Counters {
    /// Connections that were ended, in whatever way.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.resets + self.finishes + self.half_open_clients + self.half_open_servers
    }

    /// Stalls, both ways.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.stalls_to_server + self.stalls_to_client
    }

    fn bytes(&mut self, way: Way) -> &mut u64 {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }

    fn count(&mut self, fault: Fault) {
        *match fault {
            Fault::Cut(Cut::Reset) => &mut self.resets,
            Fault::Cut(Cut::Finish) => &mut self.finishes,
            Fault::Stall(Way::ToServer, _) => &mut self.stalls_to_server,
            Fault::Stall(Way::ToClient, _) => &mut self.stalls_to_client,
            Fault::Delay(..) => &mut self.delays,
            Fault::HalfOpen(Side::Client, _) => &mut self.half_open_clients,
            Fault::HalfOpen(Side::Server, _) => &mut self.half_open_servers,
        } += 1;
    }
}

/// What a connection is asked for from outside.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Fault(Fault),
    GoOn,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    counters: Counters,
    live: BTreeMap<u64, mpsc::Sender<Wish>>,
    /// Faults that the plan may still make.
    faults_left: u64,
    refusing: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, count: impl FnOnce(&mut Counters)) {
        count(&mut self.state().counters);
    }

    /// Takes one of the faults that the plan has left.
    fn may_fault(&self) -> bool {
        let mut state = self.state();
        let may = state.faults_left > 0;
        state.faults_left = state.faults_left.saturating_sub(1);
        may
    }
}

impl Proxy {
    /// Starts a proxy in front of `target`, on a port that the system chooses.
    ///
    /// # Panics
    /// If the system gives no port.
    #[must_use]
    pub fn start(target: SocketAddr, plan: Plan) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port of its own");
        let listener = socket.listen(BACKLOG).expect("it listens");
        let address = listener.local_addr().expect("it has an address");
        let state = State {
            target,
            counters: Counters::default(),
            live: BTreeMap::new(),
            faults_left: u64::MAX,
            refusing: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let accepting = tokio::spawn(accept(listener, plan, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what it has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.state().counters
    }

    /// Returns how many connections it forwards or leaves half open.
    #[must_use]
    pub fn live(&self) -> usize {
        self.shared.state().live.len()
    }

    /// Lets the plan make only so many faults more. Wishes are not counted.
    pub fn faults_left(&self, count: u64) {
        self.shared.state().faults_left = count;
    }

    /// Makes no more faults and ends all stalls. Half-open connections stay what they are.
    pub fn heal(&self) {
        self.faults_left(0);
        self.wish(Wish::GoOn);
    }

    /// Does this to all connections; answers how many there are.
    pub fn all(&self, fault: Fault) -> usize {
        self.wish(Wish::Fault(fault))
    }

    /// Cuts all connections; answers how many there are.
    pub fn cut_all(&self, cut: Cut) -> usize {
        self.all(Fault::Cut(cut))
    }

    /// Forwards nothing more this way, on all connections, until [`Proxy::go_on`].
    pub fn stall(&self, way: Way) -> usize {
        self.all(Fault::Stall(way, None))
    }

    /// Ends all stalls.
    pub fn go_on(&self) {
        self.wish(Wish::GoOn);
    }

    /// Sends new connections away, by a RST, until [`Proxy::admit`].
    pub fn refuse(&self) {
        self.shared.state().refusing = true;
    }

    /// Lets new connections in again.
    pub fn admit(&self) {
        self.shared.state().refusing = false;
    }

    /// Leads new connections to another server.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.state().target = target;
    }

    fn wish(&self, wish: Wish) -> usize {
        let live: Vec<_> = self.shared.state().live.values().cloned().collect();
        for connection in &live {
            if let Err(mpsc::error::TrySendError::Full(_)) = connection.try_send(wish) {
                panic!("{WISHES_MAX} wishes wait for one connection");
            }
        }
        live.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its connections are its tasks.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, plan: Plan, shared: Arc<Shared>) {
    let clock = Clock::start();
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                Err(error) => panic!("the proxy can't accept: {error}"),
            },
            Some(ended) = connections.join_next() => {
                ended.expect("forwarding does not panic");
                continue;
            }
        };
        let (target, refusing) = {
            let mut state = shared.state();
            state.counters.accepted += 1;
            (state.target, state.refusing || state.live.len() >= CONNECTIONS_MAX)
        };
        if refusing {
            shared.counted(|counters| counters.refused += 1);
            let _ = client.set_zero_linger();
            continue;
        }
        let (wish, wishes) = mpsc::channel(WISHES_MAX);
        shared.state().live.insert(number, wish);
        let (steps, shared) = (plan.steps(number), Arc::clone(&shared));
        connections.spawn(async move {
            let live = Live { number, shared };
            match TcpStream::connect(target).await {
                Ok(server) => {
                    // Without, small frames would wait for others.
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let shared = Arc::clone(&live.shared);
                    Connection { client, server, wishes, steps, clock, shared }.run().await;
                }
                Err(_) => {
                    live.shared.counted(|counters| counters.refused += 1);
                    let _ = client.set_zero_linger();
                }
            }
        });
        number += 1;
    }
}

/// A connection is live until this is dropped.
struct Live {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.state().live.remove(&self.number);
    }
}
