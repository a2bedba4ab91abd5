//! Rows that keep their cluster for certain are left out of a pass (Hamerly, "Making k-means even faster", 2010).
//!
//! For a row `x` of cluster `a` let `gap <= min_j |x - c_j| - |x - c_a|` over the other centroids. When centroid `j` moves
//! by `m_j`, no distance changes by more, so `gap - m_a - max_{j != a} m_j` is such a bound again. As long as it is
//! positive, the row's label cannot change. One number a row is kept, where Hamerly keeps the two distances.
//!
//! Labels must be those of the kernel, which rounds. Two scores `s = (|x - c|^2 - |x|^2) / 2` of it are in the right order
//! if they differ by more than twice their error `e`; from `d_j - d_a >= g` follows `s_j - s_a >= g^2 / 2`, so a row may be
//! left out while `g > 2 sqrt(e)`.

use super::kernel::{BLOCK, load, tile};
use super::pack::Codewords;
use super::sweep::Totals;
use crate::matrix::Rows;
use crate::simd::Job;
use crate::simd::lanes::{Lanes, each_panel};

/// Share of rows that changed cluster in a pass below which the next one begins to keep bounds.
const CALM: f64 = 0.1;
/// Share of rows that must be left out for bounds to go on.
const WORTH: f64 = 0.4;
/// What sums and differences of bounds may lose in rounding over all passes.
const SLACK: f32 = 1e-4;

/// When a run keeps bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Too many rows still change cluster.
    Early,
    /// From the next pass on, which computes them all.
    Fresh,
    Kept,
    /// They did not pay.
    Never,
}

/// The bounds of a run's rows.
pub(super) struct Bounds {
    phase: Phase,
    /// Of each row; minus infinity where nothing is known.
    pub gaps: Vec<f32>,
    /// `|x|^2` of each row.
    pub squares: Vec<f32>,
    /// What each cluster's gaps lose by the last update.
    losses: Vec<f32>,
    /// Length of the longest row.
    longest: f32,
}

/// What a pass needs to know.
pub(super) struct Limits<'a> {
    losses: &'a [f32],
    /// Error of a score.
    error: f32,
    /// Gap above which a label is certain.
    certain: f32,
}

impl Bounds {
    /// Bounds that may be kept, or never.
    pub fn new(wanted: bool) -> Self {
        let phase = if wanted { Phase::Early } else { Phase::Never };
        Self { phase, gaps: Vec::new(), squares: Vec::new(), losses: Vec::new(), longest: 0.0 }
    }

    /// Whether the coming pass reads and writes them.
    pub fn kept(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Kept)
    }

    /// Makes room for the bounds of all rows before the pass that computes them.
    pub fn begin(&mut self, squares: impl FnOnce() -> Vec<f32>, k: usize) {
        if self.phase == Phase::Fresh {
            self.squares = squares();
            self.gaps = vec![f32::NEG_INFINITY; self.squares.len()];
            self.losses = vec![0.0; k];
            self.longest = self.squares.iter().fold(0.0f32, |most, &s| most.max(s)).sqrt();
        }
    }

    /// Limits for a pass over codewords of which none is longer than `length`.
    pub fn limits(&self, dim: usize, length: f32) -> Limits<'_> {
        let error = f32::EPSILON * (dim + 8) as f32 * (self.longest + length) * (self.longest + length);
        Limits { losses: &self.losses, error, certain: 2.0 * error.sqrt() * (1.0 + SLACK) }
    }

    /// Decides about the next pass after one over `n` rows that looked at `judged` and changed `changed` of them.
    pub fn after(&mut self, n: usize, judged: usize, changed: usize) {
        self.phase = match self.phase {
            Phase::Early if (changed as f64) < CALM * n as f64 => Phase::Fresh,
            Phase::Fresh => Phase::Kept,
            Phase::Kept if (judged as f64) > (1.0 - WORTH) * n as f64 => Phase::Never,
            phase => phase,
        };
    }

    /// A row was given another cluster without being compared.
    pub fn forget(&mut self, row: usize) {
        if let Some(gap) = self.gaps.get_mut(row) {
            *gap = f32::NEG_INFINITY;
        }
    }

    /// Takes the movement of the centroids into account.
    pub fn moved(&mut self, before: &[f32], after: &[f32], dim: usize) {
        if !self.kept() {
            return;
        }
        let length = |(a, b): (&[f32], &[f32])| {
            let square: f64 = a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
            (square.sqrt() * f64::from(1.0 + SLACK)) as f32
        };
        let moves: Vec<f32> = before.chunks_exact(dim).zip(after.chunks_exact(dim)).map(length).collect();
        let (mut first, mut second, mut place) = (0.0f32, 0.0f32, 0);
        for (j, &m) in moves.iter().enumerate() {
            if m > first {
                (first, second, place) = (m, first, j);
            } else if m > second {
                second = m;
            }
        }
        self.losses = moves.iter().enumerate().map(|(j, m)| m + if j == place { second } else { first }).collect();
    }
}

/// Labels anew the rows whose label is not certain, and moves those that change in `totals`; returns how many it looked
/// at.
pub(super) fn relabel_doubtful(
    code: &Codewords,
    rows: Rows<'_>,
    labels: &mut [u32],
    gaps: &mut [f32],
    squares: &[f32],
    limits: &Limits<'_>,
    totals: &mut Totals,
) -> usize {
    let (mut which, mut waiting, mut judged) = ([0u32; BLOCK], 0, 0);
    let mut found = Found { labels: [0; BLOCK], least: [0.0; BLOCK], second: [0.0; BLOCK] };
    for i in 0..rows.len() {
        let gap = gaps[i] - limits.losses[labels[i] as usize];
        gaps[i] = gap;
        let certain = gap > limits.certain; // not so if it is no number
        if !certain {
            which[waiting] = i as u32;
            waiting += 1;
        }
        if waiting == BLOCK || (waiting > 0 && i + 1 == rows.len()) {
            let which = &which[..waiting];
            code.isa().run(Judge { code, rows, which, found: &mut found });
            judged += waiting;
            waiting = 0;
            for (place, &row) in which.iter().enumerate() {
                let row = row as usize;
                let nearest = (squares[row] + 2.0 * (found.least[place] + limits.error)).max(0.0).sqrt();
                let next = (squares[row] + 2.0 * (found.second[place] - limits.error)).max(0.0).sqrt();
                gaps[row] = next * (1.0 - SLACK) - nearest * (1.0 + SLACK);
                if labels[row] != found.labels[place] {
                    totals.changed += 1;
                    totals.shift(rows.row(row), labels[row], found.labels[place]);
                    labels[row] = found.labels[place];
                }
            }
        }
    }
    judged
}

/// Label, least and second least score of some rows.
struct Found {
    labels: [u32; BLOCK],
    least: [f32; BLOCK],
    second: [f32; BLOCK],
}

/// The rows `which` against all codewords, as `Nearest` compares them; at most `BLOCK` of them.
struct Judge<'a> {
    code: &'a Codewords,
    rows: Rows<'a>,
    which: &'a [u32],
    found: &'a mut Found,
}

/// Running minima of the rows, one per lane.
struct Minima<L: Lanes> {
    best: [L::F; BLOCK],
    second: [L::F; BLOCK],
    index: [L::I; BLOCK],
}

impl Job for Judge<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        // SAFETY: the job runs where `L` is available; panels are those of `code`, rows as wide as its codewords.
        unsafe {
            for &row in self.which {
                let row = self.rows.row(row as usize);
                // Rows in between are left out, so that no prefetcher of the processor finds the next one.
                (0..row.len()).step_by(16).for_each(|line| L::prefetch(row.as_ptr().add(line)));
            }
            let never = L::splat(f32::INFINITY);
            let mut minima = Minima::<L> { best: [never; BLOCK], second: [never; BLOCK], index: [L::iota(0); BLOCK] };
            each_panel!(0..self.code.registers(), self.code.registers(), L, first, C => self.panel::<L, R, C>(first, &mut minima));
            for place in 0..self.which.len() {
                let best = minima.best[place];
                let least = L::least(best);
                let indices = std::ptr::from_ref(&minima.index[place]).cast::<u32>();
                let (bits, mut label) = (L::equal(best, least), u32::MAX);
                let mut rest = bits;
                while rest != 0 {
                    label = label.min(*indices.add(rest.trailing_zeros() as usize));
                    rest &= rest - 1;
                }
                self.found.labels[place] = if bits == 0 { 0 } else { label };
                self.found.least[place] = least;
                self.found.second[place] = if bits.count_ones() == 1 {
                    // The winner's lane shows its second best, the others their best.
                    let mut lanes = [0.0f32; 16];
                    L::store(lanes.as_mut_ptr(), minima.second[place]);
                    let own = lanes[bits.trailing_zeros() as usize];
                    L::store(lanes.as_mut_ptr(), best);
                    lanes[bits.trailing_zeros() as usize] = own;
                    L::least(L::load(lanes.as_ptr()))
                } else {
                    least
                };
            }
        }
    }
}

impl Judge<'_> {
    #[inline(always)]
    unsafe fn panel<L: Lanes, const R: usize, const C: usize>(&self, first: usize, minima: &mut Minima<L>) {
        // SAFETY: as in `run`; past the end the last row is repeated and its minima belong to no row.
        unsafe {
            let half = load::<L, C>(self.code.half_norms().as_ptr().add(first * L::W));
            let mut index = [L::iota(0); C];
            for c in 0..C {
                index[c] = L::iota(((first + c) * L::W) as i32);
            }
            let last = self.which.len() - 1;
            for i in (0..self.which.len()).step_by(R) {
                let mut rows = [std::ptr::null(); R];
                for r in 0..R {
                    rows[r] = self.rows.row(self.which[(i + r).min(last)] as usize).as_ptr();
                }
                let mut scores = [half; R];
                tile::<L, R, C, true>(rows, self.code.panel::<L>(first), self.code.dim(), &mut scores);
                for r in 0..R {
                    let (mut best, mut second) = (minima.best[i + r], minima.second[i + r]);
                    let mut at = minima.index[i + r];
                    for c in 0..C {
                        second = L::min(second, L::max(scores[r][c], best));
                        L::keep_less(scores[r][c], index[c], &mut best, &mut at);
                    }
                    (minima.best[i + r], minima.second[i + r], minima.index[i + r]) = (best, second, at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::simd::Isa;

    fn normal(rng: &mut Rng) -> f32 {
        (0..12).map(|_| rng.uniform() as f32).sum::<f32>() - 6.0
    }

    /// Labels are those of the kernel after every movement, ties included, although most rows are not looked at.
    #[test]
    fn labels_are_those_of_a_full_pass() {
        let (n, k, dim) = (3000, 20, 9);
        for isa in Isa::available() {
            let mut rng = Rng::new(3, 0, 0);
            let mut centroids: Vec<f32> = (0..k * dim).map(|_| 4.0 * normal(&mut rng)).collect();
            centroids.copy_within(0..dim, 5 * dim); // a tie for each of its rows
            let mut data: Vec<f32> = Vec::with_capacity(n * dim);
            for i in 0..n {
                let centre = &centroids[i % k * dim..][..dim];
                data.extend(centre.iter().map(|c| if i % 50 == 0 { *c } else { c + normal(&mut rng) }));
            }
            let rows = Rows::new(&data, dim);
            let squares = || rows.data().chunks_exact(dim).map(|row| row.iter().map(|v| v * v).sum()).collect();
            let mut labels = vec![0; n];
            Codewords::pack(Rows::new(&centroids, dim), isa).nearest(rows, &mut labels);
            let mut bounds = Bounds::new(true);
            bounds.after(n, n, 0);
            let (mut expected, mut judged, mut moved) = (labels.clone(), Vec::new(), 0);
            for step in 0..12 {
                let code = Codewords::plain(Rows::new(&centroids, dim), isa);
                code.nearest(rows, &mut expected);
                bounds.begin(squares, k);
                let (mut gaps, squares) = (std::mem::take(&mut bounds.gaps), bounds.squares.clone());
                let limits = bounds.limits(dim, code.longest());
                let mut totals = Totals::new(k, dim);
                let seen = relabel_doubtful(&code, rows, &mut labels, &mut gaps, &squares, &limits, &mut totals);
                judged.push(seen);
                moved += totals.changed;
                bounds.gaps = gaps;
                assert_eq!(labels, expected, "{isa:?}, step {step}");
                bounds.after(n, seen, totals.changed);
                let before = centroids.clone();
                let size = if step == 6 { 3.0 } else { 0.02 };
                centroids.iter_mut().for_each(|v| *v += size * normal(&mut rng));
                bounds.moved(&before, &centroids, dim);
            }
            assert!(moved > 0 && judged[0] == n);
            assert!(judged[3] < n / 2, "{judged:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_looked_at() {
        let mut bounds = Bounds::new(true);
        bounds.forget(3); // nothing is known yet
        bounds.after(10, 10, 0);
        bounds.begin(|| vec![1.0; 10], 2);
        bounds.gaps.fill(5.0);
        bounds.forget(3);
        assert!(bounds.gaps[3] == f32::NEG_INFINITY && bounds.gaps[4] == 5.0);
        assert!(!Bounds::new(false).kept());
    }
}
