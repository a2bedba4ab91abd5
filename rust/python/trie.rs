//! Border of `crate::trie`. Steps of a search take about a millisecond, so they run on the shared pool and are not polled
//! for Ctrl-C; the interpreter is released.

use numpy::ndarray::aview1;
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::args::{Int, check_truths, copied, expect, slice, table};
use super::run::{detached, run};
use crate::error::Result;
use crate::limits::MOST;
use crate::ragged::divide;
use crate::trie::search::{self, Beams, Filter, Keep, Logits};
use crate::trie::{Arrays, Kept, Trie as CoreTrie};

/// A node index and its arrays; see `metatoken.tokens.trie.Trie`.
#[pyclass(frozen, module = "metatoken._core.trie")]
pub(super) struct Trie {
    core: CoreTrie,
}

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

fn beams_view<'a>(beams: &'a BeamsIn<'_>, trie: &CoreTrie) -> Result<Beams<'a>> {
    let view = Beams {
        offsets: slice(&beams.0, "beams")?,
        nodes: slice(&beams.1, "beams")?,
        scores: slice(&beams.2, "beams")?,
    };
    let fits = divide(view.offsets, view.nodes.len()) && view.scores.len() == view.nodes.len();
    expect(fits, "beams", "expected offsets from 0 to the number of nodes, and as many scores")?;
    let known = view.nodes.iter().all(|&node| node >= 0 && (node as usize) < trie.nodes());
    expect(known, "beams", "expected nodes of the trie")?;
    Ok(view)
}

fn filter_view<'a>(filter: &'a FilterIn<'_>, prompts: usize, trie: &CoreTrie) -> Result<Filter<'a>> {
    let view = Filter {
        offsets: slice(&filter.0, "filters")?,
        leaves: slice(&filter.1, "filters")?,
        inverted: slice(&filter.2, "filters")?,
        prefix: filter.3.as_ref().map(|prefix| slice(prefix, "filters")).transpose()?,
    };
    let lists = view.offsets.len() == prompts + 1 && view.inverted.len() == prompts;
    expect(lists && divide(view.offsets, view.leaves.len()), "filters", "expected a list for each prompt")?;
    let counts = view.prefix.is_none_or(|prefix| prefix.len() == trie.items() + 1);
    expect(counts, "filters", "expected a count before each leaf and at the end")?;
    view.check(trie.items())?;
    Ok(view)
}

fn out<'py>(py: Python<'py>, kept: Kept) -> KeptOut<'py> {
    (kept.counts.into_pyarray(py), kept.ids.into_pyarray(py), kept.scores.into_pyarray(py), kept.rows.into_pyarray(py))
}

/// A read-only array over numbers that the trie owns.
fn view<'py>(trie: &Bound<'py, Trie>, numbers: &[i32]) -> Bound<'py, PyArray1<i32>> {
    // SAFETY: the array keeps `trie` alive, which is frozen: its vectors neither move nor change.
    let array = unsafe { PyArray1::borrow_from_array(&aview1(numbers), trie.clone().into_any()) };
    array.readwrite().make_nonwriteable();
    array
}

#[pymethods]
impl Trie {
    #[staticmethod]
    #[pyo3(signature = (codes, threads, progress))]
    fn from_codes(
        py: Python<'_>,
        codes: PyReadonlyArray2<'_, i32>,
        threads: Option<Int>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let depth = codes.shape()[1];
        let data = table(&codes, "codes")?;
        let fits = (1..=MOST as usize).contains(&depth);
        expect(fits, "codes", "expected at least one column, and no more than 1,048,576")?;
        let core = run(py, threads, progress, |progress| CoreTrie::from_codes(data, depth, progress))?;
        Ok(Self { core })
    }

    #[staticmethod]
    fn from_arrays(py: Python<'_>, arrays: [PyReadonlyArray1<'_, i32>; 6], depth: Int) -> PyResult<Self> {
        let depth = depth.within("depth", 1, MOST)? as usize;
        let [code, first_child, leaf_begin, leaf_end, leaf_items, terminal] = &arrays;
        let own = |array| copied(array, "arrays");
        let arrays = Arrays {
            code: own(code)?,
            first_child: own(first_child)?,
            leaf_begin: own(leaf_begin)?,
            leaf_end: own(leaf_end)?,
            leaf_items: own(leaf_items)?,
            terminal: own(terminal)?,
        };
        Ok(Self { core: detached(py, || CoreTrie::from_arrays(arrays, depth))? })
    }

    #[getter]
    fn depth(&self) -> usize {
        self.core.depth()
    }

    fn arrays<'py>(slf: &Bound<'py, Self>) -> [Bound<'py, PyArray1<i32>>; 6] {
        let Arrays { code, first_child, leaf_begin, leaf_end, leaf_items, terminal } = slf.get().core.arrays();
        [code, first_child, leaf_begin, leaf_end, leaf_items, terminal].map(|numbers| view(slf, numbers))
    }

    fn best_children<'py>(
        &self,
        py: Python<'py>,
        beams: BeamsIn<'py>,
        logits: LogitsIn<'py>,
        filters: FilterIn<'py>,
        found: PyReadonlyArray1<'py, i64>,
        k: Int,
        width: Int,
    ) -> PyResult<(KeptOut<'py>, KeptOut<'py>)> {
        let (beams, found) = (beams_view(&beams, &self.core)?, slice(&found, "found")?);
        check_truths(&filters.2, "filters")?;
        let filter = filter_view(&filters, found.len(), &self.core)?;
        let (values, end, total) = &logits;
        let one_each = |array: &'_ Option<PyReadonlyArray1<'py, f32>>| {
            array.as_ref().is_none_or(|array| array.shape()[0] == beams.nodes.len())
        };
        let fits = values.shape()[0] == beams.nodes.len() && one_each(end) && one_each(total);
        expect(fits, "logits", "expected a row for each beam")?;
        expect(found.len() + 1 == beams.offsets.len(), "found", "expected one for each prompt")?;
        let (k, width) = (k.count("k", 1)?, width.count("width", 1)?);
        let logits = Logits {
            values: table(values, "logits")?,
            width: values.shape()[1],
            end: end.as_ref().map(|end| slice(end, "logits")).transpose()?,
            total: total.as_ref().map(|total| slice(total, "logits")).transpose()?,
        };
        let keep = Keep { k, width, found };
        let (inner, items) = detached(py, || search::children(&self.core, beams, logits, filter, keep))?;
        Ok((out(py, inner), out(py, items)))
    }

    fn best_leaves<'py>(
        &self,
        py: Python<'py>,
        beams: BeamsIn<'py>,
        states: PyReadonlyArray2<'py, f32>,
        vectors: PyReadonlyArray2<'py, f32>,
        filters: FilterIn<'py>,
        k: Int,
    ) -> PyResult<KeptOut<'py>> {
        let beams = beams_view(&beams, &self.core)?;
        let prompts = beams.offsets.len() - 1;
        check_truths(&filters.2, "filters")?;
        let filter = filter_view(&filters, prompts, &self.core)?;
        let (wanted, given) = (states.shape(), vectors.shape());
        let fits = wanted[0] == prompts && wanted[1] == given[1] && given[1] > 0;
        expect(fits, "states", "expected a state for each prompt, as wide as the vectors")?;
        expect(given[0] == self.core.items(), "vectors", "expected one for each leaf")?;
        let k = k.count("k", 1)?;
        let (states, vectors) = (table(&states, "states")?, table(&vectors, "vectors")?);
        Ok(out(py, detached(py, || search::leaves(&self.core, beams, states, vectors, filter, k))?))
    }
}

pub(super) fn register(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "trie")?;
    m.add_class::<Trie>()?;
    Ok(m)
}
