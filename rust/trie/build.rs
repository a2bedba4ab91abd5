//! The index of code tuples.
//!
//! Rows are sorted by their codes; a node is a run of rows that share a prefix. With the length of the prefix that each
//! row shares with the row before it, every level's runs are found in one sweep, and level after level they are already
//! in breadth-first order: by parent, then by code.

use rayon::prelude::*;

use super::{Arrays, MOST_NODES};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Nodes of one level, in order.
#[derive(Default)]
struct Level {
    code: Vec<i32>,
    begin: Vec<i32>,
    end: Vec<i32>,
    terminal: Vec<i32>,
}

/// Builds the index of row-major `codes`; a row shorter than `depth` is padded with -1.
pub(super) fn build(codes: &[i32], depth: usize, progress: &Progress) -> Result<Arrays> {
    let n = codes.len() / depth;
    if n > MOST_NODES / (depth + 1) {
        return Err(Error::invalid(
            "codes",
            format!("expected at most 2^31 trie nodes, got {n} rows of {depth} codes"),
        ));
    }
    // Without rows there are no levels, however deep they might be.
    let deepest = if n == 0 { 0 } else { depth as u32 };
    progress.set_total(3);
    let lengths: Vec<u32> =
        codes.par_chunks_exact(depth).enumerate().map(|(row, tuple)| length(row, tuple)).collect::<Result<_>>()?;
    let leaf_items = sorted_rows(codes, depth);
    progress.advance(1)?;
    let shared = shared_prefixes(codes, depth, &leaf_items, &lengths)?;
    progress.advance(1)?;
    let levels: Vec<Level> = (1..=deepest)
        .into_par_iter()
        .map(|level| level_nodes(codes, depth, level, &leaf_items, &lengths, &shared))
        .collect();
    progress.advance(1)?;
    Ok(join(levels, leaf_items))
}

fn length(row: usize, tuple: &[i32]) -> Result<u32> {
    let length = tuple.iter().position(|&c| c == -1).unwrap_or(tuple.len());
    if length == 0
        || tuple[..length].iter().any(|&c| !(0..i32::MAX).contains(&c))
        || tuple[length..].iter().any(|&c| c != -1)
    {
        return Err(Error::invalid(
            "codes",
            format!("expected codes of at least 0, padded with -1 at the end only, row {row} is {tuple:?}"),
        ));
    }
    Ok(length as u32)
}

/// Rows in lexicographic order of their codes, padding first; equal tuples by row.
fn sorted_rows(codes: &[i32], depth: usize) -> Vec<i32> {
    let n = codes.len() / depth;
    let bits: Vec<u32> = (0..depth)
        .into_par_iter()
        .map(|level| {
            let most = codes.iter().skip(level).step_by(depth).max().copied().unwrap_or(0);
            64 - (i64::from(most) + 1).leading_zeros()
        })
        .collect();
    if bits.iter().sum::<u32>() > 64 {
        let mut rows: Vec<i32> = (0..n as i32).collect();
        let tuple = |row: i32| &codes[row as usize * depth..][..depth];
        rows.par_sort_by(|&a, &b| tuple(a).cmp(tuple(b)));
        return rows;
    }
    // The whole tuple fits one integer: sort integers instead of following pointers.
    let mut keys: Vec<(u64, i32)> = codes
        .par_chunks_exact(depth)
        .enumerate()
        .map(|(row, tuple)| {
            let pack = |key: u64, (&code, &bits): (&i32, &u32)| (key << bits) | (i64::from(code) + 1) as u64;
            (tuple.iter().zip(&bits).fold(0, pack), row as i32)
        })
        .collect();
    keys.par_sort_unstable();
    keys.into_par_iter().map(|(_, row)| row).collect()
}

/// Length of the prefix that each sorted row shares with the row before it; refuses equal rows.
fn shared_prefixes(codes: &[i32], depth: usize, sorted: &[i32], lengths: &[u32]) -> Result<Vec<u32>> {
    let tuple = |row: i32| &codes[row as usize * depth..][..lengths[row as usize] as usize];
    let after_first = sorted.par_windows(2).map(|pair| {
        let (a, b) = (tuple(pair[0]), tuple(pair[1]));
        if a == b {
            return Err(Error::invalid(
                "codes",
                format!(
                    "expected distinct rows, rows {} and {} are both {a:?}; make codes unique first, e.g. with \
                     encode(..., unique=\"assignment\")",
                    pair[0], pair[1]
                ),
            ));
        }
        Ok(a.iter().zip(b).take_while(|(x, y)| x == y).count() as u32)
    });
    let rest: Vec<u32> = after_first.collect::<Result<_>>()?;
    Ok(std::iter::once(0).chain(rest).take(sorted.len()).collect())
}

/// Runs of rows at least `level` long that share their first `level` codes.
fn level_nodes(codes: &[i32], depth: usize, level: u32, sorted: &[i32], lengths: &[u32], shared: &[u32]) -> Level {
    let mut nodes = Level::default();
    let mut open = false;
    for (leaf, (&row, &shared)) in sorted.iter().zip(shared).enumerate() {
        let row = row as usize;
        if open && shared < level {
            nodes.end.push(leaf as i32);
            open = false;
        }
        if !open && lengths[row] >= level {
            nodes.code.push(codes[row * depth + level as usize - 1]);
            nodes.begin.push(leaf as i32);
            // The shortest row of a run sorts first, so only it can end here.
            nodes.terminal.push(if lengths[row] == level { leaf as i32 } else { -1 });
            open = true;
        }
    }
    if open {
        nodes.end.push(sorted.len() as i32);
    }
    nodes
}

/// Strings the levels together and finds each node's first child.
fn join(levels: Vec<Level>, leaf_items: Vec<i32>) -> Arrays {
    let root = Level { code: vec![-1], begin: vec![0], end: vec![leaf_items.len() as i32], terminal: vec![-1] };
    let levels: Vec<Level> = std::iter::once(root).chain(levels).collect();
    let mut trie = Arrays { leaf_items, ..Arrays::default() };
    let mut below = 0;
    for (depth, level) in levels.iter().enumerate() {
        below += level.code.len();
        let children: &[i32] = levels.get(depth + 1).map_or(&[], |next| &next.begin);
        let mut child = 0;
        for (&begin, &end) in level.begin.iter().zip(&level.end) {
            trie.first_child.push((below + child) as i32);
            while child < children.len() && children[child] < end {
                debug_assert!(children[child] >= begin);
                child += 1;
            }
        }
        trie.code.extend(&level.code);
        trie.leaf_begin.extend(&level.begin);
        trie.leaf_end.extend(&level.end);
        trie.terminal.extend(&level.terminal);
    }
    trie.first_child.push(below as i32);
    trie
}
