//! Log-normalisers over a slice of the items for each state, `below_r = log sum_{b_r <= j < e_r} exp z_rj`.
//!
//! States of the same slice are one small problem. Slices of a trie's nodes are disjoint or nested; those that overlap
//! are taken in turn, the others in parallel, each adding to its own vectors.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::{Lanewise, ROWS, ToStates, ToVectors, width};
use super::plain::{CHUNK, add_shares, exponentials};
use super::{Bounds, LEAST, Problem, WIDTH, Wide};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::simd::Isa;

/// States that share a slice, at most [`ROWS`] of them.
struct Group<'a> {
    items: Range<usize>,
    rows: &'a [u32],
}

/// Where gradients are added up.
pub struct Gradients<'a> {
    /// `[P, d]`.
    pub states: &'a mut [f32],
    /// `[n, d]`.
    pub vectors: &'a mut [f32],
    /// `[n]`, where there are biases.
    pub bias: Option<&'a mut [f32]>,
}

/// Log-normalisers `[P]` over the slices `begin[r]..end[r]`; minus infinity over an empty one.
pub fn below(problem: Problem<'_>, begin: &[i64], end: &[i64], isa: Isa, progress: &Progress) -> Result<Vec<f32>> {
    let order = check(problem, begin, end)?;
    let wide = Wide::of(problem, WIDTH, progress)?;
    let padded = wide.problem();
    let groups = groups(&order, begin, end);
    let found: Vec<Vec<f32>> = groups.par_iter().map(|group| group.sums(padded, isa)).collect();
    let mut out = vec![f32::NEG_INFINITY; begin.len()];
    for (group, found) in groups.iter().zip(found) {
        group.rows.iter().zip(found).for_each(|(&row, value)| out[row as usize] = value);
    }
    Ok(out)
}

/// What a loss has for gradients in the log-normalisers of slices.
#[derive(Clone, Copy)]
pub struct Slopes<'a> {
    /// `[P]`, what [`below`] found.
    pub below: &'a [f32],
    /// `[P]`.
    pub weights: &'a [f32],
}

/// Adds the gradients of `sum_r weights_r below_r` to `out`.
pub fn gradients(
    problem: Problem<'_>,
    begin: &[i64],
    end: &[i64],
    slopes: Slopes<'_>,
    isa: Isa,
    progress: &Progress,
    out: Gradients<'_>,
) -> Result<()> {
    let order = check(problem, begin, end)?;
    let dim = problem.states.dim();
    let wide = Wide::of(problem, WIDTH, progress)?;
    let padded = wide.problem();
    let groups = groups(&order, begin, end);
    let regions = regions(&groups);
    let (mut rest, mut at, mut owned) = (out.vectors, 0, Vec::with_capacity(regions.len()));
    for (_, items) in &regions {
        let (own, behind) = rest.split_at_mut((items.end - at) * dim);
        owned.push(&mut own[(items.start - at) * dim..]);
        (rest, at) = (behind, items.end);
    }
    let each = regions.par_iter().zip(owned).map(|((groups, items), vectors)| {
        let bias = vec![0.0; if problem.bias.is_some() { items.len() } else { 0 }];
        let mut region = Region { base: items.start, dim, vectors, bias };
        let states: Vec<Vec<f32>> = groups.iter().map(|group| group.add(padded, slopes, isa, &mut region)).collect();
        (states, region.bias)
    });
    let found: Vec<_> = each.collect();
    let mut to_bias = out.bias;
    for ((groups, items), (states, bias)) in regions.into_iter().zip(found) {
        for (row, slope) in groups.iter().zip(&states).flat_map(|(group, found)| group.each(found, wide.dim)) {
            add(&mut out.states[row * dim..][..dim], slope);
        }
        if let Some(to_bias) = to_bias.as_deref_mut() {
            add(&mut to_bias[items], &bias);
        }
    }
    Ok(())
}

/// Adds values, those there are places for.
fn add(places: &mut [f32], values: &[f32]) {
    places.iter_mut().zip(values).for_each(|(place, value)| *place += value);
}

/// Checks slices; the states that have items, by slice.
fn check(problem: Problem<'_>, begin: &[i64], end: &[i64]) -> Result<Vec<u32>> {
    problem.check()?;
    let (rows, n) = (problem.states.len(), problem.vectors.len() as i64);
    if begin.len() != rows || end.len() != rows {
        return Err(Error::invalid("begin", format!("expected a slice for each of {rows} states")));
    }
    let within = begin.iter().zip(end).all(|(&begin, &end)| begin >= end || (begin >= 0 && end <= n));
    if !within {
        return Err(Error::invalid("begin", format!("expected slices of {n} items")));
    }
    let mut order: Vec<u32> = (0..rows as u32).filter(|&r| begin[r as usize] < end[r as usize]).collect();
    order.sort_by_key(|&r| (begin[r as usize], end[r as usize]));
    Ok(order)
}

fn groups<'a>(order: &'a [u32], begin: &[i64], end: &[i64]) -> Vec<Group<'a>> {
    let slice = |&r: &u32| begin[r as usize] as usize..end[r as usize] as usize;
    let same = order.chunk_by(|a, b| slice(a) == slice(b));
    same.flat_map(|rows| rows.chunks(ROWS)).map(|rows| Group { items: slice(&rows[0]), rows }).collect()
}

/// Runs of groups whose slices overlap, and the items that they cover; the groups are sorted by where they begin.
fn regions<'a, 'b>(groups: &'b [Group<'a>]) -> Vec<(&'b [Group<'a>], Range<usize>)> {
    let (mut out, mut first, mut items): (Vec<_>, _, Option<Range<usize>>) = (Vec::new(), 0, None);
    for (i, group) in groups.iter().enumerate() {
        items = match items {
            Some(items) if group.items.start < items.end => Some(items.start..items.end.max(group.items.end)),
            Some(items) => {
                out.push((&groups[first..i], items));
                first = i;
                Some(group.items.clone())
            }
            None => Some(group.items.clone()),
        };
    }
    out.extend(items.map(|items| (&groups[first..], items)));
    out
}

/// Items whose gradients one task adds up.
struct Region<'a> {
    /// The first.
    base: usize,
    /// Values of a vector.
    dim: usize,
    vectors: &'a mut [f32],
    /// Empty without biases.
    bias: Vec<f32>,
}

impl Region<'_> {
    /// Adds the gradients of the items from `first` on, as long rows of `wide` values.
    fn add(&mut self, first: usize, rows: &[f32], wide: usize) {
        let places = self.vectors[(first - self.base) * self.dim..].chunks_exact_mut(self.dim);
        places.zip(rows.chunks_exact(wide)).for_each(|(place, row)| add(place, row));
    }

    /// Adds those of the biases, given exponentials and what they are multiplied with.
    fn add_bias(&mut self, first: usize, weights: &[f32], shares: &[f32]) {
        if !self.bias.is_empty() {
            add_shares(&mut self.bias[first - self.base..], weights, shares);
        }
    }
}

impl Group<'_> {
    /// Numbers of the states, each with its part of `values`, `[rows][dim]`.
    fn each<'a>(&self, values: &'a [f32], dim: usize) -> impl Iterator<Item = (usize, &'a [f32])> {
        self.rows.iter().map(|&row| row as usize).zip(values.chunks_exact(dim))
    }

    /// Exponentials of all items, chunk by chunk: `each(first, chunk, exponentials)`. Returns their sums.
    fn exponentials(
        &self,
        problem: Problem<'_>,
        isa: Isa,
        states: &[f32],
        reference: &[f32; ROWS],
        mut each: impl FnMut(usize, &[f32], &[f32]),
    ) -> [f32; ROWS] {
        let (lanes, mut sums, width) =
            (Lanewise::pack(states, problem.states.dim()), [0.0; ROWS], width(self.rows.len()));
        let mut buffer = vec![0.0; CHUNK.min(self.items.len()) * width];
        for first in self.items.clone().step_by(CHUNK) {
            let items = first..(first + CHUNK).min(self.items.end);
            let out = &mut buffer[..items.len() * width];
            exponentials(problem, isa, &lanes, items.clone(), reference, out, &mut sums);
            each(first, problem.vectors.slice(items.start, items.end).data(), out);
        }
        sums
    }

    /// Log-normalisers of the states.
    fn sums(&self, problem: Problem<'_>, isa: Isa) -> Vec<f32> {
        let (states, dim) = (problem.states.gather(self.rows), problem.states.dim());
        let vectors = problem.vectors.slice(self.items.start, self.items.end);
        let part = Problem { vectors, bias: problem.bias.map(|bias| &bias[self.items.clone()]), ..problem };
        let mut reference = [0.0; ROWS];
        let bounds = Bounds::of(part);
        reference.iter_mut().zip(states.chunks_exact(dim)).for_each(|(c, state)| *c = bounds.reference(state));
        let mut sums = self.exponentials(problem, isa, &states, &reference, |_, _, _| ());
        let lost: Vec<usize> = (0..self.rows.len()).filter(|&r| f64::from(sums[r]) < LEAST).collect();
        if !lost.is_empty() {
            let greatest = |&r: &usize| (r, part.greatest(&states[r * dim..][..dim]));
            let (some, none): (Vec<_>, Vec<_>) = lost.iter().map(greatest).partition(|(_, most)| most.is_finite());
            some.iter().for_each(|&(r, most)| reference[r] = most);
            sums = self.exponentials(problem, isa, &states, &reference, |_, _, _| ());
            none.iter().for_each(|&(r, _)| sums[r] = 0.0);
        }
        sums.iter().zip(reference).take(self.rows.len()).map(|(sum, c)| c + sum.ln()).collect()
    }

    /// Adds the gradients of this group to those of its region, and returns those of its states, `[rows][dim]`.
    ///
    /// With `c_r` the log-normaliser itself, the exponentials are the probabilities.
    fn add(&self, problem: Problem<'_>, slopes: Slopes<'_>, isa: Isa, region: &mut Region<'_>) -> Vec<f32> {
        let (states, dim, rows) = (problem.states.gather(self.rows), problem.states.dim(), self.rows.len());
        let (mut reference, mut shares, mut scaled) = ([0.0; ROWS], [0.0; ROWS], vec![0.0; rows * dim]);
        let some = self.rows.iter().enumerate().filter(|(_, row)| slopes.below[**row as usize] != f32::NEG_INFINITY);
        for (r, &row) in some {
            (reference[r], shares[r]) = (slopes.below[row as usize], slopes.weights[row as usize]);
            let state = &states[r * dim..][..dim];
            scaled[r * dim..][..dim].iter_mut().zip(state).for_each(|(out, s)| *out = s * shares[r]);
        }
        let (mut to_states, mut to_vectors) = (vec![0.0; rows * dim], vec![0.0; CHUNK * dim]);
        self.exponentials(problem, isa, &states, &reference, |first, vectors, weights| {
            isa.run(ToStates { rows, weights, vectors, dim, out: &mut to_states });
            let out = &mut to_vectors[..vectors.len()];
            out.fill(0.0);
            isa.run(ToVectors { rows, weights, scaled: &scaled, dim, out });
            region.add(first, out, dim);
            region.add_bias(first, weights, &shares[..rows]);
        });
        to_states.chunks_exact_mut(dim).zip(shares).for_each(|(row, share)| row.iter_mut().for_each(|v| *v *= share));
        to_states
    }
}
