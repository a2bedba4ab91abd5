//! Typed adjacency: one CSR for each ordered pair of node types that has edges.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Neighbours of the nodes of one type within another type.
#[derive(Debug, Clone)]
pub struct Csr {
    offsets: Vec<usize>,
    targets: Vec<u32>,
}

impl Csr {
    /// Rows `0..n_rows` with their targets in ascending order; a pair given twice is two edges.
    fn new(n_rows: usize, rows: &[u32], targets: &[u32], shift: u32) -> Self {
        let mut offsets = vec![0usize; n_rows + 1];
        for &row in rows {
            offsets[row as usize + 1] += 1;
        }
        for row in 0..n_rows {
            offsets[row + 1] += offsets[row];
        }
        let mut next = offsets.clone();
        let mut sorted = vec![0u32; rows.len()];
        for (&row, &target) in rows.iter().zip(targets) {
            sorted[next[row as usize]] = target + shift;
            next[row as usize] += 1;
        }
        // The walk picks a neighbour by its place, so the order of the input must not show.
        for row in 0..n_rows {
            sorted[offsets[row]..offsets[row + 1]].sort_unstable();
        }
        Self { offsets, targets: sorted }
    }

    /// Neighbours of a row, as node ids of the whole graph, ascending.
    #[inline]
    pub fn neighbours(&self, row: usize) -> &[u32] {
        &self.targets[self.offsets[row]..self.offsets[row + 1]]
    }

    /// Number of edges.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is no edge.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
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

/// Nodes of several types with undirected edges between types.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    types: Vec<NodeType>,
    relations: BTreeMap<(usize, usize), Csr>,
}

impl Graph {
    /// A graph without edges; node ids follow the order of `types`, which are names and node counts.
    pub fn new(types: &[(String, usize)]) -> Result<Self> {
        let mut graph = Self::default();
        let mut first = 0usize;
        for (name, count) in types {
            if name.is_empty() || name.contains('-') {
                return Err(Error::invalid("attributes", format!("expected a type name without '-', got '{name}'")));
            }
            if graph.type_index(name).is_some() {
                return Err(Error::invalid("attributes", format!("the node type '{name}' is given twice")));
            }
            if first + count > i32::MAX as usize {
                return Err(Error::invalid("n_items", "expected fewer than 2^31 nodes in all"));
            }
            graph.types.push(NodeType { name: name.clone(), first: first as u32, count: *count as u32 });
            first += count;
        }
        Ok(graph)
    }

    /// Adds the edges between two types, walkable both ways; rows are 0-based within their type.
    pub fn connect(&mut self, source: &str, target: &str, rows: &[i32], columns: &[i32]) -> Result<()> {
        let find = |name: &str| {
            self.type_index(name).ok_or_else(|| Error::invalid("edges", format!("unknown node type '{name}'")))
        };
        let (a, b) = (find(source)?, find(target)?);
        if rows.len() != columns.len() {
            let message = format!("expected as many {target}s as {source}s, got {} and {}", columns.len(), rows.len());
            return Err(Error::invalid("edges", message));
        }
        let rows = checked(rows, &self.types[a])?;
        let columns = checked(columns, &self.types[b])?;
        let forward = Csr::new(self.types[a].count as usize, &rows, &columns, self.types[b].first);
        let backward = Csr::new(self.types[b].count as usize, &columns, &rows, self.types[a].first);
        self.relations.insert((a, b), forward);
        self.relations.insert((b, a), backward);
        Ok(())
    }

    /// Node types in id order.
    pub fn types(&self) -> &[NodeType] {
        &self.types
    }

    /// Place of a type among [`Graph::types`].
    pub fn type_index(&self, name: &str) -> Option<usize> {
        self.types.iter().position(|t| t.name == name)
    }

    /// Edges from one type to another, if the two are connected.
    pub fn relation(&self, source: usize, target: usize) -> Option<&Csr> {
        self.relations.get(&(source, target))
    }

    /// The connected pairs of types, each way, as places among [`Graph::types`].
    pub fn relations(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.relations.keys().copied()
    }

    /// Number of nodes of all types.
    pub fn n_nodes(&self) -> usize {
        self.types.last().map_or(0, |t| (t.first + t.count) as usize)
    }
}

fn checked(rows: &[i32], kind: &NodeType) -> Result<Vec<u32>> {
    rows.iter()
        .map(|&row| match u32::try_from(row) {
            Ok(row) if row < kind.count => Ok(row),
            _ => {
                let message = format!("expected {} rows in 0..{}, got {row}", kind.name, kind.count);
                Err(Error::invalid("edges", message))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_order_does_not_show() {
        let types = [("user".to_string(), 2), ("item".to_string(), 3)];
        let mut graph = Graph::new(&types).unwrap();
        graph.connect("user", "item", &[1, 0, 0], &[2, 2, 0]).unwrap();
        let forward = graph.relation(0, 1).unwrap();
        assert_eq!((forward.neighbours(0), forward.neighbours(1)), (&[2, 4][..], &[4][..]));
        assert_eq!(graph.relation(1, 0).unwrap().neighbours(2), &[0, 1]);
        assert!(graph.relation(0, 0).is_none());
    }

    #[test]
    fn rows_out_of_range_are_refused() {
        let mut graph = Graph::new(&[("user".to_string(), 1), ("item".to_string(), 1)]).unwrap();
        assert!(graph.connect("user", "item", &[0], &[-1]).is_err());
        assert!(graph.connect("user", "item", &[1], &[0]).is_err());
    }
}
