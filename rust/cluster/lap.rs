//! Linear assignment: each row gets its own column at the least total cost, exactly.
//!
//! Shortest augmenting paths over reduced costs (Jonker and Volgenant 1987; the rectangular form of Crouse, "On
//! implementing 2D rectangular assignment algorithms", 2016). Rows whose cheapest column is free take it first: with
//! row prices `u_i = min_j c_ij` and column prices 0 those edges are tight, so the optimality conditions hold from the
//! start and only the other rows need a search.

const FREE: u32 = u32::MAX;

/// Column of each row for a row-major `rows x columns` cost with `rows <= columns`; deterministic.
///
/// # Panics
/// If there are more rows than columns or the length does not fit.
pub fn assign(cost: &[f64], rows: usize, columns: usize) -> Vec<u32> {
    assert!(rows <= columns && cost.len() == rows * columns, "{rows} rows need as many of {columns} columns");
    let mut search = Search::new(cost, rows, columns);
    for row in 0..rows {
        let (column, price) = cheapest(&cost[row * columns..(row + 1) * columns]);
        search.u[row] = price;
        if search.row_of[column] == FREE {
            search.row_of[column] = row as u32;
            search.column_of[row] = column as u32;
        }
    }
    for row in 0..rows {
        if search.column_of[row] == FREE {
            search.augment(row);
        }
    }
    search.column_of
}

fn cheapest(costs: &[f64]) -> (usize, f64) {
    let mut best = (0, costs[0]);
    for (j, &c) in costs.iter().enumerate() {
        if c < best.1 {
            best = (j, c);
        }
    }
    best
}

struct Search<'a> {
    cost: &'a [f64],
    columns: usize,
    u: Vec<f64>,
    v: Vec<f64>,
    column_of: Vec<u32>,
    row_of: Vec<u32>,
    /// Shortest distance to each column in the current search, and the row it is reached from.
    distance: Vec<f64>,
    via: Vec<u32>,
    /// Columns not yet reached for good, in no order.
    open: Vec<u32>,
    visited_rows: Vec<u32>,
    visited_columns: Vec<u32>,
}

impl<'a> Search<'a> {
    fn new(cost: &'a [f64], rows: usize, columns: usize) -> Self {
        Self {
            cost,
            columns,
            u: vec![0.0; rows],
            v: vec![0.0; columns],
            column_of: vec![FREE; rows],
            row_of: vec![FREE; columns],
            distance: vec![0.0; columns],
            via: vec![FREE; columns],
            open: Vec::with_capacity(columns),
            visited_rows: Vec::with_capacity(rows),
            visited_columns: Vec::with_capacity(columns),
        }
    }

    /// Dijkstra over reduced costs from a free row to the nearest free column, then prices and the path are updated.
    fn augment(&mut self, start: usize) {
        self.distance.fill(f64::INFINITY);
        self.open.clear();
        self.open.extend(0..self.columns as u32);
        self.visited_rows.clear();
        self.visited_columns.clear();
        let (mut row, mut reached) = (start, 0.0);
        let sink = loop {
            self.visited_rows.push(row as u32);
            let place = self.relax(row, reached);
            let column = self.open.swap_remove(place) as usize;
            reached = self.distance[column];
            if self.row_of[column] == FREE {
                break column;
            }
            self.visited_columns.push(column as u32);
            row = self.row_of[column] as usize;
        };
        self.u[start] += reached;
        for &i in &self.visited_rows[1..] {
            self.u[i as usize] += reached - self.distance[self.column_of[i as usize] as usize];
        }
        for &j in &self.visited_columns {
            self.v[j as usize] -= reached - self.distance[j as usize];
        }
        let mut column = sink;
        loop {
            let row = self.via[column] as usize;
            self.row_of[column] = row as u32;
            let previous = std::mem::replace(&mut self.column_of[row], column as u32);
            if row == start {
                return;
            }
            column = previous as usize;
        }
    }

    /// Offers every open column the way through `row`; returns the place in `open` of the nearest one, a free column
    /// first among equals because it ends the search.
    fn relax(&mut self, row: usize, reached: f64) -> usize {
        let costs = &self.cost[row * self.columns..(row + 1) * self.columns];
        let base = reached - self.u[row];
        let (mut place, mut least) = (0, f64::INFINITY);
        for (p, &j) in self.open.iter().enumerate() {
            let j = j as usize;
            let way = base + costs[j] - self.v[j];
            if way < self.distance[j] {
                self.distance[j] = way;
                self.via[j] = row as u32;
            }
            let shortest = self.distance[j];
            if shortest < least || (shortest == least && self.row_of[j] == FREE) {
                (place, least) = (p, shortest);
            }
        }
        place
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
            let found = assign(&cost, rows, columns);
            let mut sorted = found.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), rows);
            let total: f64 = found.iter().enumerate().map(|(i, &j)| cost[i * columns + j as usize]).sum();
            assert_eq!(total, best_by_force(&cost, rows, columns, 0, &mut vec![false; columns]));
        }
    }
}
