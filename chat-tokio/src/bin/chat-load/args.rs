//! The command line.
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::error::Failed;
use super::plan::{Burst, Dialect, Json, Pace, Plan, Scenario, Span, Target};
use super::stamp::{NUMBER_MAX, STAMP_BYTES};
use super::trust::Trust;

pub(crate) enum Parsed {
    /// Help or version.
    Print(String),
    Run(Box<Plan>),
}

/// Reads the command line.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    random_seed: u64,
) -> Result<Parsed, Failed> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Ok(Parsed::Print(error.to_string()))
                }
                _ => Err(Failed::Usage(error.to_string())),
            };
        }
    };
    let (name, matches) = matches.subcommand().expect("clap asks for a subcommand");
    let scenario = SCENARIOS.into_iter().find(|scenario| scenario.name() == name);
    let plan = read(scenario.expect("clap knows the subcommands"), matches, random_seed)?;
    check(&plan)?;
    Ok(Parsed::Run(Box::new(plan)))
}

fn read(scenario: Scenario, matches: &ArgMatches, random_seed: u64) -> Result<Plan, Failed> {
    let number = |name| given::<u32>(matches, name);
    let seconds = |name| given::<f64>(matches, name).map(Duration::from_secs_f64);
    let rooms = number("rooms").unwrap_or(0);
    let (connections, members) = match number("members") {
        Some(members) => (members.checked_mul(rooms), members),
        None => {
            let connections = number("connections").unwrap_or(0);
            (Some(connections), connections.checked_div(rooms).unwrap_or(0))
        }
    };
    let connections = connections.filter(|all| *all <= CONNECTIONS_MAX);
    let connections = connections.ok_or_else(|| {
        Failed::Settings(format!("rooms × members are more than {CONNECTIONS_MAX} connections"))
    })?;
    let span = match (number("messages"), seconds("seconds")) {
        (Some(messages), _) => Span::Messages(messages),
        (None, seconds) => Span::Time(seconds.unwrap_or_default()),
    };
    let burst = number("burst")
        .map(|messages| Burst { messages, quiet: seconds("quiet").unwrap_or_default() });
    let pace = given(matches, "rate").map(Pace::Rate);
    let json = given::<PathBuf>(matches, "json").map(|path| match path.as_os_str() == "-" {
        true => Json::Stdout,
        false => Json::File(path),
    });
    Ok(Plan {
        scenario,
        dialect: match given::<String>(matches, "dialect").as_deref() {
            Some(chat_proto::SUBPROTOCOL) => Dialect::V1,
            _ => Dialect::Basic,
        },
        target: Target::resolve(
            &given::<String>(matches, "url").expect("it has a default"),
            trust(matches).as_ref(),
        )?,
        pid: number("pid"),
        connections,
        rooms,
        members,
        // In a burst one sends and the others do not read.
        slow: number("slow").or(burst.and(members.checked_sub(1))).unwrap_or(0),
        senders: number("senders").or(burst.map(|_| 1)).unwrap_or(0),
        pace: pace.unwrap_or(Pace::InFlight(number("in-flight").unwrap_or(BURST_IN_FLIGHT))),
        span,
        warmup: match span {
            Span::Time(_) => seconds("warmup").unwrap_or_default(),
            Span::Messages(_) => Duration::ZERO,
        },
        burst,
        content_bytes: number("size").unwrap_or(0) as usize,
        threads: number("threads").expect("it has a default").min(connections),
        seed: given(matches, "seed").unwrap_or(random_seed),
        connecting: number("connecting").expect("it has a default"),
        joining: number("joining").unwrap_or(connections),
        json,
    })
}

fn trust(matches: &ArgMatches) -> Option<Trust> {
    let file = given::<PathBuf>(matches, "ca-file").map(Trust::File);
    file.or(matches.get_flag("insecure").then_some(Trust::Anything))
}

fn given<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.try_get_one::<T>(name).ok().flatten().cloned()
}

/// Checks what no option can check by itself.
fn check(plan: &Plan) -> Result<(), Failed> {
    let refuse = |text: String| Err(Failed::Settings(text));
    let Plan { rooms, members, slow, senders, connections, .. } = *plan;
    if rooms > connections {
        return refuse(format!("--rooms {rooms}: there are only {connections} connections"));
    }
    if plan.scenario == Scenario::Idle && rooms > 0 && connections % rooms != 0 {
        return refuse(format!(
            "--rooms {rooms}: {connections} connections do not fill them evenly"
        ));
    }
    if plan.burst.is_some() && members < 2 {
        return refuse(format!(
            "--burst: one member of a room sends and the others do not read; {connections} \
             connections in {rooms} rooms (--rooms) are too few"
        ));
    }
    if plan.sends() && senders + slow > members {
        return refuse(format!(
            "--members {members}: a room has {senders} senders and {slow} who do not read, which \
             are others"
        ));
    }
    if plan.sends() && plan.content_bytes < STAMP_BYTES {
        let bytes = plan.content_bytes;
        return refuse(format!(
            "--size {bytes}: sender, number and time of a message take {STAMP_BYTES} bytes"
        ));
    }
    if let Pace::InFlight(window) = plan.pace
        && window as usize * plan.content_bytes > IN_FLIGHT_BYTES_MAX
    {
        return refuse(format!(
            "--in-flight {window}: with --size {} it is more than {IN_FLIGHT_BYTES_MAX} bytes",
            plan.content_bytes
        ));
    }
    Ok(())
}

fn command() -> Command {
    Command::new("chat-load")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Finds out how much a chat server holds: connections, joins, deliveries.")
        .after_help(AFTER_HELP)
        .max_term_width(100)
        .subcommand_required(true)
        .arg_required_else_help(false)
        .disable_help_subcommand(true)
        .subcommands(SCENARIOS.map(subcommand))
}

fn subcommand(scenario: Scenario) -> Command {
    let command = Command::new(scenario.name()).about(about(scenario)).next_help_heading("Load");
    let command = match scenario {
        Scenario::Connect => command.arg(connections("1000")),
        Scenario::Join => command.args(rooms_and_members("1", "1000")),
        Scenario::Idle => command.args([
            connections("1000"),
            number("rooms", "N", 0..=CONNECTIONS_MAX, "0", "Rooms that they join; 0: none."),
            seconds("seconds", "60", "How long they stay once all are connected."),
            optional("burst", "N", 1..=NUMBER_MAX / 2).help(BURST_HELP),
            seconds("quiet", "60", "How long it is quiet after the burst.").requires("burst"),
            size("1000").requires("burst"),
        ]),
        Scenario::Fanout => command.args(rooms_and_members("1", "100")).args(sending()),
        Scenario::Slow => command
            .args(rooms_and_members("1", "100"))
            .arg(number(
                "slow",
                "N",
                1..=CONNECTIONS_MAX,
                "10",
                "Members of each room that do not \
                 read while messages are sent.",
            ))
            .args(sending()),
    };
    let joining = "Joins under way at a time";
    let command = match scenario {
        Scenario::Connect => command,
        Scenario::Join => command.arg(
            optional("joining", "N", 1..=CONNECTIONS_MAX).help(format!("{joining} [default: all]")),
        ),
        Scenario::Idle | Scenario::Fanout | Scenario::Slow => {
            command.arg(number("joining", "N", 1..=CONNECTIONS_MAX, "64", &format!("{joining}.")))
        }
    };
    command.next_help_heading("Server").args(server()).next_help_heading("Other").args(other())
}

fn about(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Connect => "How many connections, and how fast.",
        Scenario::Join => "A join storm: everybody joins, and everybody in the room is told.",
        Scenario::Fanout => "Messages to rooms: deliveries per second, latency, CPU, losses.",
        Scenario::Idle => "Connections that only answer heartbeats: memory and CPU of each.",
        Scenario::Slow => "As fanout, with members who do not read: what it costs the others.",
    }
}

fn server() -> [Arg; 5] {
    [
        Arg::new("url")
            .long("url")
            .value_name("URL")
            .default_value("ws://127.0.0.1:8080/ws")
            .help("Where the server is; `wss://` for TLS."),
        Arg::new("ca-file")
            .long("ca-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with("insecure")
            .help(
                "Certificates (PEM) of authorities that are trusted at wss://, instead of the \
                 system's.",
            ),
        Arg::new("insecure").long("insecure").action(ArgAction::SetTrue).help(
            "Take any certificate at wss://: nothing shows that it is your server that is \
             measured.",
        ),
        Arg::new("dialect")
            .long("dialect")
            .value_name("NAME")
            .value_parser(["basic", chat_proto::SUBPROTOCOL])
            .default_value("basic")
            .help("Which frames are spoken."),
        optional("pid", "PID", 1..=u32::MAX)
            .help("The server's process id on this machine, for its CPU time and memory."),
    ]
}

fn other() -> [Arg; 4] {
    [
        number("connecting", "N", 1..=CONNECTIONS_MAX, "128", "Connections being made at a time."),
        number("threads", "N", 1..=1024, "1", "Threads, among which the connections are divided."),
        Arg::new("seed").long("seed").value_name("N").value_parser(value_parser!(u64)).help(
            "Names the rooms and fills the contents; two runs at once need two \
             [default: another one each time]",
        ),
        Arg::new("json").long("json").value_name("FILE").value_parser(value_parser!(PathBuf)).help(
            "Write the report as JSON too; `-`: to standard output, and the table to \
                   standard error.",
        ),
    ]
}

fn sending() -> [Arg; 7] {
    [
        number("senders", "N", 1..=CONNECTIONS_MAX, "1", "Senders of each room."),
        number(
            "in-flight",
            "N",
            1..=10_000,
            "8",
            "Messages of each sender on their way at a time.",
        ),
        Arg::new("rate")
            .long("rate")
            .value_name("N")
            .value_parser(positive)
            .conflicts_with("in-flight")
            .help(
                "Instead of a number in flight: cause so many deliveries a second, whether or not \
                 the server keeps up.",
            ),
        seconds("seconds", "10", "How long it is measured."),
        seconds("warmup", "1", "Seconds of the same load before, not measured."),
        optional("messages", "N", 1..=NUMBER_MAX)
            .conflicts_with_all(["seconds", "warmup"])
            .help("Instead of a time: each sender sends so many messages."),
        size("128"),
    ]
}

fn size(default: &'static str) -> Arg {
    number("size", "BYTES", 1..=200_000, default, "Bytes of each message's content.")
}

fn rooms_and_members(rooms: &'static str, members: &'static str) -> [Arg; 2] {
    [
        number("rooms", "N", 1..=CONNECTIONS_MAX, rooms, "Rooms."),
        number("members", "N", 1..=CONNECTIONS_MAX, members, "Members of each room."),
    ]
}

fn connections(default: &'static str) -> Arg {
    number("connections", "N", 1..=CONNECTIONS_MAX, default, "Connections.")
}

fn number(
    name: &'static str,
    value: &'static str,
    bounds: RangeInclusive<u32>,
    default: &'static str,
    help: &str,
) -> Arg {
    optional(name, value, bounds).default_value(default).help(help.to_owned())
}

fn optional(name: &'static str, value: &'static str, bounds: RangeInclusive<u32>) -> Arg {
    let bounds = i64::from(*bounds.start())..=i64::from(*bounds.end());
    Arg::new(name)
        .long(name)
        .value_name(value)
        .allow_negative_numbers(true)
        .value_parser(value_parser!(u32).range(bounds))
}

fn seconds(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name("SECONDS").default_value(default).help(help);
    arg.allow_negative_numbers(true).value_parser(|text: &str| match text.parse::<f64>() {
        Ok(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => Ok(seconds),
        _ => Err(format!("a number of seconds from 0 to {SECONDS_MAX}")),
    })
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (RATE_MIN..=RATE_MAX).contains(&rate) => Ok(rate),
        _ => Err(format!("a number from {RATE_MIN} to {RATE_MAX}")),
    }
}

const SCENARIOS: [Scenario; 5] =
    [Scenario::Connect, Scenario::Join, Scenario::Fanout, Scenario::Idle, Scenario::Slow];

/// A burst is as fast as it goes.
const BURST_IN_FLIGHT: u32 = 8;

const BURST_HELP: &str = "\
Afterwards send so many messages to each room at once, while only their sender reads; then let all \
read, and see what the server gives back. It sends as many before it idles, so that the history \
that rooms keep is there before and after.";

/// More than any system has open files for.
const CONNECTIONS_MAX: u32 = 10_000_000;

/// Far more than a server takes in before it stops reading.
const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A week.
const SECONDS_MAX: f64 = 604_800.0;

const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 1e9;

const AFTER_HELP: &str = "\
  chat-load fanout --rooms 100 --members 50 --rate 50000 --pid $(pgrep -x chat-server)

Each scenario has its own options: `chat-load fanout --help`. It ends with 0 if all went well, 1 \
if there is nothing to report, 2 if the command line is wrong, and 3 if the report tells of \
something lost, repeated, out of order, refused or cut off. Ctrl-C ends a run early and still \
reports.";
