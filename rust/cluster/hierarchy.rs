//! Hierarchical k-means: every node is clustered on its own, then each level's offsets are shared by all parents.
//!
//! Rows are re-ordered so that a node is a contiguous slice, and hold what is left after their node's own centroid:
//! k-means does not care where the origin is, and the children's centroids come out as offsets from the parent.

use std::ops::Range;

use rayon::prelude::*;

use super::Learned;
use super::kmeans::{self, KMeans};
use super::matching::{self, Family};
use super::params::Settings;
use super::residual::pad;
use super::rows::Rows;
use crate::error::Result;
use crate::progress::Progress;

/// The rows in the order of the nodes of the current level.
struct Tree {
    dim: usize,
    /// Caller's row at each place.
    order: Vec<u32>,
    /// What is left of each row, in that order.
    left: Vec<f32>,
    nodes: Vec<Range<usize>>,
}

/// Fits every level in turn.
pub fn fit(rows: Rows<'_>, levels: &[usize], settings: &Settings, progress: &Progress) -> Result<Learned> {
    let (dim, n, depth) = (rows.dim(), rows.len(), levels.len());
    let mut learned = Learned { codes: vec![0; n * depth], ..Learned::default() };
    let nodes = std::iter::once(0..n).collect();
    let mut tree = Tree { dim, order: (0..n as u32).collect(), left: rows.data().to_vec(), nodes };
    for (level, &k) in levels.iter().enumerate() {
        let runs = tree.cluster(level, k, settings, progress)?;
        let families: Vec<Family> = runs.iter().map(|run| family(run, dim)).collect();
        let (shared, maps, used) = if level == 0 {
            let own = runs[0].k(dim);
            (pad(runs[0].centroids.clone(), k, dim), vec![(0..own as u32).collect()], own)
        } else {
            matching::share(&families, k, dim, settings.seed, settings.isa, progress)?
        };
        for ((node, run), map) in tree.nodes.iter().zip(&runs).zip(&maps) {
            for (&row, &label) in tree.order[node.clone()].iter().zip(&run.labels) {
                learned.codes[row as usize * depth + level] = map[label as usize];
            }
        }
        learned.centroids.push(shared);
        learned.distinct.push(used);
        learned.inertia.push(runs.iter().map(|run| run.inertia).sum());
        learned.iterations.push(runs.iter().map(|run| run.iterations).max().unwrap_or(0));
        learned.small_nodes += runs.iter().filter(|run| run.k(dim) < k).count();
        tree.descend(&runs);
    }
    Ok(learned)
}

fn family(run: &KMeans, dim: usize) -> Family {
    let mut weights = vec![0; run.k(dim)];
    for &label in &run.labels {
        weights[label as usize] += 1;
    }
    Family { offsets: run.centroids.clone(), weights }
}

impl Tree {
    /// k-means in every node; the random streams are named by level and the node's first place.
    fn cluster(&self, level: usize, k: usize, settings: &Settings, progress: &Progress) -> Result<Vec<KMeans>> {
        let rows = Rows::new(&self.left, self.dim);
        let spherical = kmeans::spherical(settings, level);
        self.nodes
            .par_iter()
            .map(|node| {
                let unit = ((level as u64) << 40) | node.start as u64;
                kmeans::fit(rows.slice(node.start, node.end), k, spherical, settings, unit, progress)
            })
            .collect()
    }

    /// Makes every non-empty child a node: rows sorted by child (stable), the child's centroid subtracted.
    fn descend(&mut self, runs: &[KMeans]) {
        let dim = self.dim;
        let mut order = vec![0u32; self.order.len()];
        let mut left = vec![0f32; self.left.len()];
        let (mut order_rest, mut left_rest) = (&mut order[..], &mut left[..]);
        let mut jobs = Vec::with_capacity(runs.len());
        for (node, run) in self.nodes.iter().zip(runs) {
            let (order_part, order_after) = order_rest.split_at_mut(node.len());
            let (left_part, left_after) = left_rest.split_at_mut(node.len() * dim);
            (order_rest, left_rest) = (order_after, left_after);
            jobs.push((node.clone(), run, order_part, left_part));
        }
        let (old_order, old_left) = (&self.order, Rows::new(&self.left, dim));
        let children: Vec<Vec<Range<usize>>> = jobs
            .into_par_iter()
            .map(|(node, run, order, left)| {
                let bounds = bounds(&run.labels, run.k(dim));
                let mut next = bounds.clone();
                for (i, &label) in run.labels.iter().enumerate() {
                    let place = next[label as usize];
                    next[label as usize] += 1;
                    order[place] = old_order[node.start + i];
                    let centroid = &run.centroids[label as usize * dim..][..dim];
                    let (to, from) = (&mut left[place * dim..][..dim], old_left.row(node.start + i));
                    to.iter_mut().zip(from.iter().zip(centroid)).for_each(|(t, (v, c))| *t = v - c);
                }
                bounds.windows(2).filter(|w| w[0] < w[1]).map(|w| node.start + w[0]..node.start + w[1]).collect()
            })
            .collect();
        self.nodes = children.into_iter().flatten().collect();
        (self.order, self.left) = (order, left);
    }
}

/// Where each label's rows begin after a stable sort by label, and the end.
pub fn bounds(labels: &[u32], k: usize) -> Vec<usize> {
    let mut bounds = vec![0; k + 1];
    for &label in labels {
        bounds[label as usize + 1] += 1;
    }
    for c in 0..k {
        bounds[c + 1] += bounds[c];
    }
    bounds
}
