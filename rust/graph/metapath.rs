//! Grammar of meta-paths: which types a walk visits in turn, closed so that it can repeat.
//!
//! ```text
//! meta-path = type { link type } { option }
//! link      = "-" an edge | ">" what came next in time | "<" what came before
//! option    = "share=" number in (0, 1] | "restart=" number in [0, 1)
//! ```
//!
//! `user-item-user` walks user, item, user, item, ... for as long as the walk is; `item>item share=0.5` follows the order
//! in which users took items, with half as many walks from each item.

use crate::error::{Error, Result};
use crate::graph::typed::{Graph, Link};

/// A closed sequence of node types that a graph can walk.
#[derive(Debug, Clone, PartialEq)]
pub struct MetaPath {
    name: String,
    types: Vec<usize>,
    links: Vec<Link>,
    share: f64,
    restart: f64,
}

impl MetaPath {
    /// Parses `text` and checks that `graph` links each type with the next.
    pub fn parse(text: &str, graph: &Graph) -> Result<Self> {
        let refuse = |reason: String| Error::invalid("meta_paths", format!("'{text}' {reason}"));
        let (path, options) = split_options(text);
        let (names, links) = split_links(path);
        if names.len() < 2 || names.iter().any(|name| name.is_empty()) {
            return Err(refuse("is not of the form type-type-...-type, such as user-item-user".to_string()));
        }
        let mut types = Vec::with_capacity(names.len());
        for name in &names {
            types.push(graph.type_index(name).ok_or_else(|| refuse(unknown(name, graph)))?);
        }
        if types.first() != types.last() {
            let reason = "is not closed: the first type must equal the last, so that the path can repeat";
            return Err(refuse(reason.to_string()));
        }
        for (step, &link) in links.iter().enumerate() {
            if let Some(reason) = missing(graph, types[step], types[step + 1], link) {
                return Err(refuse(reason));
            }
        }
        let mut parsed = Self { name: written(&names, &links), types, links, share: 1.0, restart: 0.0 };
        parsed.read_options(options).map_err(refuse)?;
        Ok(parsed)
    }

    fn read_options(&mut self, options: &str) -> std::result::Result<(), String> {
        let mut seen = Vec::new();
        for option in options.split_whitespace() {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let number = value.parse::<f64>().ok();
            match (key, number) {
                ("share", Some(share)) if share > 0.0 && share <= 1.0 => self.share = share,
                ("restart", Some(restart)) if (0.0..1.0).contains(&restart) => self.restart = restart,
                ("share", _) => return Err(format!("has share='{value}'; expected a number above 0 and at most 1")),
                ("restart", _) => return Err(format!("has restart='{value}'; expected a number from 0 to below 1")),
                _ => return Err(format!("has the unknown option '{option}'; known are share= and restart=")),
            }
            if seen.contains(&key) {
                return Err(format!("has {key}= twice"));
            }
            seen.push(key);
        }
        Ok(())
    }

    /// The path as text, without blanks and options.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The types of one period and the one that closes it, as places among the graph's types.
    pub fn types(&self) -> &[usize] {
        &self.types
    }

    /// How each step gets from its type to the next.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Share of the walks per node that are made along this path.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Probability that a walk goes back to its start in place of a step; never right after a start.
    pub fn restart(&self) -> f64 {
        self.restart
    }

    /// A number that stands for the path in random streams (FNV-1a of its name), so that a path's walks do not
    /// depend on which other paths are walked.
    pub fn stream(&self) -> u64 {
        self.name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

/// The types and links of a text, and its options, which begin at the first word that has a `=`.
fn split_options(text: &str) -> (&str, &str) {
    let Some(equals) = text.find('=') else { return (text, "") };
    let word = text[..equals].trim_end();
    text.split_at(word.char_indices().rfind(|(_, c)| c.is_whitespace()).map_or(0, |(at, blank)| at + blank.len_utf8()))
}

fn split_links(path: &str) -> (Vec<&str>, Vec<Link>) {
    let known = [Link::Edge, Link::Next, Link::Previous];
    let links = path.chars().filter_map(|c| known.into_iter().find(|link| link.symbol() == c)).collect();
    (path.split(|c| known.iter().any(|link| link.symbol() == c)).map(str::trim).collect(), links)
}

fn written(names: &[&str], links: &[Link]) -> String {
    let mut text = names[0].to_string();
    for (link, name) in links.iter().zip(&names[1..]) {
        text.push(link.symbol());
        text.push_str(name);
    }
    text
}

fn unknown(name: &str, graph: &Graph) -> String {
    let known: Vec<&str> = graph.types().iter().map(|t| t.name.as_str()).collect();
    format!("names the unknown type '{name}'; the graph has {}", known.join(", "))
}

/// Why a step cannot be walked, if it cannot. A graph without any edge has no walk, but a path is not to blame.
fn missing(graph: &Graph, from: usize, to: usize, link: Link) -> Option<String> {
    let name = |index: usize| graph.types()[index].name.as_str();
    let (a, b) = (name(from), name(to));
    let found = graph.relation(from, to, link);
    if found.is_some_and(|csr| !csr.is_empty() || graph.is_empty()) {
        return None;
    }
    let reason = match link {
        Link::Edge => format!("no edges between {a} and {b}"),
        _ if from != to => format!("'{}' stands between {a} and {b}, but only a type follows itself", link.symbol()),
        _ if found.is_some() => format!("no {a} came after another"),
        _ => format!("no order in time of {a}s"),
    };
    let pairs = graph.relations().filter(|&(a, b, link)| link == Link::Next || link == Link::Edge && a < b);
    let pairs: Vec<String> = pairs.map(|(a, b, link)| format!("{}{}{}", name(a), link.symbol(), name(b))).collect();
    Some(format!("cannot be walked: {reason}; it has {}", pairs.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let types = ["user", "item", "category", "brand"].map(|name| (name.to_string(), 2));
        let mut graph = Graph::new(&types).unwrap();
        graph.connect("user", "item", &[0, 0], &[0, 1]).unwrap();
        graph.connect("item", "category", &[0], &[0]).unwrap();
        graph.connect("item", "brand", &[], &[]).unwrap();
        graph.connect("item", "item", &[0], &[1]).unwrap();
        graph
    }

    #[test]
    fn closed_paths_are_taken() {
        let path = MetaPath::parse("user - item-category-item-user", &graph()).unwrap();
        assert_eq!((path.types(), path.name()), (&[0, 1, 2, 1, 0][..], "user-item-category-item-user"));
        assert_eq!((path.share(), path.restart()), (1.0, 0.0));
        let path = MetaPath::parse("item > item<item share=0.5  restart=.15 ", &graph()).unwrap();
        assert_eq!((path.name(), path.links()), ("item>item<item", &[Link::Next, Link::Previous][..]));
        assert_eq!((path.share(), path.restart()), (0.5, 0.15));
        let path = MetaPath::parse("user-item-user\u{3000}share=0.5", &graph()).unwrap();
        assert_eq!((path.name(), path.share()), ("user-item-user", 0.5));
    }

    #[test]
    fn each_rule_refuses_with_its_reason() {
        for (text, reason) in [
            ("", "form"),
            ("user", "form"),
            ("user--user", "form"),
            ("share=1", "form"),
            ("user-item-user user-item-user", "unknown type 'user user'"),
            ("user-shop-user", "unknown type 'shop'"),
            ("user-item", "not closed"),
            ("user-category-user", "user and category; it has user-item, item>item, item-category"),
            ("user-user", "no edges between user and user"),
            ("user-item-brand-item-user", "no edges between item and brand"),
            ("user>user", "no order in time of users"),
            ("user>item<user", "'>' stands between user and item"),
            ("user-item-user share=0", "above 0 and at most 1"),
            ("user-item-user share=1.5", "above 0 and at most 1"),
            ("user-item-user restart=1", "from 0 to below 1"),
            ("user-item-user restart=much", "from 0 to below 1"),
            ("user-item-user share=.5 share=.5", "share= twice"),
            ("user-item-user length=3", "unknown option 'length=3'"),
            ("user-item-user share=.5 often", "unknown option 'often'"),
        ] {
            let error = MetaPath::parse(text, &graph()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
