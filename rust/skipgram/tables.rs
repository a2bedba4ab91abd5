//! The centre and context rows of all nodes, block by block.

use crate::error::Result;
use crate::limits::{check_range, larger, largest};
use crate::pages::roomy;
use crate::rng::Rng;
use crate::skipgram::blocks::Blocks;
use crate::skipgram::strip::{LANES, Line};

const INIT_STREAM: u64 = 0x1417;

/// Vectors to begin with, `[n_nodes, dim]` each; a row that is not a number begins as if nothing were given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// Centre vectors, which training returns.
    pub vectors: Option<&'a [f32]>,
    /// Context vectors.
    pub contexts: Option<&'a [f32]>,
}

impl Given<'_> {
    /// Fails where a row is neither blank nor of numbers that can be trained on.
    pub fn check(&self, dim: usize) -> Result<()> {
        for (argument, table) in [("initial", self.vectors), ("initial_contexts", self.contexts)] {
            let rows = table.into_iter().flat_map(|values| values.chunks_exact(dim)).filter(|row| !row[0].is_nan());
            check_range(argument, rows.fold(0.0, |most: f32, row| larger(most, largest(row))), false)?;
        }
        Ok(())
    }
}

/// Rows of a table, one vector of lines per block.
pub type Rows = Vec<Vec<Line>>;

/// Both tables.
pub struct Tables {
    /// Length of a vector.
    pub dim: usize,
    /// Lines of a row.
    pub lines: usize,
    /// What the pairs' centres are.
    pub centres: Rows,
    /// What contexts and negatives are.
    pub contexts: Rows,
}

impl Tables {
    /// Centres begin at random, contexts at zero, as in word2vec, unless they are given.
    pub fn new(blocks: &Blocks, dim: usize, seed: u64, given: Given) -> Self {
        let lines = dim.div_ceil(LANES);
        let random = |node: u32, row: &mut [f32]| fill(&mut Rng::new(seed, INIT_STREAM, u64::from(node)), row);
        let centres = start(blocks, dim, lines, given.vectors, random);
        let contexts = start(blocks, dim, lines, given.contexts, |_, row| row.fill(0.0));
        Self { dim, lines, centres, contexts }
    }
}

/// Uniform in `+-1/2` over the length of the row, as in word2vec.
fn fill(rng: &mut Rng, row: &mut [f32]) {
    let dim = row.len() as f64;
    for value in row {
        *value = ((rng.uniform() - 0.5) / dim) as f32;
    }
}

fn start(blocks: &Blocks, dim: usize, lines: usize, given: Option<&[f32]>, fresh: impl Fn(u32, &mut [f32])) -> Rows {
    let mut row = vec![0f32; lines * LANES];
    let mut rows_of = |nodes: &Vec<u32>| {
        let mut rows = roomy(nodes.len() * lines);
        rows.resize(nodes.len() * lines, Line::ZERO);
        for (&node, place) in nodes.iter().zip(rows.chunks_mut(lines)) {
            match given.map(|vectors| &vectors[node as usize * dim..][..dim]) {
                Some(vector) if !vector[0].is_nan() => row[..dim].copy_from_slice(vector),
                _ => fresh(node, &mut row[..dim]),
            }
            for (line, values) in place.iter_mut().zip(row.chunks_exact(LANES)) {
                line.0.copy_from_slice(values);
            }
        }
        rows
    };
    blocks.members.iter().map(&mut rows_of).collect()
}

/// Rows in node order, without their padding: `[n_nodes, dim]`. Nodes outside all blocks keep what was given, else zero.
pub fn gather(rows: Rows, blocks: &Blocks, dim: usize, given: Option<&[f32]>) -> Vec<f32> {
    let lines = dim.div_ceil(LANES);
    let mut vectors = match given {
        Some(vectors) => vectors.iter().map(|&value| if value.is_nan() { 0.0 } else { value }).collect(),
        None => vec![0f32; blocks.places.len() * dim],
    };
    // Blocks are freed as they are copied.
    for (nodes, rows) in blocks.members.iter().zip(rows) {
        for (&node, row) in nodes.iter().zip(rows.chunks_exact(lines)) {
            let vector = &mut vectors[node as usize * dim..][..dim];
            for (values, line) in vector.chunks_mut(LANES).zip(row) {
                values.copy_from_slice(&line.0[..values.len()]);
            }
        }
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_rows_come_back_and_the_rest_begins_anew() {
        let blocks = Blocks::new(&[1.0, 1.0, 0.0, 2.0], Some(2), 0);
        let dim = 20;
        let mut vectors: Vec<f32> = (0..4 * dim).map(|k| k as f32).collect();
        vectors[dim..2 * dim].fill(f32::NAN);
        let given = Given { vectors: Some(&vectors), contexts: None };
        let tables = Tables::new(&blocks, dim, 5, given);
        assert!(tables.contexts.iter().flatten().all(|line| line.0 == [0.0; LANES]));
        let back = gather(tables.centres, &blocks, dim, given.vectors);
        let mut fresh = vec![0f32; dim];
        fill(&mut Rng::new(5, INIT_STREAM, 1), &mut fresh);
        assert_eq!(&back[dim..2 * dim], fresh);
        for node in [0, 2, 3] {
            assert_eq!(back[node * dim..][..dim], vectors[node * dim..][..dim]);
        }
    }

    #[test]
    fn rows_are_numbers_or_blank() {
        let check = |row: [f32; 2]| Given { vectors: None, contexts: Some(&row) }.check(2);
        assert!(check([1.0, -2.0]).is_ok() && check([f32::NAN, 3.0]).is_ok() && check([0.0, 1e-40]).is_ok());
        for bad in [f32::NAN, f32::INFINITY, 1e20] {
            assert!(check([1.0, bad]).unwrap_err().to_string().starts_with("initial_contexts: expected"));
        }
    }
}
