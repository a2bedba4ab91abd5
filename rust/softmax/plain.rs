//! The products of a block in `f32`, by the vector registers of any instruction set.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::Problem;
use super::kernel::{Exponentials, Lanewise, ROWS, ToStates, ToVectors, width};
use super::pass::Products;
use crate::matrix::Rows;
use crate::simd::Isa;

/// Items whose exponentials are computed and used while they are in the cache; a multiple of the tile heights 4 and 6.
pub(super) const CHUNK: usize = 120;
/// Tasks of a pass over the items, each with sums of its own.
const TASKS: usize = 32;
/// Where the exponentials of the last call lay: memory that the system would have to clear for each.
static SPARE: Mutex<Vec<f32>> = Mutex::new(Vec::new());

/// `E` of some items in `out`, its sums over them added to `sums`.
pub(super) fn exponentials(
    problem: Problem<'_>,
    isa: Isa,
    states: &Lanewise,
    items: Range<usize>,
    reference: &[f32; ROWS],
    out: &mut [f32],
    sums: &mut [f32; ROWS],
) {
    let (dim, vectors) = (problem.vectors.dim(), problem.vectors.slice(items.start, items.end).data());
    let bias = problem.bias.map(|bias| &bias[items]);
    isa.run(Exponentials { states, vectors, dim, bias, reference, out, sums });
}

pub(super) struct Plain<'a> {
    problem: Problem<'a>,
    isa: Isa,
    /// Items of a task.
    share: usize,
    /// Room for the exponentials of all items, or of a chunk of each task where no gradient is wanted: each task has
    /// `ROWS` numbers for each of its items, and lines of the block's width from there on.
    kept: Vec<f32>,
    gradient: bool,
    states: Lanewise,
    /// `sum_j E[j][r] v_j` of the block.
    toward: Vec<f32>,
    vectors: Vec<f32>,
    bias: Vec<f32>,
}

/// What a task adds up.
struct Part {
    sums: [f32; ROWS],
    /// `[rows][dim]`, or empty.
    states: Vec<f32>,
}

impl<'a> Plain<'a> {
    pub fn new(problem: Problem<'a>, gradient: bool, isa: Isa) -> Self {
        let (n, dim) = (problem.vectors.len(), problem.vectors.dim());
        let share = n.div_ceil(TASKS).next_multiple_of(CHUNK);
        let mut kept = std::mem::take(&mut *SPARE.lock().unwrap_or_else(PoisonError::into_inner));
        kept.resize(ROWS * if gradient { n } else { n.div_ceil(share) * CHUNK }, 0.0);
        let vectors = vec![0.0; if gradient { n * dim } else { 0 }];
        let bias = vec![0.0; if gradient { problem.bias.map_or(0, <[f32]>::len) } else { 0 }];
        Self { problem, isa, share, kept, gradient, states: Lanewise::default(), toward: Vec::new(), vectors, bias }
    }

    /// Exponentials of a task's items, their sums over the items, and its share of `sum_j E[j][r] v_j`.
    fn task(&self, task: usize, kept: &mut [f32], reference: &[f32; ROWS]) -> Part {
        let (problem, isa, share, rows) = (self.problem, self.isa, self.share, self.states.rows);
        let (n, dim) = (problem.vectors.len(), problem.vectors.dim());
        let mut part = Part { sums: [0.0; ROWS], states: vec![0.0; if self.gradient { rows * dim } else { 0 }] };
        for first in (task * share..((task + 1) * share).min(n)).step_by(CHUNK) {
            let items = first..(first + CHUNK).min(n);
            let place = if self.gradient { (first - task * share) * width(rows) } else { 0 };
            let weights = &mut kept[place..place + items.len() * width(rows)];
            exponentials(problem, isa, &self.states, items.clone(), reference, weights, &mut part.sums);
            if self.gradient {
                let vectors = problem.vectors.slice(items.start, items.end).data();
                isa.run(ToStates { rows, weights, vectors, dim, out: &mut part.states });
            }
        }
        part
    }
}

impl Products for Plain<'_> {
    const ROWS: usize = ROWS;

    fn load(&mut self, states: Rows<'_>) {
        self.states = Lanewise::pack(states.data(), states.dim());
    }

    fn forward(&mut self, reference: &[f32]) -> Vec<f64> {
        let mut padded = [0.0; ROWS];
        padded[..reference.len()].copy_from_slice(reference);
        let own = if self.gradient { self.share } else { CHUNK } * ROWS;
        let mut kept = std::mem::take(&mut self.kept);
        let tasks = kept.par_chunks_mut(own).enumerate().with_max_len(1);
        let parts: Vec<Part> = tasks.map(|(task, kept)| self.task(task, kept, &padded)).collect();
        self.kept = kept;
        let (mut sums, mut toward) = (
            vec![0.0; self.states.rows],
            vec![0.0; if self.gradient { self.states.rows * self.problem.states.dim() } else { 0 }],
        );
        for part in &parts {
            sums.iter_mut().zip(part.sums).for_each(|(sum, one)| *sum += f64::from(one));
            toward.iter_mut().zip(&part.states).for_each(|(sum, value)| *sum += value);
        }
        self.toward = toward;
        sums
    }

    fn gradients(&mut self, scaled: Rows<'_>, shares: &[f32]) -> Vec<f32> {
        let (rows, dim, share, isa) = (scaled.len(), scaled.dim(), self.share, self.isa);
        let tasks = self.vectors.par_chunks_mut(share * dim).zip(self.kept.par_chunks(share * ROWS));
        tasks.with_max_len(1).for_each(|(out, weights)| {
            let weights = &weights[..out.len() / dim * width(rows)];
            isa.run(ToVectors { rows, weights, scaled: scaled.data(), dim, out });
        });
        let bias = self.bias.par_chunks_mut(share).zip(self.kept.par_chunks(share * ROWS));
        bias.with_max_len(1).for_each(|(out, weights)| add_shares(out, weights, shares));
        std::mem::take(&mut self.toward)
    }

    fn finish(self) -> (Vec<f32>, Vec<f32>) {
        *SPARE.lock().unwrap_or_else(PoisonError::into_inner) = self.kept;
        (self.vectors, self.bias)
    }
}

/// Adds `sum_r E[j][r] w_r` to `out`.
pub(super) fn add_shares(out: &mut [f32], weights: &[f32], shares: &[f32]) {
    for (out, line) in out.iter_mut().zip(weights.chunks_exact(width(shares.len()))) {
        *out += line.iter().zip(shares).map(|(e, share)| e * share).sum::<f32>();
    }
}
