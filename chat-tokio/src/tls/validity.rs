//! From when to when a chain of certificates counts.
//!
//! A client that is shown a chain refuses it once any of its certificates has ended, but for one
//! that signs itself: a client has that one of its own, or does not trust it.
use std::fmt;

use chat_proto::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser;
use x509_parser::time::ASN1Time;

use super::TlsError;
use crate::clock::rfc3339;

/// How long before its end a certificate is one that should have been renewed.
const WARNING_MS: u64 = 7 * 24 * 3600 * 1000;

/// The time in which a certificate counts, or all of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    begin: Timestamp,
    pub(super) end: Timestamp,
}

/// How a certificate stands in its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Age {
    #[default]
    Good,
    /// It ends within a week.
    Ending,
    Ended,
}

impl Validity {
    /// Reads the dates of a chain, the server's own certificate first, and checks that all of it
    /// counts at this time.
    pub(super) fn of(chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Self, TlsError> {
        let mut all = Self { begin: Timestamp(0), end: Timestamp(u64::MAX) };
        for (place, certificate) in chain.iter().enumerate() {
            let which = Which(place);
            // Only dates and names count here.
            let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
            let (_, parsed) = parser
                .parse(certificate.as_ref())
                .map_err(|error| TlsError::new(format_args!("{which} can't be used: {error}")))?;
            if place > 0 && parsed.subject() == parsed.issuer() {
                continue;
            }
            let dates = parsed.validity();
            let one = Self { begin: timestamp(dates.not_before), end: timestamp(dates.not_after) };
            one.check(&which, now)?;
            all = Self { begin: all.begin.max(one.begin), end: all.end.min(one.end) };
        }
        Ok(all)
    }

    fn check(self, which: &Which, now: Timestamp) -> Result<(), TlsError> {
        let what = if now < self.begin {
            "does not count yet"
        } else if now > self.end {
            "has expired"
        } else {
            return Ok(());
        };
        let (begin, end, now) = (rfc3339(self.begin), rfc3339(self.end), rfc3339(now));
        Err(TlsError::new(format_args!(
            "{which} {what}: it counts from {begin} to {end}, and it is {now} by \
             this machine's clock"
        )))
    }

    pub(super) fn age(self, now: Timestamp) -> Age {
        if now > self.end {
            Age::Ended
        } else if now.0 > self.end.0.saturating_sub(WARNING_MS) {
            Age::Ending
        } else {
            Age::Good
        }
    }
}

/// A certificate by its place in the chain, from 0.
struct Which(usize);

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("its first certificate"),
            place => write!(f, "certificate {} of its chain", place + 1),
        }
    }
}

fn timestamp(at: ASN1Time) -> Timestamp {
    Timestamp(u64::try_from(at.timestamp()).unwrap_or_default().saturating_mul(1000))
}
