//! Rows that keep their cluster for certain, and groups of codewords that cannot win a row, are left out of a pass
//! (Ding et al., "Yinyang k-means", 2015).
//!
//! For a row `x` of cluster `a` let `upper >= |x - c_a|`, and for each group `g` of codewords
//! `lower_g <= min |x - c_j|` over all `j` in `g` but `a`. When centroid `j` moves by `m_j`, no distance to it changes
//! by more, so `upper + m_a` and `lower_g - max m_j` are such bounds again. A group with `lower_g > upper` holds no
//! nearer codeword, and if all groups are such, the row is not even read.
//!
//! Labels must be those of the kernel, which rounds. Two scores `s = (|x - c|^2 - |x|^2) / 2` of it are in the right
//! order if the true ones differ by more than twice their error `e`, which is so if `lower^2 > upper^2 + 4 e`.

use super::groups::Groups;
use super::pack::Codewords;
use super::sweep::squares;
use crate::matrix::{Rows, block_rows};
use crate::simd::Isa;

/// Share of rows that changed cluster in a pass below which bounds that have failed once are tried again.
const CALM: f64 = 0.1;
/// Share of the pairs of rows and groups that must be left out for bounds to go on.
const WORTH: f64 = 0.4;
/// Rows that are looked at, or some more, to find out whether bounds pay.
const LOOK: usize = 4096;
/// Share of a bound that sums and differences may lose in rounding over all passes.
const SLACK: f32 = 1e-4;
/// Passes after which bounds are computed anew, so that they lose no more: each pass rounds by half of `EPSILON`.
const PASSES: usize = 1000;

/// When a run keeps bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// They did not pay while many rows changed cluster.
    Later,
    /// The coming pass computes them all.
    Fresh,
    Kept,
    /// They do not pay.
    Never,
}

/// The bounds of a run's rows.
pub(super) struct Bounds {
    phase: Phase,
    tried: bool,
    /// Passes since they were computed.
    passes: usize,
    groups: Option<Groups>,
    /// Of each row.
    pub upper: Vec<f32>,
    /// Per block of rows: those of its first group, then those of the next one.
    pub lower: Vec<f32>,
    /// `|x|^2` of each row.
    pub squares: Vec<f32>,
    /// What the last update did to the bounds.
    moves: Moves,
    /// Length of the longest row.
    longest: f32,
}

/// How far each centroid moved, and of each group the longest way, whose it was, and the next one.
#[derive(Default)]
struct Moves {
    of: Vec<f32>,
    groups: Vec<(f32, u32, f32)>,
}

/// What a pass needs to know.
pub(super) struct Limits<'a> {
    pub groups: &'a Groups,
    /// The codewords of each group.
    pub packed: Vec<Codewords>,
    /// Whether all is to be computed.
    pub fresh: bool,
    moves: &'a Moves,
    /// Error of a score.
    error: f32,
}

impl Bounds {
    /// Bounds that are kept from the first pass on while they pay, or never.
    pub fn new(wanted: bool) -> Self {
        let phase = if wanted { Phase::Fresh } else { Phase::Never };
        let (upper, lower, squares, moves) = (Vec::new(), Vec::new(), Vec::new(), Moves::default());
        Self { phase, tried: false, passes: 0, groups: None, upper, lower, squares, moves, longest: 0.0 }
    }

    /// Whether the coming pass reads and writes them.
    pub fn kept(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Kept)
    }

    /// Whether it computes them all.
    pub fn fresh(&self) -> bool {
        self.phase == Phase::Fresh
    }

    /// The groups, once there are any.
    #[cfg(test)]
    pub fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// Groups the codewords, and makes room for the bounds of all rows before the pass that computes them.
    pub fn begin(&mut self, rows: Rows<'_>, codewords: Rows<'_>, isa: Isa) {
        if !self.fresh() {
            return;
        }
        if self.squares.is_empty() {
            self.squares = squares(rows, isa);
            self.longest = self.squares.iter().fold(0.0f32, |most, &s| most.max(s)).sqrt();
        }
        let groups = Groups::new(codewords);
        self.upper = vec![f32::INFINITY; rows.len()];
        self.lower = vec![f32::NEG_INFINITY; rows.len() * groups.len()];
        self.groups = Some(groups);
    }

    /// Limits for a pass over these codewords.
    ///
    /// # Panics
    /// If nothing has begun.
    pub fn limits(&self, codewords: Rows<'_>, isa: Isa) -> Limits<'_> {
        let groups = self.groups.as_ref().expect("bounds are begun before they are used");
        let packed = groups.pack(codewords, isa);
        let length = packed.iter().fold(0.0f32, |most, code| most.max(code.longest())) + self.longest;
        let error = f32::EPSILON * (codewords.dim() + 8) as f32 * length * length;
        Limits { groups, packed, fresh: self.fresh(), moves: &self.moves, error }
    }

    /// Decides about the next pass after one over `n` rows, of which `changed` changed.
    pub fn after(&mut self, n: usize, changed: usize) {
        self.passes = if self.fresh() { 0 } else { self.passes + 1 };
        self.phase = match self.phase {
            Phase::Kept if self.passes >= PASSES => Phase::Fresh,
            Phase::Later if (changed as f64) < CALM * n as f64 => Phase::Fresh,
            Phase::Fresh => Phase::Kept,
            phase => phase,
        };
    }

    /// Where the lower bounds of a row are, in the order of the groups.
    pub fn places(&self, row: usize) -> impl Iterator<Item = usize> + use<> {
        let (n, groups) = (self.upper.len(), self.groups.as_ref().map_or(0, Groups::len));
        let block = block_rows(n);
        let begin = row - row % block;
        let size = block.min(n - begin);
        (0..groups).map(move |group| begin * groups + group * size + row - begin)
    }

    /// A row was given another cluster without being compared: nothing is known about it.
    pub fn forget(&mut self, row: usize) {
        if let Some(upper) = self.upper.get_mut(row) {
            *upper = f32::INFINITY;
            self.places(row).for_each(|place| self.lower[place] = f32::NEG_INFINITY);
        }
    }

    /// Takes the movement of the centroids into account, and gives the bounds up where they do not pay.
    pub fn moved(&mut self, before: &[f32], after: &[f32], dim: usize) {
        let Some(groups) = self.groups.as_ref().filter(|_| self.kept()) else { return };
        let length = |(a, b): (&[f32], &[f32])| {
            let square: f64 = a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
            (square.sqrt() * f64::from(1.0 + SLACK)) as f32
        };
        let of: Vec<f32> = before.chunks_exact(dim).zip(after.chunks_exact(dim)).map(length).collect();
        let longest = |group: usize| {
            groups.members(group).iter().fold((0.0f32, u32::MAX, 0.0f32), |(first, whose, second), &j| {
                let m = of[j as usize];
                if m > first { (m, j, first) } else { (first, whose, second.max(m)) }
            })
        };
        let groups = (0..groups.len()).map(longest).collect();
        self.moves = Moves { of, groups };
        if self.phase == Phase::Kept && !self.pay() {
            self.phase = if std::mem::replace(&mut self.tried, true) { Phase::Never } else { Phase::Later };
            (self.upper, self.lower) = (Vec::new(), Vec::new()); // as large as some of the rows
        }
    }

    /// Whether enough pairs of a row and a group are left out after the last update, by a look at some of the rows.
    fn pay(&self) -> bool {
        let (mut open, mut pairs) = (0, 0);
        for row in (0..self.upper.len()).step_by((self.upper.len() / LOOK).max(1)) {
            for (place, &(far, ..)) in self.places(row).zip(&self.moves.groups) {
                open += usize::from(self.lower[place] - far <= self.upper[row]);
                pairs += 1;
            }
        }
        open as f64 <= (1.0 - WORTH) * f64::from(pairs)
    }
}

impl Limits<'_> {
    /// Takes the last update into account: bounds of rows with these labels, the lower ones a group at a time every
    /// `stride` values; writes the least lower bound of each row.
    #[inline(always)]
    pub fn age(&self, labels: &[u32], upper: &mut [f32], lower: &mut [f32], stride: usize, least: &mut [f32]) {
        let n = labels.len();
        upper.iter_mut().zip(labels).for_each(|(upper, &label)| *upper += self.moves.of[label as usize]);
        least[..n].fill(f32::INFINITY);
        for (group, &(first, whose, second)) in self.moves.groups.iter().enumerate() {
            let lower = &mut lower[group * stride..][..n];
            for ((lower, &label), least) in lower.iter_mut().zip(labels).zip(least.iter_mut()) {
                *lower -= if label == whose { second } else { first };
                *least = if *lower < *least { *lower } else { *least };
            }
        }
    }

    /// The lower bound above which no codeword can be as near as the one with this upper bound.
    #[inline(always)]
    pub fn beyond(&self, upper: f32) -> f32 {
        (upper * upper + 4.0 * (1.0 + SLACK) * self.error).sqrt() * (1.0 + 1e-6)
    }

    /// Upper bound of the distance that a row with this `|x|^2` has from the codeword with this score.
    #[inline(always)]
    pub fn above(&self, square: f32, score: f32) -> f32 {
        (square + 2.0 * (score + self.error)).max(0.0).sqrt() * (1.0 + SLACK)
    }

    /// Lower bound of that distance.
    #[inline(always)]
    pub fn below(&self, square: f32, score: f32) -> f32 {
        (square + 2.0 * (score - self.error)).max(0.0).sqrt() * (1.0 - SLACK)
    }
}
