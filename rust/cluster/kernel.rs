//! Nearest codeword of each row, fused: distances stay in registers and the `rows x K` product is never stored.
//!
//! `|x - c|^2 = |x|^2 + 2 s` with the score `s = |c|^2 / 2 - x.c`, so the argmin needs `s` alone. Codewords are packed
//! into panels of `C * W` columns; a tile of `R` rows walks one panel with `R * C` accumulators in registers, which
//! start at `|c|^2 / 2`. A row's score is the same sequence of operations wherever it lies in a tile, so labels do not
//! depend on the split into blocks.

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::pack::Codewords;
use crate::matrix::Rows;
pub use crate::simd::Isa;
use crate::simd::Job;
use crate::simd::lanes::{Lanes, each_panel};
use std::mem::MaybeUninit;

/// Rows whose running minima are kept at once; a multiple of the tile heights 4 and 6. A panel comes from the second
/// cache once for all of them.
pub const BLOCK: usize = 96;
/// The same against a codebook of one panel, where all scores are kept.
const NARROW: usize = BLOCK / 2;
/// Values in a buffer of rows: 256 KiB.
const BUFFER: usize = 1 << 16;

/// Rows to a buffer: whole blocks of the kernel.
pub fn buffer_rows(dim: usize) -> usize {
    (BUFFER / dim / BLOCK).max(1) * BLOCK
}

impl Codewords {
    /// Writes the nearest codeword of each row, the lowest index on a tie. False if a row had no finite score, because it
    /// is not finite itself or the squares overflow; its label then means nothing.
    pub fn nearest(&self, rows: Rows<'_>, labels: &mut [u32]) -> bool {
        assert!(rows.dim() == self.dim() && labels.len() == rows.len() && !self.is_empty());
        #[cfg(target_arch = "x86_64")]
        if let Some(tiles) = self.tiles() {
            return amx::nearest(self, tiles, rows, labels);
        }
        self.isa().run(Nearest { code: self, rows, labels })
    }

    /// Writes `x.c` for each row and codeword, `rows x padded()`; meant for few codewords or few rows.
    pub fn products(&self, rows: Rows<'_>, out: &mut [f32]) {
        assert!(rows.dim() == self.dim() && out.len() == rows.len() * self.padded());
        self.isa().run(Products { code: self, rows, out });
    }
}

/// Adds `value * column` to (or with `NEGATE` takes it from) the sums of a tile: `R` rows, `C * W` codewords of a panel.
///
/// # Safety
/// `rows` must point to `dim` values each, `panel` to `dim * C * W`.
#[inline(always)]
pub(super) unsafe fn tile<L: Lanes, const R: usize, const C: usize, const NEGATE: bool>(
    rows: [*const f32; R],
    panel: *const f32,
    dim: usize,
    sums: &mut [[L::F; C]; R],
) {
    // SAFETY: all reads are within what the caller vouches for.
    unsafe {
        for j in 0..dim {
            let mut column = [L::splat(0.0); C];
            for c in 0..C {
                column[c] = L::load(panel.add((j * C + c) * L::W));
            }
            for r in 0..R {
                let value = L::splat(*rows[r].add(j));
                for c in 0..C {
                    sums[r][c] = match NEGATE {
                        true => L::fnma(value, column[c], sums[r][c]),
                        false => L::fma(value, column[c], sums[r][c]),
                    };
                }
            }
        }
    }
}

/// Pointers to `R` rows from `first`; past the end the last row is repeated and its results are dropped.
#[inline(always)]
pub(super) fn pointers<const R: usize>(rows: Rows<'_>, first: usize) -> [*const f32; R] {
    let mut out = [std::ptr::null(); R];
    for r in 0..R {
        out[r] = rows.row((first + r).min(rows.len() - 1)).as_ptr();
    }
    out
}

pub(super) struct Nearest<'a> {
    pub code: &'a Codewords,
    pub rows: Rows<'a>,
    pub labels: &'a mut [u32],
}

/// Running minima of a block of rows, one per lane.
struct Minima<L: Lanes> {
    best: [L::F; BLOCK],
    index: [L::I; BLOCK],
}

impl Job for Nearest<'_> {
    /// Whether every row had a finite score.
    type Output = bool;

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(mut self) -> bool {
        let (mut finite, narrow) = (true, self.code.registers() <= L::C);
        let block = if narrow { NARROW } else { BLOCK };
        for begin in (0..self.rows.len()).step_by(block) {
            let end = (begin + block).min(self.rows.len());
            // SAFETY: the job runs where `L` is available.
            unsafe {
                if narrow {
                    each_panel!(0..self.code.registers(), self.code.registers(), L, _first, C => {
                        finite &= self.one::<L, R, C>(begin, end);
                    });
                } else {
                    finite &= self.many::<L, R>(begin, end);
                }
            }
        }
        finite
    }
}

impl Nearest<'_> {
    /// The rows `begin..end` against a codebook of one panel: all scores first, so that the searches for the least of a
    /// row, long chains each, overlap.
    #[inline(always)]
    unsafe fn one<L: Lanes, const R: usize, const C: usize>(&mut self, begin: usize, end: usize) -> bool {
        let block = self.rows.slice(begin, end);
        // SAFETY: the panel has `C` registers, the rows are as wide as the codewords, and the tiles write all scores.
        unsafe {
            let half = load::<L, C>(self.code.half_norms().as_ptr());
            let (mut scores, mut finite) = ([MaybeUninit::<[L::F; C]>::uninit(); NARROW], true);
            for i in (0..block.len()).step_by(R) {
                let (rows, mut sums) = (pointers(block, i), [half; R]);
                prefetch::<L, R>(rows, NARROW * block.dim(), block.dim());
                tile::<L, R, C, true>(rows, self.code.panel::<L>(0), self.code.dim(), &mut sums);
                for r in 0..R {
                    scores[i + r].write(sums[r]);
                }
            }
            for (label, scores) in self.labels[begin..end].iter_mut().zip(&scores) {
                let scores = scores.assume_init_read();
                let least = L::least(scores.into_iter().reduce(|a, b| L::min(a, b)).unwrap_or(half[0]));
                *label = find::<L, C>(scores, least).0;
                finite &= least.is_finite();
            }
            finite
        }
    }

    /// The rows `begin..end` against several panels: minima per lane, and the least lane in the end.
    #[inline(always)]
    unsafe fn many<L: Lanes, const R: usize>(&mut self, begin: usize, end: usize) -> bool {
        let block = self.rows.slice(begin, end);
        let mut finite = true;
        // SAFETY: the panels are those of `code`; an index register is `W` integers.
        unsafe {
            let mut minima = Minima::<L> { best: [L::splat(f32::INFINITY); BLOCK], index: [L::iota(0); BLOCK] };
            each_panel!(0..self.code.registers(), self.code.registers(), L, first, C => {
                sweep::<L, R, C>(self.code, first, block, &mut minima)
            });
            for (i, label) in self.labels[begin..end].iter_mut().enumerate() {
                let least = L::least(minima.best[i]);
                let indices = std::ptr::from_ref(&minima.index[i]).cast::<u32>();
                let mut bits = L::equal(minima.best[i], least);
                *label = if bits == 0 { 0 } else { u32::MAX };
                while bits != 0 {
                    *label = (*label).min(*indices.add(bits.trailing_zeros() as usize));
                    bits &= bits - 1;
                }
                finite &= least.is_finite();
            }
        }
        finite
    }
}

/// `C` registers in a row.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes, const C: usize>(from: *const f32) -> [L::F; C] {
    // SAFETY: the caller vouches for `C` registers.
    unsafe {
        let mut out = [L::splat(0.0); C];
        for c in 0..C {
            out[c] = L::load(from.add(c * L::W));
        }
        out
    }
}

/// Asks for the lines of the rows that lie `ahead` values on.
#[inline(always)]
unsafe fn prefetch<L: Lanes, const R: usize>(rows: [*const f32; R], ahead: usize, dim: usize) {
    for row in rows {
        for line in (0..dim).step_by(16) {
            // SAFETY: a prefetch may name any address.
            unsafe { L::prefetch(row.wrapping_add(ahead + line)) };
        }
    }
}

/// One panel against a block of rows.
#[inline(always)]
unsafe fn sweep<L: Lanes, const R: usize, const C: usize>(
    code: &Codewords,
    first: usize,
    block: Rows<'_>,
    minima: &mut Minima<L>,
) {
    // SAFETY: `first` is a panel of `C` registers, and the rows are as wide as the codewords.
    unsafe {
        let half = load::<L, C>(code.half_norms().as_ptr().add(first * L::W));
        let mut index = [L::iota(0); C];
        for c in 0..C {
            index[c] = L::iota(((first + c) * L::W) as i32);
        }
        for i in (0..block.len()).step_by(R) {
            let (rows, mut scores) = (pointers(block, i), [half; R]);
            if first == 0 {
                prefetch::<L, R>(rows, BLOCK * block.dim(), block.dim());
            }
            tile::<L, R, C, true>(rows, code.panel::<L>(first), code.dim(), &mut scores);
            for r in 0..R {
                let (mut best, mut at) = (minima.best[i + r], minima.index[i + r]);
                for c in 0..C {
                    L::keep_less(scores[r][c], index[c], &mut best, &mut at);
                }
                (minima.best[i + r], minima.index[i + r]) = (best, at);
            }
        }
    }
}

/// The first place in `C` registers that holds `value`, 0 if it is no number, as it is when squares overflow; and how
/// many places hold it.
#[inline(always)]
pub(super) unsafe fn find<L: Lanes, const C: usize>(registers: [L::F; C], value: f32) -> (u32, u32) {
    let mut bits = 0u64;
    for c in 0..C {
        // SAFETY: the caller runs where `L` is available.
        bits |= u64::from(unsafe { L::equal(registers[c], value) }) << (c * L::W);
    }
    (if bits == 0 { 0 } else { bits.trailing_zeros() }, bits.count_ones())
}

struct Products<'a> {
    code: &'a Codewords,
    rows: Rows<'a>,
    out: &'a mut [f32],
}

impl Job for Products<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        let (code, rows, padded) = (self.code, self.rows, self.code.padded());
        // SAFETY: `out` has `padded` places for each row, as `products` asserts.
        unsafe {
            each_panel!(0..code.registers(), code.registers(), L, first, C => {
                for i in (0..rows.len()).step_by(R) {
                    let mut sums = [[L::splat(0.0); C]; R];
                    tile::<L, R, C, false>(pointers(rows, i), code.panel::<L>(first), code.dim(), &mut sums);
                    for r in 0..R.min(rows.len() - i) {
                        for c in 0..C {
                            L::store(self.out.as_mut_ptr().add((i + r) * padded + (first + c) * L::W), sums[r][c]);
                        }
                    }
                }
            });
        }
    }
}
