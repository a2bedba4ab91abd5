//! Lloyd's algorithm.
//!
//! Each pass labels the rows with the fused kernel and adds them up per cluster in the same sweep; rows whose label cannot
//! have changed are left out where that pays. It stops when no label changes. A cluster that lost all rows takes the row
//! farthest from its own centroid.

use rayon::prelude::*;

use super::bounds::{Bounds, relabel_doubtful};
use super::kernel::BLOCK;
use super::pack::Codewords;
use super::params::{Metric, Settings};
use super::seed;
use super::start;
use super::sweep::{Inertia, Totals, UNLABELLED, relabel};
use crate::error::Result;
use crate::matrix::{Rows, block_rows, gather, normalise, squared_distance};
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

/// Fewest rows per centroid for which bounds are kept.
const BOUNDED: usize = 64;
/// Products between two looks at the flag that stops a run: some milliseconds.
const STRETCH: usize = 1 << 26;

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
    let run = Run { rows, spherical, settings, progress };
    let budget = (rows.len() * passes(settings)) as u64;
    let mut spent = rows.len() as u64;
    let mut labels = vec![UNLABELLED; rows.len()];
    let sampled = settings.sample.filter(|&wanted| wanted < rows.len());
    let (mut centroids, mut iterations) = match sampled {
        None => (start::centroids(rows, k, spherical, settings, unit, progress)?, 0),
        Some(wanted) => {
            // Train on the sample; the loop below then makes its one update on all rows.
            let picked = seed::sorted_sample(rows.len(), wanted.max(k), settings.seed, unit);
            let part = gather(rows, &picked, progress)?;
            let inner = Settings { sample: None, ..*settings };
            let fitted = fit(Rows::new(&part, rows.dim()), k, spherical, &inner, unit, &progress.quiet())?;
            (fitted.centroids, fitted.iterations)
        }
    };
    if spherical {
        normalise(&mut centroids, rows.dim());
    }
    progress.advance(rows.len() as u64)?;
    let updates = if sampled.is_some() { settings.max_iterations.min(1) } else { settings.max_iterations };
    let k = centroids.len() / rows.dim();
    let mut totals = Totals::new(k, rows.dim());
    let mut bounds = Bounds::new(!spherical && rows.len() >= BOUNDED * k);
    for step in 0..=updates {
        run.pass(&centroids, &mut labels, &mut totals, &mut bounds)?;
        spent += rows.len() as u64;
        if totals.changed == 0 || step == updates {
            break;
        }
        run.repair(&centroids, &mut labels, &mut totals, &mut bounds)?;
        let before = centroids.clone();
        run.update(&mut centroids, &totals);
        bounds.moved(&before, &centroids, rows.dim());
        iterations += 1;
    }
    progress.advance(budget.saturating_sub(spent))?;
    if spherical {
        run.scale(&mut centroids, &labels)?;
    }
    let inertia = run.inertia(&centroids, &labels)?;
    Ok(KMeans { centroids, labels, inertia, iterations })
}

/// Whether a level's k-means is spherical: the first one under cosine.
pub fn spherical(settings: &Settings, level: usize) -> bool {
    level == 0 && settings.metric == Metric::Cosine
}

struct Run<'a> {
    rows: Rows<'a>,
    spherical: bool,
    settings: &'a Settings,
    progress: &'a Progress,
}

impl Run<'_> {
    /// Labels all rows and brings the totals up to date: changes of each block, added in the order of the blocks.
    fn pass(&self, centroids: &[f32], labels: &mut [u32], totals: &mut Totals, bounds: &mut Bounds) -> Result<()> {
        let dim = self.rows.dim();
        let packed = Codewords::pack_for(self.spherical, Rows::new(centroids, dim), self.settings.isa);
        let block = block_rows(self.rows.len());
        totals.changed = 0;
        if packed.on_matrix() {
            return self.pass_over_all(&packed, block, labels, totals);
        }
        let judged = if bounds.kept() {
            self.pass_over_doubtful(&packed, block, labels, totals, bounds)?
        } else {
            self.pass_over_all(&packed, block, labels, totals)?;
            self.rows.len()
        };
        bounds.after(self.rows.len(), judged, totals.changed);
        Ok(())
    }

    /// Looks at the rows whose bound leaves the label open; returns how many those are.
    fn pass_over_doubtful(
        &self,
        packed: &Codewords,
        block: usize,
        labels: &mut [u32],
        totals: &mut Totals,
        bounds: &mut Bounds,
    ) -> Result<usize> {
        let dim = self.rows.dim();
        bounds.begin(|| self.squares(), packed.len());
        let (mut gaps, squares) = (std::mem::take(&mut bounds.gaps), std::mem::take(&mut bounds.squares));
        let limits = bounds.limits(dim, packed.longest());
        let part = |b: usize, labels: &mut [u32], gaps: &mut [f32], squares: &[f32], totals: &mut Totals| {
            let (stride, mut judged) = (self.stride(packed), 0);
            for (s, labels) in labels.chunks_mut(stride).enumerate() {
                let (first, n) = (s * stride, labels.len());
                let rows = self.rows.slice(b * block + first, b * block + first + n);
                self.progress.advance(n as u64)?;
                let (gaps, squares) = (&mut gaps[first..][..n], &squares[first..][..n]);
                judged += relabel_doubtful(packed, rows, labels, gaps, squares, &limits, totals);
            }
            Ok(judged)
        };
        let judged = if labels.len() <= block {
            part(0, labels, &mut gaps, &squares, totals)?
        } else {
            let parts = labels.par_chunks_mut(block).zip(gaps.par_chunks_mut(block)).zip(squares.par_chunks(block));
            let changes: Vec<(Totals, usize)> = parts
                .enumerate()
                .map(|(b, ((labels, gaps), squares))| {
                    let mut change = Totals::new(packed.len(), dim);
                    part(b, labels, gaps, squares, &mut change).map(|judged| (change, judged))
                })
                .collect::<Result<_>>()?;
            changes.iter().for_each(|(change, _)| totals.add(change));
            changes.iter().map(|(_, judged)| judged).sum()
        };
        (bounds.gaps, bounds.squares) = (gaps, squares);
        Ok(judged)
    }

    /// `|x|^2` of the rows.
    fn squares(&self) -> Vec<f32> {
        let dim = self.rows.dim();
        self.rows.data().par_chunks(dim).map(|row| row.iter().map(|v| v * v).sum()).collect()
    }

    fn pass_over_all(&self, packed: &Codewords, block: usize, labels: &mut [u32], totals: &mut Totals) -> Result<()> {
        let dim = self.rows.dim();
        if labels.len() <= block {
            return self.relabel(packed, 0, labels, totals);
        }
        let changes: Vec<Totals> = labels
            .par_chunks_mut(block)
            .enumerate()
            .map(|(b, part)| {
                let mut change = Totals::new(packed.len(), dim);
                self.relabel(packed, b * block, part, &mut change).map(|()| change)
            })
            .collect::<Result<_>>()?;
        changes.iter().for_each(|change| totals.add(change));
        Ok(())
    }

    /// One block from row `first`, reporting often enough to be stopped.
    fn relabel(&self, code: &Codewords, first: usize, labels: &mut [u32], totals: &mut Totals) -> Result<()> {
        let step = self.stride(code);
        for (s, labels) in labels.chunks_mut(step).enumerate() {
            let rows = self.rows.slice(first + s * step, first + s * step + labels.len());
            self.progress.advance(labels.len() as u64)?;
            relabel(code, rows, labels, totals);
        }
        Ok(())
    }

    /// Rows between two reports.
    fn stride(&self, code: &Codewords) -> usize {
        (STRETCH / (code.len() * code.dim())).clamp(BLOCK, 4096).next_multiple_of(BLOCK)
    }

    /// Sum of squared distances to the own centroid, added in the order of the blocks.
    fn inertia(&self, centroids: &[f32], labels: &[u32]) -> Result<f64> {
        let block = block_rows(self.rows.len());
        let parts: Vec<f64> = labels
            .par_chunks(block)
            .enumerate()
            .map(|(b, labels)| {
                let rows = self.rows.slice(b * block, b * block + labels.len());
                self.progress.check().map(|()| self.settings.isa.run(Inertia { rows, labels, centroids }))
            })
            .collect::<Result<_>>()?;
        Ok(parts.iter().sum())
    }

    /// Gives each empty cluster the farthest row (lowest index among equals) of a cluster that can spare one; if
    /// spherical, no zero row, which has no direction to give.
    fn repair(&self, centroids: &[f32], labels: &mut [u32], totals: &mut Totals, bounds: &mut Bounds) -> Result<()> {
        let empty: Vec<usize> = (0..totals.counts.len()).filter(|&c| totals.counts[c] == 0).collect();
        if empty.is_empty() {
            return Ok(());
        }
        self.progress.check()?;
        let dim = self.rows.dim();
        let mut far: Vec<(f64, u32)> = (0..self.rows.len())
            .into_par_iter()
            .map(|i| (squared_distance(self.rows.row(i), &centroids[labels[i] as usize * dim..][..dim]), i as u32))
            .filter(|&(distance, i)| distance > 0.0 && !(self.spherical && self.rows.is_zero(i as usize)))
            .collect();
        self.progress.check()?;
        far.par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut candidates = far.into_iter().map(|(_, row)| row as usize);
        for cluster in empty {
            let Some(row) = candidates.find(|&row| totals.counts[labels[row] as usize] > 1) else { break };
            totals.shift(self.rows.row(row), labels[row], cluster as u32);
            labels[row] = cluster as u32;
            bounds.forget(row);
        }
        Ok(())
    }

    /// Gives each direction the length at which it is nearest to its rows, their mean projection `mean(x.c)`: the
    /// direction still decides the label, and what is left for deeper levels is least.
    fn scale(&self, centroids: &mut [f32], labels: &[u32]) -> Result<()> {
        let dim = self.rows.dim();
        let (mut sums, mut counts) = (vec![0.0f64; centroids.len() / dim], vec![0u32; centroids.len() / dim]);
        for (i, &label) in labels.iter().enumerate() {
            if i % 4096 == 0 {
                self.progress.check()?;
            }
            let centroid = &centroids[label as usize * dim..][..dim];
            let products = self.rows.row(i).iter().zip(centroid).map(|(&x, &c)| f64::from(x) * f64::from(c));
            sums[label as usize] += products.sum::<f64>();
            counts[label as usize] += 1;
        }
        for (c, centroid) in centroids.chunks_exact_mut(dim).enumerate() {
            if sums[c] > 0.0 {
                centroid.iter_mut().for_each(|v| *v = (f64::from(*v) * sums[c] / f64::from(counts[c])) as f32);
            }
        }
        Ok(())
    }

    /// Moves each centroid to the mean of its rows; one without rows, or whose mean has no direction, stays.
    fn update(&self, centroids: &mut [f32], totals: &Totals) {
        let dim = self.rows.dim();
        for (c, centroid) in centroids.chunks_exact_mut(dim).enumerate() {
            let sums = &totals.sums[c * dim..(c + 1) * dim];
            let scale =
                if self.spherical { sums.iter().map(|s| s * s).sum::<f64>().sqrt() } else { totals.counts[c] as f64 };
            if totals.counts[c] > 0 && scale > 0.0 {
                let scale = 1.0 / scale;
                centroid.iter_mut().zip(sums).for_each(|(v, s)| *v = (s * scale) as f32);
            }
        }
    }
}
