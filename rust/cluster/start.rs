//! Where a run of k-means begins.

use super::kmeans::{self, KMeans};
use super::params::{Init, Settings};
use super::seed;
use crate::error::Result;
use crate::matrix::{Rows, gather};
use crate::progress::Progress;

/// Starts that are compared, on this many rows per centre, with this many updates each.
const STARTS: u64 = 8;
const ROWS_PER_CENTRE: usize = 256;
const START_UPDATES: usize = 5;

/// Where the run begins. With many more rows than centres, the best of several short runs on one sample of them (Bradley
/// and Fayyad, "Refining initial points for k-means clustering", 1998): a start that missed a cluster is found out there
/// for next to nothing, and the full passes begin near their end. Otherwise, or from rows at random, one seeding.
pub(super) fn centroids(
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
        .map(|s| kmeans::fit(Rows::new(&part, rows.dim()), k, spherical, &short, unit ^ (s << 60), &progress.quiet()))
        .collect::<Result<_>>()?;
    let best = runs.into_iter().min_by(|a, b| a.inertia.total_cmp(&b.inertia)).expect("there are starts");
    if best.k(rows.dim()) < k {
        return seed::centres(rows, k, spherical, settings, unit, progress);
    }
    Ok(best.centroids)
}
