//! Border of `crate::codes::search`. Steps take about a millisecond, so they run on the shared pool and are not polled
//! for Ctrl-C; the interpreter is released.

use numpy::{Element, IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::errors::to_python;
use crate::codes::search::{self, Beams, Filter, Keep, Logits};
use crate::codes::shortlist::Kept;
use crate::codes::trie::TrieView;
use crate::error::{Error, Result};

/// code, first_child, leaf_begin, leaf_end, terminal.
type TrieIn<'py> = (
    PyReadonlyArray1<'py, i32>,
    PyReadonlyArray1<'py, i32>,
    PyReadonlyArray1<'py, i32>,
    PyReadonlyArray1<'py, i32>,
    PyReadonlyArray1<'py, i32>,
);
/// offsets, leaves, inverted, prefix.
type FilterIn<'py> = (
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, i32>,
    PyReadonlyArray1<'py, bool>,
    Option<PyReadonlyArray1<'py, i32>>,
);
/// offsets, nodes, scores.
type BeamsIn<'py> = (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i32>, PyReadonlyArray1<'py, f32>);
/// values, end, total.
type LogitsIn<'py> =
    (PyReadonlyArray2<'py, f32>, Option<PyReadonlyArray1<'py, f32>>, Option<PyReadonlyArray1<'py, f32>>);
/// counts, ids, scores, rows.
type KeptOut<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<i64>>);

fn slice<'a, T: Element>(array: &'a PyReadonlyArray1<'_, T>, argument: &'static str) -> Result<&'a [T]> {
    array.as_slice().map_err(|_| Error::invalid(argument, "expected a contiguous array"))
}

fn expect(holds: bool, argument: &'static str, message: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid(argument, message)) }
}

fn trie_view<'a>(trie: &'a TrieIn<'_>) -> Result<TrieView<'a>> {
    let view = TrieView {
        code: slice(&trie.0, "trie")?,
        first_child: slice(&trie.1, "trie")?,
        leaf_begin: slice(&trie.2, "trie")?,
        leaf_end: slice(&trie.3, "trie")?,
        terminal: slice(&trie.4, "trie")?,
    };
    let nodes = view.code.len();
    let fits = view.first_child.len() == nodes + 1
        && [view.leaf_begin, view.leaf_end, view.terminal].iter().all(|array| array.len() == nodes);
    expect(fits, "trie", "expected one entry of each array for each node")?;
    Ok(view)
}

fn beams_view<'a>(beams: &'a BeamsIn<'_>, trie: TrieView<'_>) -> Result<Beams<'a>> {
    let view = Beams {
        offsets: slice(&beams.0, "beams")?,
        nodes: slice(&beams.1, "beams")?,
        scores: slice(&beams.2, "beams")?,
    };
    let ordered = view.offsets.first() == Some(&0) && view.offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    let rows = view.nodes.len();
    let fits = ordered && view.offsets.last() == Some(&(rows as i64)) && view.scores.len() == rows;
    expect(fits, "beams", "expected offsets from 0 to the number of nodes, and as many scores")?;
    let known = view.nodes.iter().all(|&node| node >= 0 && (node as usize) < trie.code.len());
    expect(known, "beams", "expected nodes of the trie")?;
    Ok(view)
}

fn filter_view<'a>(filter: &'a FilterIn<'_>, prompts: usize) -> Result<Filter<'a>> {
    let view = Filter {
        offsets: slice(&filter.0, "filters")?,
        leaves: slice(&filter.1, "filters")?,
        inverted: slice(&filter.2, "filters")?,
        prefix: filter.3.as_ref().map(|prefix| slice(prefix, "filters")).transpose()?,
    };
    let ordered = view.offsets.first() == Some(&0) && view.offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    let lists = view.offsets.len() == prompts + 1 && view.inverted.len() == prompts;
    let fits = lists && ordered && view.offsets.last() == Some(&(view.leaves.len() as i64));
    expect(fits, "filters", "expected a list for each prompt")?;
    Ok(view)
}

fn out<'py>(py: Python<'py>, kept: Kept) -> KeptOut<'py> {
    (kept.counts.into_pyarray(py), kept.ids.into_pyarray(py), kept.scores.into_pyarray(py), kept.rows.into_pyarray(py))
}

#[pyfunction]
fn best_children<'py>(
    py: Python<'py>,
    trie: TrieIn<'py>,
    beams: BeamsIn<'py>,
    logits: LogitsIn<'py>,
    filters: FilterIn<'py>,
    found: PyReadonlyArray1<'py, i64>,
    k: usize,
    width: usize,
) -> PyResult<(KeptOut<'py>, KeptOut<'py>)> {
    let arguments = || {
        let trie = trie_view(&trie)?;
        let beams = beams_view(&beams, trie)?;
        let found = slice(&found, "found")?;
        let optional = |array: &'_ Option<PyReadonlyArray1<'py, f32>>| {
            array.as_ref().is_none_or(|array| array.shape()[0] == beams.nodes.len())
        };
        let shape = logits.0.shape();
        let fits = shape[0] == beams.nodes.len() && optional(&logits.1) && optional(&logits.2);
        expect(fits, "logits", "expected a row for each beam")?;
        expect(found.len() + 1 == beams.offsets.len(), "found", "expected one for each prompt")?;
        expect(k > 0 && width > 0, "k", "expected k and width of at least 1")?;
        let values = logits.0.as_slice().map_err(|_| Error::invalid("logits", "expected a C-contiguous array"))?;
        let logits = Logits {
            values,
            width: shape[1],
            end: logits.1.as_ref().map(|end| slice(end, "logits")).transpose()?,
            total: logits.2.as_ref().map(|total| slice(total, "logits")).transpose()?,
        };
        Ok((trie, beams, logits, filter_view(&filters, found.len())?, Keep { k, width, found }))
    };
    let (trie, beams, logits, filter, keep) = arguments().map_err(|e| to_python(py, e))?;
    let kept = py.detach(|| search::children(trie, beams, logits, filter, keep));
    let (inner, items) = kept.map_err(|e| to_python(py, e))?;
    Ok((out(py, inner), out(py, items)))
}

#[pyfunction]
fn best_leaves<'py>(
    py: Python<'py>,
    trie: TrieIn<'py>,
    beams: BeamsIn<'py>,
    states: PyReadonlyArray2<'py, f32>,
    vectors: PyReadonlyArray2<'py, f32>,
    filters: FilterIn<'py>,
    k: usize,
) -> PyResult<KeptOut<'py>> {
    let arguments = || {
        let trie = trie_view(&trie)?;
        let beams = beams_view(&beams, trie)?;
        let contiguous = |_| Error::invalid("vectors", "expected C-contiguous arrays");
        let prompts = beams.offsets.len() - 1;
        let fits = states.shape()[0] == prompts && states.shape()[1] == vectors.shape()[1] && states.shape()[1] > 0;
        expect(fits, "states", "expected a state for each prompt, as wide as the vectors")?;
        let leaves = trie.leaf_end.first().copied().unwrap_or(0) as usize;
        expect(vectors.shape()[0] == leaves && k > 0, "vectors", "expected one for each leaf, and k of at least 1")?;
        let (states, vectors) = (states.as_slice().map_err(contiguous)?, vectors.as_slice().map_err(contiguous)?);
        Ok((trie, beams, states, vectors, filter_view(&filters, prompts)?))
    };
    let (trie, beams, states, vectors, filter) = arguments().map_err(|e| to_python(py, e))?;
    let kept = py.detach(|| search::leaves(trie, beams, states, vectors, filter, k));
    Ok(out(py, kept.map_err(|e| to_python(py, e))?))
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "search")?;
    m.add_function(wrap_pyfunction!(best_children, &m)?)?;
    m.add_function(wrap_pyfunction!(best_leaves, &m)?)?;
    Ok(m)
}
