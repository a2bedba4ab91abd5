//! Grammar of meta-paths: `type-type-...-type`, closed so that it can repeat.
//!
//! `user-item-user` walks user, item, user, item, ... for as long as the walk is.

use crate::error::{Error, Result};
use crate::graph::csr::Graph;

/// A closed sequence of node types that a graph can walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaPath {
    name: String,
    types: Vec<usize>,
}

impl MetaPath {
    /// Parses `text` and checks that `graph` connects each type with the next.
    pub fn parse(text: &str, graph: &Graph) -> Result<Self> {
        let refuse = |reason: String| Err(Error::invalid("meta_paths", format!("'{text}' {reason}")));
        let names: Vec<&str> = text.split('-').map(str::trim).collect();
        if names.len() < 2 || names.iter().any(|name| name.is_empty()) {
            return refuse("is not of the form type-type-...-type, such as user-item-user".to_string());
        }
        let mut types = Vec::with_capacity(names.len());
        for name in &names {
            match graph.type_index(name) {
                Some(index) => types.push(index),
                None => {
                    let known: Vec<&str> = graph.types().iter().map(|t| t.name.as_str()).collect();
                    return refuse(format!("names the unknown type '{name}'; the graph has {}", known.join(", ")));
                }
            }
        }
        if types.first() != types.last() {
            return refuse("is not closed: the first type must equal the last, so that the path can repeat".into());
        }
        for (step, pair) in types.windows(2).enumerate() {
            if graph.relation(pair[0], pair[1]).is_none() {
                let (a, b) = (names[step], names[step + 1]);
                return refuse(format!("cannot be walked: no edges between {a} and {b}; it has {}", connected(graph)));
            }
        }
        Ok(Self { name: names.join("-"), types })
    }

    /// The path as text, without blanks.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The types of one period and the one that closes it, as places among the graph's types.
    pub fn types(&self) -> &[usize] {
        &self.types
    }

    /// A number that stands for the path in random streams (FNV-1a of its name), so that a path's walks do not
    /// depend on which other paths are walked.
    pub fn stream(&self) -> u64 {
        self.name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

fn connected(graph: &Graph) -> String {
    let name = |index: usize| graph.types()[index].name.as_str();
    let pairs: Vec<String> =
        graph.relations().filter(|(a, b)| a <= b).map(|(a, b)| format!("{}-{}", name(a), name(b))).collect();
    pairs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let types = [("user".to_string(), 1), ("item".to_string(), 1), ("category".to_string(), 1)];
        let mut graph = Graph::new(&types).unwrap();
        graph.connect("user", "item", &[0], &[0]).unwrap();
        graph.connect("item", "category", &[0], &[0]).unwrap();
        graph
    }

    #[test]
    fn closed_paths_are_taken() {
        let path = MetaPath::parse("user - item-category-item-user", &graph()).unwrap();
        assert_eq!(path.types(), &[0, 1, 2, 1, 0]);
        assert_eq!(path.name(), "user-item-category-item-user");
    }

    #[test]
    fn each_rule_refuses_with_its_reason() {
        for (text, reason) in [
            ("", "form"),
            ("user", "form"),
            ("user--user", "form"),
            ("user-shop-user", "unknown type 'shop'"),
            ("user-item", "not closed"),
            ("user-category-user", "no edges between user and category"),
            ("user-user", "no edges between user and user"),
        ] {
            let error = MetaPath::parse(text, &graph()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
