//! What can be wrong with certificates and keys.
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a certificate, a key or a set of roots can't be used, in words for whoever has made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    file: Option<PathBuf>,
    why: String,
}

impl TlsError {
    pub(super) fn new(why: impl fmt::Display) -> Self {
        Self { file: None, why: why.to_string() }
    }

    /// Says which file it is about.
    pub(super) fn of(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    /// Returns the file that it is about, if it is about one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for TlsError {}
