//! The products of a block by the bf16 matrix unit, three of bf16 parts for each (see [`crate::simd::tiles`]).
//!
//! The logits of 32 items and 32 states are one square of tiles. Where gradients are wanted its exponentials are computed
//! a second time, once the sums of all states are known, which costs less than to keep them: then they are split into
//! their parts twice, with the items in pairs, as a right factor of the vectors of 128 items (`O' = V' E`, the states'
//! gradients, transposed), and with a line for each item, as a left factor of the scaled states (`G = E Q`, the vectors'
//! gradients). Items are taken once for a whole block of states, so that both lie in the nearer caches.
//!
//! A logit is within `3 * 2^-16 |s| |v|` of itself, and a gradient within `3 * 2^-16` of the sum of its absolute terms;
//! with the temperature of the item head both are off by some 1e-5 of their largest value.

use std::arch::x86_64::*;
use std::f32::consts::LOG2_E;

use rayon::prelude::*;

use super::chunk::{Block, CHUNK, Chunk, SIDE};
use super::pass::Products;
use super::{Bounds, Problem, narrow};
use crate::limits::largest;
use crate::matrix::{self, Rows};
use crate::progress::Progress;
use crate::simd::tiles::{GROUP, Line, SQUARE, STEP, TILE, as_columns, configure, pairs, release};

/// Fewest states for which splitting the vectors pays.
const FEWEST: usize = 64;
/// Greatest product of lengths: the error of a logit stays below `3 * 2^-16` of it, 6e-3.
const LONGEST: f32 = 128.0;
/// Greatest value of a state or vector, and greatest bias.
const LARGEST: f32 = 1e15;
const HIGHEST: f32 = 100.0;
/// Items of a task, which has sums of its own for all states of a block, and tasks of a pass at most.
const SHARE: usize = 1024;
const TASKS: usize = 16;

pub(super) struct Tiled<'a> {
    problem: Problem<'a>,
    /// Looked at by each task: a block of many items takes longer than a moment.
    progress: &'a Progress,
    gradient: bool,
    /// Items of a task.
    share: usize,
    block: Block,
    /// `[n, whole squares][steps * 32]`.
    vectors: Vec<f32>,
    bias: Vec<f32>,
}

/// What a task adds to for its items.
struct Out<'a> {
    /// `[items, whole squares][steps * 32]`.
    vectors: &'a mut [f32],
    bias: &'a mut [f32],
}

impl<'a> Tiled<'a> {
    /// Whether it is worth its while, and exact enough: values are far from the ends of bf16 and no odd ones are among
    /// them, of which the vector registers make what IEEE 754 says.
    pub fn suits(problem: Problem<'_>, weights: Option<&[f32]>, bounds: &Bounds) -> bool {
        problem.states.len() >= FEWEST
            && bounds.product(problem.states) <= LONGEST
            && [problem.states, problem.vectors].iter().all(|rows| largest(rows.data()) <= LARGEST)
            && problem.bias.is_none_or(|bias| bias.iter().all(|&b| b <= HIGHEST))
            && weights.is_none_or(matrix::finite)
    }

    /// The machine must have the matrix unit.
    pub fn new(problem: Problem<'a>, gradient: bool, progress: &'a Progress) -> Self {
        let (n, steps) = (problem.vectors.len(), problem.vectors.dim().div_ceil(STEP));
        let vectors = vec![0.0; if gradient { n.next_multiple_of(SQUARE) * steps * STEP } else { 0 }];
        let bias = vec![0.0; if gradient { problem.bias.map_or(0, <[f32]>::len) } else { 0 }];
        let share = n.div_ceil(n.div_ceil(SHARE).clamp(1, TASKS)).next_multiple_of(CHUNK);
        let block = Block { steps, ..Block::default() };
        Self { problem, progress, gradient, share, block, vectors, bias }
    }

    /// The items of a task, a chunk at a time until the pass is stopped: the first of a chunk, counted within the task, its
    /// vectors, and its biases.
    fn chunks(&self, task: usize) -> impl Iterator<Item = (usize, Rows<'a>, Option<&'a [f32]>)> + use<'a> {
        let (problem, progress, begin) = (self.problem, self.progress, task * self.share);
        let end = (begin + self.share).min(problem.vectors.len());
        let firsts = (begin..end).step_by(CHUNK).take_while(move |_| progress.check().is_ok());
        firsts.map(move |first| {
            let last = (first + CHUNK).min(end);
            (first - begin, problem.vectors.slice(first, last), problem.bias.map(|bias| &bias[first..last]))
        })
    }

    /// The sums of a task's exponentials, of whole squares of states.
    ///
    /// # Safety
    /// The matrix unit must be there.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn sums(&self, task: usize) -> Vec<f32> {
        let mut chunk = Chunk::new(self.block.steps, false);
        let mut sums = vec![0.0; self.block.reference.len()];
        // SAFETY: the unit is there.
        unsafe {
            configure();
            for (_, vectors, bias) in self.chunks(task) {
                chunk.load(self.block.steps, vectors, bias);
                chunk.squares::<false>(&self.block, vectors.len().div_ceil(SQUARE), 0..self.block.squares(), &mut sums);
            }
            release();
        }
        sums
    }

    /// Adds a task's `E Q` and `sum_r E[j][r] share_r` to its part of the gradients, and returns its `V' E`
    /// (`[steps * 32][states, whole squares]`).
    ///
    /// # Safety
    /// The matrix unit must be there.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn slopes(&self, task: usize, scaled: &[Line], shares: &[f32], out: &mut Out<'_>) -> Vec<f32> {
        let mut chunk = Chunk::new(self.block.steps, true);
        let (across, dim) = (self.block.squares(), self.block.steps * STEP);
        let mut toward = vec![0.0; dim * across * SQUARE];
        // SAFETY: the unit is there; all that is indexed has whole squares of items and of states.
        unsafe {
            configure();
            for (first, vectors, bias) in self.chunks(task) {
                let down = vectors.len().div_ceil(SQUARE);
                chunk.load(self.block.steps, vectors, bias);
                for r in (0..across).step_by(SIDE) {
                    let wide = SIDE.min(across - r);
                    chunk.squares::<true>(&self.block, down, r..r + wide, &mut []);
                    for (k, i) in (0..self.block.steps).flat_map(|k| (0..wide).map(move |i| (k, i))) {
                        let place = k * STEP * across * SQUARE + (r + i) * SQUARE;
                        chunk.to_states(k, i, down).add(toward[place..].as_mut_ptr(), across * SQUARE);
                    }
                    for (i, k) in (0..down).flat_map(|i| (0..self.block.steps).map(move |k| (i, k))) {
                        let columns = [2 * k, 2 * k + 1].map(|tile| &raw const scaled[(tile * across + r) * GROUP]);
                        let place = (first + i * SQUARE) * dim + k * STEP;
                        chunk.to_vectors(i, columns, wide).add(out.vectors[place..].as_mut_ptr(), dim);
                    }
                    if !out.bias.is_empty() {
                        let shares = &shares[r * SQUARE..((r + wide) * SQUARE).min(self.block.count)];
                        chunk.add_shares(shares, &mut out.bias[first..first + vectors.len()]);
                    }
                }
            }
            release();
        }
        toward
    }
}

impl Products for Tiled<'_> {
    const ROWS: usize = 2048;

    fn load(&mut self, states: Rows<'_>) {
        self.block.count = states.len();
        let over: Vec<f32> = states.data().iter().map(|value| value * LOG2_E).collect();
        self.block.states.clear();
        self.block.states.resize(self.block.squares() * 2 * self.block.steps * GROUP, Line::ZERO);
        // SAFETY: the unit is there, and a group for each 16 states and 32 values.
        unsafe { as_columns::<false>(Rows::new(&over, states.dim()), self.block.steps, &mut self.block.states) };
    }

    fn forward(&mut self, reference: &[f32]) -> Vec<f64> {
        self.block.reference.clear();
        self.block.reference.extend(reference.iter().map(|c| c * LOG2_E));
        // Nothing of states that are not there, lest an infinity of theirs meet a zero.
        self.block.reference.resize(self.block.squares() * SQUARE, f32::INFINITY);
        let tasks = (0..self.problem.vectors.len().div_ceil(self.share)).into_par_iter().with_max_len(1);
        // SAFETY: the unit is there.
        let parts: Vec<Vec<f32>> = tasks.map(|task| unsafe { self.sums(task) }).collect();
        let mut sums = vec![0.0; self.block.count];
        for part in &parts {
            sums.iter_mut().zip(part).for_each(|(sum, &one)| *sum += f64::from(one));
        }
        sums
    }

    fn gradients(&mut self, scaled: Rows<'_>, shares: &[f32]) -> Vec<f32> {
        // SAFETY: the unit is there.
        let scaled = unsafe { in_pairs(scaled, self.block.steps) };
        let (dim, share) = (self.block.steps * STEP, self.share);
        let (mut vectors, mut bias) = (std::mem::take(&mut self.vectors), std::mem::take(&mut self.bias));
        let mut biases = bias.chunks_mut(share);
        let outs = vectors.chunks_mut(share * dim);
        let outs: Vec<Out<'_>> = outs.map(|vectors| Out { vectors, bias: biases.next().unwrap_or_default() }).collect();
        let tasks = outs.into_par_iter().enumerate().with_max_len(1);
        // SAFETY: as above.
        let task = |(task, mut out): (usize, Out<'_>)| unsafe { self.slopes(task, &scaled, shares, &mut out) };
        let parts: Vec<Vec<f32>> = tasks.map(task).collect();
        (self.vectors, self.bias) = (vectors, bias);
        let mut toward = vec![0.0f32; dim * self.block.squares() * SQUARE];
        for part in &parts {
            toward.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        let (dim, across) = (self.problem.states.dim(), self.block.squares() * SQUARE);
        (0..self.block.count * dim).map(|place| toward[place % dim * across + place / dim]).collect()
    }

    fn finish(mut self) -> (Vec<f32>, Vec<f32>) {
        let (n, dim, wide) = (self.problem.vectors.len(), self.problem.vectors.dim(), self.block.steps * STEP);
        self.vectors.truncate(if self.gradient { n * wide } else { 0 });
        (narrow(self.vectors, wide, dim), self.bias)
    }
}

/// Rows in pairs, as a right factor: of each 16 values a group for each 32 rows.
///
/// # Safety
/// AVX-512 with bf16 must be available.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn in_pairs(rows: Rows<'_>, steps: usize) -> Vec<Line> {
    let (dim, squares) = (rows.dim(), rows.len().div_ceil(SQUARE));
    let mut lines = vec![Line::ZERO; 2 * steps * squares * GROUP];
    for first in (0..rows.len()).step_by(2) {
        for column in (0..dim).step_by(TILE) {
            let part = |row: usize| match row < rows.len() {
                // SAFETY: `dim` is a multiple of 16.
                true => unsafe { _mm512_loadu_ps(rows.row(row)[column..][..TILE].as_ptr()) },
                false => _mm512_setzero_ps(),
            };
            let place = (column / TILE * squares + first / STEP) * GROUP + first % STEP / 2;
            // SAFETY: the instructions are there.
            [lines[place], lines[place + TILE]] = unsafe { pairs(part(first), part(first + 1)) };
        }
    }
    lines
}
