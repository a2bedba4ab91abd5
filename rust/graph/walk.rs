//! Uniform random walks along a meta-path, and how often they visit each node.
//!
//! A walk is a function of (seed, meta-path, start node, walk index) alone: it has a random stream of its own.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::graph::csr::{Csr, Graph};
use crate::graph::metapath::MetaPath;
use crate::progress::Progress;
use crate::rng::Rng;

/// Start nodes whose walks are made as one piece of work.
const CHUNK: usize = 256;

struct Hop<'a> {
    csr: &'a Csr,
    first: u32,
}

/// Walks one meta-path of a graph.
pub struct Walker<'a> {
    hops: Vec<Hop<'a>>,
    stream: u64,
    starts: std::ops::Range<u32>,
}

impl<'a> Walker<'a> {
    /// A walker of `path`, which was parsed for this very graph.
    pub fn new(graph: &'a Graph, path: &MetaPath) -> Result<Self> {
        let hops: Option<Vec<Hop>> = path
            .types()
            .windows(2)
            .map(|pair| Some(Hop { csr: graph.relation(pair[0], pair[1])?, first: graph.types()[pair[0]].first }))
            .collect();
        let hops = hops.ok_or_else(|| Error::invalid("meta_paths", "the path belongs to another graph"))?;
        let kind = &graph.types()[path.types()[0]];
        Ok(Self { hops, stream: path.stream(), starts: kind.first..kind.first + kind.count })
    }

    /// Nodes of the path's first type.
    pub fn starts(&self) -> std::ops::Range<u32> {
        self.starts.clone()
    }

    /// Whether a walk can leave this start node.
    pub fn can_start(&self, start: u32) -> bool {
        !self.neighbours(start, 0).is_empty()
    }

    #[inline]
    fn neighbours(&self, node: u32, step: usize) -> &'a [u32] {
        let hop = &self.hops[step];
        hop.csr.neighbours((node - hop.first) as usize)
    }

    /// Writes the walk `index` from `start` into `walk` and returns its stream, to be drawn from further.
    ///
    /// The walk ends early at a node that has no edge of the next type.
    pub fn walk(&self, seed: u64, start: u32, index: u32, length: usize, walk: &mut Vec<u32>) -> Rng {
        let mut rng = Rng::new(seed, self.stream, u64::from(start) << 32 | u64::from(index));
        walk.clear();
        walk.push(start);
        let (mut node, mut step) = (start, 0);
        while walk.len() < length {
            let neighbours = self.neighbours(node, step);
            if neighbours.is_empty() {
                break;
            }
            node = neighbours[rng.below(neighbours.len() as u64) as usize];
            walk.push(node);
            step = if step + 1 == self.hops.len() { 0 } else { step + 1 };
        }
        rng
    }

    /// Adds to `visits` (one per node) how often one walk from each start that has edges is expected at each node.
    ///
    /// With `p_0` = 1 at every such start, `p_{t+1}(v) = sum over neighbours u of v of p_t(u) / degree(u)`; visits
    /// are the sum of `p_t` over the positions of the walk. Exact, and cheaper than counting sampled walks.
    pub fn expected_visits(&self, graph: &Graph, path: &MetaPath, length: usize, visits: &mut [f64]) -> Result<()> {
        let types = path.types();
        let mut share: Vec<f64> = self.starts().map(|s| f64::from(u8::from(self.can_start(s)))).collect();
        for position in 0..length {
            let step = position % self.hops.len();
            let here = &graph.types()[types[step]];
            let first = here.first as usize;
            for (total, &p) in visits[first..first + here.count as usize].iter_mut().zip(&share) {
                *total += p;
            }
            let next = &graph.types()[types[step + 1]];
            let back = graph.relation(types[step + 1], types[step]);
            let back = back.ok_or_else(|| Error::invalid("meta_paths", "the path belongs to another graph"))?;
            let csr = self.hops[step].csr;
            let outflow: Vec<f64> =
                (0..here.count as usize).map(|u| share[u] / csr.neighbours(u).len().max(1) as f64).collect();
            share = (0..next.count as usize)
                .into_par_iter()
                .map(|v| back.neighbours(v).iter().map(|&u| outflow[u as usize - first]).sum())
                .collect();
        }
        Ok(())
    }
}

/// Walks of one meta-path in the order of start node, then walk index.
#[derive(Debug)]
pub struct Walks {
    /// Node ids, `length` a walk, -1 after the end of a walk that ended early.
    pub nodes: Vec<i32>,
    /// Start nodes that have no edge, hence no walk.
    pub isolated: Vec<i32>,
}

/// Makes `walks_per_node` walks of `length` nodes from every start node that has edges.
pub fn walks(
    graph: &Graph,
    path: &MetaPath,
    walks_per_node: i64,
    length: i64,
    seed: i64,
    progress: &Progress,
) -> Result<Walks> {
    let walks_per_node = at_least("walks_per_node", walks_per_node, 1)? as usize;
    let length = at_least("walk_length", length, 2)? as usize;
    let seed = at_least("seed", seed, 0)?;
    let walker = Walker::new(graph, path)?;
    let (starts, isolated): (Vec<u32>, Vec<u32>) = walker.starts().partition(|&node| walker.can_start(node));
    progress.set_total((starts.len() * walks_per_node) as u64);
    let mut nodes = vec![-1i32; starts.len() * walks_per_node * length];
    nodes.par_chunks_mut(CHUNK * walks_per_node * length).zip(starts.par_chunks(CHUNK)).try_for_each(
        |(rows, starts)| {
            let mut walk = Vec::with_capacity(length);
            for (row, place) in rows.chunks_mut(length).zip(0..) {
                let (start, index) = (starts[place / walks_per_node], place % walks_per_node);
                walker.walk(seed, start, index as u32, length, &mut walk);
                for (slot, &node) in row.iter_mut().zip(&walk) {
                    *slot = node as i32;
                }
            }
            progress.advance((starts.len() * walks_per_node) as u64)
        },
    )?;
    Ok(Walks { nodes, isolated: isolated.into_iter().map(|node| node as i32).collect() })
}

/// An integer argument from Python that must be `least` or more (and below 2^31 unless it is the seed).
pub fn at_least(argument: &'static str, value: i64, least: i64) -> Result<u64> {
    let most = if argument == "seed" { i64::MAX } else { i64::from(i32::MAX) };
    if (least..=most).contains(&value) {
        Ok(value as u64)
    } else {
        Err(Error::invalid(argument, format!("expected an integer of at least {least}, got {value}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star() -> Graph {
        let mut graph = Graph::new(&[("user".to_string(), 3), ("item".to_string(), 1)]).unwrap();
        graph.connect("user", "item", &[0, 2], &[0, 0]).unwrap();
        graph
    }

    #[test]
    fn isolated_nodes_get_no_walk() {
        let graph = star();
        let path = MetaPath::parse("user-item-user", &graph).unwrap();
        let made = walks(&graph, &path, 2, 3, 0, &Progress::new()).unwrap();
        assert_eq!(made.isolated, vec![1]);
        assert_eq!(made.nodes.len(), 2 * 2 * 3);
        assert!(made.nodes.chunks(3).all(|walk| walk[1] == 3 && walk[0] != 1 && walk[2] != 1));
    }

    #[test]
    fn visits_add_up_to_the_tokens() {
        let graph = star();
        let path = MetaPath::parse("user-item-user", &graph).unwrap();
        let mut visits = vec![0.0; 4];
        Walker::new(&graph, &path).unwrap().expected_visits(&graph, &path, 5, &mut visits).unwrap();
        assert_eq!(visits, vec![3.0, 0.0, 3.0, 4.0]);
    }
}
