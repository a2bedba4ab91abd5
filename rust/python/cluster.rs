//! Border of `crate::cluster`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::errors::to_python;
use super::run::run;
use crate::cluster::params::{Init, Method, Metric, Settings};
use crate::cluster::{self, lap};
use crate::error::{Error, Result};
use crate::matrix::Rows;
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

/// Rows of a C-contiguous array.
pub(super) fn rows<'a>(x: &'a PyReadonlyArray2<'_, f32>, argument: &'static str) -> Result<Rows<'a>> {
    let shape = x.shape();
    if shape[0] == 0 || shape[1] == 0 {
        return Err(Error::invalid(argument, format!("expected at least one row and one column, got {shape:?}")));
    }
    let data = x.as_slice().map_err(|_| Error::invalid(argument, "expected a C-contiguous array"))?;
    Ok(Rows::new(data, shape[1]))
}

pub(super) fn metric(name: &str) -> Result<Metric> {
    match name {
        "euclidean" => Ok(Metric::Euclidean),
        "cosine" => Ok(Metric::Cosine),
        _ => Err(Error::invalid("metric", format!("expected \"euclidean\" or \"cosine\", got {name:?}"))),
    }
}

fn method(name: &str) -> Result<Method> {
    match name {
        "residual" => Ok(Method::Residual),
        "tree" => Ok(Method::Tree),
        "flat+rank" => Ok(Method::FlatRank),
        _ => Err(Error::invalid("method", format!("expected \"residual\", \"tree\" or \"flat+rank\", got {name:?}"))),
    }
}

fn init(name: &str) -> Result<Init> {
    match name {
        "k-means++" => Ok(Init::PlusPlus),
        "random" => Ok(Init::Random),
        _ => Err(Error::invalid("init", format!("expected \"k-means++\" or \"random\", got {name:?}"))),
    }
}

/// Row-major codes as an int32 array.
pub(super) fn codes_array(py: Python<'_>, codes: Vec<u32>, depth: usize) -> PyResult<Bound<'_, PyArray2<i32>>> {
    let signed: Vec<i32> = codes.into_iter().map(|c| c as i32).collect();
    let n = signed.len() / depth;
    signed.into_pyarray(py).reshape([n, depth])
}

#[pyfunction]
#[pyo3(signature = (
    x, levels, method_name, metric_name, init_name, seed, max_iterations, sample, max_cluster_size, threads, kernel,
    progress
))]
fn fit<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    levels: Vec<usize>,
    method_name: &str,
    metric_name: &str,
    init_name: &str,
    seed: u64,
    max_iterations: usize,
    sample: Option<usize>,
    max_cluster_size: Option<usize>,
    threads: Option<usize>,
    kernel: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Learned<'py>> {
    let arguments = || {
        let isa = Isa::choose(kernel)?;
        let (metric, init) = (metric(metric_name)?, init(init_name)?);
        let settings = Settings { metric, init, max_iterations, sample, max_cluster_size, seed, isa };
        Ok((rows(&x, "x")?, method(method_name)?, settings))
    };
    let (x, method, settings) = arguments().map_err(|e| to_python(py, e))?;
    let learned = run(py, threads, progress, |progress| cluster::fit(x, &levels, method, &settings, progress))?;
    let centroids = learned.centroids.into_iter().map(|c| {
        let k = c.len() / x.dim();
        c.into_pyarray(py).reshape([k, x.dim()])
    });
    Ok((
        centroids.collect::<PyResult<_>>()?,
        codes_array(py, learned.codes, levels.len())?,
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
    let check = || {
        let data = cost.as_slice().map_err(|_| Error::invalid("cost", "expected a C-contiguous array"))?;
        if n > columns || data.iter().any(|c| !c.is_finite()) {
            return Err(Error::invalid("cost", "expected finite values and no more rows than columns"));
        }
        Ok(data)
    };
    let data = check().map_err(|e| to_python(py, e))?;
    let found = run(py, Some(1), None, |progress| lap::assign(data, n, columns, progress))?;
    Ok(found.into_iter().map(|c| c as i32).collect::<Vec<_>>().into_pyarray(py))
}

#[pyfunction]
fn kernels() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

#[pyfunction]
#[pyo3(signature = (threads, kernel))]
fn peak_gflops(py: Python<'_>, threads: usize, kernel: Option<&str>) -> PyResult<f64> {
    let isa = Isa::choose(kernel).map_err(|e| to_python(py, e))?;
    run(py, Some(threads), None, |_| Ok(peak(isa, threads)))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "cluster")?;
    m.add_function(wrap_pyfunction!(fit, &m)?)?;
    m.add_function(wrap_pyfunction!(linear_assignment, &m)?)?;
    m.add_function(wrap_pyfunction!(kernels, &m)?)?;
    m.add_function(wrap_pyfunction!(peak_gflops, &m)?)?;
    Ok(m)
}
