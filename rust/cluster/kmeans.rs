//! k-means: where a run begins, and Lloyd's algorithm.
//!
//! Each pass labels the rows with the fused kernel and adds them up per cluster in the same sweep; rows whose label cannot
//! have changed are left out where that pays. It stops when no label changes. A cluster that lost all rows takes the row
//! farthest from its own centroid.

use super::lloyd::Run;
use super::params::{Init, Metric, Settings};
use super::seed;
use super::sweep::UNLABELLED;
use crate::error::Result;
use crate::matrix::{Rows, gather, normalise};
use crate::progress::Progress;

/// Result of one run.
#[derive(Debug, Clone)]
pub struct KMeans {
    /// Row-major centroids: `K`, or fewer when there are fewer distinct rows.
    pub centroids: Vec<f32>,
    /// Nearest centroid of every row.
    pub labels: Vec<u32>,
    /// Sum of squared distances to the nearest centroid.
    pub inertia: f64,
    /// Updates made.
    pub iterations: usize,
}

impl KMeans {
    /// Number of centroids.
    pub fn k(&self, dim: usize) -> usize {
        self.centroids.len() / dim
    }
}

/// Repeats codeword 0 until there are `k`: a repeated codeword never wins, because ties go to the lowest index.
pub(super) fn pad(mut centroids: Vec<f32>, k: usize, dim: usize) -> Vec<f32> {
    let first = centroids[..dim].to_vec();
    while centroids.len() < k * dim {
        centroids.extend_from_slice(&first);
    }
    centroids
}

/// Starts that are compared, on this many rows per centre, with this many updates each.
const STARTS: u64 = 8;
const ROWS_PER_CENTRE: usize = 256;
const START_UPDATES: usize = 5;

/// Passes over the rows that a run announces to `Progress`: seeding, the updates, the last labels.
pub fn passes(settings: &Settings) -> usize {
    settings.max_iterations + 2
}

/// Runs k-means. `spherical` compares by direction (rows must have length 1 or 0); `unit` names the run in the random
/// streams.
pub fn fit(
    rows: Rows<'_>,
    k: usize,
    spherical: bool,
    settings: &Settings,
    unit: u64,
    progress: &Progress,
) -> Result<KMeans> {
    let sampled = settings.sample.filter(|&wanted| wanted < rows.len());
    let (mut centroids, before) = match sampled {
        None => (start(rows, k, spherical, settings, unit, progress)?, 0),
        Some(wanted) => train(rows, k, wanted, spherical, settings, unit, progress)?,
    };
    if spherical {
        normalise(&mut centroids, rows.dim());
    }
    progress.advance(rows.len() as u64)?;
    let run = Run { rows, spherical, settings, progress };
    let mut labels = vec![UNLABELLED; rows.len()];
    let most = if sampled.is_some() { settings.max_iterations.min(1) } else { settings.max_iterations };
    let updates = run.settle(&mut centroids, &mut labels, most)?;
    progress.advance((rows.len() * (settings.max_iterations - updates)) as u64)?;
    if spherical {
        run.scale(&mut centroids, &labels)?;
    }
    let inertia = run.inertia(&centroids, &labels)?;
    Ok(KMeans { centroids, labels, inertia, iterations: before + updates })
}

/// A run on `wanted` of the rows (`k` at least), for another one to begin with: its centroids, and the updates made.
fn train(
    rows: Rows<'_>,
    k: usize,
    wanted: usize,
    spherical: bool,
    settings: &Settings,
    unit: u64,
    progress: &Progress,
) -> Result<(Vec<f32>, usize)> {
    let picked = seed::sorted_sample(rows.len(), wanted.max(k), settings.seed, unit);
    let part = gather(rows, &picked, progress)?;
    let settings = Settings { sample: None, ..*settings };
    let run = fit(Rows::new(&part, rows.dim()), k, spherical, &settings, unit, &progress.quiet())?;
    Ok((run.centroids, run.iterations))
}

/// Whether a level's k-means is spherical: the first one under cosine.
pub fn spherical(settings: &Settings, level: usize) -> bool {
    level == 0 && settings.metric == Metric::Cosine
}

/// Where the run begins. With many more rows than centres, the best of several short runs on one sample of them (Bradley
/// and Fayyad, "Refining initial points for k-means clustering", 1998): a start that missed a cluster is found out there
/// for next to nothing, and the full passes begin near their end. Otherwise, or from rows at random, one seeding.
fn start(
    rows: Rows<'_>,
    k: usize,
    spherical: bool,
    settings: &Settings,
    unit: u64,
    progress: &Progress,
) -> Result<Vec<f32>> {
    let wanted = ROWS_PER_CENTRE * k;
    if settings.init == Init::Random || rows.len() < 4 * wanted {
        return seed::centres(rows, k, spherical, settings, unit, progress);
    }
    let picked = seed::sorted_sample(rows.len(), wanted, settings.seed, unit);
    let part = gather(rows, &picked, progress)?;
    let short = Settings { max_iterations: settings.max_iterations.min(START_UPDATES), ..*settings };
    let runs: Vec<KMeans> = (0..STARTS)
        .map(|s| fit(Rows::new(&part, rows.dim()), k, spherical, &short, unit ^ (s << 60), &progress.quiet()))
        .collect::<Result<_>>()?;
    let best = runs.into_iter().min_by(|a, b| a.inertia.total_cmp(&b.inertia)).expect("there are starts");
    if best.k(rows.dim()) < k {
        return seed::centres(rows, k, spherical, settings, unit, progress);
    }
    Ok(best.centroids)
}
