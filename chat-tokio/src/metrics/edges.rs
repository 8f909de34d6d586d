//! What happens where no worker is: at the door, and on the way to those who are told.
use super::family::Family;
use crate::accept::{Admission, Failure, Refusal};

/// What counts it.
pub(crate) struct Edges {
    pub(crate) door: Admission,
    #[cfg(feature = "tls")]
    pub(crate) identities: Vec<crate::tls::TlsIdentity>,
    #[cfg(feature = "webhooks")]
    pub(crate) hooks: Option<crate::webhooks::Hooks>,
}

impl Edges {
    pub(super) fn families(&self) -> Vec<Family> {
        let all = self.about_door().into_iter();
        #[cfg(feature = "tls")]
        let all = all.chain([self.about_certificate()]);
        #[cfg(feature = "webhooks")]
        let all = all.chain(self.about_webhooks());
        all.collect()
    }

    fn about_door(&self) -> Vec<Family> {
        let counts = self.door.turned_away();
        let mut refused = Family::counter(
            "chat_connections_refused_total",
            "Connections that got no place, by what they were too many for, or did not keep to.",
        );
        for why in Refusal::ALL {
            refused = refused.with(&[("reason", why.name())], counts.refused(why));
        }
        let mut failed = Family::counter(
            "chat_handshakes_failed_total",
            "Connections that came to nothing in TLS, or in their first request.",
        );
        for why in Failure::ALL {
            failed = failed.with(&[("reason", why.name())], counts.failed(why));
        }
        vec![refused, failed]
    }

    /// Without a value where no certificate is known.
    #[cfg(feature = "tls")]
    fn about_certificate(&self) -> Family {
        let expiry = Family::gauge(
            "chat_tls_certificate_expiry_seconds",
            "When the certificate in force ends, in seconds since 1970; the first of several.",
        );
        let ends = self.identities.iter().filter_map(crate::tls::TlsIdentity::expiry);
        match ends.min() {
            Some(end) => expiry.with(&[], end.0 / 1000),
            None => expiry,
        }
    }

    #[cfg(feature = "webhooks")]
    fn about_webhooks(&self) -> Vec<Family> {
        use crate::webhooks::{Hooks, WebhookCounts, WebhookRetries};
        let counts = self.hooks.as_ref().map(Hooks::counts).unwrap_or_default();
        let WebhookCounts { sent, failed, gone, dropped, waiting, retried } = counts;
        let WebhookRetries { connection, timeout, status } = retried;
        vec![
            Family::gauge("chat_webhook_waiting_events", "Events that wait to be told.")
                .with(&[], waiting),
            Family::counter("chat_webhook_events_total", "Events by what became of them.")
                .with(&[("result", "delivered")], sent)
                .with(&[("result", "failed")], failed.saturating_sub(gone))
                .with(&[("result", "gone")], gone)
                .with(&[("result", "dropped")], dropped),
            Family::counter("chat_webhook_retries_total", "Attempts made again, by why.")
                .with(&[("reason", "connection")], connection)
                .with(&[("reason", "timeout")], timeout)
                .with(&[("reason", "status")], status),
        ]
    }
}
