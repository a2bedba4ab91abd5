//! Hierarchical k-means: every node is clustered on its own, then each level's offsets are shared by all parents.
//!
//! Rows are re-ordered so that a node is a contiguous slice, and hold what is left after their node's own centroid:
//! k-means does not care where the origin is, and the children's centroids come out as offsets from the parent.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::Learned;
use super::balance;
use super::kmeans::{self, KMeans, pad};
use super::matching::{self, Family};
use super::params::Settings;
use crate::error::Result;
use crate::matrix::{Rows, build};
use crate::progress::Progress;

/// The rows in the order of the nodes of the current level.
struct Tree<'a> {
    dim: usize,
    /// Caller's row at each place.
    order: Vec<u32>,
    /// What is left of each row, in that order.
    left: Cow<'a, [f32]>,
    nodes: Vec<Range<usize>>,
}

/// Fits every level in turn.
pub fn fit(rows: Rows<'_>, levels: &[usize], settings: &Settings, progress: &Progress) -> Result<Learned> {
    let (dim, n, depth) = (rows.dim(), rows.len(), levels.len());
    let mut learned = Learned { codes: vec![0; n * depth], ..Learned::default() };
    let nodes = std::iter::once(0..n).collect();
    let mut tree = Tree { dim, order: (0..n as u32).collect(), left: Cow::Borrowed(rows.data()), nodes };
    for (level, &k) in levels.iter().enumerate() {
        let mut runs = tree.cluster(level, k, settings, progress)?;
        if level == 0 {
            let (run, capped) = balance::capped(rows, runs.remove(0), k, settings, progress)?;
            (runs, learned.capped) = (vec![run], capped);
        }
        let families: Vec<Family> = runs.iter().map(|run| matching::family(run, dim)).collect();
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
        learned.add(shared, used, &runs, k, dim);
        if level + 1 < depth {
            tree.descend(&runs, progress)?;
        }
    }
    Ok(learned)
}

impl Tree<'_> {
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
    fn descend(&mut self, runs: &[KMeans], progress: &Progress) -> Result<()> {
        let dim = self.dim;
        let sorted: Vec<(Vec<usize>, Vec<u32>)> = runs.par_iter().map(|run| sort(&run.labels, run.k(dim))).collect();
        if let [run] = runs {
            self.order = sorted[0].1.clone();
            let (rows, places) = (Rows::new(&self.left, dim), &sorted[0].1);
            self.left = Cow::Owned(build(rows.len(), dim, progress, |i, out| leave(out, rows, places[i], run))?);
        } else {
            self.sort_nodes(runs, &sorted, progress)?;
        }
        let children = self.nodes.iter().zip(&sorted).flat_map(|(node, (bounds, _))| {
            bounds.windows(2).filter(|w| w[0] < w[1]).map(|w| node.start + w[0]..node.start + w[1])
        });
        self.nodes = children.collect();
        Ok(())
    }

    /// Sorts within every node, in parallel over the nodes, through a buffer of one node's size.
    fn sort_nodes(&mut self, runs: &[KMeans], sorted: &[(Vec<usize>, Vec<u32>)], progress: &Progress) -> Result<()> {
        let dim = self.dim;
        let (mut order_rest, mut left_rest) = (&mut self.order[..], &mut self.left.to_mut()[..]);
        let mut jobs = Vec::with_capacity(runs.len());
        for ((node, run), (_, places)) in self.nodes.iter().zip(runs).zip(sorted) {
            let (order, order_after) = order_rest.split_at_mut(node.len());
            let (left, left_after) = left_rest.split_at_mut(node.len() * dim);
            (order_rest, left_rest) = (order_after, left_after);
            jobs.push((run, places, order, left));
        }
        jobs.into_par_iter().try_for_each_init(Vec::new, |buffer, (run, places, order, left)| {
            let old: Vec<u32> = places.iter().map(|&place| order[place as usize]).collect();
            order.copy_from_slice(&old);
            buffer.resize(left.len(), 0.0);
            let rows = Rows::new(left, dim);
            buffer.chunks_exact_mut(dim).zip(places).for_each(|(out, &place)| leave(out, rows, place, run));
            left.copy_from_slice(buffer);
            progress.check()
        })
    }
}

/// What the run leaves of a row.
fn leave(out: &mut [f32], rows: Rows<'_>, place: u32, run: &KMeans) {
    let centroid = &run.centroids[run.labels[place as usize] as usize * rows.dim()..][..rows.dim()];
    out.iter_mut().zip(rows.row(place as usize).iter().zip(centroid)).for_each(|(t, (v, c))| *t = v - c);
}

/// Where each label's rows begin after a stable sort by label (and the end), and the rows in that order.
pub(super) fn sort(labels: &[u32], k: usize) -> (Vec<usize>, Vec<u32>) {
    let mut bounds = vec![0; k + 1];
    labels.iter().for_each(|&label| bounds[label as usize + 1] += 1);
    (0..k).for_each(|c| bounds[c + 1] += bounds[c]);
    let (mut next, mut order) = (bounds.clone(), vec![0; labels.len()]);
    for (i, &label) in labels.iter().enumerate() {
        order[next[label as usize]] = i as u32;
        next[label as usize] += 1;
    }
    (bounds, order)
}
