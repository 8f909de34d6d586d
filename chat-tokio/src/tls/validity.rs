//! From when to when a certificate counts.
use chat_proto::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser;
use x509_parser::time::ASN1Time;

use super::TlsError;
use crate::clock::rfc3339;

/// How long before its end a certificate is one that should have been renewed.
const WARNING_MS: u64 = 7 * 24 * 3600 * 1000;

/// The time in which a certificate counts.
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
    /// Reads the dates of a certificate.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        // Nothing else of it counts here.
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let (_, parsed) = parser.parse(certificate.as_ref()).map_err(|error| {
            TlsError::new(format_args!("its first certificate can't be used: {error}"))
        })?;
        let dates = parsed.validity();
        Ok(Self { begin: timestamp(dates.not_before), end: timestamp(dates.not_after) })
    }

    /// Checks that it counts at this time.
    pub(super) fn check(self, now: Timestamp) -> Result<(), TlsError> {
        let what = if now < self.begin {
            "does not count yet"
        } else if now > self.end {
            "has expired"
        } else {
            return Ok(());
        };
        let (begin, end, now) = (rfc3339(self.begin), rfc3339(self.end), rfc3339(now));
        Err(TlsError::new(format_args!(
            "its first certificate {what}: it counts from {begin} to {end}, and it is {now} by \
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

fn timestamp(at: ASN1Time) -> Timestamp {
    Timestamp(u64::try_from(at.timestamp()).unwrap_or_default().saturating_mul(1000))
}
