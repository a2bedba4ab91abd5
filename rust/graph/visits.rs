//! How often walks are expected to visit each node, from the transition probabilities.
//!
//! A *life* is the part of a walk from a start up to a restart (or its end). Let `q_k` be where a life is after `k`
//! steps if nothing but a dead end stops it: `q_0` = 1 at each start, `q_{k+1}(v) = sum over u of q_k(u) w(u,v) / W(u)`,
//! `W(u)` the sum of the weights of u. With restart probability r, the first step after a start being safe, a life
//! reaches step k with `s_k = (1 - r)^(k - 1) |q_k| / |q_0|`, `s_0 = 1`, and ends after j steps with
//! `s_{j-1} - s_j`. A walk (re)starts at position t with `u_0 = 1`, `u_t = sum_j u_{t-j} (s_{j-1} - s_j)`, and so
//!
//! ```text
//! visits = sum_k q_k (1 - r)^(k - 1) (u_0 + ... + u_{length - 1 - k})
//! ```
//!
//! Exact, and cheaper than counting sampled walks; but where r > 0 and some walks meet a dead end, those restarts are
//! spread evenly over all starts. Without restarts a dead end ends the walk: u_0 = 1, all other u_t = 0.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::graph::csr::Csr;
use crate::graph::metapath::MetaPath;
use crate::graph::typed::Graph;
use crate::graph::walk::Walker;
use crate::progress::Progress;

/// Most nodes of a walk that restarts: the time that its visits take grows with their square.
const MOST_RESTARTED: usize = 1 << 14;

/// A step of the path, and the way back, along which sums are pulled in a fixed order.
struct Pull<'a> {
    forward: &'a Csr,
    back: &'a Csr,
    first: usize,
    count: usize,
}

impl Pull<'_> {
    /// Moves shares of the nodes here one step on.
    fn step(&self, share: &[f64]) -> Vec<f64> {
        let first = self.first;
        let outflow: Vec<f64> = share
            .iter()
            .enumerate()
            .map(|(row, p)| if *p > 0.0 { p / self.forward.total(row) } else { 0.0 })
            .map(|flow| if flow.is_finite() { flow } else { 0.0 })
            .collect();
        let pulled = |v: usize| {
            let edges = self.back.neighbours(v).iter().enumerate();
            edges.map(|(place, &u)| outflow[u as usize - first] * self.back.weight(v, place)).sum()
        };
        (0..self.count).into_par_iter().map(pulled).collect()
    }
}

impl Walker<'_> {
    /// Adds to `visits` (one per node) how often the walks of one index are expected at each node.
    pub fn expected_visits(
        &self,
        graph: &Graph,
        path: &MetaPath,
        length: usize,
        visits: &mut [f64],
        progress: &Progress,
    ) -> Result<()> {
        let pulls = pulls(graph, path)?;
        if path.restart() > 0.0 && length > MOST_RESTARTED {
            let message = format!("expected at most {MOST_RESTARTED} nodes in a walk that restarts, got {length}");
            return Err(Error::invalid("walk_length", message));
        }
        let start: Vec<f64> = self.starts().map(|s| f64::from(u8::from(self.can_start(s)))).collect();
        let restart = path.restart();
        let factors = if restart > 0.0 {
            let mut masses = Vec::with_capacity(length);
            propagate(&pulls, start.clone(), length, progress, |_, share| masses.push(share.iter().sum::<f64>()))?;
            factors(&masses, restart, progress)?
        } else {
            vec![1.0; length]
        };
        propagate(&pulls, start, length, progress, |k, share| {
            let factor = factors[k] * path.share();
            let first = pulls[k % pulls.len()].first;
            for (total, &p) in visits[first..first + share.len()].iter_mut().zip(share) {
                *total += factor * p;
            }
        })
    }
}

fn pulls<'a>(graph: &'a Graph, path: &MetaPath) -> Result<Vec<Pull<'a>>> {
    let pull = |(pair, &link): (&[usize], _)| {
        let (here, next) = (&graph.types()[pair[0]], &graph.types()[pair[1]]);
        Some(Pull {
            forward: graph.relation(pair[0], pair[1], link)?,
            back: graph.relation(pair[1], pair[0], link.reversed())?,
            first: here.first as usize,
            count: next.count as usize,
        })
    };
    let pulls: Option<Vec<Pull>> = path.types().windows(2).zip(path.links()).map(pull).collect();
    pulls.ok_or_else(|| Error::invalid("meta_paths", "the path belongs to another graph"))
}

/// Calls `take(k, q_k)` for each position of a walk of `length` nodes.
fn propagate(
    pulls: &[Pull],
    mut share: Vec<f64>,
    length: usize,
    progress: &Progress,
    mut take: impl FnMut(usize, &[f64]),
) -> Result<()> {
    for k in 0..length {
        progress.check()?;
        take(k, &share);
        if k + 1 < length {
            share = pulls[k % pulls.len()].step(&share);
        }
    }
    Ok(())
}

/// `(1 - r)^(k - 1) (u_0 + ... + u_{length - 1 - k})` for each k, from `|q_k|`.
fn factors(masses: &[f64], restart: f64, progress: &Progress) -> Result<Vec<f64>> {
    let length = masses.len();
    let kept = |k: usize| (1.0 - restart).powi(k.saturating_sub(1) as i32);
    let whole = if masses[0] > 0.0 { masses[0] } else { 1.0 };
    let reach: Vec<f64> = (0..length).map(|k| kept(k) * masses[k] / whole).collect();
    let mut starts = vec![1.0];
    for t in 1..length {
        progress.check()?;
        starts.push((1..=t).map(|j| starts[t - j] * (reach[j - 1] - reach[j])).sum());
    }
    // The coin is thrown before the step, so a life that reaches step k has thrown k - 1 times.
    let mut begun = 0.0;
    let mut factors: Vec<f64> = Vec::with_capacity(length);
    for (t, start) in starts.iter().enumerate() {
        begun += start;
        factors.push(kept(length - 1 - t) * begun);
    }
    factors.reverse();
    Ok(factors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(path: &str, length: usize) -> Vec<f64> {
        let mut graph = Graph::new(&[("user".to_string(), 3), ("item".to_string(), 1)]).unwrap();
        graph.connect("user", "item", &[0, 2], &[0, 0]).unwrap();
        let path = MetaPath::parse(path, &graph).unwrap();
        let mut visits = vec![0.0; 4];
        Walker::new(&graph, &path)
            .unwrap()
            .expected_visits(&graph, &path, length, &mut visits, &Progress::new())
            .unwrap();
        visits
    }

    #[test]
    fn long_walks_that_restart_are_refused() {
        let mut graph = Graph::new(&[("user".to_string(), 1), ("item".to_string(), 1)]).unwrap();
        graph.connect("user", "item", &[0], &[0]).unwrap();
        for (text, fits) in [("user-item-user", true), ("user-item-user restart=0.1", false)] {
            let path = MetaPath::parse(text, &graph).unwrap();
            let walker = Walker::new(&graph, &path).unwrap();
            let mut visits = vec![0.0; 2];
            let found = walker.expected_visits(&graph, &path, MOST_RESTARTED + 1, &mut visits, &Progress::new());
            assert_eq!(found.is_ok(), fits);
        }
    }

    #[test]
    fn visits_add_up_to_the_tokens() {
        assert_eq!(expected("user-item-user", 5), vec![3.0, 0.0, 3.0, 4.0]);
        assert_eq!(expected("user-item-user share=0.5", 5), vec![1.5, 0.0, 1.5, 2.0]);
        let restarted = expected("user-item-user restart=0.5", 5);
        assert!((restarted.iter().sum::<f64>() - 10.0).abs() < 1e-12, "{restarted:?}");
        // Chance of the item by position: 1 after the start, then never, 3/4 (a restart at 2, or none at 3), 1/4.
        assert!((restarted[3] - 2.0 * (1.0 + 0.75 + 0.25)).abs() < 1e-12, "{restarted:?}");
    }
}
