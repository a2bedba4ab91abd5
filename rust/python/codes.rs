//! Border of `crate::codes`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::cluster::{codes_array, metric, rows};
use super::errors::to_python;
use super::run::run;
use crate::cluster::kernel::Isa;
use crate::codes::assign::{self as core, Codebook};
use crate::codes::trie;
use crate::codes::unique::{self, Unique};
use crate::error::{Error, Result};

/// Codes, share kept, error before, error after.
type Encoding<'py> = (Bound<'py, PyArray2<i32>>, f64, f64, f64);
/// code, first_child, leaf_begin, leaf_end, leaf_items, terminal.
type TrieArrays<'py> = (
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
);

fn codebook<'a>(
    centroids: &'a [PyReadonlyArray2<'_, f32>],
    metric_name: &str,
    kernel: Option<&str>,
) -> Result<Codebook<'a>> {
    let levels = centroids.iter().map(|c| rows(c, "centroids")).collect::<Result<Vec<_>>>()?;
    if levels.is_empty() || levels.iter().any(|level| level.dim() != levels[0].dim()) {
        return Err(Error::invalid("centroids", "expected at least one level, all of the same width"));
    }
    Ok(Codebook { levels, metric: metric(metric_name)?, isa: Isa::choose(kernel)? })
}

#[pyfunction]
#[pyo3(signature = (x, centroids, metric_name, threads, kernel, progress))]
fn assign<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    centroids: Vec<PyReadonlyArray2<'py, f32>>,
    metric_name: &str,
    threads: Option<usize>,
    kernel: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    let arguments = || Ok((rows(&x, "x")?, codebook(&centroids, metric_name, kernel)?));
    let (x, book) = arguments().map_err(|e| to_python(py, e))?;
    let codes = run(py, threads, progress, |progress| {
        progress.set_total((x.len() * book.levels.len()) as u64);
        core::greedy(&core::prepare(x, &book)?, book.isa, progress)
    })?;
    codes_array(py, codes, centroids.len())
}

fn how(name: &str) -> Result<Unique> {
    Ok(match name {
        "assignment" => Unique::Assignment,
        "nearest" => Unique::Nearest,
        "counter" => Unique::Counter,
        "none" => Unique::None,
        "rank" => Unique::Rank,
        _ => {
            let message = format!("expected \"assignment\", \"nearest\", \"counter\" or \"none\", got {name:?}");
            return Err(Error::invalid("unique", message));
        }
    })
}

#[pyfunction]
#[pyo3(signature = (x, centroids, metric_name, kinds, unique_name, threads, kernel, progress))]
fn encode<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    centroids: Vec<PyReadonlyArray2<'py, f32>>,
    metric_name: &str,
    kinds: PyReadonlyArray1<'py, i64>,
    unique_name: &str,
    threads: Option<usize>,
    kernel: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Encoding<'py>> {
    let arguments = || {
        let x = rows(&x, "x")?;
        let kinds = kinds.as_slice().map_err(|_| Error::invalid("kinds", "expected a contiguous array"))?;
        if kinds.len() != x.len() {
            return Err(Error::invalid("kinds", format!("expected one per row, got {} for {}", kinds.len(), x.len())));
        }
        Ok((x, kinds, codebook(&centroids, metric_name, kernel)?, how(unique_name)?))
    };
    let (x, kinds, book, unique) = arguments().map_err(|e| to_python(py, e))?;
    let found = run(py, threads, progress, |progress| unique::encode(x, &book, kinds, unique, progress))?;
    let codes = codes_array(py, found.codes, found.depth)?;
    Ok((codes, found.kept_share, found.error_before, found.error_after))
}

#[pyfunction]
#[pyo3(signature = (codes, threads, progress))]
fn build_trie<'py>(
    py: Python<'py>,
    codes: PyReadonlyArray2<'py, i32>,
    threads: Option<usize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<TrieArrays<'py>> {
    let depth = codes.shape()[1];
    let check = || match codes.as_slice() {
        Ok(data) if depth > 0 => Ok(data),
        _ => Err(Error::invalid("codes", "expected a C-contiguous array with at least one column")),
    };
    let data = check().map_err(|e| to_python(py, e))?;
    let trie = run(py, threads, progress, |progress| trie::build(data, depth, progress))?;
    Ok((
        trie.code.into_pyarray(py),
        trie.first_child.into_pyarray(py),
        trie.leaf_begin.into_pyarray(py),
        trie.leaf_end.into_pyarray(py),
        trie.leaf_items.into_pyarray(py),
        trie.terminal.into_pyarray(py),
    ))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "codes")?;
    m.add_function(wrap_pyfunction!(assign, &m)?)?;
    m.add_function(wrap_pyfunction!(encode, &m)?)?;
    m.add_function(wrap_pyfunction!(build_trie, &m)?)?;
    Ok(m)
}
