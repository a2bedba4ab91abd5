//! Prefix index over code tuples as flat arrays, nodes in breadth-first order, and the beam search over it.

mod build;
pub mod search;
mod shortlist;
mod sums;

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::progress::Progress;

pub use shortlist::Kept;

/// Most nodes, and most codes in all tuples: their numbers are `i32`.
const MOST_NODES: usize = i32::MAX as usize;

/// The arrays of an index, one entry per node unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrays {
    /// Code of each node; -1 at the root, node 0.
    pub code: Vec<i32>,
    /// First child of each node, and the number of nodes at the end: the children of node `v` are the nodes
    /// `first_child[v]..first_child[v + 1]`, in ascending code.
    pub first_child: Vec<i32>,
    /// First leaf below each node.
    pub leaf_begin: Vec<i32>,
    /// One past the last leaf below each node.
    pub leaf_end: Vec<i32>,
    /// Row of the item at each leaf, lexicographic by code.
    pub leaf_items: Vec<i32>,
    /// Leaf of the item that ends at each node, else -1.
    pub terminal: Vec<i32>,
}

/// An index whose arrays fit together: what reads them needs no further check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trie {
    arrays: Arrays,
    depth: usize,
}

impl Trie {
    /// The index of row-major `codes`, `depth` to a row; a shorter tuple is padded with -1.
    pub fn from_codes(codes: &[i32], depth: usize, progress: &Progress) -> Result<Self> {
        Ok(Self { arrays: build::build(codes, depth, progress)?, depth })
    }

    /// The index that `arrays` describe, whoever made them; refuses any that `from_codes` would not give. Items may have
    /// any rows, each its own: a trie of some items of a catalogue keeps the rows of the catalogue.
    pub fn from_arrays(arrays: Arrays, depth: usize) -> Result<Self> {
        arrays.check(depth)?;
        Ok(Self { arrays, depth })
    }

    /// Codes of the longest tuple allowed.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Number of nodes, the root included.
    pub fn nodes(&self) -> usize {
        self.arrays.code.len()
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.arrays.leaf_items.len()
    }

    /// The arrays.
    pub fn arrays(&self) -> &Arrays {
        &self.arrays
    }
}

impl Arrays {
    /// Children of a node.
    #[inline]
    fn children(&self, node: usize) -> Range<usize> {
        self.first_child[node] as usize..self.first_child[node + 1] as usize
    }

    /// Leaves below a node.
    #[inline]
    fn leaves(&self, node: usize) -> Range<usize> {
        self.leaf_begin[node] as usize..self.leaf_end[node] as usize
    }

    /// Checks that the arrays are those of a tree in breadth-first order over lexicographic leaves.
    fn check(&self, depth: usize) -> Result<()> {
        let expect = |holds: bool, what: &str| if holds { Ok(()) } else { Err(Error::invalid("trie", what)) };
        let (nodes, items) = (self.code.len(), self.leaf_items.len());
        let per_node = [&self.leaf_begin, &self.leaf_end, &self.terminal].iter().all(|array| array.len() == nodes);
        let sized = nodes > 0 && nodes <= MOST_NODES && per_node && self.first_child.len() == nodes + 1;
        expect(sized, "expected a root, and one entry of each array for each node")?;
        expect(depth > 0 && items <= MOST_NODES / (depth + 1), "expected a depth of at least 1 that fits the items")?;
        // Children begin at 1, behind their parent, and go on to the last node: each node but the root is one's child.
        let first = &self.first_child;
        let follows = |node: usize| first[node] as usize > node && first[node] <= first[node + 1];
        let ordered = first[0] == 1 && first.iter().all(|&child| child >= 0) && (0..nodes).all(follows);
        expect(
            ordered && first[nodes] as usize == nodes,
            "expected children that follow each other and their parents",
        )?;
        let root = self.code[0] == -1 && self.terminal[0] == -1;
        expect(
            root && self.leaf_begin[0] == 0 && self.leaf_end[0] as i64 == items as i64,
            "expected a root over all leaves",
        )?;
        // Parents before children, so the leaves of a node are within those of the root when its turn comes.
        expect(
            (0..nodes).all(|node| self.fits(node)),
            "expected ascending codes of children, and leaves that are divided among them",
        )?;
        let (mut level, mut height) = (0..1, 0);
        while self.first_child[level.end] as usize > level.end {
            level = level.end..self.first_child[level.end] as usize;
            height += 1;
        }
        expect(height <= depth, "expected no more levels than its depth")?;
        let mut rows = self.leaf_items.clone();
        rows.par_sort_unstable();
        let distinct = rows.windows(2).all(|pair| pair[0] < pair[1]) && rows.first().is_none_or(|&row| row >= 0);
        expect(distinct, "expected distinct item rows of at least 0")
    }

    /// Whether the leaves of a node are its own item's, if one ends there, and then those of its children.
    fn fits(&self, node: usize) -> bool {
        let mut next = self.leaf_begin[node];
        if self.terminal[node] >= 0 {
            if self.terminal[node] != next {
                return false;
            }
            next += 1;
        }
        let mut last = -1;
        for child in self.children(node) {
            let (code, begin, end) = (self.code[child], self.leaf_begin[child], self.leaf_end[child]);
            if !(last + 1..i32::MAX).contains(&code) || begin != next || end <= next {
                return false;
            }
            (last, next) = (code, end);
        }
        self.terminal[node] >= -1 && next == self.leaf_end[node]
    }
}
