//! One metric with all its labels, as values.
/// One metric: its name, its meaning and a value for each set of labels.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Family {
    /// The name, with its unit and, for a counter, `_total`.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// One for each set of labels.
    pub samples: Vec<Sample>,
}

/// How a metric's values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It only grows, from 0 at the server's start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often something took how long.
    Histogram,
}

/// A value and its labels.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// Names and values. No value comes from a peer, so there is a fixed number of them.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A number of things.
    Whole(u64),
    /// A number of seconds.
    Seconds(f64),
    /// How long something took.
    Times {
        /// Upper bounds in seconds, each with how many took longer than the bound before it. The
        /// last bound is infinite.
        buckets: Vec<(f64, u64)>,
        /// All of them together, in seconds.
        sum: f64,
    },
}

impl Value {
    /// Returns the number; of times, how many there were.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Whole(n) => *n as f64,
            Self::Seconds(seconds) => *seconds,
            Self::Times { buckets, .. } => buckets.iter().map(|(_, n)| *n).sum::<u64>() as f64,
        }
    }
}

impl Family {
    pub(crate) fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter, samples: Vec::new() }
    }

    pub(crate) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge, samples: Vec::new() }
    }

    pub(crate) fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Histogram, samples: Vec::new() }
    }

    pub(crate) fn with(mut self, labels: &[(&'static str, &str)], value: u64) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value: Value::Whole(value) });
        self
    }

    pub(crate) fn with_worker(mut self, worker: usize, value: Value) -> Self {
        let labels = vec![("worker", worker.to_string())];
        self.samples.push(Sample { labels, value });
        self
    }

    pub(crate) fn with_times(mut self, value: Value) -> Self {
        self.samples.push(Sample { labels: Vec::new(), value });
        self
    }
}
