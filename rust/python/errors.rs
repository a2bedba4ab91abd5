//! Core errors as Python exceptions.

use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::error::Error;

impl From<Error> for PyErr {
    /// `metatoken.errors.ArgumentError` (a `ValueError`), `CoreError`, or `KeyboardInterrupt`.
    fn from(error: Error) -> Self {
        match error {
            Error::Interrupted => PyKeyboardInterrupt::new_err("interrupted"),
            Error::Broken(message) => raised("CoreError", (message,)),
            Error::Invalid { argument, message } => raised("ArgumentError", (argument, message)),
        }
    }
}

/// An exception of `metatoken.errors`.
fn raised(class: &str, arguments: impl for<'py> PyCallArgs<'py>) -> PyErr {
    Python::attach(|py| {
        let class = py.import("metatoken.errors").and_then(|module| module.getattr(class));
        let made = class.and_then(|class| class.call1(arguments));
        made.map_or_else(|failure| failure, PyErr::from_value)
    })
}
