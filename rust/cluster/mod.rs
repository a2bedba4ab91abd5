//! Clustering: fused nearest-codeword kernel, k-means, and the three ways to stack it into levels.
//!
//! Results never depend on the number of threads: rows are cut into blocks by their count alone, and partial sums are
//! added in block order.

#[cfg(target_arch = "x86_64")]
mod amx;
pub mod balance;
mod bounds;
mod doubtful;
mod groups;
pub mod hierarchy;
mod judge;
pub mod kernel;
pub mod kmeans;
pub mod lap;
mod lloyd;
pub mod matching;
pub mod pack;
pub mod params;
mod pass;
mod potential;
pub mod prepare;
pub mod rank;
pub mod residual;
pub mod seed;
mod stream;
mod sweep;
#[cfg(test)]
mod tests;
pub mod transport;

use crate::error::Result;
use crate::matrix::Rows;
use crate::progress::Progress;
use balance::Capped;
use kmeans::KMeans;
use params::{Method, Settings};

/// What `fit` learned: one codeword per token and level, and what happened on the way.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    /// Per level the `K_l x dim` codewords, row-major. Level 0 holds positions, deeper levels offsets.
    pub centroids: Vec<Vec<f32>>,
    /// `n x levels` token of each training row, row-major.
    pub codes: Vec<u32>,
    /// Sum over the rows of the squared distance to their own centroid after each level.
    pub inertia: Vec<f64>,
    /// Lloyd iterations of each level (in a tree: the most that any node took).
    pub iterations: Vec<usize>,
    /// Tokens of each level that were fitted to rows; the rest repeat codeword 0 and never win.
    pub distinct: Vec<usize>,
    /// Nodes that had fewer distinct rows than `K`, and so got fewer children.
    pub small_nodes: usize,
    /// How a cap on the first level's clusters was met, if there was one.
    pub capped: Option<Capped>,
}

impl Learned {
    /// Adds a level of `k` tokens: its codewords, how many of them were fitted to rows, and the runs that found them.
    fn add(&mut self, centroids: Vec<f32>, distinct: usize, runs: &[KMeans], k: usize, dim: usize) {
        self.centroids.push(centroids);
        self.distinct.push(distinct);
        self.inertia.push(runs.iter().map(|run| run.inertia).sum());
        self.iterations.push(runs.iter().map(|run| run.iterations).max().unwrap_or(0));
        self.small_nodes += runs.iter().filter(|run| run.k(dim) < k).count();
    }
}

/// Learns the codebook of `levels` from raw rows: checks and prepares them, fits, and moves level 0 back to the origin
/// of the caller.
pub fn fit(x: Rows<'_>, levels: &[usize], method: Method, settings: &Settings, progress: &Progress) -> Result<Learned> {
    params::check(x, levels, method, settings)?;
    if method != Method::FlatRank && settings.sample.is_some_and(|wanted| wanted < x.len()) {
        return stream::fit(x, levels, method == Method::Tree, settings, progress);
    }
    let (data, origin) = prepare::prepare(x, settings.metric, progress)?;
    let prepared = Rows::new(&data, x.dim());
    progress.set_total((levels.len() * x.len() * kmeans::passes(settings)) as u64);
    let mut learned = match method {
        Method::Residual => residual::fit(prepared, levels, settings, progress)?,
        Method::Tree => hierarchy::fit(prepared, levels, settings, progress)?,
        Method::FlatRank => rank::fit(prepared, levels, settings, progress)?,
    };
    for centroid in learned.centroids[0].chunks_exact_mut(x.dim()) {
        for (value, shift) in centroid.iter_mut().zip(&origin) {
            *value = (f64::from(*value) + shift) as f32;
        }
    }
    Ok(learned)
}
