//! What a terminal shows while it runs. Without a terminal nothing is shown.
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {msg}");
        bar.set_style(style.expect("the template is right").progress_chars("=> "));
        Self(bar)
    }

    pub(crate) fn stage(&self, name: &'static str) {
        self.0.set_prefix(name);
        self.0.set_position(0);
    }

    /// Shows how many of all are done.
    pub(crate) fn count(&self, done: u64, all: u64) {
        if !self.0.is_hidden() {
            self.0.set_length(all);
            self.0.set_message(format!("{done} of {all}"));
            self.0.set_position(done);
        }
    }

    /// Shows how much of a time is over.
    pub(crate) fn time(&self, done: Duration, all: Duration, more: &str) {
        if !self.0.is_hidden() {
            self.0.set_length(all.as_millis() as u64);
            self.0.set_message(format!(
                "{:.0} of {} s{more}",
                done.as_secs_f64(),
                all.as_secs_f64()
            ));
            self.0.set_position(done.as_millis() as u64);
        }
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
