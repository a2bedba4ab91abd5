//! Border of `crate::codes`.

use numpy::{PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::cluster::{codes_array, metric, rows};
use super::errors::to_python;
use super::run::run;
use crate::codes::assign::{Codebook, Search};
use crate::codes::unique::{self, Occupied, Unique};
use crate::error::{Error, Result};
use crate::matrix::{Rows, check_finite};
use crate::simd::Isa;

/// Codes, share kept, error before, error after.
type Encoding<'py> = (Bound<'py, PyArray2<i32>>, f64, f64, f64);

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
        Search::new(&book, x.dim())?.greedy(x, progress)
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

/// Row-major codes, each below the size of its level; a level beyond `sizes` has no bound.
fn codes(array: &PyReadonlyArray2<'_, i32>, argument: &'static str, sizes: &[usize]) -> Result<Vec<u32>> {
    let data = array.as_slice().map_err(|_| Error::invalid(argument, "expected a C-contiguous array"))?;
    let depth = array.shape()[1];
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
    x, centroids, metric_name, nearest, kinds, occupied, occupied_kinds, unique_name, max_cluster_size, threads, kernel,
    progress
))]
fn make_unique<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    centroids: Vec<PyReadonlyArray2<'py, f32>>,
    metric_name: &str,
    nearest: PyReadonlyArray2<'py, i32>,
    kinds: PyReadonlyArray1<'py, i64>,
    occupied: PyReadonlyArray2<'py, i32>,
    occupied_kinds: PyReadonlyArray1<'py, i64>,
    unique_name: &str,
    max_cluster_size: Option<usize>,
    threads: Option<usize>,
    kernel: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Encoding<'py>> {
    let arguments = || {
        let (x, book, unique) = (rows(&x, "x")?, codebook(&centroids, metric_name, kernel)?, how(unique_name)?);
        let sizes: Vec<usize> = book.levels.iter().map(Rows::len).collect();
        let depth = sizes.len() + usize::from(unique == Unique::Counter);
        for (array, argument, n, depth) in
            [(&nearest, "codes", x.len(), sizes.len()), (&occupied, "occupied", occupied_kinds.shape()[0], depth)]
        {
            if *array.shape() != [n, depth] {
                let message = format!("expected shape [{n}, {depth}], got {:?}", array.shape());
                return Err(Error::invalid(argument, message));
            }
        }
        Ok((x, book, unique, sizes, depth))
    };
    let (x, book, unique, sizes, depth) = arguments().map_err(|e| to_python(py, e))?;
    let data = || {
        let contiguous = |_| Error::invalid("kinds", "expected a contiguous array");
        let (kinds, taken) = (kinds.as_slice().map_err(contiguous)?, occupied_kinds.as_slice().map_err(contiguous)?);
        if kinds.len() != x.len() {
            return Err(Error::invalid("kinds", format!("expected one per row, got {} for {}", kinds.len(), x.len())));
        }
        Ok((codes(&nearest, "codes", &sizes)?, kinds, codes(&occupied, "occupied", &sizes)?, taken))
    };
    let (nearest, kinds, taken, taken_kinds) = data().map_err(|e| to_python(py, e))?;
    let found = run(py, threads, progress, |progress| {
        progress.set_total((x.len() * book.levels.len()) as u64);
        check_finite(x, progress)?;
        let occupied = Occupied { codes: &taken, kinds: taken_kinds };
        if unique != Unique::None {
            check_apart(occupied, depth)?;
        }
        let search = Search::new(&book, x.dim())?;
        unique::make_unique(x, &search, &nearest, kinds, occupied, unique, max_cluster_size, progress)
    })?;
    let codes = codes_array(py, found.codes, found.depth)?;
    Ok((codes, found.kept_share, found.error_before, found.error_after))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "codes")?;
    m.add_function(wrap_pyfunction!(assign, &m)?)?;
    m.add_function(wrap_pyfunction!(make_unique, &m)?)?;
    Ok(m)
}
