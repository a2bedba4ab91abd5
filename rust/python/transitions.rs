//! Border of `crate::transitions`. A batch takes milliseconds, so it is not polled for Ctrl-C; the interpreter is released.

use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;

use super::args::{Real, slice};
use super::run::detached;
use crate::error::{Error, Result};
use crate::transitions::{self, Sparse, Weights};

/// offsets, columns, values.
type SparseIn<'py> = (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i32>, PyReadonlyArray1<'py, f32>);

fn view<'a>(rows: &'a SparseIn<'_>, argument: &'static str) -> Result<Sparse<'a>> {
    Ok(Sparse {
        offsets: slice(&rows.0, argument)?,
        columns: slice(&rows.1, argument)?,
        values: slice(&rows.2, argument)?,
    })
}

#[pyfunction]
#[pyo3(signature = (steps, starts, popularity, second_hop, smoothing))]
fn distributions<'py>(
    py: Python<'py>,
    steps: SparseIn<'py>,
    starts: SparseIn<'py>,
    popularity: PyReadonlyArray1<'py, f32>,
    second_hop: Real,
    smoothing: Real,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (steps, starts) = (view(&steps, "steps")?, view(&starts, "starts")?);
    let popularity = slice(&popularity, "popularity")?;
    let weights = Weights { second_hop: second_hop.0 as f32, smoothing: smoothing.0 as f32, popularity };
    let found = detached(py, || transitions::distributions(steps, starts, weights))?;
    let shape = (starts.offsets.len() - 1, popularity.len());
    let shaped = Array2::from_shape_vec(shape, found);
    let shaped = shaped.map_err(|e| Error::invalid("starts", format!("unexpected shape: {e}")))?;
    Ok(shaped.into_pyarray(py))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "transitions")?;
    m.add_function(wrap_pyfunction!(distributions, &m)?)?;
    Ok(m)
}
