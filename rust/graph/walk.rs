//! Random walks along a meta-path.
//!
//! A walk is a function of (seed, meta-path, start node, walk index) alone: it has a random stream of its own. Walks are
//! made some at a time, in step: in a large graph each step waits for memory, and what one waits for is fetched while the
//! others go on.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::graph::csr::Csr;
use crate::graph::metapath::MetaPath;
use crate::graph::typed::Graph;
use crate::limits::{at_least, reserved};
use crate::progress::Progress;
use crate::rng::Rng;

/// Walks that are made as one piece of work.
const CHUNK: usize = 64;
/// Tells the streams of phases from those of walks.
const PHASE: u64 = 0x9A5E;

struct Hop<'a> {
    csr: &'a Csr,
    first: u32,
}

/// Walks one meta-path of a graph.
pub struct Walker<'a> {
    hops: Vec<Hop<'a>>,
    stream: u64,
    starts: std::ops::Range<u32>,
    share: f64,
    restart: f64,
}

impl<'a> Walker<'a> {
    /// A walker of `path`, which was parsed for this very graph.
    pub fn new(graph: &'a Graph, path: &MetaPath) -> Result<Self> {
        let hop = |(pair, &link): (&[usize], _)| {
            Some(Hop { csr: graph.relation(pair[0], pair[1], link)?, first: graph.types()[pair[0]].first })
        };
        let hops: Option<Vec<Hop>> = path.types().windows(2).zip(path.links()).map(hop).collect();
        let hops = hops.ok_or_else(|| Error::invalid("meta_paths", "the path belongs to another graph"))?;
        let kind = &graph.types()[path.types()[0]];
        let starts = kind.first..kind.first + kind.count;
        Ok(Self { hops, stream: path.stream(), starts, share: path.share(), restart: path.restart() })
    }

    /// Nodes of the path's first type.
    pub fn starts(&self) -> std::ops::Range<u32> {
        self.starts.clone()
    }

    /// Whether a walk can leave this start node.
    pub fn can_start(&self, start: u32) -> bool {
        let hop = &self.hops[0];
        !hop.csr.neighbours((start - hop.first) as usize).is_empty()
    }

    /// Whether the walk `index` of a start node is made: all are, unless the path has a share.
    ///
    /// With share s and a phase p uniform in [0, 1) of each start, walk k is made where `floor(k s + p)` moves on to
    /// `floor((k + 1) s + p)`: of n walks each start makes n s, rounded up or down.
    pub fn makes(&self, seed: u64, start: u32, index: u32) -> bool {
        if self.share >= 1.0 {
            return true;
        }
        let phase = Rng::new(seed, self.stream ^ PHASE, u64::from(start)).uniform();
        let upto = |count: f64| (count * self.share + phase).floor();
        upto(f64::from(index) + 1.0) > upto(f64::from(index))
    }

    /// The walk `index` from `start`, of which the first node is made. It has none where [`Walker::makes`] says no.
    pub fn begin(&'a self, seed: u64, start: u32, index: u32, length: usize) -> Walk<'a> {
        let rng = Rng::new(seed, self.stream, u64::from(start) << 32 | u64::from(index));
        let made = self.makes(seed, start, index);
        let mut nodes = Vec::with_capacity(if made { length } else { 0 });
        if made {
            nodes.push(start);
            self.hops[0].csr.fetch_row((start - self.hops[0].first) as usize);
        }
        Walk { walker: self, nodes, rng, hop: 0, fresh: true, next: if made { Next::Start } else { Next::End } }
    }
}

/// A walk that is being made.
///
/// It ends early at a node that has no edge of the next type, unless its path restarts: then it goes on from its start.
pub struct Walk<'a> {
    walker: &'a Walker<'a>,
    /// Nodes so far.
    pub nodes: Vec<u32>,
    /// Its stream, to be drawn from further once it is made.
    pub rng: Rng,
    /// Which hop of the path comes next.
    hop: usize,
    /// Whether no hop was made since the walk began or restarted.
    fresh: bool,
    next: Next,
}

enum Next {
    Edge(usize),
    Start,
    End,
}

impl Walk<'_> {
    fn goes_on(&self) -> bool {
        !matches!(self.next, Next::End)
    }

    /// Chooses the next edge.
    fn look(&mut self) {
        let (walker, node) = (self.walker, self.nodes[self.nodes.len() - 1]);
        let hop = &walker.hops[self.hop];
        let may_restart = walker.restart > 0.0 && !self.fresh;
        let back = may_restart && self.rng.uniform() < walker.restart;
        let edge = if back { None } else { hop.csr.draw((node - hop.first) as usize, &mut self.rng) };
        self.next = match edge {
            Some(edge) => {
                hop.csr.fetch_target(edge);
                Next::Edge(edge)
            }
            None if may_restart => Next::Start,
            None => Next::End,
        };
    }

    /// Follows it.
    fn arrive(&mut self) {
        let hops = &self.walker.hops;
        let node = match self.next {
            Next::Edge(edge) => hops[self.hop].csr.target(edge),
            Next::Start => self.nodes[0],
            Next::End => return,
        };
        self.fresh = matches!(self.next, Next::Start);
        self.hop = if self.fresh || self.hop + 1 == hops.len() { 0 } else { self.hop + 1 };
        self.nodes.push(node);
        let hop = &hops[self.hop];
        hop.csr.fetch_row((node - hop.first) as usize);
    }
}

/// Makes walks to their ends, at most `length` nodes each.
pub fn finish(walks: &mut [Walk<'_>], length: usize) {
    for _ in 1..length {
        walks.iter_mut().filter(|walk| walk.goes_on()).for_each(Walk::look);
        walks.iter_mut().filter(|walk| walk.goes_on()).for_each(Walk::arrive);
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
    let walks_per_node = at_least("walks_per_node", walks_per_node, 1)? as u32;
    let length = at_least("walk_length", length, 2)? as usize;
    let seed = at_least("seed", seed, 0)?;
    let walker = Walker::new(graph, path)?;
    let (starts, isolated): (Vec<u32>, Vec<u32>) = walker.starts().partition(|&node| walker.can_start(node));
    let made = |&start: &u32| (0..walks_per_node).map(move |index| (start, index));
    let most = starts.len().checked_mul(walks_per_node as usize);
    let mut jobs: Vec<(u32, u32)> = reserved("walks_per_node", most)?;
    jobs.extend(starts.iter().flat_map(made).filter(|&(s, k)| walker.makes(seed, s, k)));
    progress.set_total(jobs.len() as u64);
    let mut nodes: Vec<i32> = reserved("walk_length", jobs.len().checked_mul(length))?;
    nodes.resize(jobs.len() * length, -1);
    nodes.par_chunks_mut(CHUNK * length).zip(jobs.par_chunks(CHUNK)).try_for_each(|(rows, jobs)| {
        let begin = |&(start, index): &(u32, u32)| walker.begin(seed, start, index, length);
        let mut walks: Vec<Walk> = jobs.iter().map(begin).collect();
        finish(&mut walks, length);
        for (row, walk) in rows.chunks_mut(length).zip(&walks) {
            for (slot, &node) in row.iter_mut().zip(&walk.nodes) {
                *slot = node as i32;
            }
        }
        progress.advance(jobs.len() as u64)
    })?;
    Ok(Walks { nodes, isolated: isolated.into_iter().map(|node| node as i32).collect() })
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
    fn a_share_of_the_walks_is_made() {
        let graph = star();
        let path = MetaPath::parse("user-item-user share=0.3", &graph).unwrap();
        let walker = Walker::new(&graph, &path).unwrap();
        for start in walker.starts() {
            let made = (0..10).filter(|&index| walker.makes(7, start, index)).count();
            assert_eq!(made, 3);
        }
        let made = walks(&graph, &path, 10, 3, 7, &Progress::new()).unwrap();
        assert_eq!(made.nodes.len(), 2 * 3 * 3);
    }
}
