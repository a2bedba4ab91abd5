//! The one error type of the core; `python/errors.rs` maps each variant to a Python exception.

use thiserror::Error;

/// What a core routine can fail with.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Error {
    /// An argument has a value that the routine cannot work with.
    #[error("{argument}: {message}")]
    Invalid {
        /// Name of the argument as the Python caller knows it.
        argument: &'static str,
        /// What was expected, what came, and how to fix it.
        message: String,
    },
    /// A routine of the core panicked: a mistake of ours, which must not cost the caller's process.
    #[error("{0}")]
    Broken(String),
    /// The caller asked to stop (Ctrl-C).
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// An invalid argument, named as the Python caller knows it.
    pub fn invalid(argument: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { argument, message: message.into() }
    }
}

/// Result of a core routine.
pub type Result<T> = std::result::Result<T, Error>;
