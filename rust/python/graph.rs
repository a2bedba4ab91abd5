//! Border of `crate::graph`.

use pyo3::prelude::*;

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    PyModule::new(py, "graph")
}
