//! The border to Python: converts arrays, errors and interrupts, and nothing else.

mod args;
mod cluster;
mod codes;
mod errors;
mod graph;
mod run;
mod skipgram;
mod softmax;
mod top;
mod transitions;
mod trie;

use pyo3::prelude::*;

/// Adds `child` below `parent` and to `sys.modules`, so that `from metatoken._core.child import x` works.
fn add_submodule(parent: &Bound<'_, PyModule>, child: &Bound<'_, PyModule>) -> PyResult<()> {
    parent.add_submodule(child)?;
    let name = format!("metatoken._core.{}", child.name()?);
    parent.py().import("sys")?.getattr("modules")?.set_item(name, child)
}

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    for register in [
        graph::register,
        skipgram::register,
        cluster::register,
        codes::register,
        softmax::register,
        top::register,
        transitions::register,
        trie::register,
    ] {
        add_submodule(m, &register(m.py())?)?;
    }
    Ok(())
}
