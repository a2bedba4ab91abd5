//! The pass over blocks of states.

use super::plain::Plain;
#[cfg(target_arch = "x86_64")]
use super::tiled::Tiled;
use super::{Bounds, LEAST, Problem, Softmax};
use crate::error::Result;
use crate::matrix::Rows;
use crate::progress::Progress;
use crate::simd::Isa;

/// What one set of instructions makes of a block of states.
pub(super) trait Products {
    /// States of a block, at most.
    const ROWS: usize;

    /// Takes the states of a block.
    fn load(&mut self, states: Rows<'_>);

    /// `sum_j E[j][r]` for each state of the block, given its `c_r`.
    fn forward(&mut self, reference: &[f32]) -> Vec<f64>;

    /// Adds `sum_r E[j][r] share_r s_r` to the vectors' gradients, and `sum_r E[j][r] share_r` to those of the biases, and
    /// returns `sum_j E[j][r] v_j` (`[rows][dim]`). `E` is that of the last [`forward`]; `scaled` has `share_r s_r`.
    ///
    /// [`forward`]: Products::forward
    fn gradients(&mut self, scaled: Rows<'_>, shares: &[f32]) -> Vec<f32>;

    /// Gradients of vectors (`[n][dim]`) and biases.
    fn finish(self) -> (Vec<f32>, Vec<f32>);
}

/// Log-normalisers of a problem, and with `weights` the gradients of their weighted sum.
pub(super) fn run(problem: Problem<'_>, weights: Option<&[f32]>, isa: Isa, progress: &Progress) -> Result<Softmax> {
    let bounds = Bounds::of(problem);
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Amx && Tiled::suits(problem, weights, &bounds) {
        return blocks(problem, weights, bounds, Tiled::new(problem, weights.is_some(), progress), progress);
    }
    blocks(problem, weights, bounds, Plain::new(problem, weights.is_some(), isa), progress)
}

fn blocks<P: Products>(
    problem: Problem<'_>,
    weights: Option<&[f32]>,
    bounds: Bounds,
    products: P,
    progress: &Progress,
) -> Result<Softmax> {
    let count = problem.states.len();
    let mut found = Softmax { total: Vec::with_capacity(count), ..Softmax::default() };
    if weights.is_some() {
        found.states.reserve(problem.states.data().len());
    }
    let mut pass = Pass { problem, bounds, products, found };
    for first in (0..count).step_by(P::ROWS) {
        let end = (first + P::ROWS).min(count);
        pass.block(problem.states.slice(first, end), weights.map(|weights| &weights[first..end]));
        progress.check()?;
    }
    (pass.found.vectors, pass.found.bias) = pass.products.finish();
    Ok(pass.found)
}

/// Everything that lasts from block to block.
struct Pass<'a, P> {
    problem: Problem<'a>,
    bounds: Bounds,
    products: P,
    found: Softmax,
}

impl<P: Products> Pass<'_, P> {
    /// Adds one block to what is found.
    fn block(&mut self, states: Rows<'_>, weights: Option<&[f32]>) {
        let rows = states.len();
        self.products.load(states);
        let mut reference: Vec<f32> = (0..rows).map(|r| self.bounds.reference(states.row(r))).collect();
        let mut sums = self.products.forward(&reference);
        let lost: Vec<usize> = (0..rows).filter(|&r| sums[r] < LEAST).collect();
        if !lost.is_empty() {
            let greatest = |&r: &usize| (r, self.problem.greatest(states.row(r)));
            let (some, none): (Vec<_>, Vec<_>) = lost.iter().map(greatest).partition(|(_, most)| most.is_finite());
            some.iter().for_each(|&(r, most)| reference[r] = most);
            sums = self.products.forward(&reference);
            none.iter().for_each(|&(r, _)| sums[r] = 0.0);
        }
        self.found.total.extend((0..rows).map(|r| (f64::from(reference[r]) + sums[r].ln()) as f32));
        if let Some(weights) = weights {
            let share = |r: usize| if sums[r] == 0.0 { 0.0 } else { (f64::from(weights[r]) / sums[r]) as f32 };
            let shares: Vec<f32> = (0..rows).map(share).collect();
            let scaled = times(states.data(), &shares);
            let toward = self.products.gradients(Rows::new(&scaled, states.dim()), &shares);
            self.found.states.extend(times(&toward, &shares));
        }
    }
}

/// Rows, each times a number.
fn times(rows: &[f32], by: &[f32]) -> Vec<f32> {
    let dim = rows.len() / by.len();
    rows.chunks_exact(dim).zip(by).flat_map(|(row, by)| row.iter().map(move |value| value * by)).collect()
}
