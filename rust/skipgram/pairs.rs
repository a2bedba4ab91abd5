//! The (centre, context) pairs of a walk, and the subsampling before them.

use crate::pages::zeros;
use crate::rng::Rng;
use crate::skipgram::group::Pair;

/// Calls `take(centre, context)` for every pair of the walk, left to right.
///
/// A dynamic window draws the reach of each position from `1..=window`, as word2vec does, so that near nodes are seen
/// more often than far ones; a fixed window always reaches as far as it can.
#[inline]
pub fn each_pair(walk: &[u32], window: usize, dynamic: bool, rng: &mut Rng, mut take: impl FnMut(u32, u32)) {
    for (centre, &node) in walk.iter().enumerate() {
        let reach = if dynamic { 1 + rng.below(window as u64) as usize } else { window };
        for &context in &walk[centre.saturating_sub(reach)..centre] {
            take(node, context);
        }
        for &context in &walk[centre + 1..walk.len().min(centre + 1 + reach)] {
            take(node, context);
        }
    }
}

/// Chance of each node to stay in a walk: `sqrt(t / f) + t / f`, at most 1, for a node that makes up the share f of
/// all visits, as in word2vec's code (the paper drops the second term). `None` where nothing is ever left out.
pub fn kept(visits: &[f64], threshold: f64) -> Option<Vec<f64>> {
    let total: f64 = visits.iter().sum();
    let chance = |&v: &f64| {
        let ratio = threshold * total / v.max(f64::MIN_POSITIVE);
        (ratio.sqrt() + ratio).min(1.0)
    };
    (threshold > 0.0).then(|| visits.iter().map(chance).collect())
}

/// Leaves out nodes of a walk by chance, before pairs are made: those that remain move closer together.
pub fn subsample(walk: &mut Vec<u32>, kept: &[f64], rng: &mut Rng) {
    walk.retain(|&node| {
        let chance = kept[node as usize];
        chance >= 1.0 || rng.uniform() < chance
    });
}

/// Orders the pairs of one cell after the other, in the same memory.
#[derive(Default)]
pub struct Sorter {
    /// Where the next pair of each centre goes.
    next: Vec<u32>,
    sorted: Vec<Pair>,
}

impl Sorter {
    /// The pairs of a cell, fewer than 2^32, ordered by centre, otherwise as they come (a counting sort).
    pub fn by_centre<'a>(&mut self, parts: impl Iterator<Item = &'a [Pair]> + Clone, n_centres: usize) -> &[Pair] {
        let next = emptied(&mut self.next, n_centres + 1);
        for &(centre, _) in parts.clone().flatten() {
            next[centre as usize + 1] += 1;
        }
        for centre in 0..n_centres {
            next[centre + 1] += next[centre];
        }
        let count = next[n_centres] as usize;
        if self.sorted.len() < count {
            // With room to grow, since every cell has another number of pairs.
            self.sorted = zeros(count + count / 8);
        }
        for &pair in parts.flatten() {
            let place = &mut next[pair.0 as usize];
            self.sorted[*place as usize] = pair;
            *place += 1;
        }
        &self.sorted[..count]
    }
}

/// The first `len` values of a table that grows, all zero.
fn emptied(values: &mut Vec<u32>, len: usize) -> &mut [u32] {
    if values.len() < len {
        *values = zeros(len);
        return values;
    }
    values[..len].fill(0);
    &mut values[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(walk: &[u32], window: usize, dynamic: bool) -> Vec<(u32, u32)> {
        let mut pairs = Vec::new();
        each_pair(walk, window, dynamic, &mut Rng::new(0, 0, 0), |a, b| pairs.push((a, b)));
        pairs
    }

    #[test]
    fn window_of_one_takes_both_neighbours() {
        for dynamic in [true, false] {
            assert_eq!(pairs(&[4, 5, 6], 1, dynamic), vec![(4, 5), (5, 4), (5, 6), (6, 5)]);
        }
    }

    #[test]
    fn fixed_window_reaches_to_its_end() {
        assert_eq!(pairs(&[0, 1, 2], 2, false), vec![(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
        assert_eq!(pairs(&[0, 1], 5, false), vec![(0, 1), (1, 0)]);
        assert!(pairs(&[0], 5, false).is_empty() && pairs(&[], 5, true).is_empty());
    }

    #[test]
    fn frequent_nodes_are_kept_less() {
        assert!(kept(&[1.0, 2.0], 0.0).is_none());
        // f = 0.8 and 0.2 against t = 0.05: sqrt(1/16) + 1/16 and sqrt(1/4) + 1/4.
        assert_eq!(kept(&[8.0, 2.0], 0.05).unwrap(), vec![0.3125, 0.75]);
        let mut walk = vec![0; 10_000];
        subsample(&mut walk, &[0.3125], &mut Rng::new(0, 0, 0));
        assert!((2_900..3_350).contains(&walk.len()));
    }

    #[test]
    fn pairs_are_ordered_by_centre() {
        let parts: [&[Pair]; 2] = [&[(2, 0), (0, 1), (2, 2)], &[(0, 3)]];
        let mut sorter = Sorter::default();
        assert_eq!(sorter.by_centre(parts.into_iter(), 3), [(0, 1), (0, 3), (2, 0), (2, 2)]);
        // Nothing is left of the cell before, whether it was larger or smaller.
        assert_eq!(sorter.by_centre([&[(1, 7), (0, 5)][..]].into_iter(), 2), [(0, 5), (1, 7)]);
        assert!(sorter.by_centre([].into_iter(), 5).is_empty());
        assert_eq!(sorter.by_centre(parts.into_iter(), 3), [(0, 1), (0, 3), (2, 0), (2, 2)]);
    }
}
