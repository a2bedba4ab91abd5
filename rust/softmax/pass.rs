//! The pass over blocks of states.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::kernel::{Exponentials, Lanewise, ROWS, ToStates, ToVectors, width};
use super::{Bounds, LEAST, Problem, Softmax};
use crate::error::Result;
use crate::matrix::Rows;
use crate::progress::Progress;
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

/// Log-normalisers of a problem, and with `weights` the gradients of their weighted sum.
pub(super) fn run(problem: Problem<'_>, weights: Option<&[f32]>, isa: Isa, progress: &Progress) -> Result<Softmax> {
    let mut pass = Pass::new(problem, weights.is_some(), isa);
    for first in (0..problem.states.len()).step_by(ROWS) {
        let end = (first + ROWS).min(problem.states.len());
        pass.block(problem.states.slice(first, end), weights.map(|weights| &weights[first..end]));
        progress.check()?;
    }
    *SPARE.lock().unwrap_or_else(PoisonError::into_inner) = pass.kept;
    Ok(pass.found)
}

/// Everything that lasts from block to block.
struct Pass<'a> {
    problem: Problem<'a>,
    isa: Isa,
    bounds: Bounds,
    /// Items of a task.
    share: usize,
    /// Room for the exponentials of all items, or of a chunk of each task where no gradient is wanted: each task has
    /// `ROWS` numbers for each of its items, and lines of the block's width from there on.
    kept: Vec<f32>,
    gradient: bool,
    found: Softmax,
}

/// What a task adds up.
struct Part {
    sums: [f32; ROWS],
    /// `[rows][dim]`, or empty.
    states: Vec<f32>,
}

impl<'a> Pass<'a> {
    fn new(problem: Problem<'a>, gradient: bool, isa: Isa) -> Self {
        let (n, dim) = (problem.vectors.len(), problem.vectors.dim());
        let share = n.div_ceil(TASKS).next_multiple_of(CHUNK);
        let mut kept = std::mem::take(&mut *SPARE.lock().unwrap_or_else(PoisonError::into_inner));
        kept.resize(ROWS * if gradient { n } else { n.div_ceil(share) * CHUNK }, 0.0);
        let mut found = Softmax { total: Vec::with_capacity(problem.states.len()), ..Softmax::default() };
        if gradient {
            found.states.reserve(problem.states.data().len());
            found.vectors = vec![0.0; n * dim];
            found.bias = vec![0.0; problem.bias.map_or(0, <[f32]>::len)];
        }
        Self { problem, isa, bounds: Bounds::of(problem), share, kept, gradient, found }
    }

    /// Adds one block to what is found.
    fn block(&mut self, states: Rows<'_>, weights: Option<&[f32]>) {
        let rows = states.len();
        let lanes = Lanewise::pack(states.data(), states.dim());
        let mut reference = [0.0; ROWS];
        (0..rows).for_each(|r| reference[r] = self.bounds.reference(states.row(r)));
        let (mut sums, mut parts) = self.forward(&lanes, &reference);
        let lost: Vec<usize> = (0..rows).filter(|&r| sums[r] < LEAST).collect();
        if !lost.is_empty() {
            let greatest = |&r: &usize| (r, self.problem.greatest(states.row(r)));
            let (some, none): (Vec<_>, Vec<_>) = lost.iter().map(greatest).partition(|(_, most)| most.is_finite());
            some.iter().for_each(|&(r, most)| reference[r] = most);
            (sums, parts) = self.forward(&lanes, &reference);
            none.iter().for_each(|&(r, _)| sums[r] = 0.0);
        }
        self.found.total.extend((0..rows).map(|r| (f64::from(reference[r]) + sums[r].ln()) as f32));
        if let Some(weights) = weights {
            let mut shares = [0.0; ROWS];
            (0..rows).filter(|&r| sums[r] != 0.0).for_each(|r| shares[r] = (f64::from(weights[r]) / sums[r]) as f32);
            self.states_of(rows, &parts, &shares);
            self.vectors_of(states, &shares);
        }
    }

    /// Exponentials of all items, their sums over the items, and each task's share of `sum_j E[j][r] v_j`.
    fn forward(&mut self, states: &Lanewise, reference: &[f32; ROWS]) -> ([f64; ROWS], Vec<Part>) {
        let (problem, isa, share, gradient) = (self.problem, self.isa, self.share, self.gradient);
        let (n, dim, rows) = (problem.vectors.len(), problem.vectors.dim(), states.rows);
        let own = if gradient { share } else { CHUNK } * ROWS;
        let tasks = self.kept.par_chunks_mut(own).enumerate().with_max_len(1);
        let task = |(task, kept): (usize, &mut [f32])| {
            let mut part = Part { sums: [0.0; ROWS], states: vec![0.0; if gradient { rows * dim } else { 0 }] };
            for first in (task * share..((task + 1) * share).min(n)).step_by(CHUNK) {
                let items = first..(first + CHUNK).min(n);
                let place = if gradient { (first - task * share) * width(rows) } else { 0 };
                let weights = &mut kept[place..place + items.len() * width(rows)];
                exponentials(problem, isa, states, items.clone(), reference, weights, &mut part.sums);
                if gradient {
                    let vectors = problem.vectors.slice(items.start, items.end).data();
                    isa.run(ToStates { rows, weights, vectors, dim, out: &mut part.states });
                }
            }
            part
        };
        let parts: Vec<Part> = tasks.map(task).collect();
        let mut sums = [0.0; ROWS];
        for part in &parts {
            sums.iter_mut().zip(part.sums).for_each(|(sum, one)| *sum += f64::from(one));
        }
        (sums, parts)
    }

    /// `dL/ds_r` of a block.
    fn states_of(&mut self, rows: usize, parts: &[Part], shares: &[f32; ROWS]) {
        let dim = self.problem.states.dim();
        let mut sum = vec![0.0; rows * dim];
        for part in parts {
            sum.iter_mut().zip(&part.states).for_each(|(sum, value)| *sum += value);
        }
        sum.chunks_exact_mut(dim).zip(shares).for_each(|(row, share)| row.iter_mut().for_each(|v| *v *= share));
        self.found.states.extend(sum);
    }

    /// Adds a block's part of `dL/dv_j` and `dL/db_j`.
    fn vectors_of(&mut self, states: Rows<'_>, shares: &[f32; ROWS]) {
        let (rows, dim, share, isa) = (states.len(), states.dim(), self.share, self.isa);
        let mut scaled = vec![0.0; rows * dim];
        for (r, out) in scaled.chunks_exact_mut(dim).enumerate() {
            out.iter_mut().zip(states.row(r)).for_each(|(out, state)| *out = state * shares[r]);
        }
        let tasks = self.found.vectors.par_chunks_mut(share * dim).zip(self.kept.par_chunks(share * ROWS));
        tasks.with_max_len(1).for_each(|(out, weights)| {
            let weights = &weights[..out.len() / dim * width(rows)];
            isa.run(ToVectors { rows, weights, scaled: &scaled, dim, out });
        });
        let bias = self.found.bias.par_chunks_mut(share).zip(self.kept.par_chunks(share * ROWS));
        bias.with_max_len(1).for_each(|(out, weights)| add_shares(out, weights, &shares[..rows]));
    }
}

/// Adds `sum_r E[j][r] w_r` to `out`.
pub(super) fn add_shares(out: &mut [f32], weights: &[f32], shares: &[f32]) {
    for (out, line) in out.iter_mut().zip(weights.chunks_exact(width(shares.len()))) {
        *out += line.iter().zip(shares).map(|(e, share)| e * share).sum::<f32>();
    }
}
