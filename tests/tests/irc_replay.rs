//! Real talk, replayed: every line a member says reaches exactly the members present, in order,
//! byte for byte, and the history tells the same.
use chat_tests::irc::{self, Script};
use chat_tests::process::{Home, Log, Server, Spec};
use chat_tests::replay::{Pace, on_this_thread, replay};

fn run(script: &Script, pace: Pace, workers: u32, log: Log) {
    assert!(script.lines() > 500 && script.speakers.len() > 50, "this is no log of a busy room");
    on_this_thread(async {
        // The logs know nothing of limits on how fast somebody may talk.
        let spec = Spec::default().workers(workers).log(log).limit("messages_per_10s", 0);
        let home = Home::default();
        let server = Server::start(&home, &spec).await;
        replay(server.http(), script, pace).await;
        server.stop().await;
    });
}

/// Each log on one and on two workers, kept in memory and on disk.
macro_rules! replays {
    ($($name:ident: $script:expr, $pace:expr;)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn one_worker_memory() {
                run(&$script, $pace, 1, Log::Memory);
            }

            #[test]
            fn one_worker_sqlite() {
                run(&$script, $pace, 1, Log::Sqlite);
            }

            #[test]
            fn two_workers_memory() {
                run(&$script, $pace, 2, Log::Memory);
            }

            #[test]
            fn two_workers_sqlite() {
                run(&$script, $pace, 2, Log::Sqlite);
            }
        }
    )+};
}

replays! {
    ubuntu_2004_12_25: irc::script("ubuntu-2004-12-25.txt"), Pace::Free;
    ubuntu_2006_06_01: irc::script("ubuntu-2006-06-01.txt"), Pace::Free;
    ubuntu_2007_06_04: irc::script("ubuntu-2007-06-04.txt"), Pace::Free;
    ubuntu_2008_04_27: irc::script("ubuntu-2008-04-27.txt"), Pace::Free;
    ubuntu_2010_08_15: irc::script("ubuntu-2010-08-15.txt"), Pace::Free;
    ubuntu_2012_03_24: irc::script("ubuntu-2012-03-24.txt"), Pace::Free;
    ubuntu_2017_07_15: irc::script("ubuntu-2017-07-15.txt"), Pace::Free;
    ubuntu_2017_09_02: irc::script("ubuntu-2017-09-02.txt"), Pace::Free;
    one_line_at_a_time: irc::script("ubuntu-2004-12-25.txt"), Pace::Sequential;
}

/// More members than any of the logs has.
mod a_crowd {
    use super::*;

    fn crowd() -> Script {
        let script = Script::parse(&irc::made_up(1, 900, 2000));
        assert!(script.speakers.len() > 700, "{} speakers", script.speakers.len());
        script
    }

    #[test]
    fn one_worker_memory() {
        run(&crowd(), Pace::Free, 1, Log::Memory);
    }

    #[test]
    fn two_workers_sqlite() {
        run(&crowd(), Pace::Free, 2, Log::Sqlite);
    }
}
