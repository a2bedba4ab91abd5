//! The (centre, context) pairs of a walk.

use crate::rng::Rng;

/// Calls `take(centre, context)` for every pair of the walk.
///
/// Each position draws its own window from `1..=window` and pairs with the positions that close on both sides, left to
/// right, as word2vec does: near nodes are seen more often than far ones.
#[inline]
pub fn each_pair(walk: &[u32], window: usize, rng: &mut Rng, mut take: impl FnMut(u32, u32)) {
    for (centre, &node) in walk.iter().enumerate() {
        let reach = 1 + rng.below(window as u64) as usize;
        for &context in &walk[centre.saturating_sub(reach)..centre] {
            take(node, context);
        }
        for &context in &walk[centre + 1..walk.len().min(centre + 1 + reach)] {
            take(node, context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_of_one_takes_both_neighbours() {
        let mut pairs = Vec::new();
        each_pair(&[4, 5, 6], 1, &mut Rng::new(0, 0, 0), |a, b| pairs.push((a, b)));
        assert_eq!(pairs, vec![(4, 5), (5, 4), (5, 6), (6, 5)]);
    }
}
