//! How single values are spelt. An error says what is allowed, to go after "has to be".
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::error::nearest;
use crate::accept::{Network, NotANetwork};
use crate::http::{Origin, is_host_name};

/// `ip:port`, or `localhost:port`. Other names are refused, for they could mean several addresses.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let allowed = || {
        "an IP address with a port, such as 127.0.0.1:8080, 0.0.0.0:8080, [::1]:8080 or \
         localhost:8080 (port 0: any free one)"
            .to_owned()
    };
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| allowed())?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| allowed())
}

/// Seconds, or a number with a unit: `10`, `2.5`, `500ms`, `2m`, `1h`. Rounded to milliseconds.
pub(super) fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    parse_duration(text).filter(|duration| bounds.contains(duration)).ok_or_else(|| {
        let (min, max) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
        format!("a time from {min} to {max}, in seconds or with a unit: 10, 2.5, 500ms, 2m")
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit.trim_start() {
        "ms" => 1.0,
        "" | "s" => 1000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    let ms = (number.parse::<f64>().ok()? * unit_ms).round();
    (ms <= DURATION_MS_MAX).then(|| Duration::from_millis(ms as u64))
}

/// Spells a duration of whole milliseconds so that [`duration`] reads the same.
pub(super) fn show_duration(duration: Duration) -> String {
    match (duration.as_millis(), duration.as_secs()) {
        (ms, _) if ms % 1000 != 0 => format!("{ms}ms"),
        (_, s) if s > 0 && s % 3600 == 0 => format!("{}h", s / 3600),
        (_, s) if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        (_, s) => format!("{s}s"),
    }
}

/// `1/N`, or `1` for all, or `0` for none.
pub(super) fn one_of(text: &str) -> Result<Option<NonZeroU32>, String> {
    if text == "0" {
        return Ok(None);
    }
    let n = text.strip_prefix("1/").unwrap_or(if text == "1" { text } else { "" });
    let n = Some(n).filter(|n| !n.starts_with('+')).and_then(|n| n.parse().ok());
    n.map(Some).ok_or_else(|| format!("0, or 1/N with N from 1 to {}, such as 1/100", u32::MAX))
}

/// Spells a part so that [`one_of`] reads the same.
pub(super) fn show_one_of(one_of: Option<NonZeroU32>) -> String {
    one_of.map_or_else(|| "0".to_owned(), |n| format!("1/{n}"))
}

/// `*`, or `scheme://host[:port]`.
pub(super) fn origin(text: &str) -> Result<String, String> {
    match text.parse::<Origin>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) if text == "*" => Ok(text.to_owned()),
        Err(_) => Err("`*` or an origin such as https://chat.example.org".to_owned()),
    }
}

/// `*`, or the name of a host.
pub(super) fn host(text: &str) -> Result<String, String> {
    match text == "*" || is_host_name(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("`*` or a name such as chat.example.org, without a port (and in ASCII: \
                      xn--…, as browsers send it)"
            .to_owned()),
    }
}

/// An IP address, or a network in the notation with a prefix.
pub(super) fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: NotANetwork| error.to_string())
}

/// A filter such as `info` or `warn,chat_tokio=debug`.
///
/// A bare word that is almost a level is refused: the filter's own syntax takes it for the name of
/// a module, and nothing would be logged.
pub(super) fn filter(text: &str) -> Result<String, String> {
    let allowed = "a log filter, such as info, debug or warn,chat_tokio=debug";
    for word in text.split(',').map(str::trim) {
        let level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
        if level || word.contains(['=', '[', ':']) {
            continue;
        }
        if let Some(meant) = nearest(&word.to_ascii_lowercase(), LEVELS) {
            return Err(format!("{allowed}; did you mean `{meant}`?"));
        }
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{allowed} ({error})")),
    }
}

/// Tells whether an address is one of `https`.
pub(super) fn is_https(address: &str) -> bool {
    address.starts_with("https:")
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        all.join(" or ")
    })
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Far above every bound, and exact in a float.
const DURATION_MS_MAX: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let read = |text| duration(text, Duration::ZERO..=Duration::from_secs(7200)).ok();
        let ms = |ms| Some(Duration::from_millis(ms));
        for (text, expected) in [
            ("10", ms(10_000)),
            ("2.5", ms(2500)),
            ("0", ms(0)),
            ("500ms", ms(500)),
            ("500 ms", ms(500)),
            ("2m", ms(120_000)),
            ("2h", ms(7_200_000)),
            ("2.1h", None),
            ("", None),
            ("s", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
            ("inf", None),
            ("10 weeks", None),
            ("1.2.3", None),
            ("99999999999999999999999999", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for text in ["0s", "1ms", "1500ms", "59s", "2m", "90s", "2h"] {
            assert_eq!(show_duration(read(text).unwrap()), text);
        }
        let error = duration("1ms", Duration::from_millis(100)..=Duration::from_secs(600));
        assert!(error.unwrap_err().starts_with("a time from 100ms to 10m, "));
    }

    #[test]
    fn a_part_is_one_of_a_number() {
        for (text, n) in
            [("0", None), ("1", Some(1)), ("1/1", Some(1)), ("1/4294967295", Some(u32::MAX))]
        {
            assert_eq!(one_of(text), Ok(n.and_then(NonZeroU32::new)), "{text}");
        }
        for n in [None, NonZeroU32::new(7)] {
            assert_eq!(one_of(&show_one_of(n)), Ok(n));
        }
        for text in ["", "2", "1/0", "1/-1", "1/+1", "1/", "2/3", "1/4294967296", "0.1", "100"] {
            assert!(one_of(text).unwrap_err().contains("1/N"), "{text}");
        }
    }

    #[test]
    fn addresses_are_numbers_or_localhost() {
        assert_eq!(address("localhost:8080").unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(address("[::1]:0").unwrap().to_string(), "[::1]:0");
        for text in ["8080", ":8080", "example.org:80", "localhost", "localhost:65536", "1.2.3.4"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_have_a_scheme_and_no_path() {
        for text in ["*", "https://Example.org", "http://[::1]:3000", "tauri://localhost"] {
            assert_eq!(origin(text).as_deref(), Ok(text));
        }
        for text in ["https://example.org/", "https://", "example.org", "https://*.example.org"] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_names_without_a_port() {
        for text in ["*", "chat.example.org", "xn--bcher-kva.example", "localhost", "[::1]"] {
            assert_eq!(host(text).as_deref(), Ok(text));
        }
        assert_eq!(host("Chat.Example").as_deref(), Ok("chat.example"));
        for text in ["", "a:80", "http://a", "a/", "*.example.org", "bücher.example", "a b", "x@a"]
        {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelt_level_is_no_module() {
        for text in ["info", "INFO", "off", "warn,chat_tokio=debug", "chat_tokio", "hyper=trace"] {
            assert_eq!(filter(text).as_deref(), Ok(text));
        }
        assert!(filter("inof").unwrap_err().contains("did you mean `info`?"));
        assert!(filter("Warning,hyper=info").unwrap_err().contains("did you mean `warn`?"));
        assert!(filter("chat_tokio=loud").is_err());
    }
}
