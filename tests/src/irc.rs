//! Logs of a public IRC room, as scripts that can be replayed through a server.
//!
//! How a log becomes a script:
//! * `[hh:mm] <nick> text` is a line said: `text`. `[hh:mm]  * nick does` is one too:
//!   `* nick does`. Empty lines are left out, since `chat.v1` refuses them.
//! * `=== nick has joined #…` and `=== nick has left/quit …` are joins and leaves. Whoever
//!   speaks without a logged join joins first; a second join and a leave of somebody absent say
//!   nothing.
//! * `=== a is now known as b`: one connection has one name, so `a` leaves and `b` joins.
//! * Any other `===` line (actions in some of the logs, topics, kicks) is left out.
//! * A nick that is no display name here (`~foo`, `@foo`) gets one made from it.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chat_proto::DisplayName;

use crate::process::workspace_root;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The speaker with this index enters the room.
    Join(usize),
    /// It leaves.
    Leave(usize),
    /// It says this; it is in the room.
    Line(usize, String),
}

/// A log, ready to be replayed.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The display name of each speaker; no two are the same.
    pub speakers: Vec<String>,
    /// What happens, in order.
    pub events: Vec<Event>,
    by_nick: BTreeMap<String, usize>,
    present: Vec<bool>,
}

impl Script {
    /// Reads a log.
    #[must_use]
    pub fn parse(log: &str) -> Self {
        let mut script = Self::default();
        for line in log.lines() {
            script.read(line);
        }
        script
    }

    /// Counts the lines said.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Line(..))).count()
    }

    /// Cuts off what a real log does not have: connections that are cut again and again never
    /// carry it.
    fn shorten_lines(&mut self) {
        for event in &mut self.events {
            match event {
                Event::Line(_, text) => text.truncate(text.floor_char_boundary(LINE_BYTES)),
                Event::Join(_) | Event::Leave(_) => {}
            }
        }
    }

    fn read(&mut self, line: &str) {
        if let Some(notice) = line.strip_prefix("=== ") {
            let (nick, what) = notice.split_once(' ').unwrap_or((notice, ""));
            let what = what.trim_start();
            if let Some(new) = what.strip_prefix("is now known as ") {
                self.leave(nick);
                self.join(new.trim());
            } else if what.contains("has joined #") {
                self.join(nick);
            } else if what.contains("has left #") || what.contains("has quit") {
                self.leave(nick);
            }
            return;
        }
        let Some((_time, said)) = line.split_once("] ") else { return };
        let action = said.trim_start();
        if let Some((nick, text)) = said.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            self.line(nick.trim(), text.strip_prefix(' ').unwrap_or(text));
        } else if let Some(rest) = action.strip_prefix("* ") {
            let nick = rest.split(' ').next().unwrap_or_default();
            self.line(nick, action);
        }
    }

    fn join(&mut self, nick: &str) {
        let speaker = self.speaker(nick);
        if !std::mem::replace(&mut self.present[speaker], true) {
            self.events.push(Event::Join(speaker));
        }
    }

    fn leave(&mut self, nick: &str) {
        let speaker = self.speaker(nick);
        if std::mem::replace(&mut self.present[speaker], false) {
            self.events.push(Event::Leave(speaker));
        }
    }

    fn line(&mut self, nick: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.join(nick);
        let speaker = self.speaker(nick);
        self.events.push(Event::Line(speaker, text.to_owned()));
    }

    fn speaker(&mut self, nick: &str) -> usize {
        if let Some(&speaker) = self.by_nick.get(nick) {
            return speaker;
        }
        let speaker = self.speakers.len();
        let mut name = legal(nick);
        if self.speakers.contains(&name) {
            let _ = write!(name, ".{speaker}");
        }
        self.speakers.push(name);
        self.present.push(false);
        self.by_nick.insert(nick.to_owned(), speaker);
        speaker
    }
}

/// Makes a display name of a nick: the nick itself where that is one, else its legal part behind
/// an underscore.
fn legal(nick: &str) -> String {
    let fits = |name: &str| DisplayName::new(name).is_ok_and(|made| made.as_str() == name);
    if fits(nick) {
        return nick.to_owned();
    }
    let plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '@' | '~');
    let name: String = std::iter::once('_').chain(nick.chars().filter(plain)).take(56).collect();
    assert!(fits(&name), "{nick:?} became {name:?}");
    name
}

/// Returns the directory of the logs, if it is there: `CHAT_IRC_DIR`, or where they lie beside the
/// repository.
#[must_use]
pub fn directory() -> Option<PathBuf> {
    let beside = || workspace_root().join("../shared/data/irc");
    let directory = std::env::var_os("CHAT_IRC_DIR").map_or_else(beside, PathBuf::from);
    directory.is_dir().then_some(directory)
}

/// Reads a log of the directory. Without the directory, it makes one up and says so.
///
/// # Panics
/// If the directory is there, but not the log.
#[must_use]
pub fn script(file: &str) -> Script {
    let Some(directory) = directory() else {
        eprintln!(
            "NO REAL LOG: `{file}` is not here (set CHAT_IRC_DIR); a made-up log is replayed"
        );
        let seed = file.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) ^ u64::from(byte));
        let mut script = Script::parse(&made_up(seed, 150, 1400));
        script.shorten_lines();
        return script;
    };
    let path: &Path = &directory.join(file);
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Script::parse(&String::from_utf8_lossy(&bytes))
}

/// What of the 512 bytes of an IRC message (RFC 1459, 2.3) is left for a text.
const LINE_BYTES: usize = 400;

/// Makes up a log of the real ones' shape: the same numbers give the same log.
#[must_use]
pub fn made_up(seed: u64, speakers: u64, lines: u64) -> String {
    let mut dice = Dice(seed | 1);
    let mut log = String::new();
    let nick = |n: u64| {
        let odd = ["", "|", "`", "_", "[", "~", "@", "é", "名"][(n % 9) as usize];
        format!("{odd}nick{n}")
    };
    for n in 0..lines {
        // In the first half newcomers come faster than they speak; later, talk among many.
        let known = (2 * speakers * (n + 1) / lines).clamp(1, speakers);
        let who = dice.below(known);
        let (hour, minute) = (n / 60 % 24, n % 60);
        let said = match dice.below(20) {
            0 => format!("=== {}  has joined #made-up", nick(who)),
            1 => format!("=== {}  has left #made-up", nick(who)),
            2 => format!("=== {} is now known as {}", nick(who), nick(dice.below(speakers))),
            3 => format!("[{hour:02}:{minute:02}]  * {} waves", nick(who)),
            4 => format!("=== {} waves", nick(who)),
            _ => {
                let newcomer = n < lines / 2 && n % 5 != 0;
                let latest = if newcomer { known - 1 } else { who };
                format!("[{hour:02}:{minute:02}] <{}> {}", nick(latest), text(&mut dice))
            }
        };
        log.push_str(&said);
        log.push('\n');
    }
    log
}

fn text(dice: &mut Dice) -> String {
    const WORDS: &[&str] = &[
        "apt-get",
        "install",
        "ok",
        "naïve",
        "你好",
        "🦀",
        "e\u{301}",
        "https://example.org/?a=b&c=<d>",
        "\"quoted\\\"",
        "\u{2}bold\u{f}",
        "עברית",
        "\u{202e}sdrawkcab",
        "  spaces  ",
        "</script>",
        "{\"type\":\"leave\"}",
        "\t",
    ];
    let count = if dice.below(40) == 0 { 400 } else { 1 + dice.below(9) };
    let mut text = String::new();
    for _ in 0..count {
        text.push_str(WORDS[dice.below(WORDS.len() as u64) as usize]);
        text.push(' ');
    }
    text
}

/// A small generator of numbers ([SplitMix64](https://prng.di.unimi.it/splitmix64.c)).
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// Returns a number below `limit`.
    ///
    /// # Panics
    /// If `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_becomes_a_script() {
        let script = Script::parse(
            "[09:14] <ada> hi <b> [c] \n\
             [09:14] <zcat[1] > spaces in a nick\n\
             === ~bob  has joined #x\n\
             === ~bob  has joined #x\n\
             [09:15]  * ada waves\n\
             === ada is now known as eve\n\
             === gone has left #x\n\
             === eve  looks around\n\
             [09:16] <_bob>  two spaces\n\
             [09:16] <ada> \n\
             [09:16] <ada> back\n",
        );
        assert_eq!(script.speakers, ["ada", "zcat[1]", "_bob", "eve", "gone", "_bob.5"]);
        use Event::{Join, Leave, Line};
        let said = |who, text: &str| Line(who, text.into());
        let expected = vec![
            Join(0),
            said(0, "hi <b> [c] "),
            Join(1),
            said(1, "spaces in a nick"),
            Join(2),
            said(0, "* ada waves"),
            Leave(0),
            Join(3),
            Join(5),
            said(5, " two spaces"),
            Join(0),
            said(0, "back"),
        ];
        assert_eq!(script.events, expected);
        assert_eq!(script.lines(), 5);
    }

    #[test]
    fn a_made_up_log_has_what_the_real_ones_have() {
        let log = made_up(1, 900, 2000);
        assert_eq!(log, made_up(1, 900, 2000));
        assert_ne!(log, made_up(2, 900, 2000));
        let script = Script::parse(&log);
        assert!(script.speakers.len() > 700, "{} speakers", script.speakers.len());
        let leaves = script.events.iter().filter(|e| matches!(e, Event::Leave(_))).count();
        assert!(leaves > 50, "{leaves} leaves");
        let longest = script.events.iter().map(|e| match e {
            Event::Line(_, text) => text.len(),
            Event::Join(_) | Event::Leave(_) => 0,
        });
        assert!(longest.max() > Some(1000));
        assert!(!log.is_ascii());
    }
}
