//! One connection through the proxy.
use std::sync::Arc;

use chat_tokio::clock::Clock;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::lane::{Lane, Progress};
use super::plan::{Cut, Fault, Side, Step, Steps, Way};
use super::{Shared, Wish};

/// A stall without an end is one of a year.
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

pub(super) struct Connection {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    pub(super) wishes: mpsc::Receiver<Wish>,
    pub(super) steps: Steps,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
}

/// How a connection ends for the proxy.
enum End {
    /// Both sides in the same way.
    Cut(Cut),
    /// One side is left open, the other perhaps not.
    HalfOpen(Side, Option<Cut>),
    /// Both have ended by themselves.
    Over,
}

/// Both ways.
#[derive(Default)]
struct Lanes {
    up: Lane,
    down: Lane,
}

impl Lanes {
    fn of(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::ToServer => &mut self.up,
            Way::ToClient => &mut self.down,
        }
    }
}

enum Happened {
    Wish(Option<Wish>),
    Moved(Way, Progress),
}

impl Connection {
    /// Forwards until the end. Returns once both sides are closed.
    pub(super) async fn run(mut self) {
        match self.forward().await {
            End::Over => {}
            End::Cut(Cut::Reset) => {
                reset(self.client);
                reset(self.server);
            }
            End::Cut(Cut::Finish) => {
                finish(&mut self.client).await;
                finish(&mut self.server).await;
                tokio::join!(swallow(&self.client), swallow(&self.server));
            }
            End::HalfOpen(side, other) => self.leave_open(side, other).await,
        }
    }

    async fn forward(&mut self) -> End {
        let mut lanes = Lanes::default();
        let mut next = self.steps.next();
        loop {
            while let Some(step) = next.filter(|step| step.after_bytes == 0) {
                next = self.steps.next();
                if self.shared.may_fault()
                    && let Some(end) = self.fault(step.fault, &mut lanes)
                {
                    return end;
                }
            }
            if lanes.up.is_over() && lanes.down.is_over() {
                return End::Over;
            }
            match self.happens(&mut lanes, next).await {
                // The proxy is gone, and so are its connections.
                Happened::Wish(None) => return End::Cut(Cut::Reset),
                Happened::Wish(Some(Wish::Fault(fault))) => {
                    if let Some(end) = self.fault(fault, &mut lanes) {
                        return end;
                    }
                }
                Happened::Wish(Some(Wish::GoOn)) => {
                    lanes.up.go_on();
                    lanes.down.go_on();
                }
                Happened::Moved(way, Progress::Forwarded(count)) => {
                    self.shared.counted(|counters| *counters.bytes(way) += count);
                    if let Some(step) = next.as_mut().filter(|step| step.way == way) {
                        step.after_bytes -= count;
                    }
                }
                Happened::Moved(Way::ToServer, Progress::Ended) => finish(&mut self.server).await,
                Happened::Moved(Way::ToClient, Progress::Ended) => finish(&mut self.client).await,
                Happened::Moved(_, Progress::Broken) => return End::Cut(Cut::Reset),
            }
        }
    }

    /// Waits for the next thing to happen; no lane goes beyond the next step.
    async fn happens(&mut self, lanes: &mut Lanes, next: Option<Step>) -> Happened {
        let limit = |way| match next {
            Some(step) if step.way == way => step.after_bytes,
            Some(_) | None => u64::MAX,
        };
        let (up, down) = (&mut lanes.up, &mut lanes.down);
        let (to_server, to_client) = (limit(Way::ToServer), limit(Way::ToClient));
        let (client, server, clock) = (&self.client, &self.server, self.clock);
        let (up_moves, down_moves) = (!up.is_over(), !down.is_over());
        tokio::select! {
            wish = self.wishes.recv() => Happened::Wish(wish),
            progress = up.step(client, server, to_server, clock), if up_moves => {
                Happened::Moved(Way::ToServer, progress)
            }
            progress = down.step(server, client, to_client, clock), if down_moves => {
                Happened::Moved(Way::ToClient, progress)
            }
        }
    }

    fn fault(&self, fault: Fault, lanes: &mut Lanes) -> Option<End> {
        self.shared.counted(|counters| counters.count(fault));
        match fault {
            Fault::Cut(cut) => return Some(End::Cut(cut)),
            Fault::HalfOpen(side, other) => return Some(End::HalfOpen(side, other)),
            Fault::Delay(way, ms) => lanes.of(way).delay(ms),
            Fault::Stall(way, ms) => {
                let until = self.clock.now().mono.plus(ms.unwrap_or(YEAR_MS));
                lanes.of(way).stall_until(until);
            }
        }
        None
    }

    async fn leave_open(mut self, side: Side, other: Option<Cut>) {
        let (open, closed) = match side {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        };
        let closing = async {
            let mut closed = closed;
            match other {
                Some(Cut::Reset) => reset(closed),
                Some(Cut::Finish) => {
                    finish(&mut closed).await;
                    swallow(&closed).await;
                }
                None => swallow(&closed).await,
            }
        };
        tokio::select! {
            _ = async { tokio::join!(swallow(&open), closing) } => return,
            () = cut_wished(&mut self.wishes) => {}
        }
        reset(open);
    }
}

/// Waits until the connection is to be cut, or the proxy is gone.
async fn cut_wished(wishes: &mut mpsc::Receiver<Wish>) {
    while let Some(wish) = wishes.recv().await {
        if matches!(wish, Wish::Fault(Fault::Cut(_))) {
            return;
        }
    }
}

fn reset(stream: TcpStream) {
    // Where that option can't be set, the connection has ended already.
    let _ = stream.set_zero_linger();
    drop(stream);
}

async fn finish(stream: &mut TcpStream) {
    // Where it fails, the connection has ended already.
    let _ = stream.shutdown().await;
}

/// Reads until the end, for nobody.
async fn swallow(stream: &TcpStream) {
    let mut buffer = [0; 4096];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
