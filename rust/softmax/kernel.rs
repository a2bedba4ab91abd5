//! The three products of a block, each a tile of `R` values times `C` registers that stays in registers.
//!
//! A block is up to [`ROWS`] states, one to a lane, and a chunk of items:
//!
//! ```text
//! E[j][r] = exp(v_j . s_r + b_j - c_r)    values of v_j times lanes of states    (exponentials)
//! O[r]   += sum_j E[j][r] v_j             values of E    times lanes of v_j      (to_states)
//! G[j]   += sum_r E[j][r] q_r             values of E    times lanes of q_r      (to_vectors)
//! ```
//!
//! Nothing is packed but the few states: vectors are read as they lie. A line of `E` has as many numbers as the block has
//! states, rounded up to [`LINE`], so that a short block (the last one, or the few states of a slice) lies together.

use std::f32::consts::LOG2_E;

use crate::simd::Job;
use crate::simd::lanes::{Lanes, each_panel};

/// States of a block.
pub(super) const ROWS: usize = 128;
/// Floats in a line of the cache, and in the widest register.
pub(super) const LINE: usize = 16;

/// Adds `sum_k values[r][k * step] * columns[k * stride ..]` to a tile of `R` rows and `C` registers.
///
/// # Safety
/// The instruction set of `L` must be available, and all that is read lie within what the pointers are of.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const C: usize>(
    values: [*const f32; R],
    step: usize,
    columns: *const f32,
    stride: usize,
    count: usize,
    sums: &mut [[L::F; C]; R],
) {
    // SAFETY: the caller vouches for all reads.
    unsafe {
        for k in 0..count {
            let mut column = [L::splat(0.0); C];
            for c in 0..C {
                column[c] = L::load(columns.add(k * stride + c * L::W));
            }
            for r in 0..R {
                let value = L::splat(*values[r].add(k * step));
                for c in 0..C {
                    sums[r][c] = L::fma(value, column[c], sums[r][c]);
                }
            }
        }
    }
}

/// Pointers to `R` places `apart` values from each other; those past the last are the last, and their sums are dropped.
#[inline(always)]
fn places<const R: usize>(base: &[f32], first: usize, last: usize, apart: usize) -> [*const f32; R] {
    let mut out = [std::ptr::null(); R];
    for r in 0..R {
        out[r] = base.as_ptr().wrapping_add((first + r).min(last) * apart);
    }
    out
}

/// `C` registers in a row.
#[inline(always)]
unsafe fn load<L: Lanes, const C: usize>(from: *const f32) -> [L::F; C] {
    let mut out = [const { std::mem::MaybeUninit::uninit() }; C];
    for c in 0..C {
        // SAFETY: the caller vouches for `C` registers.
        out[c].write(unsafe { L::load(from.add(c * L::W)) });
    }
    // SAFETY: all are written.
    out.map(|register| unsafe { register.assume_init() })
}

/// Numbers in a line of `E` for so many states.
pub(super) fn width(rows: usize) -> usize {
    rows.next_multiple_of(LINE)
}

/// States of a block, value by value: `[dim][width]`, zeros behind the last. They are over `ln 2`, since powers of two
/// are the quicker ones.
#[derive(Default)]
pub(super) struct Lanewise {
    values: Vec<f32>,
    /// States there are.
    pub rows: usize,
}

impl Lanewise {
    /// Packs up to [`ROWS`] states of `dim` values.
    pub fn pack(states: &[f32], dim: usize) -> Self {
        let rows = states.len() / dim;
        let mut values = vec![0.0; dim * width(rows)];
        for (k, line) in values.chunks_exact_mut(width(rows)).enumerate() {
            line.iter_mut().zip(states.chunks_exact(dim)).for_each(|(value, state)| *value = state[k] * LOG2_E);
        }
        Self { values, rows }
    }
}

/// `E` of a chunk, and its sums over the items added to `sums`.
pub(super) struct Exponentials<'a> {
    pub states: &'a Lanewise,
    /// `[items][dim]`.
    pub vectors: &'a [f32],
    pub dim: usize,
    /// `[items]`.
    pub bias: Option<&'a [f32]>,
    /// `c_r`.
    pub reference: &'a [f32; ROWS],
    /// `[items][width]`.
    pub out: &'a mut [f32],
    pub sums: &'a mut [f32; ROWS],
}

impl Job for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        let (items, width) = (self.vectors.len() / self.dim, width(self.states.rows));
        assert!(self.out.len() == items * width && self.states.values.len() == self.dim * width && width <= ROWS);
        let registers = self.states.rows.div_ceil(L::W);
        let reference = self.reference.map(|c| c * LOG2_E);
        // SAFETY: registers lie within the `width` of a line, items within the chunk.
        unsafe {
            each_panel!(0..registers, registers, L, first, C => {
                let column = first * L::W;
                let (reference, sums) = (reference.as_ptr().add(column), self.sums.as_mut_ptr().add(column));
                let mut total = load::<L, C>(sums);
                for i in (0..items).step_by(R) {
                    let mut scores = [[L::splat(0.0); C]; R];
                    for r in 0..R {
                        let value = L::splat(self.bias.map_or(0.0, |bias| bias[(i + r).min(items - 1)] * LOG2_E));
                        for c in 0..C {
                            scores[r][c] = L::sub(value, L::load(reference.add(c * L::W)));
                        }
                    }
                    let values = places::<R>(self.vectors, i, items - 1, self.dim);
                    tile::<L, R, C>(values, 1, self.states.values.as_ptr().add(column), width, self.dim, &mut scores);
                    for r in 0..R.min(items - i) {
                        let line = self.out.as_mut_ptr().add((i + r) * width + column);
                        for c in 0..C {
                            let value = L::exp2(scores[r][c]);
                            total[c] = L::add(total[c], value);
                            L::store(line.add(c * L::W), value);
                        }
                    }
                }
                for c in 0..C {
                    L::store(sums.add(c * L::W), total[c]);
                }
            });
        }
    }
}

/// Adds `sum_j E[j][r] v_j` to `out`.
pub(super) struct ToStates<'a> {
    /// States there are.
    pub rows: usize,
    /// `E`, `[items][width]`.
    pub weights: &'a [f32],
    /// `[items][dim]`, `dim` a multiple of 16.
    pub vectors: &'a [f32],
    pub dim: usize,
    /// `[rows][dim]`.
    pub out: &'a mut [f32],
}

impl Job for ToStates<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        let (items, dim, width) = (self.vectors.len() / self.dim, self.dim, width(self.rows));
        assert!(self.weights.len() == items * width && self.out.len() == self.rows * dim);
        // SAFETY: `dim` is whole registers; rows and items are within their arrays.
        unsafe {
            each_panel!(0..dim / L::W, dim / L::W, L, first, C => {
                let column = first * L::W;
                for i in (0..self.rows).step_by(R) {
                    let mut sums = [[L::splat(0.0); C]; R];
                    let values = places::<R>(self.weights, i, self.rows - 1, 1);
                    tile::<L, R, C>(values, width, self.vectors.as_ptr().add(column), dim, items, &mut sums);
                    add::<L, R, C>(&sums, R.min(self.rows - i), self.out.as_mut_ptr().add(i * dim + column), dim);
                }
            });
        }
    }
}

/// Adds `sum_r E[j][r] q_r` to `out`. `E` of all items is more than the nearer caches hold, so that each line of it is
/// asked for a tile ahead.
pub(super) struct ToVectors<'a> {
    /// States there are.
    pub rows: usize,
    /// `E`, `[items][width]`.
    pub weights: &'a [f32],
    /// `q`, `[rows][dim]`, `dim` a multiple of 16.
    pub scaled: &'a [f32],
    pub dim: usize,
    /// `[items][dim]`.
    pub out: &'a mut [f32],
}

impl Job for ToVectors<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        let (items, dim, width) = (self.out.len() / self.dim, self.dim, width(self.rows));
        assert!(self.weights.len() == items * width && self.scaled.len() == self.rows * dim);
        // SAFETY: as above.
        unsafe {
            each_panel!(0..dim / L::W, dim / L::W, L, first, C => {
                let column = first * L::W;
                for i in (0..items).step_by(R) {
                    let mut sums = [[L::splat(0.0); C]; R];
                    let values = places::<R>(self.weights, i, items - 1, width);
                    let ahead = places::<R>(self.weights, i + R, items - 1, width);
                    for k in (0..self.rows).step_by(LINE) {
                        let mut from = values;
                        for r in 0..R {
                            L::prefetch(ahead[r].wrapping_add(k));
                            from[r] = values[r].add(k);
                        }
                        let columns = self.scaled.as_ptr().add(k * dim + column);
                        tile::<L, R, C>(from, 1, columns, dim, LINE.min(self.rows - k), &mut sums);
                    }
                    add::<L, R, C>(&sums, R.min(items - i), self.out.as_mut_ptr().add(i * dim + column), dim);
                }
            });
        }
    }
}

/// Adds the first `count` rows of a tile to rows of `dim` values.
#[inline(always)]
unsafe fn add<L: Lanes, const R: usize, const C: usize>(
    sums: &[[L::F; C]; R],
    count: usize,
    out: *mut f32,
    dim: usize,
) {
    for r in 0..count {
        for c in 0..C {
            // SAFETY: the caller vouches for the rows.
            unsafe {
                let place = out.add(r * dim + c * L::W);
                L::store(place, L::add(L::load(place), sums[r][c]));
            }
        }
    }
}
