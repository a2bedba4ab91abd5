//! Greedy k-means++ seeding.
//!
//! Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding" (2007): each next centre is drawn with
//! probability proportional to the squared distance to the nearest centre so far. Of `2 + ln K` draws the one that
//! lowers the sum of those distances most is kept, as scikit-learn does.

use rayon::prelude::*;

use super::kernel::{Codewords, square_norms};
use super::params::Settings;
use super::rows::{Rows, block_rows};
use crate::error::Result;
use crate::progress::Progress;
use crate::rng::Rng;

/// Random stream of the draws.
const SEEDING: u64 = 1;
/// Random stream of `sorted_sample`.
const SAMPLING: u64 = 2;
/// Seeding looks at this many rows per centre, and at least `FEWEST` rows; choosing centres needs no more.
const ROWS_PER_CENTRE: usize = 256;
const FEWEST: usize = 16_384;

/// `wanted` of `0..n` without replacement, ascending (selection sampling, Knuth 3.4.2 S); all when there are no more.
pub fn sorted_sample(n: usize, wanted: usize, seed: u64, unit: u64) -> Vec<u32> {
    let mut rng = Rng::new(seed, SAMPLING, unit);
    let mut picked = Vec::with_capacity(wanted.min(n));
    for i in 0..n {
        let missing = wanted.min(n) - picked.len();
        if missing == n - i || rng.uniform() * ((n - i) as f64) < missing as f64 {
            picked.push(i as u32);
        }
        if picked.len() == wanted {
            break;
        }
    }
    picked
}

/// Chooses up to `k` centres among the rows; fewer when there are fewer distinct rows. `unit` names the run.
pub fn centres(rows: Rows<'_>, k: usize, settings: &Settings, unit: u64, progress: &Progress) -> Result<Vec<f32>> {
    let limit = FEWEST.max(ROWS_PER_CENTRE * k);
    if rows.len() > limit {
        let picked = sorted_sample(rows.len(), limit, settings.seed, unit);
        return greedy(Rows::new(&rows.gather(&picked), rows.dim()), k, settings, unit, progress);
    }
    greedy(rows, k, settings, unit, progress)
}

fn greedy(rows: Rows<'_>, k: usize, settings: &Settings, unit: u64, progress: &Progress) -> Result<Vec<f32>> {
    let mut rng = Rng::new(settings.seed, SEEDING, unit);
    let trials = 2 + (k as f64).ln() as usize;
    let mut state = Potential::new(rows, settings);
    let mut centres: Vec<f32> = Vec::with_capacity(k * rows.dim());
    let first = rng.below(rows.len() as u64) as u32;
    state.lower(&[first]);
    centres.extend_from_slice(rows.row(first as usize));
    while centres.len() < k * rows.dim() && state.total() > 0.0 {
        progress.check()?;
        let mut draws: Vec<u32> = (0..trials).map(|_| state.draw(rng.uniform())).collect();
        draws.truncate(trials.min(rows.len()));
        let chosen = state.lower(&draws);
        centres.extend_from_slice(rows.row(chosen as usize));
    }
    Ok(centres)
}

/// Squared distance of each row to its nearest centre so far, and the sums of it per block.
struct Potential<'a> {
    rows: Rows<'a>,
    settings: &'a Settings,
    norms: Vec<f32>,
    nearest: Vec<f32>,
    block: usize,
    sums: Vec<f64>,
}

impl<'a> Potential<'a> {
    fn new(rows: Rows<'a>, settings: &'a Settings) -> Self {
        let block = block_rows(rows.len());
        Self {
            rows,
            settings,
            norms: square_norms(rows, settings.isa),
            nearest: vec![f32::INFINITY; rows.len()],
            block,
            sums: vec![0.0; rows.len().div_ceil(block)],
        }
    }

    fn total(&self) -> f64 {
        self.sums.iter().sum()
    }

    /// The row at which the running sum of `nearest` passes `uniform * total`.
    fn draw(&self, uniform: f64) -> u32 {
        let mut left = uniform * self.total();
        let mut block = 0;
        while block + 1 < self.sums.len() && left >= self.sums[block] {
            left -= self.sums[block];
            block += 1;
        }
        let mut last = block * self.block;
        for i in block * self.block..((block + 1) * self.block).min(self.rows.len()) {
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
    fn lower(&mut self, candidates: &[u32]) -> u32 {
        let packed = Codewords::pack(Rows::new(&self.rows.gather(candidates), self.rows.dim()), self.settings.isa);
        let (rows, width) = (self.rows, packed.padded());
        let mut distances = vec![0.0f32; rows.len() * width];
        let parts: Vec<Vec<f64>> = distances
            .par_chunks_mut(self.block * width)
            .zip(self.nearest.par_chunks(self.block))
            .zip(self.norms.par_chunks(self.block))
            .enumerate()
            .map(|(b, ((out, nearest), norms))| {
                packed.products(rows.slice(b * self.block, b * self.block + nearest.len()), out);
                let mut sums = vec![0.0f64; width];
                for (row, (&near, &norm)) in out.chunks_exact_mut(width).zip(nearest.iter().zip(norms)) {
                    for c in 0..width {
                        let distance = (norm + 2.0 * (packed.half_norm(c) - row[c])).max(0.0);
                        row[c] = distance.min(near);
                        sums[c] += f64::from(row[c]);
                    }
                }
                sums
            })
            .collect();
        let total = |c: usize| parts.iter().map(|p| p[c]).sum::<f64>();
        let mut best = 0;
        for c in 1..candidates.len() {
            if total(c) < total(best) {
                best = c;
            }
        }
        self.sums = parts.iter().map(|p| p[best]).collect();
        for (near, row) in self.nearest.iter_mut().zip(distances.chunks_exact(width)) {
            *near = row[best];
        }
        candidates[best]
    }
}
