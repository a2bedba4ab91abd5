//! One pass of Lloyd's algorithm over a block of rows: labels, and the sums of those that changed cluster.

use rayon::prelude::*;

use super::kernel::BLOCK;
use super::pack::Codewords;
use crate::matrix::{Rows, TASK};
use crate::simd::lanes::Lanes;
use crate::simd::{Isa, Job};

/// Label of a row that has none yet.
pub(super) const UNLABELLED: u32 = u32::MAX;

/// Sums and counts of the rows of each cluster, or what a pass changes about them.
pub(super) struct Totals {
    pub sums: Vec<f64>,
    pub counts: Vec<i64>,
    /// Rows that changed cluster in the last pass.
    pub changed: usize,
}

impl Totals {
    pub fn new(k: usize, dim: usize) -> Self {
        Self { sums: vec![0.0; k * dim], counts: vec![0; k], changed: 0 }
    }

    pub fn add(&mut self, change: &Totals) {
        self.sums.iter_mut().zip(&change.sums).for_each(|(t, p)| *t += p);
        self.counts.iter_mut().zip(&change.counts).for_each(|(t, p)| *t += p);
        self.changed += change.changed;
    }

    /// Moves a row from one cluster to another.
    #[inline(always)]
    pub fn shift(&mut self, row: &[f32], from: u32, to: u32) {
        let dim = row.len();
        if from != UNLABELLED {
            let sums = &mut self.sums[from as usize * dim..][..dim];
            sums.iter_mut().zip(row).for_each(|(s, &v)| *s -= f64::from(v));
            self.counts[from as usize] -= 1;
        }
        let sums = &mut self.sums[to as usize * dim..][..dim];
        sums.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
        self.counts[to as usize] += 1;
    }
}

/// Rows that are labelled before those whose label changed are moved: few enough to be in cache still.
const CHUNK: usize = 10 * BLOCK;

/// Labels rows anew, and moves those whose label changed in `totals` while they are in cache.
pub(super) fn relabel(code: &Codewords, rows: Rows<'_>, labels: &mut [u32], totals: &mut Totals) {
    let mut found = [0u32; CHUNK];
    for (b, known) in labels.chunks_mut(CHUNK).enumerate() {
        let rows = rows.slice(b * CHUNK, b * CHUNK + known.len());
        let found = &mut found[..known.len()];
        code.nearest(rows, found);
        code.isa().run(Shift { rows, found, known, totals });
    }
}

/// Takes over the labels that were found.
pub(super) struct Shift<'a> {
    pub rows: Rows<'a>,
    pub found: &'a [u32],
    pub known: &'a mut [u32],
    pub totals: &'a mut Totals,
}

impl Job for Shift<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        for (i, (old, &new)) in self.known.iter_mut().zip(self.found).enumerate() {
            if *old != new {
                self.totals.changed += 1;
                self.totals.shift(self.rows.row(i), *old, new);
                *old = new;
            }
        }
    }
}

/// `|x|^2` of each row.
pub(super) fn squares(rows: Rows<'_>, isa: Isa) -> Vec<f32> {
    let mut out = vec![0.0; rows.len()];
    out.par_chunks_mut(TASK).enumerate().for_each(|(task, out)| {
        isa.run(Squares { rows: rows.slice(task * TASK, task * TASK + out.len()), out });
    });
    out
}

struct Squares<'a> {
    rows: Rows<'a>,
    out: &'a mut [f32],
}

impl Job for Squares<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        let zero = vec![0.0; self.rows.dim()];
        for (i, out) in self.out.iter_mut().enumerate() {
            // SAFETY: both have as many values as a row.
            *out = unsafe { distance::<L>(self.rows.row(i), &zero) };
        }
    }
}

/// Sum of the squared distances of rows to the centroid they are labelled with.
pub(super) struct Inertia<'a> {
    pub rows: Rows<'a>,
    pub labels: &'a [u32],
    pub centroids: &'a [f32],
}

impl Job for Inertia<'_> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) -> f64 {
        let dim = self.rows.dim();
        let mut total = 0.0;
        for (i, &label) in self.labels.iter().enumerate() {
            // SAFETY: row and centroid have as many values.
            let distance = unsafe { distance::<L>(self.rows.row(i), &self.centroids[label as usize * dim..][..dim]) };
            total += f64::from(distance);
        }
        total
    }
}

#[inline(always)]
unsafe fn distance<L: Lanes>(a: &[f32], b: &[f32]) -> f32 {
    debug_assert!(a.len() == b.len());
    // SAFETY: loads begin at least `W` values before the end.
    unsafe {
        let mut sum = L::splat(0.0);
        let whole = a.len() - a.len() % L::W;
        for j in (0..whole).step_by(L::W) {
            let difference = L::sub(L::load(a.as_ptr().add(j)), L::load(b.as_ptr().add(j)));
            sum = L::fma(difference, difference, sum);
        }
        let rest = a[whole..].iter().zip(&b[whole..]).fold(0.0, |sum, (x, y)| L::fma_one(x - y, x - y, sum));
        L::sum(sum) + rest
    }
}
