//! The proxy does what it says, and never alters, repeats or reorders a byte.
use std::io::ErrorKind;
use std::net::SocketAddr;

use chat_tests::irc::Dice;
use chat_tests::proxy::{Cut, Fault, Mix, Plan, Proxy, Side, Step, Way};
use chat_tests::wait::{eventually, within};
use chat_tokio::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy and the listener behind it.
struct Bench {
    proxy: Proxy,
    listener: TcpListener,
}

impl Bench {
    async fn new(plan: Plan) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(any).await.expect("a port");
        let target = listener.local_addr().expect("an address");
        Self { proxy: Proxy::start(target, plan), listener }
    }

    /// Connects through the proxy: the client's end and the server's.
    async fn pair(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.proxy.address());
        let (client, accepted) =
            within("a pair", async { tokio::join!(client, self.listener.accept()) }).await;
        (client.expect("the proxy accepts"), accepted.expect("the proxy connects").0)
    }
}

fn one(way: Way, after_bytes: u64, fault: Fault) -> Plan {
    Plan::scripts([vec![Step { way, after_bytes, fault }]])
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    within("bytes to be taken", stream.write_all(bytes)).await.expect("it is open");
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    within("bytes to come", stream.read_exact(&mut got)).await.expect("it is open");
    assert_eq!(got, bytes);
}

/// Reads to the end: what came, and how it ended.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut got = Vec::new();
    let end = within("the end", stream.read_to_end(&mut got)).await;
    (got, end.map(|_| ()).map_err(|error| error.kind()))
}

/// Nothing is there to be read at this moment, and no end.
fn silent(stream: &TcpStream) -> bool {
    let nothing = stream.try_read(&mut [0; 16]);
    matches!(nothing, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Bytes in which every place can be told from every other one near it.
fn numbered(length: usize) -> Vec<u8> {
    let mut dice = Dice(length as u64);
    (0..length).map(|_| dice.below(256) as u8).collect()
}

#[tokio::test]
async fn without_faults_bytes_and_ends_pass() {
    let bench = Bench::new(Plan::Nothing).await;
    let (mut client, mut server) = bench.pair().await;
    let (up, down) = (numbered(300_000), numbered(500_000));
    let (mut got_up, mut got_down) = (vec![0; up.len()], vec![0; down.len()]);
    let (mut client_reads, mut client_writes) = client.split();
    let (mut server_reads, mut server_writes) = server.split();
    let all = async {
        tokio::try_join!(
            client_writes.write_all(&up),
            server_writes.write_all(&down),
            server_reads.read_exact(&mut got_up),
            client_reads.read_exact(&mut got_down),
        )
    };
    within("all bytes both ways", all).await.expect("all are open");
    assert!(got_up == up && got_down == down, "bytes were altered");
    // One side may end while the other goes on.
    client.shutdown().await.expect("it is open");
    assert_eq!(rest(&mut server).await, (vec![], Ok(())));
    send(&mut server, b"last words").await;
    drop(server);
    assert_eq!(rest(&mut client).await, (b"last words".to_vec(), Ok(())));
    let gone =
        eventually("the connection to be over", async || (bench.proxy.live() == 0).then_some(()));
    gone.await;
    let counters = bench.proxy.counters();
    assert_eq!((counters.accepted, counters.to_server), (1, 300_000));
    assert_eq!(counters.to_client, 500_010);
    assert_eq!((counters.cuts(), counters.stalls(), counters.delays), (0, 0, 0));
}

#[tokio::test]
async fn a_finish_comes_behind_the_byte_that_the_plan_names() {
    for after in [1, 37, 20_001] {
        let bench = Bench::new(one(Way::ToServer, after, Fault::Cut(Cut::Finish))).await;
        let (mut client, mut server) = bench.pair().await;
        let bytes = numbered(20_002);
        send(&mut client, &bytes).await;
        let (got, end) = rest(&mut server).await;
        assert!(got == bytes[..after as usize], "{} bytes instead of {after}", got.len());
        assert_eq!(end, Ok(()));
        assert_eq!(rest(&mut client).await.1, Ok(()), "the other side ends the same way");
        assert_eq!(bench.proxy.counters().finishes, 1);
    }
}

#[tokio::test]
async fn a_reset_is_one_for_both_sides() {
    let bench = Bench::new(one(Way::ToClient, 5, Fault::Cut(Cut::Reset))).await;
    let (mut client, mut server) = bench.pair().await;
    send(&mut server, b"12345678").await;
    let (got, end) = rest(&mut client).await;
    assert!(b"12345".starts_with(&got), "{got:?}");
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert_eq!(rest(&mut server).await.1, Err(ErrorKind::ConnectionReset));
    assert_eq!(bench.proxy.counters().resets, 1);
}

#[tokio::test]
async fn a_stall_is_of_one_way_and_loses_nothing() {
    let bench = Bench::new(Plan::Nothing).await;
    let (mut client, mut server) = bench.pair().await;
    send(&mut client, b"before").await;
    expect(&mut server, b"before").await;
    assert_eq!(bench.proxy.stall(Way::ToServer), 1);
    eventually("the stall", async || (bench.proxy.counters().stalls_to_server == 1).then_some(()))
        .await;
    // More than the proxy and the kernel hold: the sender itself has to wait.
    let bytes = numbered(64 * 1024 * 1024);
    let (mut reads, mut writes) = client.split();
    let sending = writes.write_all(&bytes);
    tokio::pin!(sending);
    let other_way = async {
        for _ in 0..200 {
            send(&mut server, b"the other way").await;
            let mut got = [0; 13];
            reads.read_exact(&mut got).await.expect("it is open");
            assert_eq!(&got, b"the other way");
        }
    };
    tokio::select! {
        _ = &mut sending => panic!("64 MiB were taken during a stall"),
        () = within("the other way", other_way) => {}
    }
    assert!(silent(&server), "bytes passed during a stall");
    assert_eq!(bench.proxy.counters().to_server, 6);
    bench.proxy.go_on();
    let mut got = vec![0; bytes.len()];
    let receiving = server.read_exact(&mut got);
    let (sent, received) = within("all bytes", async { tokio::join!(sending, receiving) }).await;
    sent.expect("it is open");
    received.expect("it is open");
    assert!(got == bytes, "bytes were altered by a stall");
}

#[tokio::test]
async fn a_planned_stall_and_a_delay_last_as_long_as_they_say() {
    let clock = Clock::start();
    let stall = one(Way::ToServer, 3, Fault::Stall(Way::ToServer, Some(80)));
    let delay = one(Way::ToServer, 3, Fault::Delay(Way::ToServer, 80));
    for plan in [stall, delay] {
        let bench = Bench::new(plan).await;
        let (mut client, mut server) = bench.pair().await;
        send(&mut client, b"abc").await;
        expect(&mut server, b"abc").await;
        let start = clock.now().mono;
        send(&mut client, b"def").await;
        expect(&mut server, b"def").await;
        let took = clock.now().mono.0 - start.0;
        // The proxy's milliseconds may have begun in the middle of ours.
        assert!(took >= 78, "{took} ms");
        let counters = bench.proxy.counters();
        assert_eq!(counters.stalls() + counters.delays, 1);
    }
}

#[tokio::test]
async fn bytes_in_a_delay_keep_their_order_and_travel_together() {
    let bench = Bench::new(Plan::Nothing).await;
    let (mut client, mut server) = bench.pair().await;
    let bytes = numbered(300_000);
    let mut got = vec![0; bytes.len()];
    bench.proxy.all(Fault::Delay(Way::ToServer, 30));
    let receiving = server.read_exact(&mut got);
    let sending = async {
        for part in bytes.chunks(1000) {
            client.write_all(part).await?;
            // A shorter delay must not let what comes now overtake what is on its way.
            bench.proxy.all(Fault::Delay(Way::ToServer, 30 - u64::from(part[0]) % 30));
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let both = async { tokio::try_join!(sending, receiving) };
    within("all bytes", both).await.expect("it is open");
    assert!(got == bytes, "bytes were altered by a delay");
}

#[tokio::test]
async fn a_half_open_connection_is_a_hole() {
    for side in [Side::Client, Side::Server] {
        for other in [None, Some(Cut::Reset), Some(Cut::Finish)] {
            let bench = Bench::new(Plan::Nothing).await;
            let (client, server) = bench.pair().await;
            let (mut open, mut ended) = match side {
                Side::Client => (client, server),
                Side::Server => (server, client),
            };
            assert_eq!(bench.proxy.all(Fault::HalfOpen(side, other)), 1);
            let what = format!("{side:?} is left open, the other {other:?}");
            match other {
                Some(Cut::Reset) => {
                    assert_eq!(rest(&mut ended).await.1, Err(ErrorKind::ConnectionReset), "{what}");
                }
                Some(Cut::Finish) => assert_eq!(rest(&mut ended).await.1, Ok(()), "{what}"),
                None => {
                    let half_open = eventually("it to be half open", async || {
                        (bench.proxy.counters().cuts() == 1).then_some(())
                    });
                    half_open.await;
                    send(&mut ended, b"into the hole").await;
                    assert!(silent(&ended), "{what}");
                }
            }
            // Far more than buffers hold is taken, and nobody answers.
            send(&mut open, &numbered(16 * 1024 * 1024)).await;
            assert!(silent(&open), "{what}");
            let counters = bench.proxy.counters();
            let expected = match side {
                Side::Client => (1, 0),
                Side::Server => (0, 1),
            };
            assert_eq!((counters.half_open_clients, counters.half_open_servers), expected);
            assert_eq!(counters.to_server + counters.to_client, 0, "{what}");
            bench.proxy.cut_all(Cut::Reset);
            assert_eq!(rest(&mut open).await.1, Err(ErrorKind::ConnectionReset), "{what}");
        }
    }
}

#[tokio::test]
async fn a_proxy_refuses_admits_and_leads_elsewhere() {
    let bench = Bench::new(Plan::Nothing).await;
    let (mut kept, _server) = bench.pair().await;
    bench.proxy.refuse();
    let mut refused = TcpStream::connect(bench.proxy.address()).await.expect("the kernel accepts");
    assert_eq!(rest(&mut refused).await.1, Err(ErrorKind::ConnectionReset));
    bench.proxy.admit();
    let other = Bench::new(Plan::Nothing).await;
    bench.proxy.lead_to(other.proxy.address());
    let mut client = TcpStream::connect(bench.proxy.address()).await.expect("it is admitted");
    let (mut server, _) = within("a guest", other.listener.accept()).await.expect("a guest");
    send(&mut client, b"here?").await;
    expect(&mut server, b"here?").await;
    assert_eq!(bench.proxy.counters().refused, 1);
    drop(bench.proxy);
    // A proxy that is gone takes its connections along.
    assert_eq!(rest(&mut kept).await.0, b"");
    assert_eq!(rest(&mut client).await.0, b"");
}

#[test]
fn a_seed_gives_one_plan() {
    let of = |seed, connection| -> Vec<Step> {
        Plan::Seeded(seed, Mix::default()).steps(connection).take(200).collect()
    };
    assert_eq!(of(7, 3), of(7, 3));
    assert_ne!(of(7, 3), of(7, 4));
    assert_ne!(of(7, 3), of(8, 3));
    let steps: Vec<Step> = (0..20).flat_map(|connection| of(1, connection)).collect();
    assert!(steps.iter().all(|step| step.after_bytes > 0), "two faults in one place");
    let has = |wanted: &dyn Fn(&Fault) -> bool| steps.iter().any(|step| wanted(&step.fault));
    for way in [Way::ToServer, Way::ToClient] {
        assert!(has(&|fault| matches!(fault, Fault::Stall(w, Some(_)) if *w == way)));
        assert!(has(&|fault| matches!(fault, Fault::Delay(w, _) if *w == way)));
        assert!(steps.iter().any(|step| step.way == way && step.after_bytes < 600));
    }
    for cut in [Cut::Reset, Cut::Finish] {
        assert!(has(&|fault| *fault == Fault::Cut(cut)));
        for side in [Side::Client, Side::Server] {
            assert!(has(&|fault| *fault == Fault::HalfOpen(side, Some(cut))));
            assert!(has(&|fault| *fault == Fault::HalfOpen(side, None)));
        }
    }
}

/// Whatever the plan does, each side gets a beginning of what the other one sent.
#[tokio::test]
async fn under_any_plan_what_comes_is_a_beginning_of_what_was_sent() {
    let mix = Mix { mean_bytes: [2000; 2], stall_ms_max: 3, delay_ms_max: 3, ..Mix::default() };
    let bench = Bench::new(Plan::Seeded(11, mix)).await;
    let bytes = numbered(40_000);
    let (mut whole, mut holes_before) = (0, 0);
    for _ in 0..60 {
        let (client, server) = bench.pair().await;
        let ends = [client, server].map(TcpStream::into_split);
        let [(client_reads, client_writes), (server_reads, server_writes)] = ends;
        let pour = async |mut into: tokio::net::tcp::OwnedWriteHalf| {
            // A cut shows itself here or to the reader.
            let _ = into.write_all(&bytes).await;
            into
        };
        let drain = async |mut from: tokio::net::tcp::OwnedReadHalf| {
            let mut got = Vec::new();
            let mut buffer = [0; 4096];
            while got.len() < bytes.len() {
                match from.read(&mut buffer).await {
                    Ok(count) if count > 0 => got.extend_from_slice(&buffer[..count]),
                    Ok(_) | Err(_) => break,
                }
            }
            got
        };
        let exchange = async {
            tokio::join!(
                pour(client_writes),
                pour(server_writes),
                drain(server_reads),
                drain(client_reads),
            )
        };
        tokio::pin!(exchange);
        // A half-open connection never ends by itself.
        let holes = || {
            let counters = bench.proxy.counters();
            counters.half_open_clients + counters.half_open_servers
        };
        let hole = async || (holes() > holes_before).then_some(());
        let hole = eventually("a hole or the end", hole);
        let ended = tokio::select! {
            ended = &mut exchange => ended,
            () = hole => {
                bench.proxy.cut_all(Cut::Reset);
                within("an end", exchange).await
            }
        };
        holes_before = holes();
        let (_, _, up, down) = ended;
        assert!(bytes.starts_with(&up) && bytes.starts_with(&down), "bytes were altered");
        whole += usize::from(up.len() == bytes.len());
    }
    assert!(bench.proxy.counters().cuts() > 20, "{:?}", bench.proxy.counters());
    assert!(whole < 60);
}

#[tokio::test]
async fn a_plan_stops_where_it_is_told_to() {
    let mix = Mix { mean_bytes: [500; 2], weights: [1, 0, 0, 0], ..Mix::default() };
    let bench = Bench::new(Plan::Seeded(5, mix)).await;
    bench.proxy.faults_left(3);
    for number in 0..3 {
        let (mut client, mut server) = bench.pair().await;
        // A plan of cuts only cuts within so few bytes.
        let _ = client.write_all(&numbered(2000)).await;
        let _ = server.write_all(&numbered(2000)).await;
        let _ = rest(&mut server).await;
        assert_eq!(bench.proxy.counters().cuts(), number + 1);
    }
    let (mut client, mut server) = bench.pair().await;
    let bytes = numbered(100_000);
    let mut got = vec![0; bytes.len()];
    let both = async { tokio::try_join!(client.write_all(&bytes), server.read_exact(&mut got)) };
    within("all bytes", both).await.expect("nothing is cut any more");
    assert!(got == bytes);
    assert_eq!(bench.proxy.counters().cuts(), 3);
}
