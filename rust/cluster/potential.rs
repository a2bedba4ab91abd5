//! The inner loop of k-means++: what each candidate for the next centre would leave.
//!
//! Here the rows are the packed side, one per lane, and the candidates are the few rows of a tile.

use rayon::prelude::*;

use super::kernel::{load, pointers, tile};
use super::pack::Codewords;
use crate::matrix::Rows;
use crate::simd::lanes::{Lanes, each_panel};
use crate::simd::{Isa, Job};

/// Rows per task of the parallel loop; a multiple of no panel in particular.
const TASK: usize = 4096;

/// Squared distance of each row to its nearest centre so far, and the sum of it per panel.
pub(super) struct Potential<'a> {
    rows: Rows<'a>,
    packed: Codewords,
    nearest: Vec<f32>,
    sums: Vec<f64>,
    /// Per panel and candidate: `nearest` with the candidate as a further centre, and the sum of it.
    lowered: Vec<f32>,
    lowered_sums: Vec<f64>,
}

impl<'a> Potential<'a> {
    /// No centre yet.
    pub fn new(rows: Rows<'a>, isa: Isa) -> Self {
        let packed = Codewords::plain(rows, isa);
        // The padding is at distance 0, so that it never counts.
        let mut nearest = vec![f32::INFINITY; packed.padded()];
        nearest[rows.len()..].fill(0.0);
        let panels = packed.padded().div_ceil(packed.panel_columns());
        Self { rows, packed, nearest, sums: vec![0.0; panels], lowered: Vec::new(), lowered_sums: Vec::new() }
    }

    pub fn total(&self) -> f64 {
        self.sums.iter().sum()
    }

    /// The row at which the running sum of `nearest` passes `uniform * total`.
    pub fn draw(&self, uniform: f64) -> u32 {
        let (mut left, columns) = (uniform * self.total(), self.packed.panel_columns());
        let mut panel = 0;
        while panel + 1 < self.sums.len() && left >= self.sums[panel] {
            left -= self.sums[panel];
            panel += 1;
        }
        let mut last = panel * columns;
        for i in panel * columns..((panel + 1) * columns).min(self.rows.len()) {
            let share = f64::from(self.nearest[i]);
            if share > 0.0 {
                last = i;
                if left < share {
                    break;
                }
                left -= share;
            }
        }
        last as u32
    }

    /// Takes the candidate that leaves the least potential (the first among equals) as a centre.
    pub fn lower(&mut self, candidates: &[u32]) -> u32 {
        let (trials, columns) = (candidates.len(), self.packed.panel_columns());
        let gathered = self.rows.gather(candidates);
        let half: Vec<f32> = candidates.iter().map(|&i| self.packed.half_norm(i as usize)).collect();
        self.lowered.resize(self.nearest.len() * trials, 0.0);
        self.lowered_sums.resize(self.sums.len() * trials, 0.0);
        let panels = (TASK / columns).max(1);
        let packed = &self.packed;
        self.nearest
            .par_chunks(panels * columns)
            .zip(self.lowered.par_chunks_mut(panels * columns * trials))
            .zip(self.lowered_sums.par_chunks_mut(panels * trials))
            .enumerate()
            .for_each(|(task, ((nearest, lowered), sums))| {
                let candidates = Rows::new(&gathered, packed.dim());
                let first = task * panels * columns;
                packed.isa().run(Lower { packed, first, candidates, half: &half, nearest, lowered, sums });
            });
        let sums = |t: usize| self.lowered_sums.iter().skip(t).step_by(trials);
        let mut best = (0, f64::INFINITY);
        for t in 0..trials {
            let total = sums(t).sum();
            if total < best.1 {
                best = (t, total);
            }
        }
        self.sums = sums(best.0).copied().collect();
        for (nearest, lowered) in self.nearest.chunks_mut(columns).zip(self.lowered.chunks(columns * trials)) {
            nearest.copy_from_slice(&lowered[best.0 * nearest.len()..][..nearest.len()]);
        }
        candidates[best.0]
    }
}

/// `min(nearest, |row - candidate|^2)` for the rows of some panels and all candidates.
///
/// `|row - candidate|^2 = 2 (|row|^2 / 2 + |candidate|^2 / 2 - row.candidate)` is exactly 0 for a copy, because the
/// norms are added in the order of the product.
struct Lower<'a> {
    packed: &'a Codewords,
    /// The first row.
    first: usize,
    candidates: Rows<'a>,
    half: &'a [f32],
    nearest: &'a [f32],
    lowered: &'a mut [f32],
    sums: &'a mut [f64],
}

impl Job for Lower<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(mut self) {
        let begin = self.first / L::W;
        let end = begin + self.nearest.len() / L::W;
        // Past the last candidate a tile works in vain; seven of them fill two tiles of 4 better than two of 6.
        let trials = self.candidates.len();
        let low = trials.next_multiple_of(4) < trials.next_multiple_of(R);
        // SAFETY: `begin..end` are registers of `packed`, `begin` the first one of a panel.
        unsafe {
            each_panel!(begin..end, self.packed.registers(), L, first, C => match low {
                true => self.panel::<L, 4, C>(first, first - begin),
                false => self.panel::<L, R, C>(first, first - begin),
            });
        }
    }
}

impl Lower<'_> {
    /// The panel that begins with register `first`, which is the `place`-th one here.
    #[inline(always)]
    unsafe fn panel<L: Lanes, const R: usize, const C: usize>(&mut self, first: usize, place: usize) {
        let trials = self.candidates.len();
        // SAFETY: `nearest` has `C` registers from `place`, `lowered` as many for each candidate.
        unsafe {
            let half = load::<L, C>(self.packed.half_norms().as_ptr().add(first * L::W));
            let near = load::<L, C>(self.nearest.as_ptr().add(place * L::W));
            for t in (0..trials).step_by(R) {
                let mut products = [[L::splat(0.0); C]; R];
                let panel = self.packed.panel::<L>(first);
                tile::<L, R, C, false>(pointers(self.candidates, t), panel, self.packed.dim(), &mut products);
                for r in 0..R.min(trials - t) {
                    let own = L::splat(self.half[t + r]);
                    let mut sum = L::splat(0.0);
                    for c in 0..C {
                        let distance = L::sub(L::add(half[c], own), products[r][c]);
                        let low = L::min(L::max(L::add(distance, distance), L::splat(0.0)), near[c]);
                        L::store(self.lowered.as_mut_ptr().add((place * trials + (t + r) * C + c) * L::W), low);
                        sum = L::add(sum, low);
                    }
                    self.sums[place / L::C * trials + t + r] = f64::from(L::sum(sum));
                }
            }
        }
    }
}
