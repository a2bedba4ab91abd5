//! Border of `crate::graph`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

use super::args::{Int, slice};
use super::run::{detached, run};
use crate::error::Result;
use crate::graph::metapath::MetaPath;
use crate::graph::typed::{Graph as CoreGraph, Link};
use crate::graph::walk;
use crate::limits::at_least;

/// A typed graph; see `metatoken.tokens.graph.walks.Graph`.
#[pyclass(frozen, module = "metatoken._core.graph")]
pub(super) struct Graph {
    pub(super) core: CoreGraph,
}

type Rows<'py> = PyReadonlyArray1<'py, i32>;
/// (source type, target type, source rows, target rows, weights)
type Edges<'py> = (String, String, Rows<'py>, Rows<'py>, Option<PyReadonlyArray1<'py, f64>>);

#[pymethods]
impl Graph {
    #[new]
    fn new(py: Python<'_>, types: Vec<(String, Int)>, edges: Vec<Edges<'_>>) -> PyResult<Self> {
        let counted = types.into_iter().map(|(name, count)| Ok((name, count.count("n_items", 0)?)));
        let mut core = CoreGraph::new(&counted.collect::<Result<Vec<_>>>()?)?;
        for (source, target, rows, columns, weights) in &edges {
            let (rows, columns) = (slice(rows, "edges")?, slice(columns, "edges")?);
            let weights = weights.as_ref().map(|weights| slice(weights, "weights")).transpose()?;
            detached(py, || core.connect_weighted(source, target, rows, columns, weights))?;
        }
        Ok(Self { core })
    }

    /// Edges from one type to another (steps in time from a type to itself), 0 where they are not linked.
    fn n_edges(&self, source: &str, target: &str) -> usize {
        let pair = self.core.type_index(source).zip(self.core.type_index(target));
        let link = if source == target { Link::Next } else { Link::Edge };
        pair.and_then(|(a, b)| self.core.relation(a, b, link)).map_or(0, |csr| csr.len())
    }

    /// Bytes that the adjacency takes.
    fn n_bytes(&self) -> usize {
        self.core.bytes()
    }

    /// The meta-path as the core understands it; raises where the graph cannot walk it.
    fn check(&self, meta_path: &str) -> PyResult<String> {
        Ok(MetaPath::parse(meta_path, &self.core)?.name().to_string())
    }
}

/// Walks and isolated nodes.
type Made<'py> = (Bound<'py, PyArray2<i32>>, Bound<'py, PyArray1<i32>>);

/// Walks `[n, walk_length]` and the start nodes without edges.
#[pyfunction]
#[pyo3(signature = (graph, meta_path, walks_per_node, walk_length, seed, threads, callback))]
fn walks<'py>(
    py: Python<'py>,
    graph: &Graph,
    meta_path: &str,
    walks_per_node: Int,
    walk_length: Int,
    seed: Int,
    threads: Option<Int>,
    callback: Option<Py<PyAny>>,
) -> PyResult<Made<'py>> {
    let path = MetaPath::parse(meta_path, &graph.core)?;
    let (walks_per_node, length, seed) = (walks_per_node.clamped(), walk_length.clamped(), seed.seed()? as i64);
    let made =
        run(py, threads, callback, |progress| walk::walks(&graph.core, &path, walks_per_node, length, seed, progress))?;
    let length = length as usize;
    let rows = made.nodes.len() / length;
    Ok((made.nodes.into_pyarray(py).reshape([rows, length])?, made.isolated.into_pyarray(py)))
}

/// How often the walks of one index are expected at each node, `[n_nodes]`.
#[pyfunction]
fn expected_visits<'py>(
    py: Python<'py>,
    graph: &Graph,
    meta_path: &str,
    walk_length: Int,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let path = MetaPath::parse(meta_path, &graph.core)?;
    let length = at_least("walk_length", walk_length.clamped(), 2)? as usize;
    let visits = run(py, None, None, |progress| {
        let mut visits = vec![0f64; graph.core.n_nodes()];
        let walker = walk::Walker::new(&graph.core, &path)?;
        walker.expected_visits(&graph.core, &path, length, &mut visits, progress)?;
        Ok(visits)
    })?;
    Ok(visits.into_pyarray(py))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let module = PyModule::new(py, "graph")?;
    module.add_class::<Graph>()?;
    module.add_function(wrap_pyfunction!(walks, &module)?)?;
    module.add_function(wrap_pyfunction!(expected_visits, &module)?)?;
    Ok(module)
}
