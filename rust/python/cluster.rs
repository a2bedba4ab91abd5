//! Border of `crate::cluster`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::args::{Int, Levels, expect, rows, table};
use super::run::{run, some_threads};
use crate::cluster::params::{Init, Method, Metric, Settings};
use crate::cluster::{self, lap};
use crate::limits::MOST;
use crate::simd::{Isa, peak_gflops as peak};

/// Centroids, codes, inertia, iterations, distinct, small nodes, (rows moved by the cap, whether exactly), kernel.
type Learned<'py> = (
    Vec<Bound<'py, PyArray2<f32>>>,
    Bound<'py, PyArray2<i32>>,
    Vec<f64>,
    Vec<usize>,
    Vec<usize>,
    usize,
    Option<(usize, bool)>,
    &'static str,
);

/// Row-major codes as an int32 array.
pub(super) fn codes_array(py: Python<'_>, codes: Vec<u32>, depth: usize) -> PyResult<Bound<'_, PyArray2<i32>>> {
    let signed: Vec<i32> = codes.into_iter().map(|c| c as i32).collect();
    let n = signed.len() / depth;
    signed.into_pyarray(py).reshape([n, depth])
}

#[pyfunction]
#[pyo3(signature = (
    x, levels, method, metric, init, seed, max_iterations, sample, max_cluster_size, threads, kernel,
    progress
))]
fn fit<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    levels: Levels,
    method: Method,
    metric: Metric,
    init: Init,
    seed: Int,
    max_iterations: Int,
    sample: Option<Int>,
    max_cluster_size: Option<Int>,
    threads: Option<Int>,
    kernel: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Learned<'py>> {
    let (x, isa) = (rows(&x, "x")?, Isa::choose(kernel)?);
    let (seed, max_iterations) = (seed.seed()?, max_iterations.within("max_iterations", 0, MOST)? as usize);
    let sample = sample.map(|rows| rows.count("sample", 1)).transpose()?;
    let max_cluster_size = max_cluster_size.map(|cap| cap.count("max_cluster_size", 1)).transpose()?;
    let settings = Settings { metric, init, max_iterations, sample, max_cluster_size, seed, isa };
    let learned = run(py, threads, progress, |progress| cluster::fit(x, &levels.0, method, &settings, progress))?;
    let centroids = learned.centroids.into_iter().map(|c| {
        let k = c.len() / x.dim();
        c.into_pyarray(py).reshape([k, x.dim()])
    });
    Ok((
        centroids.collect::<PyResult<_>>()?,
        codes_array(py, learned.codes, levels.0.len())?,
        learned.inertia,
        learned.iterations,
        learned.distinct,
        learned.small_nodes,
        learned.capped.map(|capped| (capped.moved, capped.exact)),
        settings.isa.name(),
    ))
}

#[pyfunction]
fn linear_assignment<'py>(py: Python<'py>, cost: PyReadonlyArray2<'py, f64>) -> PyResult<Bound<'py, PyArray1<i32>>> {
    let (n, columns) = (cost.shape()[0], cost.shape()[1]);
    let data = table(&cost, "cost")?;
    // Sums and differences of many costs must be numbers, too.
    let finite = n <= columns && data.iter().all(|c| c.abs() <= 1e150);
    expect(finite, "cost", "expected values from -1e150 to 1e150 and no more rows than columns")?;
    let isa = Isa::choose(None)?;
    let found = run(py, None, None, |progress| lap::assign(data, n, columns, isa, progress))?;
    Ok(found.into_iter().map(|c| c as i32).collect::<Vec<_>>().into_pyarray(py))
}

#[pyfunction]
fn kernels() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

#[pyfunction]
#[pyo3(signature = (threads, kernel))]
fn peak_gflops(py: Python<'_>, threads: Int, kernel: Option<&str>) -> PyResult<f64> {
    let (isa, count) = (Isa::choose(kernel)?, some_threads(threads)?);
    run(py, Some(threads), None, |_| Ok(peak(isa, count)))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "cluster")?;
    m.add_function(wrap_pyfunction!(fit, &m)?)?;
    m.add_function(wrap_pyfunction!(linear_assignment, &m)?)?;
    m.add_function(wrap_pyfunction!(kernels, &m)?)?;
    m.add_function(wrap_pyfunction!(peak_gflops, &m)?)?;
    Ok(m)
}
