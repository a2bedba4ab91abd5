//! Nearest codewords through the bf16 matrix unit (AMX), with the labels of the `f32` kernel, bit for bit.
//!
//! Rows and codewords are split into two bf16 values each, `x = h + l + r` with `|r| <= 2^-16 |x|`, and three of the four
//! products are added up in f32: `x.c = hx.hc + hx.lc + lx.hc + e`. The least of these scores names the nearest codeword
//! whenever all others are farther off than twice the error of a score, which `tolerance` bounds; the few other rows go
//! through the `f32` kernel. So the result never depends on the matrix unit, only the time does.

use std::arch::x86_64::*;

use super::kernel::Nearest;
use super::pack::Codewords;
use crate::matrix::Rows;
use crate::simd::tiles::{Factors, GROUP, Line, SQUARE, STEP, Scores, TILE, as_columns, configure, release, split};

/// Rows whose minima are kept at once.
const BLOCK: usize = 64;
/// Fewest codewords for which splitting the rows pays: with 64 the two kernels are on a par.
pub(super) const FEWEST: usize = 96;
/// Rows that are gathered before the `f32` kernel looks at them.
const DOUBTS: usize = 48;

/// Codewords as bf16 tiles.
pub(super) struct Tiles {
    steps: usize,
    /// Per 16 codewords and 32 values: a tile of high parts, a tile of low parts, both negated; within a tile the pair of
    /// values `2 p, 2 p + 1` of all 16 codewords is row `p`.
    lines: Vec<Line>,
    /// `|c|^2 / 2`, infinite for the padding to whole squares.
    half_norms: Vec<f32>,
    /// No codeword is longer than this.
    longest: f32,
    /// Greatest of the half norms.
    greatest: f32,
}

impl Tiles {
    /// Splits and packs codewords.
    pub fn pack(codewords: Rows<'_>, halves: &[f32], longest: f32) -> Self {
        let (count, dim) = (codewords.len(), codewords.dim());
        let (steps, columns) = (dim.div_ceil(STEP), count.next_multiple_of(SQUARE));
        let mut half_norms = vec![f32::INFINITY; columns];
        half_norms[..count].copy_from_slice(&halves[..count]);
        let greatest = halves[..count].iter().fold(0.0f32, |most, &h| most.max(h));
        let mut lines = vec![Line::ZERO; columns * steps * 2];
        // SAFETY: values come from `available` alone; the lines are those of all tiles.
        unsafe { as_columns::<true>(codewords, steps, &mut lines) };
        Self { steps, lines, half_norms, longest, greatest }
    }

    /// Upper bound of the difference between two ways to compute a score, over the length of the row: what splitting
    /// loses (`|r|` and the product of the low parts: `3 * 2^-16`), and what rounding to f32 loses, in tiles (32 products a
    /// step, a sum for each step) and in the `f32` kernel (one rounding a value).
    fn tolerance(&self, dim: usize, length: f32) -> f32 {
        const UNIT: f32 = f32::EPSILON;
        let roundings = (dim + 3 * self.steps + 3 * STEP) as f32 * UNIT;
        let size = length * self.longest;
        // Values below the normal range are taken for 0.
        let tiny = dim as f32 * 4.0 * f32::MIN_POSITIVE * (1.0 + length + self.longest);
        size * 3.0 / 65536.0 + (size + self.greatest) * roundings + tiny
    }
}

/// Running minima of a block of rows, one per lane.
struct Minima {
    best: [__m512; BLOCK],
    second: [__m512; BLOCK],
    /// Number of the 16 codewords that `best` is among.
    place: [__m512i; BLOCK],
}

/// Asks for the rows of the next block, some lines at a time, while this one is multiplied.
struct Ahead {
    next: *const u8,
    /// Lines to ask for at once.
    share: usize,
}

impl Ahead {
    fn new(block: Rows<'_>, squares: usize) -> Self {
        let bytes = size_of_val(block.data());
        let times = squares * block.len().div_ceil(SQUARE);
        Self { next: block.data().as_ptr().cast::<u8>().wrapping_add(bytes), share: bytes.div_ceil(64).div_ceil(times) }
    }

    #[inline]
    fn fetch(&mut self) {
        for _ in 0..self.share {
            // SAFETY: a prefetch may name any address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(self.next.cast()) };
            self.next = self.next.wrapping_add(64);
        }
    }
}

/// Buffers of one thread.
struct Work {
    lines: Vec<Line>,
    lengths: [f32; BLOCK],
    minima: Minima,
    scores: [Scores; 2],
}

/// Writes the nearest codeword of each row (lowest index on a tie); false if a row has no finite score.
pub(super) fn nearest(code: &Codewords, tiles: &Tiles, rows: Rows<'_>, labels: &mut [u32]) -> bool {
    // SAFETY: tiles are packed only where the instructions are available.
    unsafe { search(code, tiles, rows, labels) }
}

/// # Safety
/// AVX-512 with bf16 and tiles must be available.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn search(code: &Codewords, tiles: &Tiles, rows: Rows<'_>, labels: &mut [u32]) -> bool {
    let (zero, never) = (_mm512_setzero_si512(), _mm512_set1_ps(f32::INFINITY));
    let minima = Minima { best: [never; BLOCK], second: [never; BLOCK], place: [zero; BLOCK] };
    let lines = vec![Line::ZERO; BLOCK * tiles.steps * 2];
    let scores = [const { Scores([0.0; SQUARE * SQUARE]) }; 2];
    let mut work = Work { lines, lengths: [0.0; BLOCK], minima, scores };
    let (mut doubts, mut finite) = (Vec::with_capacity(DOUBTS), true);
    // SAFETY: tiles are there.
    unsafe { configure() };
    for begin in (0..rows.len()).step_by(BLOCK) {
        let block = rows.slice(begin, (begin + BLOCK).min(rows.len()));
        // SAFETY: as above.
        unsafe {
            work.load(block, tiles.steps);
            work.minima.best.fill(never);
            work.minima.second.fill(never);
            let mut ahead = Ahead::new(block, tiles.half_norms.len() / SQUARE);
            // Each square is multiplied before the one before it is looked at, so that both units are busy.
            let (mut before, mut turn) = (None, 0);
            for first in (0..tiles.half_norms.len()).step_by(SQUARE) {
                for row in (0..block.len()).step_by(SQUARE) {
                    ahead.fetch();
                    work.multiply(tiles, first, row, turn);
                    turn ^= 1;
                    if let Some((first, row)) = before.replace((first, row)) {
                        work.lower(first / TILE, row, SQUARE.min(block.len() - row), turn);
                    }
                }
            }
            if let Some((first, row)) = before {
                work.lower(first / TILE, row, SQUARE.min(block.len() - row), turn ^ 1);
            }
            for i in 0..block.len() {
                let tolerance = tiles.tolerance(rows.dim(), work.lengths[i]);
                match work.certain(i, tolerance) {
                    Some(label) => labels[begin + i] = label,
                    None => doubts.push((begin + i) as u32),
                }
            }
        }
        if doubts.len() >= DOUBTS || begin + BLOCK >= rows.len() {
            finite &= settle(code, rows, &doubts, labels);
            doubts.clear();
        }
    }
    // SAFETY: as above.
    unsafe { release() };
    finite
}

/// Labels the rows that are too near to two codewords by the `f32` kernel.
fn settle(code: &Codewords, rows: Rows<'_>, doubts: &[u32], labels: &mut [u32]) -> bool {
    if doubts.is_empty() {
        return true;
    }
    let part = rows.gather(doubts);
    let mut found = vec![0; doubts.len()];
    let finite = code.isa().run(Nearest { code, rows: Rows::new(&part, rows.dim()), labels: &mut found });
    doubts.iter().zip(found).for_each(|(&row, label)| labels[row as usize] = label);
    finite
}

impl Work {
    /// Splits a block of rows into tiles, and takes the rows' lengths. Rows past the end keep what they were.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn load(&mut self, block: Rows<'_>, steps: usize) {
        for i in 0..block.len() {
            let mut squares = _mm512_setzero_ps();
            for step in 0..steps {
                let tile = ((i / TILE) * steps + step) * GROUP + i % TILE;
                let (high, low) = self.lines[tile..=tile + TILE].split_at_mut(TILE);
                // SAFETY: the instructions are available.
                squares =
                    _mm512_add_ps(squares, unsafe { split::<false>(block.row(i), step, &mut high[0], &mut low[0]) });
            }
            self.lengths[i] = _mm512_reduce_add_ps(squares).sqrt() * 1.0001;
        }
    }

    /// Scores of 32 rows from `row` and 32 codewords from `first`, in the buffer `turn`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn multiply(&mut self, tiles: &Tiles, first: usize, row: usize, turn: usize) {
        let group = tiles.steps * GROUP;
        let (own, code) = (&self.lines[row / TILE * group..], &tiles.lines[first / TILE * group..]);
        let factors = Factors {
            rows: [0, group].map(|at| &raw const own[at]),
            columns: [0, group].map(|at| &raw const code[at]),
            steps: tiles.steps,
        };
        let half = &tiles.half_norms[first..first + SQUARE];
        // SAFETY: tiles have their shape, and there are two groups of each and 32 values of `half`.
        unsafe { factors.set_beside(half, &mut self.scores[turn]) };
    }

    /// Takes the scores of `count` rows from `row` in buffer `turn` into the minima; they are those of the 16 codewords `place` and of the
    /// next 16.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn lower(&mut self, place: usize, row: usize, count: usize, turn: usize) {
        let places = [_mm512_set1_epi32(place as i32), _mm512_set1_epi32(place as i32 + 1)];
        let minima = &mut self.minima;
        for (i, scores) in self.scores[turn].0.chunks_exact(SQUARE).take(count).enumerate() {
            let (mut best, mut second) = (minima.best[row + i], minima.second[row + i]);
            let mut at = minima.place[row + i];
            for part in 0..2 {
                // SAFETY: 16 values in the row of 32.
                let score = unsafe { _mm512_load_ps(scores.as_ptr().add(part * TILE)) };
                let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(score, best);
                second = _mm512_min_ps(second, _mm512_max_ps(score, best));
                best = _mm512_min_ps(score, best);
                at = _mm512_mask_mov_epi32(at, less, places[part]);
            }
            (minima.best[row + i], minima.second[row + i], minima.place[row + i]) = (best, second, at);
        }
    }

    /// The nearest codeword of row `i` of the block if no other one is within twice the tolerance.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn certain(&self, i: usize, tolerance: f32) -> Option<u32> {
        let best = self.minima.best[i];
        let limit = _mm512_set1_ps(_mm512_reduce_min_ps(best) + 2.0 * tolerance);
        let near = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(best, limit);
        let also = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(self.minima.second[i], limit);
        if near.count_ones() != 1 || also != 0 {
            return None;
        }
        let (lane, mut places) = (near.trailing_zeros(), [0u32; 16]);
        // SAFETY: 16 integers.
        unsafe { _mm512_storeu_si512(places.as_mut_ptr().cast(), self.minima.place[i]) };
        Some(places[lane as usize] * TILE as u32 + lane)
    }
}
