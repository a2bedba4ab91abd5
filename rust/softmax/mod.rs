//! Log-normalisers of a softmax over a catalogue, and their gradients, without the matrix of logits.
//!
//! With states `s_r` (`[P, d]`), vectors `v_j` and biases `b_j` of `n` items, and `z_rj = s_r . v_j + b_j`,
//!
//! ```text
//! total_r = log sum_j exp z_rj            p_rj = exp(z_rj - total_r)
//! L = sum_r w_r total_r:   dL/ds_r = w_r sum_j p_rj v_j   dL/dv_j = sum_r w_r p_rj s_r   dL/db_j = sum_r w_r p_rj
//! ```
//!
//! [`catalogue`] takes the states in blocks. With vector registers (`plain`) they are blocks of 128, and a block's
//! exponentials `E[j][r] = exp(z_rj - c_r)` are computed once, chunk by chunk in the cache, and kept until the sums of all
//! rows are known: three products for value and gradients where the plain way (logits, softmax, two products of gradients,
//! logits again) takes four, and several passes over `P x n` numbers. What is kept is 128 numbers an item, whatever `P` is.
//! With the bf16 matrix unit (`tiled`) products are cheap, so that nothing is kept.
//!
//! `c_r` keeps the exponentials in range. No logit is above `B_r = |s_r| max_j |v_j| + max(0, max_j b_j)`, so with
//! `c_r = max(0, B_r - 60)` none overflows, and a sum that comes out too small, as happens only where `B_r` is large and
//! all logits far below it, is computed again with `c_r` the greatest logit.
//!
//! Chunks go to tasks, and tasks are added up, in an order that depends on `n` alone: the same bytes for any number of
//! threads.

#[cfg(target_arch = "x86_64")]
mod chunk;
mod kernel;
mod pass;
mod plain;
pub mod slices;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiled;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::matrix::{self, Rows};
use crate::progress::Progress;
use crate::simd::Isa;
use pass::run;

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

    /// The greatest logit of a state; minus infinity if the biases leave no item.
    fn greatest(&self, state: &[f32]) -> f32 {
        let dot = |j| state.iter().zip(self.vectors.row(j)).map(|(s, v)| s * v).sum::<f32>();
        (0..self.vectors.len())
            .map(|j| dot(j) + self.bias.map_or(0.0, |bias| bias[j]))
            .fold(f32::NEG_INFINITY, f32::max)
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
    let wide = Wide::of(problem, WIDTH, progress)?;
    Ok(run(wide.problem(), weights, isa, progress)?.narrow(wide.dim, dim))
}

/// A problem whose rows are padded with zeros to a multiple of some width; copied only where they are not.
struct Wide<'a> {
    given: Problem<'a>,
    dim: usize,
    /// States and vectors.
    copies: Option<(Vec<f32>, Vec<f32>)>,
}

impl<'a> Wide<'a> {
    fn of(given: Problem<'a>, width: usize, progress: &Progress) -> Result<Self> {
        let (dim, wide) = (given.states.dim(), given.states.dim().next_multiple_of(width));
        let copy = |rows: Rows<'_>| {
            matrix::build(rows.len(), wide, progress, |i, out| out[..dim].copy_from_slice(rows.row(i)))
        };
        let copies = (dim != wide).then(|| Ok((copy(given.states)?, copy(given.vectors)?))).transpose()?;
        Ok(Self { given, dim: wide, copies })
    }

    fn problem(&self) -> Problem<'_> {
        match &self.copies {
            None => self.given,
            Some((states, vectors)) => Problem {
                states: Rows::new(states, self.dim),
                vectors: Rows::new(vectors, self.dim),
                bias: self.given.bias,
            },
        }
    }
}

impl Softmax {
    /// Gradients without the zeros that rows of `wide` values end with.
    fn narrow(mut self, wide: usize, dim: usize) -> Self {
        self.states = narrow(self.states, wide, dim);
        self.vectors = narrow(self.vectors, wide, dim);
        self
    }
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

    /// The greatest length of a state times that of a vector; NaN if a state has one.
    fn product(&self, states: Rows<'_>) -> f32 {
        let lengths = (0..states.len()).map(|r| matrix::length(states.row(r)) as f32);
        lengths.fold(0.0f32, |most, length| if length <= most { most } else { length }) * self.longest
    }

    /// `c_r`.
    fn reference(&self, state: &[f32]) -> f32 {
        (matrix::length(state) as f32 * self.longest + self.highest - HEADROOM).max(0.0)
    }
}
