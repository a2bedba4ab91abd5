//! Border of `crate::skipgram`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use super::args::{self, Int, Real, slice};
use super::graph::Graph;
use super::run::run;
use crate::error::{Error, Result};
use crate::graph::metapath::MetaPath;
use crate::skipgram::params::Params;
use crate::skipgram::tables::Given;
use crate::skipgram::{negative, train};

/// Vectors, contexts, whether each node is trained, number of pairs.
type Fitted<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<bool>>, u64);

/// Vectors and contexts `[n_nodes, dim]`, which nodes a walk visited, and the number of pairs.
#[pyfunction]
#[pyo3(signature = (graph, meta_paths, *, dim, window, negatives, walks_per_node, walk_length, epochs, seed,
                    learning_rate, min_learning_rate, dynamic_window, subsample, hogwild, blocks, vectors, contexts,
                    threads, callback))]
fn fit<'py>(
    py: Python<'py>,
    graph: &Graph,
    meta_paths: Vec<String>,
    dim: Int,
    window: Int,
    negatives: Int,
    walks_per_node: Int,
    walk_length: Int,
    epochs: Int,
    seed: Int,
    learning_rate: Real,
    min_learning_rate: Real,
    dynamic_window: bool,
    subsample: Real,
    hogwild: bool,
    blocks: Option<Int>,
    vectors: Option<PyReadonlyArray2<'py, f32>>,
    contexts: Option<PyReadonlyArray2<'py, f32>>,
    threads: Option<Int>,
    callback: Option<Py<PyAny>>,
) -> PyResult<Fitted<'py>> {
    let params = Params {
        dim: dim.clamped(),
        window: window.clamped(),
        negatives: negatives.clamped(),
        walks_per_node: walks_per_node.clamped(),
        walk_length: walk_length.clamped(),
        epochs: epochs.clamped(),
        seed: seed.seed()? as i64,
        learning_rate: learning_rate.0,
        min_learning_rate: min_learning_rate.0,
        dynamic_window,
        subsample: subsample.0,
        hogwild,
        blocks: blocks.map(Int::clamped),
    };
    let paths = meta_paths.iter().map(|text| MetaPath::parse(text, &graph.core));
    let paths = paths.collect::<Result<Vec<_>>>()?;
    let shape = [graph.core.n_nodes(), params.dim.max(0) as usize];
    let vectors = given("initial", vectors.as_ref(), shape)?;
    let contexts = given("initial_contexts", contexts.as_ref(), shape)?;
    let start = Given { vectors, contexts };
    let trained = run(py, threads, callback, |progress| train::fit(&graph.core, &paths, &params, start, progress))?;
    let vectors = trained.vectors.into_pyarray(py).reshape(shape)?;
    let contexts = trained.contexts.into_pyarray(py).reshape(shape)?;
    Ok((vectors, contexts, trained.trained.into_pyarray(py), trained.pairs))
}

/// The values of a given table, which has the shape of the result.
fn given<'a>(
    argument: &'static str,
    table: Option<&'a PyReadonlyArray2<'_, f32>>,
    shape: [usize; 2],
) -> Result<Option<&'a [f32]>> {
    let Some(table) = table else { return Ok(None) };
    let found = table.as_array().shape().to_vec();
    if found != shape {
        return Err(Error::invalid(argument, format!("expected {shape:?} (nodes, dim), got {found:?}")));
    }
    args::table(table, argument).map(Some)
}

/// How often each outcome is drawn from the alias table of these weights.
#[pyfunction]
fn alias_frequencies<'py>(
    py: Python<'py>,
    weights: PyReadonlyArray1<'py, f64>,
    draws: Int,
    seed: Int,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let weights = slice(&weights, "weights")?;
    let (draws, seed) = (draws.within("draws", 0, 1 << 26)? as usize, seed.seed()?);
    Ok(run(py, None, None, |progress| negative::frequencies(weights, draws, seed, progress))?.into_pyarray(py))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let module = PyModule::new(py, "skipgram")?;
    module.add_function(wrap_pyfunction!(fit, &module)?)?;
    module.add_function(wrap_pyfunction!(alias_frequencies, &module)?)?;
    Ok(module)
}
