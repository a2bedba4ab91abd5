//! The walks that vectors are trained on, made share by share, and the pairs of each.

use crate::graph::walk::{Walk, Walker, finish};
use crate::skipgram::pairs::{each_pair, subsample};
use crate::skipgram::params::Checked;

/// Pairs of an episode for each node, about: more make larger groups, fewer let the rate fall more smoothly.
const PAIRS_PER_NODE: usize = 32;
/// From so many nodes on twice as many: their rows are far from the processor, and a larger group asks for fewer.
const MANY_NODES: usize = 1 << 20;
/// Least and most pairs of an episode, about; 8 bytes each.
const EPISODE: (usize, usize) = (1 << 14, 1 << 27);

/// One walk to make: which path, from where.
pub type Start = (usize, u32);

/// Makes walks and their pairs.
pub struct Walks<'a> {
    /// One for each meta-path.
    pub walkers: &'a [Walker<'a>],
    /// How long walks are, and what their pairs are.
    pub params: &'a Checked,
    /// Chance of each node to stay in a walk; `None`: all stay.
    pub kept: Option<Vec<f64>>,
}

impl Walks<'_> {
    /// The walks of a pass from some starts.
    pub fn made(&self, starts: &[Start], pass: u32) -> Vec<Walk<'_>> {
        let (seed, length) = (self.params.seed, self.params.walk_length);
        let mut walks: Vec<Walk> =
            starts.iter().map(|&(path, start)| self.walkers[path].begin(seed, start, pass, length)).collect();
        finish(&mut walks, length);
        walks
    }

    /// The pairs of a walk.
    pub fn pairs(&self, Walk { nodes, rng, .. }: &mut Walk, take: impl FnMut(u32, u32)) {
        if let Some(kept) = &self.kept {
            subsample(nodes, kept, rng);
        }
        each_pair(nodes, self.params.window, self.params.dynamic_window, rng, take);
    }

    /// Everywhere that a walk of a pass starts.
    pub fn starts(&self) -> Vec<Start> {
        let of = |(path, walker): (usize, &Walker)| {
            walker.starts().filter(|&node| walker.can_start(node)).map(|node| (path, node)).collect::<Vec<_>>()
        };
        self.walkers.iter().enumerate().flat_map(of).collect()
    }

    /// Walks of an episode over so many nodes.
    pub fn per_episode(&self, nodes: usize) -> usize {
        (pairs_of_episode(nodes) / (self.params.walk_length * (self.params.window + 1))).max(1)
    }
}

/// Pairs of an episode, about.
fn pairs_of_episode(nodes: usize) -> usize {
    let each = if nodes < MANY_NODES { PAIRS_PER_NODE } else { 2 * PAIRS_PER_NODE };
    (each * nodes).clamp(EPISODE.0, EPISODE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_grows_with_the_nodes_and_has_bounds() {
        assert_eq!(
            [1, 10_000, MANY_NODES - 1, MANY_NODES, 1 << 30].map(pairs_of_episode),
            [1 << 14, 320_000, 32 * (MANY_NODES - 1), 64 * MANY_NODES, 1 << 27]
        );
    }
}
