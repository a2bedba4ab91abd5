//! Typed graphs, meta-paths and walks along them.

pub mod csr;
pub mod edges;
pub mod metapath;
pub mod typed;
pub mod visits;
pub mod walk;
