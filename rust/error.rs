//! The one error type of the core; `python/errors.rs` maps each variant to a Python exception.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
        let mut message = message.into();
        if let Some((cut, _)) = message.char_indices().nth(LONGEST) {
            message.truncate(cut);
            message.push_str("...");
        }
        Self::Invalid { argument, message }
    }
}

/// Characters of a message, at most: it may show a value that is as long as the caller likes.
const LONGEST: usize = 1000;

/// Result of a core routine.
pub type Result<T> = std::result::Result<T, Error>;

/// What work comes to; a panic is an error. What the work shares with others must be dropped unread then.
pub fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::Broken(said(&*panic))))
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(caught(|| Ok(3)), Ok(3));
        assert_eq!(caught::<()>(|| panic!("at {}", 5)), Err(Error::Broken("at 5".to_owned())));
        assert_eq!(caught::<()>(|| panic!("plain")), Err(Error::Broken("plain".to_owned())));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let said = Error::invalid("levels", "é".repeat(5000)).to_string();
        assert_eq!(said, format!("levels: {}...", "é".repeat(LONGEST)));
        assert_eq!(Error::invalid("levels", "short").to_string(), "levels: short");
    }
}
