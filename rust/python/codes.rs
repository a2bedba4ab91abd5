//! Border of `crate::codes`.

use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::args::{Int, Levels, expect, rows, slice, table};
use super::cluster::codes_array;
use super::run::run;
use crate::cluster::params::Metric;
use crate::codes::assign::{Codebook, Search};
use crate::codes::first;
use crate::codes::unique::{self, Occupied, Unique};
use crate::error::{Error, Result};
use crate::matrix::{Rows, largest_of};
use crate::simd::Isa;

/// Codes, share kept, error before, error after.
type Encoding<'py> = (Bound<'py, PyArray2<i32>>, f64, f64, f64);

fn codebook<'a>(
    centroids: &'a [PyReadonlyArray2<'_, f32>],
    metric: Metric,
    kernel: Option<&str>,
) -> Result<Codebook<'a>> {
    let levels = centroids.iter().map(|c| rows(c, "centroids")).collect::<Result<Vec<_>>>()?;
    if levels.is_empty() || levels.iter().any(|level| level.dim() != levels[0].dim()) {
        return Err(Error::invalid("centroids", "expected at least one level, all of the same width"));
    }
    Ok(Codebook { levels, metric, isa: Isa::choose(kernel)? })
}

#[pyfunction]
#[pyo3(signature = (x, centroids, metric, threads, kernel, progress))]
fn assign<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    centroids: Vec<PyReadonlyArray2<'py, f32>>,
    metric: Metric,
    threads: Option<Int>,
    kernel: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    let (x, book) = (rows(&x, "x")?, codebook(&centroids, metric, kernel)?);
    let codes = run(py, threads, progress, |progress| {
        progress.set_total((x.len() * book.levels.len()) as u64);
        Search::new(&book, x.dim())?.greedy(x, progress)
    })?;
    codes_array(py, codes, centroids.len())
}

/// Row-major codes, each below the size of its level; a level beyond `sizes` has no bound.
fn codes(array: &PyReadonlyArray2<'_, i32>, argument: &'static str, sizes: &[usize]) -> Result<Vec<u32>> {
    let (data, depth) = (table(array, argument)?, array.shape()[1]);
    let fits = |row: &[i32]| {
        row.iter().enumerate().all(|(level, &c)| c >= 0 && sizes.get(level).is_none_or(|&size| (c as usize) < size))
    };
    match data.chunks_exact(depth.max(1)).position(|row| !fits(row)) {
        None => Ok(data.iter().map(|&c| c as u32).collect()),
        Some(row) => {
            let found = &data[row * depth..(row + 1) * depth];
            Err(Error::invalid(argument, format!("row {row} is {found:?}, which is no code of levels {sizes:?}")))
        }
    }
}

fn check_shape(argument: &'static str, found: &[usize], expected: [usize; 2]) -> Result<()> {
    expect(found == expected, argument, &format!("expected shape {expected:?}, got {found:?}"))
}

/// Fails when two equal codes of one kind are occupied.
fn check_apart(occupied: Occupied<'_>, depth: usize) -> Result<()> {
    let mut all: Vec<_> = occupied.kinds.iter().zip(occupied.codes.chunks_exact(depth)).collect();
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::invalid("occupied", format!("{:?} is there twice for one kind", pair[0].1))),
    }
}

#[pyfunction]
#[pyo3(signature = (
    x, centroids, metric, nearest, first, kinds, occupied, occupied_kinds, unique, max_cluster_size, threads, kernel,
    progress
))]
fn make_unique<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    centroids: Vec<PyReadonlyArray2<'py, f32>>,
    metric: Metric,
    nearest: PyReadonlyArray2<'py, i32>,
    first: Option<PyReadonlyArray1<'py, i32>>,
    kinds: PyReadonlyArray1<'py, i64>,
    occupied: PyReadonlyArray2<'py, i32>,
    occupied_kinds: PyReadonlyArray1<'py, i64>,
    unique: Unique,
    max_cluster_size: Option<Int>,
    threads: Option<Int>,
    kernel: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Encoding<'py>> {
    let (x, book) = (rows(&x, "x")?, codebook(&centroids, metric, kernel)?);
    let max_cluster_size = max_cluster_size.map(|cap| cap.count("max_cluster_size", 1)).transpose()?;
    let sizes: Vec<usize> = book.levels.iter().map(Rows::len).collect();
    let depth = sizes.len() + usize::from(unique == Unique::Counter);
    let (kinds, taken_kinds) = (slice(&kinds, "kinds")?, slice(&occupied_kinds, "occupied_kinds")?);
    check_shape("codes", nearest.shape(), [x.len(), sizes.len()])?;
    expect(taken_kinds.len() == occupied.shape()[0], "occupied_kinds", "expected one per occupied row")?;
    check_shape("occupied", occupied.shape(), [taken_kinds.len(), depth])?;
    expect(kinds.len() == x.len(), "kinds", "expected one per row")?;
    let (nearest, taken) = (codes(&nearest, "codes", &sizes)?, codes(&occupied, "occupied", &sizes)?);
    let first = first.map(|given| first_codes(&given, "first", x.len(), sizes[0])).transpose()?;
    let found = run(py, threads, progress, |progress| {
        progress.set_total((x.len() * book.levels.len()) as u64);
        let most = largest_of(x, progress)?;
        let occupied = Occupied { codes: &taken, kinds: taken_kinds };
        if unique != Unique::None {
            check_apart(occupied, depth)?;
        }
        let search = Search::new(&book, x.dim())?;
        search.check_range(most)?;
        unique::make_unique(x, &search, &nearest, first.as_deref(), kinds, occupied, unique, max_cluster_size, progress)
    })?;
    Ok((codes_array(py, found.codes, found.depth)?, found.kept_share, found.error_before, found.error_after))
}

/// First codes of rows, each below `size`.
fn first_codes(
    array: &PyReadonlyArray1<'_, i32>,
    argument: &'static str,
    rows: usize,
    size: usize,
) -> Result<Vec<u32>> {
    let data = slice(array, argument)?;
    expect(data.len() == rows, argument, "expected one per row")?;
    let fits = data.iter().all(|&code| code >= 0 && (code as usize) < size);
    expect(fits, argument, "expected codes of the first level")?;
    Ok(data.iter().map(|&code| code as u32).collect())
}

/// How many rows have each first code.
fn row_counts(array: &PyReadonlyArray1<'_, i64>, codewords: usize) -> Result<Vec<usize>> {
    let data = slice(array, "counts")?;
    expect(data.len() == codewords, "counts", "expected one for each codeword of the first level")?;
    expect(data.iter().all(|&count| (0..1 << 48).contains(&count)), "counts", "expected numbers of rows")?;
    Ok(data.iter().map(|&count| count as usize).collect())
}

#[pyfunction]
#[pyo3(signature = (counts, levels, unique, max_cluster_size))]
fn contested<'py>(
    py: Python<'py>,
    counts: PyReadonlyArray1<'py, i64>,
    levels: Levels,
    unique: Unique,
    max_cluster_size: Option<Int>,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    let cap = max_cluster_size.map(|cap| cap.count("max_cluster_size", 1)).transpose()?;
    expect(!levels.0.is_empty() && levels.0.iter().all(|&size| size > 0), "levels", "expected sizes of at least 1")?;
    let counts = row_counts(&counts, levels.0[0])?;
    let found = first::contested(&counts, &levels.0, unique, cap)?;
    Ok(PyArray1::from_iter(py, found.into_iter().map(|code| code as i32)))
}

#[pyfunction]
#[pyo3(signature = (x, centroids, metric, nearest, counts, unique, max_cluster_size, threads, kernel, progress))]
fn settle_first<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    centroids: Vec<PyReadonlyArray2<'py, f32>>,
    metric: Metric,
    nearest: PyReadonlyArray1<'py, i32>,
    counts: PyReadonlyArray1<'py, i64>,
    unique: Unique,
    max_cluster_size: Option<Int>,
    threads: Option<Int>,
    kernel: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    let (x, book) = (rows(&x, "x")?, codebook(&centroids, metric, kernel)?);
    let cap = max_cluster_size.map(|cap| cap.count("max_cluster_size", 1)).transpose()?;
    let size = book.levels[0].len();
    let (nearest, counts) = (first_codes(&nearest, "nearest", x.len(), size)?, row_counts(&counts, size)?);
    let found = run(py, threads, progress, |progress| {
        progress.set_total(x.len() as u64);
        let most = largest_of(x, progress)?;
        let search = Search::new(&book, x.dim())?;
        search.check_range(most)?;
        first::settle(x, &search, &nearest, &counts, unique, cap, progress)
    })?;
    Ok(PyArray1::from_iter(py, found.into_iter().map(|code| code as i32)))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "codes")?;
    m.add_function(wrap_pyfunction!(assign, &m)?)?;
    m.add_function(wrap_pyfunction!(make_unique, &m)?)?;
    m.add_function(wrap_pyfunction!(contested, &m)?)?;
    m.add_function(wrap_pyfunction!(settle_first, &m)?)?;
    Ok(m)
}
