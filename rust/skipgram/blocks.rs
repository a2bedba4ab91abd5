//! Splits the nodes into blocks so that threads can train without sharing a row.
//!
//! A pair (centre, context) changes one row of the centre table and, with negatives from the context's block, rows
//! of one block of the context table. Cells (centre block i, context block j) with distinct i and distinct j are
//! therefore independent: P of them train at once, and the P diagonals `j = i + k mod P` cover the grid. P depends on
//! the number of nodes alone, so the result does not depend on the number of threads. The grid is that of GraphVite
//! (Zhu et al., 2019), here with exact order inside each cell.

use crate::rng::Rng;
use crate::skipgram::negative::{Alias, weight};

const STREAM: u64 = 0xB10C;
/// Blocks smaller than this would draw their negatives from too few nodes.
const LEAST: usize = 512;
/// Most blocks; also the most threads that can work at once.
const MOST: usize = 8;

/// Where a node lives: its block and its row there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Block number, `u32::MAX` for a node that no walk visits.
    pub block: u32,
    /// Row within the block.
    pub row: u32,
}

/// The split of the visited nodes.
#[derive(Debug)]
pub struct Blocks {
    /// One per node of the graph.
    pub places: Vec<Place>,
    /// Node ids of each block in row order.
    pub members: Vec<Vec<u32>>,
    /// Negatives of each block.
    pub negatives: Vec<Alias>,
}

impl Blocks {
    /// Deals the visited nodes in snake order, most visited first (ties in seeded order), so that blocks carry equal
    /// work and the busiest rows lie together in the cache.
    pub fn new(visits: &[f64], wanted: Option<usize>, seed: u64) -> Self {
        let mut order: Vec<u32> = (0..visits.len() as u32).filter(|&node| visits[node as usize] > 0.0).collect();
        shuffle(&mut order, &mut Rng::new(seed, STREAM, 0));
        order.sort_by(|&a, &b| visits[b as usize].total_cmp(&visits[a as usize]));
        let count = wanted.unwrap_or((order.len() / LEAST).clamp(1, MOST)).clamp(1, order.len().max(1));
        let mut places = vec![Place { block: u32::MAX, row: 0 }; visits.len()];
        let mut members = vec![Vec::new(); count];
        for (rank, &node) in order.iter().enumerate() {
            let (row, column) = (rank / count, rank % count);
            let block = if row % 2 == 0 { column } else { count - 1 - column };
            places[node as usize] = Place { block: block as u32, row: members[block].len() as u32 };
            members[block].push(node);
        }
        let table = |nodes: &Vec<u32>| {
            Alias::new(&nodes.iter().map(|&node| weight(visits[node as usize])).collect::<Vec<f64>>())
        };
        let negatives = members.iter().map(table).collect();
        Self { places, members, negatives }
    }
}

/// Fisher-Yates.
pub fn shuffle<T>(values: &mut [T], rng: &mut Rng) {
    for last in (1..values.len()).rev() {
        values.swap(last, rng.below(last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visited_node_has_one_place_and_blocks_are_even() {
        let visits: Vec<f64> = (0..1000).map(|k| f64::from(k % 7)).collect();
        let blocks = Blocks::new(&visits, Some(4), 3);
        let sizes: Vec<usize> = blocks.members.iter().map(Vec::len).collect();
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        for (node, place) in blocks.places.iter().enumerate() {
            if visits[node] > 0.0 {
                assert_eq!(blocks.members[place.block as usize][place.row as usize], node as u32);
            } else {
                assert_eq!(place.block, u32::MAX);
            }
        }
    }

    #[test]
    fn small_graphs_are_one_block() {
        assert_eq!(Blocks::new(&[1.0; 100], None, 0).members.len(), 1);
        assert_eq!(Blocks::new(&[1.0; 100_000], None, 0).members.len(), MOST);
    }
}
