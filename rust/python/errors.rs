//! Core errors as Python exceptions.

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::error::Error;

impl From<Error> for PyErr {
    /// `metatoken.errors.ArgumentError` (a `ValueError`), or `KeyboardInterrupt`.
    fn from(error: Error) -> Self {
        match error {
            Error::Interrupted => PyKeyboardInterrupt::new_err("interrupted"),
            Error::Invalid { argument, message } => Python::attach(|py| {
                let class = py.import("metatoken.errors").and_then(|module| module.getattr("ArgumentError"));
                let made = class.and_then(|class| class.call1((argument, message)));
                made.map_or_else(|failure| failure, PyErr::from_value)
            }),
        }
    }
}
