//! The native core of `metatoken`.
//!
//! Pure Rust below `graph`, `skipgram`, `cluster`, `codes`, `softmax`, `top`, `transitions` and `trie`; only `python` knows
//! pyo3, behind the feature of the same name, so `cargo test` needs no interpreter.

pub mod cluster;
pub mod codes;
pub mod error;
pub mod graph;
pub mod limits;
pub mod matrix;
pub mod ordered;
pub(crate) mod pages;
pub mod pool;
pub mod progress;
pub mod ragged;
pub mod rng;
pub mod simd;
pub mod skipgram;
pub mod softmax;
pub mod top;
pub mod transitions;
pub mod trie;

#[cfg(feature = "python")]
mod python;
