//! Passes over rows that are made as they are read, and k-means by passes: trained on a sample, then one pass that moves
//! the centroids to the mean of all their rows and one that labels all rows. Memory holds a buffer of rows a thread.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::buffer_rows;
use super::kmeans::{self, KMeans};
use super::pack::Codewords;
use super::params::Settings;
use super::seed::sorted_sample;
use super::sweep::{Inertia, Totals, UNLABELLED, relabel};
use crate::error::Result;
use crate::matrix::{Rows, build, normalise};
use crate::progress::Progress;
use crate::simd::Isa;

/// Values in the partial sums of a pass, in all: 128 MiB.
const SUMS: usize = 1 << 24;
/// Rows that are made when they are read.
pub(super) trait Made: Sync {
    fn len(&self) -> usize;
    fn dim(&self) -> usize;
    fn make(&self, i: usize, out: &mut [f32]);

    fn gather(&self, n: usize, progress: &Progress, picked: impl Fn(usize) -> usize + Sync) -> Result<Vec<f32>> {
        build(n, self.dim(), progress, |i, out| self.make(picked(i), out))
    }
}

/// Rows per block of a pass: by the counts alone, at most 64 blocks, and fewer where their sums would be large.
pub(super) fn block_of(n: usize, values: usize) -> usize {
    let blocks = (SUMS / values).clamp(1, 64);
    n.div_ceil(blocks).max(4096)
}

/// One run: k-means on the sample, the mean of all rows, the labels of all rows. A run with no more rows than the sample
/// is trained on all of them.
pub(super) fn train(
    rows: &impl Made,
    k: usize,
    spherical: bool,
    settings: &Settings,
    unit: u64,
    progress: &Progress,
) -> Result<KMeans> {
    let (n, dim) = (rows.len(), rows.dim());
    let inner = Settings { sample: None, max_cluster_size: None, ..*settings };
    let wanted = settings.sample.unwrap_or(n).max(k);
    if n <= wanted {
        let all = rows.gather(n, progress, |i| i)?;
        let run = kmeans::fit(Rows::new(&all, dim), k, spherical, &inner, unit, &progress.quiet())?;
        return progress.advance(2 * n as u64).map(|()| run);
    }
    let picked = sorted_sample(n, wanted, settings.seed, unit);
    let part = rows.gather(picked.len(), progress, |i| picked[i] as usize)?;
    let trained = kmeans::fit(Rows::new(&part, dim), k, spherical, &inner, unit, &progress.quiet())?;
    let (mut centroids, mut iterations) = (trained.centroids, trained.iterations);
    drop(part);
    if spherical {
        normalise(&mut centroids, dim);
    }
    let isa = settings.isa;
    let packed = |centroids: &[f32]| Codewords::pack_for(spherical, Rows::new(centroids, dim), isa);
    if settings.max_iterations > 0 {
        let pass = Pass { rows, centroids: &centroids, packed: packed(&centroids), spherical, isa, progress };
        pass.sums()?.move_centroids(&mut centroids, spherical);
        iterations += 1;
    } else {
        progress.advance(n as u64)?;
    }
    let mut labels = vec![0; n];
    let pass = Pass { rows, centroids: &centroids, packed: packed(&centroids), spherical, isa, progress };
    let sums = pass.label(&mut labels)?;
    let inertia = if spherical { sums.scale(&mut centroids) } else { sums.lost };
    Ok(KMeans { centroids, labels, inertia, iterations })
}

/// What a pass adds up.
struct Sums {
    clusters: Totals,
    /// `sum |x - c|^2`, of a pass that labels (Euclidean).
    lost: f64,
    /// `sum |x|^2`, of a pass that labels (spherical).
    squares: f64,
}

impl Sums {
    /// Moves each centroid to the mean (spherical: the direction) of its rows; one without rows stays.
    fn move_centroids(&self, centroids: &mut [f32], spherical: bool) {
        let dim = centroids.len() / self.clusters.counts.len();
        for (c, centroid) in centroids.chunks_exact_mut(dim).enumerate() {
            let (sums, count) = (&self.clusters.sums[c * dim..][..dim], self.clusters.counts[c]);
            let length = sums.iter().map(|s| s * s).sum::<f64>().sqrt();
            let scale = if spherical { length } else { count as f64 };
            if count > 0 && scale > 0.0 {
                centroid.iter_mut().zip(sums).for_each(|(v, s)| *v = (s / scale) as f32);
            }
        }
    }

    /// Gives each direction `d` the length `s = mean(x.d)` at which it is nearest to its rows, and returns the inertia
    /// `sum |x - s d|^2 = sum |x|^2 - sum_c n s^2` for `|d| = 1`.
    fn scale(&self, centroids: &mut [f32]) -> f64 {
        let dim = centroids.len() / self.clusters.counts.len();
        let mut inertia = self.squares;
        for (c, centroid) in centroids.chunks_exact_mut(dim).enumerate() {
            let sums = &self.clusters.sums[c * dim..];
            let along: f64 = centroid.iter().zip(sums).map(|(&d, s)| f64::from(d) * s).sum();
            if along > 0.0 {
                let length = along / self.clusters.counts[c] as f64;
                inertia -= along * length;
                centroid.iter_mut().for_each(|v| *v = (f64::from(*v) * length) as f32);
            }
        }
        inertia.max(0.0)
    }
}

/// One pass over rows that are made as it goes.
struct Pass<'a, M: Made> {
    rows: &'a M,
    centroids: &'a [f32],
    packed: Codewords,
    spherical: bool,
    isa: Isa,
    progress: &'a Progress,
}

impl<M: Made> Pass<'_, M> {
    /// Adds up the rows of each cluster, the blocks in order.
    fn sums(&self) -> Result<Sums> {
        let (n, block) = (self.rows.len(), block_of(self.rows.len(), self.centroids.len()));
        let parts: Vec<Sums> = (0..n.div_ceil(block))
            .into_par_iter()
            .map(|b| self.block(b * block..((b + 1) * block).min(n), None))
            .collect::<Result<_>>()?;
        Ok(self.total(&parts))
    }

    /// Labels the rows.
    fn label(&self, labels: &mut [u32]) -> Result<Sums> {
        let block = block_of(self.rows.len(), self.centroids.len());
        let parts: Vec<Sums> = labels
            .par_chunks_mut(block)
            .enumerate()
            .map(|(b, out)| self.block(b * block..b * block + out.len(), Some(out)))
            .collect::<Result<_>>()?;
        Ok(self.total(&parts))
    }

    fn zero(&self) -> Sums {
        Sums { clusters: Totals::new(self.packed.len(), self.rows.dim()), lost: 0.0, squares: 0.0 }
    }

    fn total(&self, parts: &[Sums]) -> Sums {
        let mut total = self.zero();
        for part in parts {
            total.clusters.add(&part.clusters);
            total.lost += part.lost;
            total.squares += part.squares;
        }
        total
    }

    /// One block, a buffer at a time.
    fn block(&self, block: Range<usize>, mut labels: Option<&mut [u32]>) -> Result<Sums> {
        let (dim, chunk) = (self.rows.dim(), buffer_rows(self.rows.dim()));
        let mut sums = self.zero();
        let (mut buffer, mut found) = (vec![0.0; chunk * dim], vec![0; chunk]);
        for begin in block.clone().step_by(chunk) {
            let size = chunk.min(block.end - begin);
            buffer.chunks_exact_mut(dim).take(size).enumerate().for_each(|(i, out)| self.rows.make(begin + i, out));
            let (rows, found) = (Rows::new(&buffer[..size * dim], dim), &mut found[..size]);
            if labels.is_none() || self.spherical {
                found.fill(UNLABELLED);
                relabel(&self.packed, rows, found, &mut sums.clusters);
            } else {
                self.packed.nearest(rows, found);
                sums.lost += self.isa.run(Inertia { rows, labels: found, centroids: self.centroids });
            }
            if let Some(labels) = labels.as_deref_mut() {
                labels[begin - block.start..][..size].copy_from_slice(found);
                if self.spherical {
                    sums.squares += rows.data().iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
                }
            }
            self.progress.advance(size as u64)?;
        }
        Ok(sums)
    }
}
