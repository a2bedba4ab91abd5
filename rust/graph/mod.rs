//! Typed graphs, meta-paths and walks along them.

pub mod csr;
pub mod metapath;
pub mod walk;
