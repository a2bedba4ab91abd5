//! Settings of the clustering routines and the checks on them.

use crate::error::{Error, Result};
use crate::matrix::Rows;
use crate::simd::Isa;

/// How rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Squared Euclidean distance.
    Euclidean,
    /// Rows are scaled to length 1 and the first level compares by direction (spherical k-means); its centroids get the
    /// length of their rows' mean projection, and deeper levels are Euclidean on what they leave.
    Cosine,
}

/// Where k-means starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// Greedy k-means++.
    PlusPlus,
    /// Distinct rows at random.
    Random,
}

/// How levels are stacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// k-means on what the levels before left, one codebook for all parents.
    Residual,
    /// k-means in every node, the children of all parents matched to one codebook of offsets.
    Tree,
    /// One k-means level, then the rank by distance to the centroid.
    FlatRank,
}

/// Settings shared by every k-means run of a fit.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How rows are compared.
    pub metric: Metric,
    /// Where k-means starts.
    pub init: Init,
    /// Most Lloyd updates per run.
    pub max_iterations: usize,
    /// Rows that a run is trained on when there are more; one update and the labels still see every row.
    pub sample: Option<usize>,
    /// Most rows in a cluster of the first level.
    pub max_cluster_size: Option<usize>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Instruction set of the kernel.
    pub isa: Isa,
}

/// Refuses shapes that cannot be clustered.
pub(super) fn check(x: Rows<'_>, levels: &[usize], method: Method, settings: &Settings) -> Result<()> {
    let invalid = |argument, message: String| Err(Error::invalid(argument, message));
    if levels.is_empty() || levels.contains(&0) {
        return invalid("levels", format!("expected at least one level, each of at least 1 token, got {levels:?}"));
    }
    if let Some(k) = levels.iter().find(|&&k| k > 1 << 24) {
        return invalid("levels", format!("expected at most 16,777,216 tokens in a level, got {k}"));
    }
    if method == Method::FlatRank && levels.len() != 2 {
        return invalid("levels", format!("expected two levels [K, R] for flat+rank, got {}", levels.len()));
    }
    if levels[0] > x.len() {
        return invalid(
            "levels",
            format!(
                "the first level has {} tokens but there are only {} rows; use a first level of at most {}",
                levels[0],
                x.len(),
                x.len()
            ),
        );
    }
    match settings.max_cluster_size {
        Some(cap) => check_cap(x.len(), levels[0], cap, settings.sample),
        None => Ok(()),
    }
}

fn check_cap(n: usize, k: usize, cap: usize, sample: Option<usize>) -> Result<()> {
    let least = n.div_ceil(k);
    let message = if cap < least {
        format!("{k} clusters of at most {cap} rows hold fewer than {n} rows; give at least {least}")
    } else if sample.is_some_and(|wanted| wanted < n) {
        "a cap needs every row in every round; fit without sample, or cap in encode".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::invalid("max_cluster_size", message))
}
