//! Linear assignment: each row gets its own column at the least total cost, exactly.
//!
//! Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems" (1987),
//! without their column reduction, which would price columns that stay free: with fewer rows than columns, a column
//! without a row must keep price 0. Their row reduction prices only columns that it gives away, and those are never
//! given back, so it may run for as long as it pays. What it leaves goes through shortest augmenting paths (the
//! rectangular form of Crouse, "On implementing 2D rectangular assignment algorithms", 2016). Inner loops run over whole
//! rows of the cost without branches, so that the compiler vectorises them.

use crate::error::Result;
use crate::progress::Progress;

const FREE: u32 = u32::MAX;
/// Reductions for each row, at most; a path costs as much as some hundred of them.
const REDUCTIONS: usize = 16;
/// Values that one step of the vectorised loops handles.
const LANES: usize = 8;

/// Column of each row for a row-major `rows x columns` cost with `rows <= columns`; deterministic.
///
/// # Panics
/// If there are more rows than columns or the length does not fit.
pub fn assign<T: Copy + Into<f64>>(cost: &[T], rows: usize, columns: usize, progress: &Progress) -> Result<Vec<u32>> {
    assert!(rows <= columns && cost.len() == rows * columns, "{rows} rows need as many of {columns} columns");
    if rows == 0 {
        return Ok(Vec::new());
    }
    let mut search = Search::new(cost, rows, columns);
    let free = search.reduce(progress)?;
    for row in free {
        search.augment(row as usize, progress)?;
    }
    Ok(search.column_of)
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

    fn row(&self, row: usize) -> &'a [T] {
        &self.cost[row * self.columns..(row + 1) * self.columns]
    }

    fn give(&mut self, row: usize, column: usize) -> u32 {
        self.column_of[row] = column as u32;
        std::mem::replace(&mut self.row_of[column], row as u32)
    }

    /// Row reduction: a row takes its cheapest column, and the column's price falls until the row's second choice is as
    /// cheap. Whoever held the column looks for another one. Returns the rows that are without a column in the end.
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
fn relax<T: Copy + Into<f64>>(
    cost: &[T],
    price: &[f64],
    base: f64,
    row: u32,
    open: &mut [f64],
    via: &mut [u32],
) -> f64 {
    let mut least = [f64::INFINITY; LANES];
    let mut step = |cost: &[T], price: &[f64], open: &mut [f64], via: &mut [u32]| {
        for j in 0..cost.len() {
            let way = base + cost[j].into() - price[j];
            let shorter = way < open[j];
            open[j] = if shorter { way } else { open[j] };
            via[j] = if shorter { row } else { via[j] };
            least[j] = if open[j] < least[j] { open[j] } else { least[j] };
        }
    };
    let (cost, cost_end) = cost.as_chunks::<LANES>();
    let (price, price_end) = price.as_chunks::<LANES>();
    let (open, open_end) = open.as_chunks_mut::<LANES>();
    let (via, via_end) = via.as_chunks_mut::<LANES>();
    for (((cost, price), open), via) in cost.iter().zip(price).zip(open).zip(via) {
        step(cost, price, open, via);
    }
    step(cost_end, price_end, open_end, via_end);
    least.into_iter().fold(f64::INFINITY, f64::min)
}

/// Cheapest column and its cost less the price, then the same of the second (lowest indices among equals); a lone column
/// is its own second.
fn two_cheapest<T: Copy + Into<f64>>(cost: &[T], price: &[f64], values: &mut [f64]) -> (usize, f64, usize, f64) {
    let (mut least, mut second) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
    let mut step = |cost: &[T], price: &[f64], values: &mut [f64]| {
        for j in 0..cost.len() {
            let value = cost[j].into() - price[j];
            values[j] = value;
            let higher = if value > least[j] { value } else { least[j] };
            second[j] = if higher < second[j] { higher } else { second[j] };
            least[j] = if value < least[j] { value } else { least[j] };
        }
    };
    let (costs, cost_end) = cost.as_chunks::<LANES>();
    let (prices, price_end) = price.as_chunks::<LANES>();
    let (outs, out_end) = values.as_chunks_mut::<LANES>();
    for ((cost, price), out) in costs.iter().zip(prices).zip(outs) {
        step(cost, price, out);
    }
    step(cost_end, price_end, out_end);
    let (mut one, mut two) = (f64::INFINITY, f64::INFINITY);
    for value in least.into_iter().chain(second) {
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

/// First place of a value from `begin` on.
fn position(values: &[f64], value: f64, begin: usize) -> Option<usize> {
    let skip = begin / 16 * 16;
    for (c, chunk) in values[skip..].chunks(16).enumerate() {
        if chunk.iter().fold(false, |any, &v| any | (v == value)) {
            let found = (0..chunk.len()).map(|j| skip + c * 16 + j).find(|&j| j >= begin && values[j] == value);
            if found.is_some() {
                return found;
            }
        }
    }
    None
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
            let found = assign(&cost, rows, columns, &Progress::new()).unwrap();
            let mut sorted = found.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), rows);
            let total: f64 = found.iter().enumerate().map(|(i, &j)| cost[i * columns + j as usize]).sum();
            assert_eq!(total, best_by_force(&cost, rows, columns, 0, &mut vec![false; columns]));
        }
    }

    #[test]
    fn extreme_costs_and_none() {
        assert!(assign::<f64>(&[], 0, usize::MAX, &Progress::new()).unwrap().is_empty());
        let cost = [1e150, -1e150, 1e150, 1e-320, -1e150, 0.0];
        assert_eq!(assign(&cost, 2, 3, &Progress::new()).unwrap(), [1, 2]);
        assert_eq!(assign(&[1e150; 9], 3, 3, &Progress::new()).unwrap().len(), 3);
    }

    #[test]
    fn stops_when_cancelled() {
        let progress = Progress::new();
        progress.cancel();
        assert!(assign(&[1.0, 2.0], 1, 2, &progress).is_err());
    }
}
