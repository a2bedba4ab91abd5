//! Linear assignment: each row gets its own column at the least total cost, exactly.
//!
//! Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems" (1987),
//! without their column reduction, which would price columns that stay free: with fewer rows than columns, a column
//! without a row must keep price 0. Their row reduction prices only columns that it gives away, and those are never
//! given back, so it may run for as long as it pays. What it leaves goes through shortest augmenting paths (the
//! rectangular form of Crouse, "On implementing 2D rectangular assignment algorithms", 2016). Inner loops run over whole
//! rows of the cost without branches, so that the compiler vectorises them; every instruction set computes the same.

use crate::error::Result;
use crate::progress::Progress;
use crate::simd::arrays::{LANES, larger, least, position, smaller};
use crate::simd::lanes::Lanes;
use crate::simd::{Isa, Job};

const FREE: u32 = u32::MAX;
/// Reductions for each row, at most; a path costs as much as some hundred of them.
const REDUCTIONS: usize = 16;

/// Column of each row for a row-major `rows x columns` cost with `rows <= columns`; deterministic.
///
/// # Panics
/// If there are more rows than columns or the length does not fit.
pub fn assign<T: Copy + Into<f64>>(
    cost: &[T],
    rows: usize,
    columns: usize,
    isa: Isa,
    progress: &Progress,
) -> Result<Vec<u32>> {
    assert!(rows <= columns && cost.len() == rows * columns, "{rows} rows need as many of {columns} columns");
    if rows == 0 {
        return Ok(Vec::new());
    }
    isa.run(Assign { search: Search::new(cost, rows, columns), progress })
}

struct Assign<'a, T> {
    search: Search<'a, T>,
    progress: &'a Progress,
}

impl<T: Copy + Into<f64>> Job for Assign<'_, T> {
    type Output = Result<Vec<u32>>;

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(mut self) -> Result<Vec<u32>> {
        let free = self.search.reduce(self.progress)?;
        for row in free {
            self.search.augment(row as usize, self.progress)?;
        }
        Ok(self.search.column_of)
    }
}

struct Search<'a, T> {
    cost: &'a [T],
    columns: usize,
    /// Price of each column; 0 while it is free, never above.
    price: Vec<f64>,
    column_of: Vec<u32>,
    row_of: Vec<u32>,
}

impl<'a, T: Copy + Into<f64>> Search<'a, T> {
    fn new(cost: &'a [T], rows: usize, columns: usize) -> Self {
        let (price, column_of, row_of) = (vec![0.0; columns], vec![FREE; rows], vec![FREE; columns]);
        Self { cost, columns, price, column_of, row_of }
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &'a [T] {
        &self.cost[row * self.columns..(row + 1) * self.columns]
    }

    #[inline(always)]
    fn give(&mut self, row: usize, column: usize) -> u32 {
        self.column_of[row] = column as u32;
        std::mem::replace(&mut self.row_of[column], row as u32)
    }

    /// Row reduction: a row takes its cheapest column, and the column's price falls until the row's second choice is as
    /// cheap. Whoever held the column looks for another one. Returns the rows that are without a column in the end.
    #[inline(always)]
    fn reduce(&mut self, progress: &Progress) -> Result<Vec<u32>> {
        let rows = self.column_of.len();
        let mut waiting: Vec<u32> = (0..rows as u32).rev().collect();
        let mut later = Vec::new();
        let mut values = vec![0.0; self.columns];
        for _ in 0..REDUCTIONS * rows {
            let Some(row) = waiting.pop() else {
                if later.is_empty() {
                    break;
                }
                std::mem::swap(&mut waiting, &mut later);
                continue;
            };
            progress.check()?;
            let (mut column, least, other, second) = two_cheapest(self.row(row as usize), &self.price, &mut values);
            let strictly = least < second;
            if strictly {
                self.price[column] -= second - least;
            } else if self.row_of[column] != FREE {
                column = other;
            }
            let held = self.give(row as usize, column);
            if held != FREE {
                self.column_of[held as usize] = FREE;
                if strictly { waiting.push(held) } else { later.push(held) }
            }
        }
        let mut free: Vec<u32> = waiting.into_iter().chain(later).collect();
        free.sort_unstable();
        Ok(free)
    }

    /// Dijkstra over reduced costs from a free row to the nearest free column, then prices and the path are updated.
    #[inline(always)]
    fn augment(&mut self, start: usize, progress: &Progress) -> Result<()> {
        let mut open = vec![f64::INFINITY; self.columns];
        let mut price = self.price.clone();
        let mut via = vec![FREE; self.columns];
        let mut done: Vec<(u32, f64)> = Vec::new();
        let (mut row, mut base) = (start, 0.0);
        let (sink, reached) = loop {
            progress.check()?;
            let reached = relax(self.row(row), &price, base, row as u32, &mut open, &mut via);
            let column = self.nearest(&open, reached);
            if self.row_of[column] == FREE {
                break (column, reached);
            }
            // A column that is done is never reached again, even where rounding would make the way shorter.
            (open[column], price[column]) = (f64::INFINITY, f64::NEG_INFINITY);
            done.push((column as u32, reached));
            row = self.row_of[column] as usize;
            base = reached - (self.row(row)[column].into() - self.price[column]);
        };
        for (column, distance) in done {
            self.price[column as usize] += distance - reached;
        }
        let mut column = sink;
        loop {
            let row = via[column] as usize;
            let previous = self.column_of[row];
            self.give(row, column);
            if row == start {
                return Ok(());
            }
            column = previous as usize;
        }
    }

    /// The first column at distance `reached`; a free one before all others because it ends the search.
    #[inline(always)]
    fn nearest(&self, open: &[f64], reached: f64) -> usize {
        let first = position(open, reached, 0).expect("the least distance is the distance of a column");
        let mut next = Some(first);
        while let Some(column) = next {
            if self.row_of[column] == FREE {
                return column;
            }
            next = position(open, reached, column + 1);
        }
        first
    }
}

/// Offers every open column the way through a row; returns the least distance.
#[inline(always)]
fn relax<T: Copy + Into<f64>>(
    cost: &[T],
    price: &[f64],
    base: f64,
    row: u32,
    open: &mut [f64],
    via: &mut [u32],
) -> f64 {
    let (cost, cost_end) = cost.as_chunks::<LANES>();
    let (price, price_end) = price.as_chunks::<LANES>();
    let (open, open_end) = open.as_chunks_mut::<LANES>();
    let (via, via_end) = via.as_chunks_mut::<LANES>();
    let mut nearest = [f64::INFINITY; LANES];
    for (((cost, price), open), via) in cost.iter().zip(price).zip(open).zip(via) {
        nearest = smaller(offer(cost, price, base, row, open, via), nearest);
    }
    let mut last = least(nearest);
    for (((&cost, &price), open), via) in cost_end.iter().zip(price_end).zip(open_end).zip(via_end) {
        let (open, via) = (std::array::from_mut(open), std::array::from_mut(via));
        last = last.min(offer(&[cost], &[price], base, row, open, via)[0]);
    }
    last
}

/// Offers some columns the way; returns their distances.
#[inline(always)]
fn offer<T: Copy + Into<f64>, const N: usize>(
    cost: &[T; N],
    price: &[f64; N],
    base: f64,
    row: u32,
    open: &mut [f64; N],
    via: &mut [u32; N],
) -> [f64; N] {
    let (before, held) = (*open, *via);
    let way: [f64; N] = std::array::from_fn(|j| base + cost[j].into() - price[j]);
    *via = std::array::from_fn(|j| if way[j] < before[j] { row } else { held[j] });
    *open = smaller(way, before);
    *open
}

/// Cheapest column and its cost less the price, then the same of the second (lowest indices among equals); a lone column
/// is its own second.
#[inline(always)]
fn two_cheapest<T: Copy + Into<f64>>(cost: &[T], price: &[f64], values: &mut [f64]) -> (usize, f64, usize, f64) {
    let (mut least, mut second) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
    let (costs, cost_end) = cost.as_chunks::<LANES>();
    let (prices, price_end) = price.as_chunks::<LANES>();
    let (outs, out_end) = values.as_chunks_mut::<LANES>();
    for ((cost, price), out) in costs.iter().zip(prices).zip(outs) {
        let value = std::array::from_fn(|j| cost[j].into() - price[j]);
        second = smaller(larger(value, least), second);
        least = smaller(value, least);
        *out = value;
    }
    for ((&cost, price), out) in cost_end.iter().zip(price_end).zip(out_end.iter_mut()) {
        *out = cost.into() - price;
    }
    let (mut one, mut two) = (f64::INFINITY, f64::INFINITY);
    for value in least.into_iter().chain(second).chain(out_end.iter().copied()) {
        if value < one {
            (one, two) = (value, one);
        } else if value < two {
            two = value;
        }
    }
    let column = position(values, one, 0).expect("the least cost is the cost of a column");
    let other = if two == one { position(values, two, column + 1) } else { position(values, two, 0) };
    match other {
        Some(other) => (column, one, other, two),
        None => (column, one, column, one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn best_by_force(cost: &[f64], rows: usize, columns: usize, row: usize, used: &mut Vec<bool>) -> f64 {
        if row == rows {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for j in 0..columns {
            if !used[j] {
                used[j] = true;
                best = best.min(cost[row * columns + j] + best_by_force(cost, rows, columns, row + 1, used));
                used[j] = false;
            }
        }
        best
    }

    #[test]
    fn equals_brute_force() {
        let mut rng = Rng::new(0, 0, 0);
        for trial in 0..200 {
            let (rows, columns) = (1 + trial % 5, 5 + trial % 2);
            let cost: Vec<f64> = (0..rows * columns).map(|_| rng.below(6) as f64 - 2.0).collect();
            let found = assign(&cost, rows, columns, Isa::Portable, &Progress::new()).unwrap();
            let mut sorted = found.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), rows);
            let total: f64 = found.iter().enumerate().map(|(i, &j)| cost[i * columns + j as usize]).sum();
            assert_eq!(total, best_by_force(&cost, rows, columns, 0, &mut vec![false; columns]));
        }
    }

    #[test]
    fn every_instruction_set_assigns_the_same() {
        let mut rng = Rng::new(1, 0, 0);
        for (rows, columns) in [(1, 1), (7, 7), (8, 8), (30, 31), (64, 64), (70, 133)] {
            let cost: Vec<f32> = (0..rows * columns).map(|_| rng.below(40) as f32 / 7.0 - 2.0).collect();
            let on = |isa| assign(&cost, rows, columns, isa, &Progress::new()).unwrap();
            let plain = on(Isa::Portable);
            Isa::available().into_iter().for_each(|isa| assert_eq!(on(isa), plain, "{isa:?}, {rows} x {columns}"));
        }
    }

    #[test]
    fn extreme_costs_and_none() {
        assert!(assign::<f64>(&[], 0, usize::MAX, Isa::Portable, &Progress::new()).unwrap().is_empty());
        let cost = [1e150, -1e150, 1e150, 1e-320, -1e150, 0.0];
        assert_eq!(assign(&cost, 2, 3, Isa::Portable, &Progress::new()).unwrap(), [1, 2]);
        assert_eq!(assign(&[1e150; 9], 3, 3, Isa::Portable, &Progress::new()).unwrap().len(), 3);
    }

    #[test]
    fn stops_when_cancelled() {
        let progress = Progress::new();
        progress.cancel();
        assert!(assign(&[1.0, 2.0], 1, 2, Isa::Portable, &progress).is_err());
    }
}
