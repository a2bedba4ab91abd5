//! Log-normalisers of a softmax over a catalogue, and their gradients, without the matrix of logits.
//!
//! With states `s_r` (`[P, d]`), vectors `v_j` and biases `b_j` of `n` items, and `z_rj = s_r . v_j + b_j`,
//!
//! ```text
//! total_r = log sum_j exp z_rj            p_rj = exp(z_rj - total_r)
//! L = sum_r w_r total_r:   dL/ds_r = w_r sum_j p_rj v_j   dL/dv_j = sum_r w_r p_rj s_r   dL/db_j = sum_r w_r p_rj
//! ```
//!
//! [`catalogue`] takes the states in blocks of 64. A block's exponentials `E[j][r] = exp(z_rj - c_r)` are computed once,
//! chunk by chunk in the cache, and kept until the sums of all rows are known: three products for value and gradients
//! where the plain way (logits, softmax, two products of gradients, logits again) takes four, and several passes over
//! `P x n` numbers. What is kept is 64 numbers an item, whatever `P` is.
//!
//! `c_r` keeps the exponentials in range. No logit is above `B_r = |s_r| max_j |v_j| + max(0, max_j b_j)`, so with
//! `c_r = max(0, B_r - 60)` none overflows, and a sum that comes out too small, as happens only where `B_r` is large and
//! all logits far below it, is computed again with `c_r` the greatest logit.
//!
//! Chunks go to tasks, and tasks are added up, in an order that depends on `n` alone: the same bytes for any number of
//! threads.

mod kernel;
pub mod slices;

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::matrix::{self, Rows};
use crate::progress::Progress;
use crate::simd::Isa;
use kernel::{Exponentials, Lanewise, ROWS, ToStates, ToVectors};

/// Items whose exponentials are computed and used while they are in the cache; a multiple of the tile heights 4 and 6.
const CHUNK: usize = 120;
/// Tasks of a pass over the items, each with sums of its own.
const TASKS: usize = 32;
/// Logits up to this above `c_r` cannot overflow, not even a sum over all items that memory holds.
const HEADROOM: f32 = 60.0;
/// A sum below this has lost digits.
const LEAST: f64 = 1e-30;
/// Values in a row are padded to a multiple of this: whole registers of every instruction set.
const WIDTH: usize = 16;

/// What is asked for: states, and the items that they are normalised over.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// `[P, d]`.
    pub states: Rows<'a>,
    /// `[n, d]`.
    pub vectors: Rows<'a>,
    /// `[n]`, added to the logits; minus infinity leaves an item out.
    pub bias: Option<&'a [f32]>,
}

impl Problem<'_> {
    /// Fails where shapes do not fit.
    pub(super) fn check(&self) -> Result<()> {
        if self.states.dim() != self.vectors.dim() {
            let message = format!("expected rows of {} values, got {}", self.states.dim(), self.vectors.dim());
            return Err(Error::invalid("vectors", message));
        }
        match self.bias {
            Some(bias) if bias.len() != self.vectors.len() => {
                let message = format!("expected one for each of {} vectors, got {}", self.vectors.len(), bias.len());
                Err(Error::invalid("bias", message))
            }
            _ => Ok(()),
        }
    }

    /// The greatest logit of a state.
    fn greatest(&self, state: &[f32]) -> f32 {
        let dot = |j| state.iter().zip(self.vectors.row(j)).map(|(s, v)| s * v).sum::<f32>();
        (0..self.vectors.len()).map(|j| dot(j) + self.bias.map_or(0.0, |bias| bias[j])).fold(f32::MIN, f32::max)
    }
}

/// Log-normalisers and, where they were asked for, the gradients of their weighted sum.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Softmax {
    /// `[P]`.
    pub total: Vec<f32>,
    /// `[P, d]`, or empty.
    pub states: Vec<f32>,
    /// `[n, d]`, or empty.
    pub vectors: Vec<f32>,
    /// `[n]`, or empty.
    pub bias: Vec<f32>,
}

/// Log-normalisers over all items, and with `weights` (`[P]`) the gradients of their weighted sum.
pub fn catalogue(problem: Problem<'_>, weights: Option<&[f32]>, isa: Isa, progress: &Progress) -> Result<Softmax> {
    problem.check()?;
    let (rows, dim) = (problem.states.len(), problem.states.dim());
    if weights.is_some_and(|weights| weights.len() != rows) {
        return Err(Error::invalid("weights", format!("expected one for each of {rows} states")));
    }
    let (states, vectors) = (padded(problem.states, progress)?, padded(problem.vectors, progress)?);
    let wide = Problem { states: states.view(dim), vectors: vectors.view(dim), bias: problem.bias };
    let mut pass = Pass::new(wide, weights.is_some(), isa);
    for first in (0..rows).step_by(ROWS) {
        let end = (first + ROWS).min(rows);
        pass.block(wide.states.slice(first, end), weights.map(|weights| &weights[first..end]));
        progress.check()?;
    }
    let mut found = pass.found;
    found.states = narrow(found.states, wide.states.dim(), dim);
    found.vectors = narrow(found.vectors, wide.states.dim(), dim);
    Ok(found)
}

/// Rows whose length is a multiple of [`WIDTH`]: the given ones, or a copy with zeros at the end of each.
enum Padded<'a> {
    Given(Rows<'a>),
    Copy(Vec<f32>),
}

impl Padded<'_> {
    fn view(&self, dim: usize) -> Rows<'_> {
        match self {
            Padded::Given(rows) => *rows,
            Padded::Copy(values) => Rows::new(values, dim.next_multiple_of(WIDTH)),
        }
    }
}

fn padded<'a>(rows: Rows<'a>, progress: &Progress) -> Result<Padded<'a>> {
    let dim = rows.dim();
    if dim.is_multiple_of(WIDTH) {
        return Ok(Padded::Given(rows));
    }
    let wide = dim.next_multiple_of(WIDTH);
    matrix::build(rows.len(), wide, progress, |i, out| out[..dim].copy_from_slice(rows.row(i))).map(Padded::Copy)
}

fn narrow(values: Vec<f32>, wide: usize, dim: usize) -> Vec<f32> {
    if wide == dim { values } else { values.chunks_exact(wide).flat_map(|row| &row[..dim]).copied().collect() }
}

/// No logit of a state is above its length times the length of the longest vector, and the greatest bias.
struct Bounds {
    longest: f32,
    highest: f32,
}

impl Bounds {
    fn of(problem: Problem<'_>) -> Self {
        let lengths = problem.vectors.data().par_chunks_exact(problem.vectors.dim()).with_min_len(1024);
        let longest = lengths.map(|row| matrix::length(row) as f32).reduce(|| 0.0, f32::max);
        Self { longest, highest: problem.bias.map_or(0.0, |bias| bias.iter().fold(0.0f32, |most, &b| most.max(b))) }
    }

    /// `c_r`.
    fn reference(&self, state: &[f32]) -> f32 {
        (matrix::length(state) as f32 * self.longest + self.highest - HEADROOM).max(0.0)
    }
}

/// `E` of some items in `out`, its sums over them added to `sums`.
fn exponentials(
    problem: Problem<'_>,
    states: &Lanewise,
    items: Range<usize>,
    reference: &[f32; ROWS],
    out: &mut [f32],
    sums: &mut [f32; ROWS],
    isa: Isa,
) {
    let (dim, vectors) = (problem.vectors.dim(), problem.vectors.slice(items.start, items.end).data());
    let bias = problem.bias.map(|bias| &bias[items]);
    isa.run(Exponentials { states, vectors, dim, bias, reference, out, sums });
}

/// Everything that lasts from block to block.
struct Pass<'a> {
    problem: Problem<'a>,
    isa: Isa,
    /// Items of a task.
    share: usize,
    bounds: Bounds,
    /// `E`, `[n][ROWS]`, or of a chunk of each task where no gradient is wanted.
    kept: Vec<f32>,
    gradient: bool,
    found: Softmax,
}

/// What a task adds up.
struct Part {
    sums: [f32; ROWS],
    /// `[ROWS][dim]`, or empty.
    states: Vec<f32>,
}

impl<'a> Pass<'a> {
    fn new(problem: Problem<'a>, gradient: bool, isa: Isa) -> Self {
        let (n, dim) = (problem.vectors.len(), problem.vectors.dim());
        let share = n.div_ceil(TASKS).next_multiple_of(CHUNK);
        let kept = vec![0.0; if gradient { n * ROWS } else { n.div_ceil(share) * CHUNK * ROWS }];
        let mut found = Softmax { total: Vec::with_capacity(problem.states.len()), ..Softmax::default() };
        if gradient {
            found.states.reserve(problem.states.len() * dim);
            found.vectors = vec![0.0; n * dim];
            found.bias = vec![0.0; if problem.bias.is_some() { n } else { 0 }];
        }
        Self { problem, isa, share, bounds: Bounds::of(problem), kept, gradient, found }
    }

    /// Adds one block to what is found.
    fn block(&mut self, states: Rows<'_>, weights: Option<&[f32]>) {
        let (rows, dim) = (states.len(), states.dim());
        let lanes = Lanewise::pack(states.data(), dim);
        let mut reference = [0.0; ROWS];
        (0..rows).for_each(|r| reference[r] = self.bounds.reference(states.row(r)));
        let (mut sums, mut parts) = self.forward(&lanes, &reference);
        let lost: Vec<usize> = (0..rows).filter(|&r| sums[r] < LEAST).collect();
        if !lost.is_empty() {
            lost.iter().for_each(|&r| reference[r] = self.problem.greatest(states.row(r)));
            (sums, parts) = self.forward(&lanes, &reference);
        }
        self.found.total.extend((0..rows).map(|r| (f64::from(reference[r]) + sums[r].ln()) as f32));
        if let Some(weights) = weights {
            let mut shares = [0.0; ROWS];
            (0..rows).for_each(|r| shares[r] = (f64::from(weights[r]) / sums[r]) as f32);
            self.states_of(rows, &parts, &shares);
            self.vectors_of(states, &shares);
        }
    }

    /// Exponentials of all items, their sums over the items, and each task's share of `sum_j E[j][r] v_j`.
    fn forward(&mut self, lanes: &Lanewise, reference: &[f32; ROWS]) -> ([f64; ROWS], Vec<Part>) {
        let (problem, isa, share, gradient) = (self.problem, self.isa, self.share, self.gradient);
        let (vectors, dim) = (problem.vectors, problem.vectors.dim());
        let own = if gradient { share } else { CHUNK } * ROWS;
        let tasks = self.kept.par_chunks_mut(own).enumerate().with_max_len(1);
        let task = |(task, kept): (usize, &mut [f32])| {
            let mut part = Part { sums: [0.0; ROWS], states: vec![0.0; if gradient { ROWS * dim } else { 0 }] };
            let end = ((task + 1) * share).min(vectors.len());
            for first in (task * share..end).step_by(CHUNK) {
                let items = first..(first + CHUNK).min(end);
                let place = if gradient { (first - task * share) * ROWS } else { 0 };
                let weights = &mut kept[place..place + items.len() * ROWS];
                exponentials(problem, lanes, items.clone(), reference, weights, &mut part.sums, isa);
                if gradient {
                    let vectors = vectors.slice(items.start, items.end).data();
                    isa.run(ToStates { rows: lanes.rows, weights, vectors, dim, out: &mut part.states });
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
        for r in 0..rows {
            for k in 0..dim {
                let sum: f32 = parts.iter().map(|part| part.states[r * dim + k]).sum();
                self.found.states.push(sum * shares[r]);
            }
        }
    }

    /// Adds a block's part of `dL/dv_j` and `dL/db_j`.
    fn vectors_of(&mut self, states: Rows<'_>, shares: &[f32; ROWS]) {
        let (rows, dim, share, isa) = (states.len(), states.dim(), self.share, self.isa);
        let mut scaled = vec![0.0; ROWS * dim];
        for (r, out) in scaled.chunks_exact_mut(dim).take(rows).enumerate() {
            out.iter_mut().zip(states.row(r)).for_each(|(out, state)| *out = state * shares[r]);
        }
        let tasks = self.found.vectors.par_chunks_mut(share * dim).zip(self.kept.par_chunks(share * ROWS));
        tasks.with_max_len(1).for_each(|(out, weights)| {
            isa.run(ToVectors { rows, weights, scaled: &scaled, dim, out });
        });
        let bias = self.found.bias.par_chunks_mut(share).zip(self.kept.par_chunks(share * ROWS));
        bias.with_max_len(1).for_each(|(out, weights)| {
            for (out, line) in out.iter_mut().zip(weights.chunks_exact(ROWS)) {
                *out += line[..rows].iter().zip(shares).map(|(e, share)| e * share).sum::<f32>();
            }
        });
    }
}
