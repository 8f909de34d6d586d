//! Metrics as a collector reads them, with all that the text format of Prometheus asks for.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wait::{PATIENCE, within};

/// Asks for a page; its status and its body.
///
/// # Panics
/// If there is no answer.
pub async fn get(server: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = get_whole(server, path).await;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {head}")), body)
}

async fn get_whole(server: SocketAddr, path: &str) -> (String, String) {
    let mut stream = within("a connection", TcpStream::connect(server)).await.expect("it connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    within("a request", stream.write_all(request.as_bytes())).await.expect("it is taken");
    let mut answer = String::new();
    let read = within("an answer", stream.read_to_string(&mut answer)).await;
    read.expect("an answer of text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

/// What a collector has read.
#[derive(Clone, Debug, PartialEq)]
pub struct Scrape {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads a server's metrics.
    ///
    /// # Panics
    /// If they are not well formed.
    pub async fn of(server: SocketAddr) -> Self {
        let (head, body) = get_whole(server, "/metrics").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
        assert!(head.to_ascii_lowercase().contains(kind), "{head}");
        Self::parse(&body).unwrap_or_else(|why| panic!("{why}:\n{body}"))
    }

    /// Reads the text format, as strictly as a linter.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scrape = Self { kinds: BTreeMap::new(), samples: BTreeMap::new() };
        let mut helped = String::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap_or((help, ""));
                if help.is_empty() {
                    return Err(format!("no help: {line}"));
                }
                name.clone_into(&mut helped);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').ok_or(format!("no type: {line}"))?;
                if name != helped {
                    return Err(format!("`{name}` has no help before its type"));
                }
                check_name(name, kind)?;
                name.clone_into(&mut family);
                if scrape.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return Err(format!("`{name}` comes twice"));
                }
            } else {
                scrape.sample(&family, line)?;
            }
        }
        scrape.check_histograms()?;
        Ok(scrape)
    }

    fn sample(&mut self, family: &str, line: &str) -> Result<(), String> {
        let (key, value) = line.rsplit_once(' ').ok_or(format!("no sample: {line:?}"))?;
        let value: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
        let name = key.split('{').next().unwrap_or(key);
        let is_histogram = self.kinds.get(family).is_some_and(|kind| kind == "histogram");
        let parts = ["_bucket", "_sum", "_count"];
        let belongs = match name.strip_prefix(family) {
            Some("") => !is_histogram,
            Some(rest) => is_histogram && parts.contains(&rest),
            None => false,
        };
        if !belongs || value.is_nan() || value < 0.0 {
            return Err(format!("`{line}` stands under {family}"));
        }
        if self.samples.insert(key.to_owned(), value).is_some() {
            return Err(format!("`{key}` comes twice"));
        }
        Ok(())
    }

    fn check_histograms(&self) -> Result<(), String> {
        for (name, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let prefix = format!("{name}_bucket{{le=\"");
            let buckets = self.samples.iter().filter_map(|(key, n)| {
                let bound: f64 = key.strip_prefix(&prefix)?.strip_suffix("\"}")?.parse().ok()?;
                Some((bound, *n))
            });
            let mut buckets: Vec<(f64, f64)> = buckets.collect();
            buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            let grows = buckets.is_sorted_by(|(_, a), (_, b)| a <= b);
            let count = self.samples.get(&format!("{name}_count"));
            let all = buckets.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, n)| n);
            let has_sum = self.samples.contains_key(&format!("{name}_sum"));
            if !grows || count.is_none() || all != count || !has_sum {
                return Err(format!("`{name}` is no histogram"));
            }
        }
        Ok(())
    }

    /// Returns a value, by the name and labels as they are written.
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn value(&self, key: &str) -> f64 {
        *self.samples.get(key).unwrap_or_else(|| panic!("there is no `{key}`: {self:#?}"))
    }

    /// Returns the names of all metrics.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        self.kinds.keys().map(String::as_str).collect()
    }

    /// Returns all values, by name and labels.
    #[must_use]
    pub fn samples(&self) -> &BTreeMap<String, f64> {
        &self.samples
    }

    /// Checks that a later reading has the same samples, and that none of what only grows is less.
    ///
    /// # Panics
    /// If not.
    pub fn check_later(&self, later: &Self) {
        assert_eq!(self.kinds, later.kinds);
        let keys = |of: &Self| of.samples.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(self), keys(later), "a fixed set of samples");
        for (key, before) in &self.samples {
            let name = key.split('{').next().unwrap_or(key);
            let is_gauge = self.kinds.get(name).is_some_and(|kind| kind == "gauge");
            let now = later.value(key);
            assert!(is_gauge || now >= *before, "`{key}` went from {before} to {now}");
        }
    }
}

/// Reads a server's metrics until these have these values. Meanwhile what only grows must not
/// shrink.
///
/// # Panics
/// If they do not get there in time, with those that are otherwise.
pub async fn until(server: SocketAddr, expected: &[(&str, f64)]) -> Scrape {
    let mut last = Scrape::of(server).await;
    let otherwise = |scrape: &Scrape| {
        let wrong = expected.iter().filter(|(key, value)| scrape.value(key) != *value);
        let wrong =
            wrong.map(|(key, value)| format!("{key} is {}, not {value}", scrape.value(key)));
        wrong.collect::<Vec<_>>()
    };
    let reached = timeout(PATIENCE, async {
        while !otherwise(&last).is_empty() {
            let next = Scrape::of(server).await;
            last.check_later(&next);
            last = next;
        }
    });
    if reached.await.is_err() {
        panic!("in vain: {:#?}", otherwise(&last));
    }
    last
}

fn check_name(name: &str, kind: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    let fits = match kind {
        "counter" => ends(&["_total"]),
        "histogram" => ends(&["_seconds"]),
        "gauge" => !ends(&["_total", "_count", "_sum", "_bucket"]),
        _ => false,
    };
    if !name.starts_with("chat_") || !name.chars().all(plain) || !fits {
        return Err(format!("`{name}` is no name of a {kind}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP chat_a_total A.\n# TYPE chat_a_total counter\n\
        chat_a_total{b=\"c d\"} 1\nchat_a_total{b=\"e\"} 2\n\
        # HELP chat_t_seconds T.\n# TYPE chat_t_seconds histogram\n\
        chat_t_seconds_bucket{le=\"0.5\"} 1\nchat_t_seconds_bucket{le=\"+Inf\"} 2\n\
        chat_t_seconds_sum 1.5\nchat_t_seconds_count 2\n";

    #[test]
    fn the_format_is_read_strictly() {
        let good = Scrape::parse(GOOD).unwrap();
        assert_eq!(good.value("chat_a_total{b=\"c d\"}"), 1.0);
        for (from, to) in [
            ("# HELP chat_a_total A.\n", ""),
            ("# HELP chat_a_total A.\n", "# HELP chat_a_total\n"),
            ("b=\"e\"", "b=\"c d\""),
            ("chat_a_total{b=\"e\"} 2", "chat_b_total{b=\"e\"} 2"),
            ("chat_a_total{b=\"e\"} 2", "chat_a_total{b=\"e\"} -2"),
            ("chat_a_total{b=\"e\"} 2", "chat_a_total{b=\"e\"} x"),
            ("+Inf\"} 2", "+Inf\"} 3"),
            ("le=\"0.5\"} 1", "le=\"0.5\"} 3"),
            ("chat_t_seconds_sum 1.5\n", ""),
            ("chat_t_seconds_count 2\n", ""),
            ("chat_a_total counter", "chat_a_total gauge"),
            ("counter", "summary"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert!(bad != GOOD && Scrape::parse(&bad).is_err(), "{bad}");
        }
        let twice = format!("{GOOD}{GOOD}");
        assert!(Scrape::parse(&twice).unwrap_err().contains("twice"));
    }

    #[test]
    #[should_panic(expected = "went from 1 to 0")]
    fn what_only_grows_must_not_shrink() {
        let before = Scrape::parse(GOOD).unwrap();
        let later = GOOD.replace("chat_a_total{b=\"c d\"} 1", "chat_a_total{b=\"c d\"} 0");
        before.check_later(&Scrape::parse(&later).unwrap());
    }
}
