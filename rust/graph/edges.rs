//! From a list of edges to adjacency in both directions, in three counting passes and no sort.
//!
//! Scattering edges by column, then by row, leaves each row's columns in ascending order (a radix sort of two digits);
//! scattering that by column once more gives the other direction. The order of the input therefore never shows.

use crate::error::{Error, Result};
use crate::graph::csr::Csr;
use crate::limits::check_room;
use crate::pages::zeros;

/// One side of a list of edges: rows of a node type.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Name of the type, for messages.
    pub name: &'a str,
    /// Row of each edge.
    pub rows: &'a [i32],
    /// Number of nodes of the type.
    pub count: u32,
    /// Node id of its row 0.
    pub first: u32,
}

/// Adjacency from `a` to `b` and back.
///
/// Without weights a pair given twice stays two edges. With weights it becomes one edge that weighs the sum.
pub fn both_ways(a: Side, b: Side, weights: Option<&[f64]>) -> Result<(Csr, Csr)> {
    check(a, b, weights)?;
    // Offsets of both sides twice, and the edges in two orders.
    check_room("n_items", &[a.count as usize + b.count as usize, 16])?;
    check_room("edges", &[a.rows.len(), 40])?;
    let (a_offsets, b_offsets) = (offsets(a), offsets(b));
    // Edges in the order of their columns.
    let mut next = b_offsets.clone();
    let mut by_column: Vec<u32> = zeros(a.rows.len());
    let mut carried = vec![0f64; weights.map_or(0, <[f64]>::len)];
    for (edge, &column) in b.rows.iter().enumerate() {
        let place = advance(&mut next, column as usize);
        by_column[place] = a.rows[edge] as u32;
        if let Some(weights) = weights {
            carried[place] = weights[edge];
        }
    }
    // And from there in the order of (row, column).
    let mut next = a_offsets.clone();
    let mut columns: Vec<u32> = zeros(a.rows.len());
    let mut sums = vec![0f64; carried.len()];
    for column in 0..b.count {
        for edge in b_offsets[column as usize] as usize..b_offsets[column as usize + 1] as usize {
            let place = advance(&mut next, by_column[edge] as usize);
            columns[place] = column;
            if weights.is_some() {
                sums[place] = carried[edge];
            }
        }
    }
    drop((by_column, carried));
    let forward = if weights.is_some() {
        merge(&a_offsets, columns, sums)
    } else {
        Rows { offsets: a_offsets, columns, weights: None }
    };
    let backward = forward.transposed(b.count);
    Ok((forward.into_csr(b.first), backward.into_csr(a.first)))
}

/// Sorted adjacency with rows of types in place of node ids.
struct Rows {
    offsets: Vec<u32>,
    columns: Vec<u32>,
    weights: Option<Vec<f64>>,
}

impl Rows {
    fn transposed(&self, count: u32) -> Self {
        let mut offsets: Vec<u32> = zeros(count as usize + 1);
        for &column in &self.columns {
            offsets[column as usize + 1] += 1;
        }
        add_up(&mut offsets);
        let mut next = offsets.clone();
        let mut columns: Vec<u32> = zeros(self.columns.len());
        let mut weights = self.weights.as_ref().map(|w| vec![0f64; w.len()]);
        for row in 0..self.offsets.len() - 1 {
            for edge in self.offsets[row] as usize..self.offsets[row + 1] as usize {
                let place = advance(&mut next, self.columns[edge] as usize);
                columns[place] = row as u32;
                if let (Some(to), Some(from)) = (&mut weights, &self.weights) {
                    to[place] = from[edge];
                }
            }
        }
        Self { offsets, columns, weights }
    }

    fn into_csr(mut self, first: u32) -> Csr {
        self.columns.iter_mut().for_each(|column| *column += first);
        if let Some(weights) = &mut self.weights {
            for row in 0..self.offsets.len() - 1 {
                let mut sum = 0.0;
                for weight in &mut weights[self.offsets[row] as usize..self.offsets[row + 1] as usize] {
                    sum += *weight;
                    *weight = sum;
                }
            }
        }
        Csr::new(self.offsets, self.columns, self.weights)
    }
}

/// Joins equal columns of a row. Their weights are added in ascending order, so that input order cannot round.
fn merge(old: &[u32], mut columns: Vec<u32>, mut weights: Vec<f64>) -> Rows {
    let mut offsets = vec![0u32; old.len()];
    let mut kept = 0;
    for row in 0..old.len() - 1 {
        let (mut edge, end) = (old[row] as usize, old[row + 1] as usize);
        while edge < end {
            let same = columns[edge..end].iter().take_while(|&&column| column == columns[edge]).count();
            weights[edge..edge + same].sort_unstable_by(f64::total_cmp);
            weights[kept] = weights[edge..edge + same].iter().sum();
            columns[kept] = columns[edge];
            (edge, kept) = (edge + same, kept + 1);
        }
        offsets[row + 1] = kept as u32;
    }
    columns.truncate(kept);
    weights.truncate(kept);
    columns.shrink_to_fit();
    weights.shrink_to_fit();
    Rows { offsets, columns, weights: Some(weights) }
}

fn offsets(side: Side) -> Vec<u32> {
    let mut offsets = vec![0u32; side.count as usize + 1];
    for &row in side.rows {
        offsets[row as usize + 1] += 1;
    }
    add_up(&mut offsets);
    offsets
}

fn add_up(counts: &mut [u32]) {
    for row in 1..counts.len() {
        counts[row] += counts[row - 1];
    }
}

fn advance(next: &mut [u32], row: usize) -> usize {
    next[row] += 1;
    next[row] as usize - 1
}

fn check(a: Side, b: Side, weights: Option<&[f64]>) -> Result<()> {
    let refuse = |message: String| Err(Error::invalid("edges", message));
    if a.rows.len() != b.rows.len() {
        let (here, there) = (a.rows.len(), b.rows.len());
        return refuse(format!("expected as many {}s as {}s, got {there} and {here}", b.name, a.name));
    }
    if a.rows.len() > u32::MAX as usize {
        return refuse(format!("expected fewer than 2^32 edges between two types, got {}", a.rows.len()));
    }
    for side in [a, b] {
        if let Some(row) = side.rows.iter().find(|&&row| row < 0 || row as u32 >= side.count) {
            return refuse(format!("expected {} rows in 0..{}, got {row}", side.name, side.count));
        }
    }
    if let Some(weights) = weights {
        if weights.len() != a.rows.len() {
            let message = format!("expected one for each of {} edges, got {}", a.rows.len(), weights.len());
            return Err(Error::invalid("weights", message));
        }
        if let Some(weight) = weights.iter().find(|w| !w.is_finite() || **w <= 0.0) {
            return Err(Error::invalid("weights", format!("expected finite weights above 0, got {weight}")));
        }
        if !weights.iter().sum::<f64>().is_finite() {
            return Err(Error::invalid("weights", "their sum is more than a float can hold; divide them by a number"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side<'a>(name: &'a str, rows: &'a [i32], count: u32, first: u32) -> Side<'a> {
        Side { name, rows, count, first }
    }

    #[test]
    fn input_order_does_not_show() {
        let (rows, columns) = ([1, 0, 0, 1], [2, 2, 0, 2]);
        let (forward, backward) = both_ways(side("u", &rows, 2, 0), side("i", &columns, 3, 2), None).unwrap();
        assert_eq!((forward.neighbours(0), forward.neighbours(1)), (&[2, 4][..], &[4, 4][..]));
        assert_eq!(backward.neighbours(2), &[0, 1, 1]);
        assert!(backward.neighbours(1).is_empty());
    }

    #[test]
    fn weights_of_repeated_pairs_are_added() {
        let (rows, columns) = ([0, 1, 0, 0], [1, 1, 0, 1]);
        let weights = [1.0, 4.0, 3.0, 2.0];
        let (forward, backward) = both_ways(side("u", &rows, 2, 0), side("i", &columns, 2, 2), Some(&weights)).unwrap();
        assert_eq!(forward.neighbours(0), &[2, 3]);
        assert_eq!((forward.weight(0, 0), forward.weight(0, 1), forward.total(0)), (3.0, 3.0, 6.0));
        assert_eq!((backward.neighbours(1), backward.weight(1, 1), backward.total(1)), (&[0, 1][..], 4.0, 7.0));
    }

    #[test]
    fn what_cannot_be_an_edge_is_refused() {
        let refused = |rows: &[i32], columns: &[i32], weights: Option<&[f64]>| {
            both_ways(side("u", rows, 1, 0), side("i", columns, 1, 1), weights).unwrap_err().to_string()
        };
        assert!(refused(&[0], &[-1], None).contains("i rows in 0..1, got -1"));
        assert!(refused(&[1], &[0], None).contains("u rows in 0..1, got 1"));
        assert!(refused(&[0], &[], None).contains("as many is as us"));
        assert!(refused(&[0], &[0], Some(&[])).contains("one for each of 1 edges"));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(refused(&[0], &[0], Some(&[bad])).contains("above 0"));
        }
        assert!(refused(&[0, 0], &[0, 0], Some(&[1e308, 1e308])).contains("more than a float can hold"));
    }
}
