//! The steps of Lloyd's algorithm over all rows: labels, empty clusters, means, inertia.

use rayon::prelude::*;

use super::bounds::{Bounds, Limits};
use super::doubtful::{Desk, Part, Relabel, together};
use super::kernel::BLOCK;
use super::pack::Codewords;
use super::params::Settings;
use super::sweep::{Inertia, Totals, relabel};
use crate::error::Result;
use crate::matrix::{Rows, block_rows, squared_distance};
use crate::progress::Progress;

/// Fewest rows per centroid for which bounds are kept: below, computing them is no small part of a run.
const BOUNDED: usize = 64;
/// Products between two looks at the flag that stops a run: some milliseconds.
const STRETCH: usize = 1 << 26;

/// One run of k-means.
pub(super) struct Run<'a> {
    pub rows: Rows<'a>,
    pub spherical: bool,
    pub settings: &'a Settings,
    pub progress: &'a Progress,
}

impl Run<'_> {
    /// Passes and updates in turns until no label changes, `most` updates at most; returns how many were made. Their
    /// last pass labels the rows by the centroids as they are.
    pub fn settle(&self, centroids: &mut [f32], labels: &mut [u32], most: usize) -> Result<usize> {
        let dim = self.rows.dim();
        let k = centroids.len() / dim;
        let mut totals = Totals::new(k, dim);
        // On a matrix unit, too: it multiplies faster, but leaving rows out has become faster than that.
        let bounded = !self.spherical && self.rows.len() >= BOUNDED * k;
        let mut bounds = Bounds::new(bounded);
        let mut updates = 0;
        loop {
            self.pass(centroids, labels, &mut totals, &mut bounds)?;
            if totals.changed == 0 || updates == most {
                return Ok(updates);
            }
            self.repair(centroids, labels, &mut totals, &mut bounds)?;
            let before = centroids.to_vec();
            self.update(centroids, &totals);
            bounds.moved(&before, centroids, dim);
            updates += 1;
        }
    }

    /// Labels all rows and brings the totals up to date: changes of each block, added in the order of the blocks.
    pub fn pass(&self, centroids: &[f32], labels: &mut [u32], totals: &mut Totals, bounds: &mut Bounds) -> Result<()> {
        let codewords = Rows::new(centroids, self.rows.dim());
        totals.changed = 0;
        if bounds.kept() {
            self.pass_over_doubtful(codewords, labels, totals, bounds)?;
        } else {
            let packed = Codewords::pack_for(self.spherical, codewords, self.settings.isa);
            self.pass_over_all(&packed, block_rows(self.rows.len()), labels, totals)?;
        }
        bounds.after(self.rows.len(), totals.changed);
        Ok(())
    }

    /// Looks at the rows whose bounds leave the label open.
    fn pass_over_doubtful(
        &self,
        codewords: Rows<'_>,
        labels: &mut [u32],
        totals: &mut Totals,
        bounds: &mut Bounds,
    ) -> Result<()> {
        let block = block_rows(self.rows.len());
        bounds.begin(self.rows, codewords, self.settings.isa);
        let (mut upper, mut lower) = (std::mem::take(&mut bounds.upper), std::mem::take(&mut bounds.lower));
        let limits = bounds.limits(codewords, self.settings.isa);
        if labels.len() <= block {
            let part = Part { upper: &mut upper, lower: &mut lower, stride: labels.len(), squares: &bounds.squares };
            self.relabel_doubtful(&limits, 0, labels, part, totals)?;
        } else {
            let changes: Vec<Totals> = labels
                .par_chunks_mut(block)
                .zip(upper.par_chunks_mut(block))
                .zip(lower.par_chunks_mut(block * limits.groups.len()))
                .zip(bounds.squares.par_chunks(block))
                .enumerate()
                .map(|(b, (((labels, upper), lower), squares))| {
                    let (stride, mut change) = (labels.len(), Totals::new(codewords.len(), codewords.dim()));
                    let part = Part { upper, lower, stride, squares };
                    self.relabel_doubtful(&limits, b * block, labels, part, &mut change).map(|()| change)
                })
                .collect::<Result<_>>()?;
            changes.iter().for_each(|change| totals.add(change));
        }
        (bounds.upper, bounds.lower) = (upper, lower);
        Ok(())
    }

    /// One block from row `first`, so many rows at a time that they stay in cache.
    fn relabel_doubtful(
        &self,
        limits: &Limits<'_>,
        first: usize,
        labels: &mut [u32],
        part: Part<'_>,
        totals: &mut Totals,
    ) -> Result<()> {
        let step = together(self.rows.dim());
        let mut desk = Desk::new(step.min(labels.len()));
        for (s, labels) in labels.chunks_mut(step).enumerate() {
            let (begin, n) = (s * step, labels.len());
            let rows = self.rows.slice(first + begin, first + begin + n);
            self.progress.advance(n as u64)?;
            let squares = &part.squares[begin..][..n];
            let (upper, lower) = (&mut part.upper[begin..][..n], &mut part.lower[begin..]);
            let part = Part { upper, lower, stride: part.stride, squares };
            self.settings.isa.run(Relabel { limits, rows, labels, part, desk: &mut desk, totals });
        }
        Ok(())
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
    pub fn inertia(&self, centroids: &[f32], labels: &[u32]) -> Result<f64> {
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
    pub fn repair(
        &self,
        centroids: &[f32],
        labels: &mut [u32],
        totals: &mut Totals,
        bounds: &mut Bounds,
    ) -> Result<()> {
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
    pub fn scale(&self, centroids: &mut [f32], labels: &[u32]) -> Result<()> {
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
    pub fn update(&self, centroids: &mut [f32], totals: &Totals) {
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
