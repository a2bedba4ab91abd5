//! Border of `crate::skipgram`.

use pyo3::prelude::*;

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    PyModule::new(py, "skipgram")
}
