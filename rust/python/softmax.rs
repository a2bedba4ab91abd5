//! Border of `crate::softmax`. A step takes milliseconds, so it runs on a pool that is kept, with the interpreter
//! released; only one that may take longer than a moment listens for Ctrl-C.

use numpy::ndarray::Array2;
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray1, PyReadwriteArray2,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::args::{Int, expect, rows, slice};
use super::run::{detached, run, some_threads};
use crate::error::{Error, Result};
use crate::pool;
use crate::progress::Progress;
use crate::simd::Isa;
use crate::softmax::slices::{self, Gradients, Slopes};
use crate::softmax::{Problem, catalogue};

/// Multiply-adds that take about a tenth of a second on one core.
const MOMENT: usize = 4_000_000_000;

/// total, states, vectors, bias.
type Found<'py> = (
    Bound<'py, PyArray1<f32>>,
    Option<Bound<'py, PyArray2<f32>>>,
    Option<Bound<'py, PyArray2<f32>>>,
    Option<Bound<'py, PyArray1<f32>>>,
);

fn on<T: Send>(
    py: Python<'_>,
    threads: Int,
    problem: Problem<'_>,
    work: impl FnOnce(&Progress) -> Result<T> + Send,
) -> PyResult<T> {
    if problem.states.len().saturating_mul(problem.vectors.data().len()) > MOMENT {
        return run(py, Some(threads), None, work);
    }
    let threads = some_threads(threads)?;
    Ok(detached(py, || pool::on(threads, || work(&Progress::new()))?)?)
}

/// Rows of a result; there are some where there is a value.
fn matrix<'py>(py: Python<'py>, values: Vec<f32>, dim: usize) -> PyResult<Option<Bound<'py, PyArray2<f32>>>> {
    if values.is_empty() {
        return Ok(None);
    }
    let shaped = Array2::from_shape_vec((values.len() / dim, dim), values);
    let shaped = shaped.map_err(|e| Error::invalid("states", format!("unexpected shape: {e}")))?;
    Ok(Some(shaped.into_pyarray(py)))
}

const ORDER: &str = "expected a C-contiguous array";

#[pyfunction]
#[pyo3(name = "catalogue", signature = (states, vectors, bias, weights, *, threads, kernel=None))]
fn catalogue_<'py>(
    py: Python<'py>,
    states: PyReadonlyArray2<'py, f32>,
    vectors: PyReadonlyArray2<'py, f32>,
    bias: Option<PyReadonlyArray1<'py, f32>>,
    weights: Option<PyReadonlyArray1<'py, f32>>,
    threads: Int,
    kernel: Option<&str>,
) -> PyResult<Found<'py>> {
    let isa = Isa::choose(kernel)?;
    let bias = bias.as_ref().map(|bias| slice(bias, "bias")).transpose()?;
    let problem = Problem { states: rows(&states, "states")?, vectors: rows(&vectors, "vectors")?, bias };
    let weights = weights.as_ref().map(|weights| slice(weights, "weights")).transpose()?;
    let dim = problem.states.dim();
    let found = on(py, threads, problem, |progress| catalogue(problem, weights, isa, progress))?;
    let bias = (!found.bias.is_empty()).then(|| found.bias.into_pyarray(py));
    Ok((found.total.into_pyarray(py), matrix(py, found.states, dim)?, matrix(py, found.vectors, dim)?, bias))
}

#[pyfunction]
#[pyo3(signature = (states, vectors, bias, begin, end, *, threads, kernel=None))]
fn below<'py>(
    py: Python<'py>,
    states: PyReadonlyArray2<'py, f32>,
    vectors: PyReadonlyArray2<'py, f32>,
    bias: Option<PyReadonlyArray1<'py, f32>>,
    begin: PyReadonlyArray1<'py, i64>,
    end: PyReadonlyArray1<'py, i64>,
    threads: Int,
    kernel: Option<&str>,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let isa = Isa::choose(kernel)?;
    let bias = bias.as_ref().map(|bias| slice(bias, "bias")).transpose()?;
    let problem = Problem { states: rows(&states, "states")?, vectors: rows(&vectors, "vectors")?, bias };
    let (begin, end) = (slice(&begin, "begin")?, slice(&end, "end")?);
    let found = on(py, threads, problem, |progress| slices::below(problem, begin, end, isa, progress))?;
    Ok(found.into_pyarray(py))
}

#[pyfunction]
#[pyo3(signature = (states, vectors, bias, begin, end, below, weights, to_states, to_vectors, to_bias, *, threads,
                    kernel=None))]
fn add_below<'py>(
    py: Python<'py>,
    states: PyReadonlyArray2<'py, f32>,
    vectors: PyReadonlyArray2<'py, f32>,
    bias: Option<PyReadonlyArray1<'py, f32>>,
    begin: PyReadonlyArray1<'py, i64>,
    end: PyReadonlyArray1<'py, i64>,
    below: PyReadonlyArray1<'py, f32>,
    weights: PyReadonlyArray1<'py, f32>,
    mut to_states: PyReadwriteArray2<'py, f32>,
    mut to_vectors: PyReadwriteArray2<'py, f32>,
    mut to_bias: Option<PyReadwriteArray1<'py, f32>>,
    threads: Int,
    kernel: Option<&str>,
) -> PyResult<()> {
    let isa = Isa::choose(kernel)?;
    let bias = bias.as_ref().map(|bias| slice(bias, "bias")).transpose()?;
    let problem = Problem { states: rows(&states, "states")?, vectors: rows(&vectors, "vectors")?, bias };
    let (begin, end) = (slice(&begin, "begin")?, slice(&end, "end")?);
    let slopes = Slopes { below: slice(&below, "below")?, weights: slice(&weights, "weights")? };
    let each = problem.states.len();
    expect(slopes.below.len() == each && slopes.weights.len() == each, "weights", "expected one for each state")?;
    expect(to_states.is_c_contiguous(), "to_states", ORDER)?;
    expect(to_vectors.is_c_contiguous(), "to_vectors", ORDER)?;
    let out = Gradients {
        states: to_states.as_slice_mut().map_err(|_| Error::invalid("to_states", ORDER))?,
        vectors: to_vectors.as_slice_mut().map_err(|_| Error::invalid("to_vectors", ORDER))?,
        bias: match to_bias.as_mut() {
            None => None,
            Some(bias) => Some(bias.as_slice_mut().map_err(|_| Error::invalid("to_bias", ORDER))?),
        },
    };
    let same_bias = out.bias.as_ref().map(|bias| bias.len()) == problem.bias.map(<[f32]>::len);
    expect(out.states.len() == problem.states.data().len(), "to_states", "expected the shape of states")?;
    expect(out.vectors.len() == problem.vectors.data().len(), "to_vectors", "expected the shape of vectors")?;
    expect(same_bias, "to_bias", "expected the shape of bias")?;
    on(py, threads, problem, |progress| slices::gradients(problem, begin, end, slopes, isa, progress, out))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "softmax")?;
    m.add_function(wrap_pyfunction!(catalogue_, &m)?)?;
    m.add_function(wrap_pyfunction!(below, &m)?)?;
    m.add_function(wrap_pyfunction!(add_below, &m)?)?;
    Ok(m)
}
