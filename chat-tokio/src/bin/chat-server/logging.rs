//! Log lines on standard error.
use std::io::IsTerminal;

use chat_tokio::config::LogFormat;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Starts logging. `filter` has been checked when the settings were read.
pub(crate) fn init(format: LogFormat, filter: &str) {
    // Spans are few, and what they are for is how long a request took.
    let layer = fmt::layer().with_writer(std::io::stderr).with_span_events(FmtSpan::CLOSE);
    let layer = match format {
        LogFormat::Human => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let registry = tracing_subscriber::registry()
        .with(EnvFilter::new(filter))
        .with(filter_fn(shows_no_content))
        .with(layer);
    if let Err(error) = registry.try_init() {
        eprintln!("chat-server: no log lines: {error}");
    }
}

/// *Invariant:* what people write never reaches the log, whatever the filter asks for. The
/// WebSocket library prints whole frames at its finer levels.
fn shows_no_content(metadata: &Metadata<'_>) -> bool {
    let prints_frames = ["tungstenite", "tokio_tungstenite"]
        .iter()
        .any(|name| metadata.target().split("::").next() == Some(name));
    !prints_frames || *metadata.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn frames_are_not_logged_at_any_level() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry()
            .with(EnvFilter::new("trace,tungstenite::protocol=trace"))
            .with(filter_fn(shows_no_content))
            .with(fmt::layer().with_ansi(false).with_writer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "tungstenite::protocol", "a secret");
            tracing::debug!(target: "tokio_tungstenite", "a secret");
            tracing::info!(target: "tungstenite", "a hint");
            tracing::trace!(target: "chat_tokio", "a turn");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("a hint") && text.contains("a turn"), "{text}");
    }
}
