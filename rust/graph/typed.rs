//! Typed adjacency: one CSR for each ordered pair of node types that has edges, and for the order in time.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::graph::csr::Csr;
use crate::graph::edges::{Side, both_ways};

/// How a step of a walk gets from one node to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Along an edge, written `-`.
    Edge,
    /// To what came next in time, written `>`.
    Next,
    /// To what came before, written `<`.
    Previous,
}

impl Link {
    /// The way back.
    pub fn reversed(self) -> Self {
        match self {
            Self::Edge => Self::Edge,
            Self::Next => Self::Previous,
            Self::Previous => Self::Next,
        }
    }

    /// How meta-paths write it.
    pub fn symbol(self) -> char {
        match self {
            Self::Edge => '-',
            Self::Next => '>',
            Self::Previous => '<',
        }
    }
}

/// A kind of node; its nodes have consecutive ids.
#[derive(Debug, Clone)]
pub struct NodeType {
    /// Name used in meta-paths.
    pub name: String,
    /// Id of its first node.
    pub first: u32,
    /// Number of its nodes.
    pub count: u32,
}

/// Nodes of several types with undirected edges between types, and an order in time within a type.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    types: Vec<NodeType>,
    relations: BTreeMap<(usize, usize, Link), Csr>,
}

impl Graph {
    /// A graph without edges; node ids follow the order of `types`, which are names and node counts.
    pub fn new(types: &[(String, usize)]) -> Result<Self> {
        let mut graph = Self::default();
        let mut first = 0usize;
        for (name, count) in types {
            if name.is_empty() || name.contains(|c: char| "-<>=".contains(c) || c.is_whitespace()) {
                let message = format!("expected a type name without blanks and any of - < > =, got '{name}'");
                return Err(Error::invalid("attributes", message));
            }
            if graph.type_index(name).is_some() {
                return Err(Error::invalid("attributes", format!("the node type '{name}' is given twice")));
            }
            let Some(end) = first.checked_add(*count).filter(|&end| end <= i32::MAX as usize) else {
                return Err(Error::invalid("n_items", "expected fewer than 2^31 nodes in all"));
            };
            graph.types.push(NodeType { name: name.clone(), first: first as u32, count: *count as u32 });
            first = end;
        }
        Ok(graph)
    }

    /// Adds the edges between two types, walkable both ways; rows are 0-based within their type.
    pub fn connect(&mut self, source: &str, target: &str, rows: &[i32], columns: &[i32]) -> Result<()> {
        self.connect_weighted(source, target, rows, columns, None)
    }

    /// Adds edges with weights. From a type to itself they are steps in time from `rows` to `columns`.
    pub fn connect_weighted(
        &mut self,
        source: &str,
        target: &str,
        rows: &[i32],
        columns: &[i32],
        weights: Option<&[f64]>,
    ) -> Result<()> {
        let (a, b) = (self.known(source)?, self.known(target)?);
        let (forward, backward) = both_ways(self.side(a, rows), self.side(b, columns), weights)?;
        let link = if a == b { Link::Next } else { Link::Edge };
        self.relations.insert((a, b, link), forward);
        self.relations.insert((b, a, link.reversed()), backward);
        Ok(())
    }

    fn known(&self, name: &str) -> Result<usize> {
        self.type_index(name).ok_or_else(|| Error::invalid("edges", format!("unknown node type '{name}'")))
    }

    fn side<'a>(&'a self, index: usize, rows: &'a [i32]) -> Side<'a> {
        let NodeType { name, first, count } = &self.types[index];
        Side { name, rows, count: *count, first: *first }
    }

    /// Node types in id order.
    pub fn types(&self) -> &[NodeType] {
        &self.types
    }

    /// Place of a type among [`Graph::types`].
    pub fn type_index(&self, name: &str) -> Option<usize> {
        self.types.iter().position(|t| t.name == name)
    }

    /// Edges from one type to another, if the two are linked so.
    pub fn relation(&self, source: usize, target: usize, link: Link) -> Option<&Csr> {
        self.relations.get(&(source, target, link))
    }

    /// The linked pairs of types, each way, as places among [`Graph::types`].
    pub fn relations(&self) -> impl Iterator<Item = (usize, usize, Link)> + '_ {
        self.relations.keys().copied()
    }

    /// Number of nodes of all types.
    pub fn n_nodes(&self) -> usize {
        self.types.last().map_or(0, |t| (t.first + t.count) as usize)
    }

    /// Whether no two nodes are linked at all.
    pub fn is_empty(&self) -> bool {
        self.relations.values().all(Csr::is_empty)
    }

    /// Bytes that all adjacency takes.
    pub fn bytes(&self) -> usize {
        self.relations.values().map(Csr::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn types_are_linked_both_ways() {
        let types = [("user".to_string(), 2), ("item".to_string(), 3)];
        let mut graph = Graph::new(&types).unwrap();
        assert!(graph.is_empty());
        graph.connect("user", "item", &[1, 0, 0], &[2, 2, 0]).unwrap();
        graph.connect("item", "item", &[0, 1], &[2, 2]).unwrap();
        assert_eq!(graph.relation(0, 1, Link::Edge).unwrap().neighbours(0), &[2, 4]);
        assert_eq!(graph.relation(1, 0, Link::Edge).unwrap().neighbours(2), &[0, 1]);
        assert_eq!(graph.relation(1, 1, Link::Next).unwrap().neighbours(1), &[4]);
        assert_eq!(graph.relation(1, 1, Link::Previous).unwrap().neighbours(2), &[2, 3]);
        assert!(graph.relation(0, 0, Link::Edge).is_none() && graph.relation(1, 1, Link::Edge).is_none());
        assert_eq!((graph.is_empty(), graph.bytes()), (false, 4 * (3 + 3 + 4 + 3) + 4 * (4 + 2) * 2));
        assert!(graph.connect("user", "shop", &[], &[]).is_err());
    }

    #[test]
    fn more_nodes_than_ids_are_refused() {
        for (users, items) in [(1, usize::MAX), (usize::MAX, 1), (1 << 30, 1 << 30), (1 << 31, 0)] {
            let types = [("user".to_string(), users), ("item".to_string(), items)];
            assert!(Graph::new(&types).unwrap_err().to_string().contains("fewer than 2^31 nodes"));
        }
    }

    #[test]
    fn draws_follow_the_weights() {
        let mut graph = Graph::new(&[("user".to_string(), 1), ("item".to_string(), 3)]).unwrap();
        graph.connect_weighted("user", "item", &[0, 0, 0], &[0, 1, 2], Some(&[1.0, 2.0, 5.0])).unwrap();
        let csr = graph.relation(0, 1, Link::Edge).unwrap();
        let mut rng = Rng::new(0, 0, 0);
        let mut counts = [0f64; 3];
        for _ in 0..80_000 {
            counts[csr.target(csr.draw(0, &mut rng).unwrap()) as usize - 1] += 1.0;
        }
        // Chi-square with 2 degrees of freedom: 13.8 is passed once in a thousand.
        let squares: f64 =
            counts.iter().zip([10e3, 20e3, 50e3]).map(|(seen, expected)| (seen - expected).powi(2) / expected).sum();
        assert!(squares < 13.8, "{counts:?}");
    }
}
