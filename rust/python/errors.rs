//! Core errors as Python exceptions.

use pyo3::PyErr;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::error::Error;

/// Turns a core error into `metatoken.errors.ArgumentError` (a `ValueError`) or `KeyboardInterrupt`.
pub(super) fn to_python(py: Python<'_>, error: Error) -> PyErr {
    match error {
        Error::Interrupted => PyKeyboardInterrupt::new_err("interrupted"),
        Error::Invalid { argument, message } => {
            let build = || -> PyResult<PyErr> {
                let class = py.import("metatoken.errors")?.getattr("ArgumentError")?;
                Ok(PyErr::from_value(class.call1((argument, message))?))
            };
            build().unwrap_or_else(|failure| failure)
        }
    }
}
