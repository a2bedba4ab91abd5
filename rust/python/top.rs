//! Border of `crate::top`. A batch takes milliseconds, so it is not polled for Ctrl-C; the interpreter is released.

use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::args::{Int, Real, slice, table};
use super::run::detached;
use crate::top::{self, Best, Problem, Ties};

/// Item rows and scores, `[rows, width]`.
type Found<'py> = (Bound<'py, PyArray2<i32>>, Bound<'py, PyArray2<f32>>);

#[pyfunction]
#[pyo3(signature = (scores, offsets, removed, k, *, tolerance=None, share=None))]
fn best<'py>(
    py: Python<'py>,
    scores: PyReadonlyArray2<'py, f32>,
    offsets: PyReadonlyArray1<'py, i64>,
    removed: PyReadonlyArray1<'py, i32>,
    k: Int,
    tolerance: Option<Real>,
    share: Option<Real>,
) -> PyResult<Found<'py>> {
    let ties = match (tolerance, share) {
        (Some(slack), _) => Ties::Within(slack.0 as f32),
        (None, Some(share)) => Ties::Share(share.0 as f32),
        (None, None) => Ties::Never,
    };
    let problem = Problem {
        scores: table(&scores, "scores")?,
        n: scores.shape()[1],
        offsets: slice(&offsets, "seen")?,
        removed: slice(&removed, "seen")?,
        k: k.count("k", 1)?,
        ties,
    };
    let (items, scores) = detached(py, || Ok(padded(&top::best(problem)?)))?;
    Ok((items.into_pyarray(py), scores.into_pyarray(py)))
}

/// Rows of one width, with -1 and minus infinity behind the end of a row.
fn padded(found: &Best) -> (Array2<i32>, Array2<f32>) {
    let shape = (found.counts.len(), found.counts.iter().copied().max().unwrap_or(0));
    let (mut items, mut scores) = (Array2::from_elem(shape, -1), Array2::from_elem(shape, f32::NEG_INFINITY));
    let mut at = 0;
    for (row, &count) in found.counts.iter().enumerate() {
        for place in 0..count {
            items[(row, place)] = found.items[at + place];
            scores[(row, place)] = found.scores[at + place];
        }
        at += count;
    }
    (items, scores)
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "top")?;
    m.add_function(wrap_pyfunction!(best, &m)?)?;
    Ok(m)
}
