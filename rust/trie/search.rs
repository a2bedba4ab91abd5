//! One step of a beam search over the trie: the best children of each prompt's beams, or the best items below them.
//!
//! Beams lie flat, prompt after prompt, each with its node and the log-probability of its path. A step never touches a
//! column that no child has, and a candidate that cannot enter the list of its prompt costs one comparison: whether it
//! is allowed is asked only of those that would enter.

use std::ops::Range;

use rayon::prelude::*;

use super::shortlist::{Best, Entry, Kept};
use super::sums::{dot, log_sum_exp};
use super::{Arrays, Trie};
use crate::error::{Error, Result};
use crate::simd::Isa;

/// Children whose best score is compared at once.
const STRIP: usize = 16;

/// Which leaves each prompt may get: those of a list, or all but those of a list; never one outside `prefix`.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// Where each prompt's list begins in `leaves`, and its length at the end.
    pub offsets: &'a [i64],
    /// Sorted leaves of each prompt's list, without repeats, all within `prefix`.
    pub leaves: &'a [i32],
    /// Whether the list of a prompt names what is left out.
    pub inverted: &'a [bool],
    /// Allowed leaves before each leaf, and their number at the end; `None` where all are.
    pub prefix: Option<&'a [i32]>,
}

impl Filter<'_> {
    /// Fails where a list or the counts are not what they must be for a trie of so many items.
    pub fn check(&self, items: usize) -> Result<()> {
        let refuse = |said: &str| Err(Error::invalid("filters", said));
        if self.prefix.is_some_and(|prefix| {
            prefix[0] != 0 || prefix.windows(2).any(|two| !(0..=1).contains(&(two[1].wrapping_sub(two[0]))))
        }) {
            return refuse("expected counts that begin with 0 and grow by 0 or 1");
        }
        let within = |list: &[i32]| {
            list.is_sorted_by(|a, b| a < b) && list.iter().all(|&leaf| (0..items as i64).contains(&i64::from(leaf)))
        };
        let lists = || self.offsets.windows(2).map(|two| &self.leaves[two[0] as usize..two[1] as usize]);
        if !lists().all(within) {
            return refuse("expected leaves of the trie in each list, ascending");
        }
        let closed = |&leaf: &i32| self.prefix.is_some_and(|all| all[leaf as usize] == all[leaf as usize + 1]);
        if lists().zip(self.inverted).any(|(list, &inverted)| inverted && list.iter().any(closed)) {
            return refuse("expected no list to deny what the counts leave out already");
        }
        Ok(())
    }

    /// Allowed leaves of a prompt in `begin..end`.
    fn count(&self, prompt: usize, begin: i32, end: i32) -> i32 {
        let list = &self.leaves[self.offsets[prompt] as usize..self.offsets[prompt + 1] as usize];
        let listed = match list {
            [] => 0,
            _ => list.partition_point(|&leaf| leaf < end) as i32 - list.partition_point(|&leaf| leaf < begin) as i32,
        };
        if !self.inverted[prompt] {
            return listed;
        }
        let all = self.prefix.map_or(end - begin, |prefix| prefix[end as usize] - prefix[begin as usize]);
        all - listed
    }
}

/// Beams of all prompts.
#[derive(Debug, Clone, Copy)]
pub struct Beams<'a> {
    /// Where each prompt's beams begin, and their number at the end.
    pub offsets: &'a [i64],
    /// Node of each beam.
    pub nodes: &'a [i32],
    /// Log-probability of each beam.
    pub scores: &'a [f32],
}

/// What the model says about the next token of each beam.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    /// Row-major, a row for each beam, a column for each code.
    pub values: &'a [f32],
    /// Columns of `values`.
    pub width: usize,
    /// Logit of ending here, where an item may be a prefix of another.
    pub end: Option<&'a [f32]>,
    /// Log-normaliser of each beam; `None` normalises over the choices at its node.
    pub total: Option<&'a [f32]>,
}

/// How much to keep.
#[derive(Debug, Clone, Copy)]
pub struct Keep<'a> {
    /// Items wanted for each prompt.
    pub k: usize,
    /// Beams kept at least.
    pub width: usize,
    /// Items that each prompt has already.
    pub found: &'a [i64],
}

/// The best inner nodes and the best items among the choices of each prompt's beams.
///
/// `width` nodes with an allowed leaf are kept, and more until the nodes and items at hold are worth `k` items.
pub fn children(
    trie: &Trie,
    beams: Beams<'_>,
    logits: Logits<'_>,
    filter: Filter<'_>,
    keep: Keep<'_>,
) -> Result<(Kept, Kept)> {
    let (trie, isa) = (trie.arrays(), Isa::choose(None)?);
    let parts: Vec<(Vec<Entry>, Vec<Entry>)> = (0..keep.found.len())
        .into_par_iter()
        .map_init(Vec::new, |scratch, prompt| {
            let (k, width) = (keep.k.min(trie.leaf_items.len()), keep.width.max(keep.k).min(trie.code.len()));
            let mut lists = (Best::new(width), Best::new(k));
            for row in beams.offsets[prompt] as usize..beams.offsets[prompt + 1] as usize {
                choices(isa, trie, beams, logits, filter, (prompt, row), scratch, &mut lists)?;
            }
            let (mut inner, items) = (lists.0.sorted(), lists.1.sorted());
            let mut held = keep.found[prompt].saturating_add(items.len() as i64);
            let enough = inner.iter().position(|entry| {
                let node = entry.id() as usize;
                let below = filter.count(prompt, trie.leaf_begin[node], trie.leaf_end[node]);
                held = held.saturating_add(i64::from(below));
                held >= keep.k as i64
            });
            inner.truncate(enough.map_or(usize::MAX, |place| (place + 1).max(keep.width)));
            Ok((inner, items))
        })
        .collect::<Result<_>>()?;
    let (inner, items) = parts.into_iter().unzip();
    Ok((Kept::join(inner), Kept::join(items)))
}

/// Offers all choices at one beam's node to the lists of its prompt.
fn choices(
    isa: Isa,
    trie: &Arrays,
    beams: Beams<'_>,
    logits: Logits<'_>,
    filter: Filter<'_>,
    (prompt, row): (usize, usize),
    scratch: &mut Vec<f32>,
    (inner, items): &mut (Best, Best),
) -> Result<()> {
    let node = beams.nodes[row] as usize;
    let Range { start: begin, end } = trie.children(node);
    let values = &logits.values[row * logits.width..(row + 1) * logits.width];
    if end > begin && trie.code[end - 1] as usize >= logits.width {
        let message = format!("expected a column for code {}, got {}", trie.code[end - 1], logits.width);
        return Err(Error::invalid("logits", message));
    }
    scratch.clear();
    scratch.extend(trie.code[begin..end].iter().map(|&code| values[code as usize]));
    let ending = logits.end.filter(|_| trie.terminal[node] >= 0).map(|all| all[row]);
    scratch.extend(ending);
    let total = logits.total.map_or_else(|| log_sum_exp(isa, scratch), |all| all[row]);
    let base = beams.scores[row] - total;
    if base.is_nan() || scratch.iter().any(|logit| logit.is_nan()) {
        return Err(Error::invalid("states", format!("beam {row} has a score that is not a number")));
    }
    if ending.is_some() {
        let (leaf, score) = (trie.terminal[node], base + scratch[end - begin]);
        if items.open(score) && filter.count(prompt, leaf, leaf + 1) > 0 {
            items.push(Entry::new(score, leaf, row));
        }
    }
    // No grandchildren: all children are items, and the list of nodes need not be asked.
    let only_items = trie.first_child[begin] == trie.first_child[end];
    for (strip, logits) in scratch[..end - begin].chunks(STRIP).enumerate() {
        // Most strips of a wide node have no score that can enter.
        let top = base + logits.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
        if !(items.open(top) || !only_items && inner.open(top)) {
            continue;
        }
        for (child, &logit) in (begin + strip * STRIP..).zip(logits) {
            let score = base + logit;
            if only_items || trie.first_child[child] == trie.first_child[child + 1] {
                let leaf = trie.terminal[child];
                if items.open(score) && filter.count(prompt, leaf, leaf + 1) > 0 {
                    items.push(Entry::new(score, leaf, row));
                }
            } else if inner.open(score) && filter.count(prompt, trie.leaf_begin[child], trie.leaf_end[child]) > 0 {
                inner.push(Entry::new(score, child as i32, row));
            }
        }
    }
    Ok(())
}

/// The best `k` items below each prompt's beams by leaf vectors: a softmax over the leaves of each beam's node.
///
/// `states` are row-major `[prompts, dim]` and already divided by the temperature, `vectors` `[leaves, dim]`.
pub fn leaves(
    trie: &Trie,
    beams: Beams<'_>,
    states: &[f32],
    vectors: &[f32],
    filter: Filter<'_>,
    k: usize,
) -> Result<Kept> {
    let (trie, isa) = (trie.arrays(), Isa::choose(None)?);
    let prompts = beams.offsets.len() - 1;
    let owner: Vec<usize> = (0..prompts)
        .flat_map(|prompt| std::iter::repeat_n(prompt, (beams.offsets[prompt + 1] - beams.offsets[prompt]) as usize))
        .collect();
    let dim = states.len() / prompts.max(1);
    let logits = leaf_logits(isa, trie, beams.nodes, &owner, states, vectors, dim);
    let parts: Vec<Vec<Entry>> = (0..prompts)
        .into_par_iter()
        .map(|prompt| {
            let mut best = Best::new(k.min(trie.leaf_items.len()));
            for row in beams.offsets[prompt] as usize..beams.offsets[prompt + 1] as usize {
                let base = beams.scores[row] - log_sum_exp(isa, &logits[row]);
                if base.is_nan() {
                    return Err(Error::invalid("states", format!("beam {row} has a score that is not a number")));
                }
                for (leaf, &logit) in (trie.leaf_begin[beams.nodes[row] as usize]..).zip(&logits[row]) {
                    if best.open(base + logit) && filter.count(prompt, leaf, leaf + 1) > 0 {
                        best.push(Entry::new(base + logit, leaf, row));
                    }
                }
            }
            Ok(best.sorted())
        })
        .collect::<Result<_>>()?;
    Ok(Kept::join(parts))
}

/// Logits of the leaves below each beam; beams at the same node read its vectors together.
fn leaf_logits(
    isa: Isa,
    trie: &Arrays,
    nodes: &[i32],
    owner: &[usize],
    states: &[f32],
    vectors: &[f32],
    dim: usize,
) -> Vec<Vec<f32>> {
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|&row| nodes[row]);
    let groups: Vec<&[usize]> = order.chunk_by(|&a, &b| nodes[a] == nodes[b]).collect();
    let scored: Vec<(usize, Vec<f32>)> = groups
        .into_par_iter()
        .flat_map_iter(|rows| {
            let node = nodes[rows[0]] as usize;
            let Range { start: begin, end } = trie.leaves(node);
            let mut out: Vec<(usize, Vec<f32>)> =
                rows.iter().map(|&row| (row, Vec::with_capacity(end - begin))).collect();
            for vector in vectors[begin * dim..end * dim].chunks_exact(dim) {
                for (row, logits) in &mut out {
                    logits.push(dot(isa, &states[owner[*row] * dim..][..dim], vector));
                }
            }
            out
        })
        .collect();
    let mut logits = vec![Vec::new(); nodes.len()];
    for (row, values) in scored {
        logits[row] = values;
    }
    logits
}
