//! Fits that are trained on a sample and read the caller's rows in passes, so that rows in a mapped file never become a
//! copy in memory.
//!
//! A run with more rows than the sample is trained on that many of them, drawn without replacement; one pass over all of
//! its rows then moves each centroid to their mean, and a second one labels them. What is kept for every row is its
//! label on each level (and its place in the tree): rows are made again from the caller's, block by block.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use rayon::prelude::*;

use super::Learned;
use super::hierarchy::sort;
use super::kmeans::{self, KMeans, pad};
use super::matching::{self, Family};
use super::params::{Metric, Settings};
use super::pass::{Made, block_of, train};
use super::prepare::place;
use crate::error::Result;
use crate::limits::{check_range, larger, largest};
use crate::matrix::Rows;
use crate::matrix::write_level;
use crate::matrix::{finite, not_finite};
use crate::progress::Progress;

/// Values of the nodes that are clustered at the same time: 256 MiB.
const NODES: usize = 1 << 26;

/// The caller's rows and where their origin is moved to.
struct Source<'a> {
    x: Rows<'a>,
    metric: Metric,
    origin: Vec<f32>,
}

/// What the levels before left of every row.
struct Left<'a> {
    source: &'a Source<'a>,
    levels: &'a [Vec<f32>],
    /// Row-major labels of `depth` levels.
    codes: &'a [u32],
    depth: usize,
}

impl Made for Left<'_> {
    fn len(&self) -> usize {
        self.source.x.len()
    }

    fn dim(&self) -> usize {
        self.source.x.dim()
    }

    fn make(&self, i: usize, out: &mut [f32]) {
        place(self.source.x.row(i), self.source.metric, &self.source.origin, out);
        for (words, &code) in self.levels.iter().zip(&self.codes[i * self.depth..]) {
            let word = &words[code as usize * out.len()..][..out.len()];
            out.iter_mut().zip(word).for_each(|(v, c)| *v -= c);
        }
    }
}

/// The rows of a node of a tree, seen from the node's own centroid.
struct Node<'a> {
    source: &'a Source<'a>,
    rows: &'a [u32],
    position: &'a [f32],
}

impl Made for Node<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn dim(&self) -> usize {
        self.source.x.dim()
    }

    fn make(&self, i: usize, out: &mut [f32]) {
        place(self.source.x.row(self.rows[i] as usize), self.source.metric, &self.source.origin, out);
        out.iter_mut().zip(self.position).for_each(|(v, c)| *v -= c);
    }
}

/// Fits `residual`, or `tree`, on `settings.sample` rows a run.
pub fn fit(x: Rows<'_>, levels: &[usize], tree: bool, settings: &Settings, progress: &Progress) -> Result<Learned> {
    // Each level reads the rows twice; sample and finiteness are read once.
    progress.set_total((x.len() * (2 * levels.len() + 1)) as u64);
    let (mean, most) = check_and_average(x, progress)?;
    check_range("x", if settings.metric == Metric::Cosine { 0.0 } else { most }, true)?;
    let origin = if settings.metric == Metric::Euclidean { mean } else { vec![0.0; x.dim()] };
    let source = Source { x, metric: settings.metric, origin };
    let mut learned = match tree {
        true => fit_tree(&source, levels, settings, progress)?,
        false => fit_residual(&source, levels, settings, progress)?,
    };
    for centroid in learned.centroids[0].chunks_exact_mut(x.dim()) {
        centroid.iter_mut().zip(&source.origin).for_each(|(v, shift)| *v += shift);
    }
    Ok(learned)
}

/// Mean row, added in fixed blocks, and the largest value; fails at the first row that is not finite.
fn check_and_average(x: Rows<'_>, progress: &Progress) -> Result<(Vec<f32>, f32)> {
    let (dim, block) = (x.dim(), block_of(x.len(), x.dim()));
    let (bad, most) = (AtomicUsize::new(usize::MAX), AtomicU32::new(0));
    let parts: Vec<Vec<f64>> = (0..x.len().div_ceil(block))
        .into_par_iter()
        .map(|b| {
            let (mut sum, mut own) = (vec![0.0; dim], 0.0);
            for (i, row) in (b * block..((b + 1) * block).min(x.len())).map(|i| (i, x.row(i))) {
                if !finite(row) {
                    bad.fetch_min(i, Ordering::Relaxed);
                    break;
                }
                own = larger(own, largest(row));
                sum.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
                if i % 1024 == 0 {
                    progress.check()?;
                }
            }
            most.fetch_max(own.to_bits(), Ordering::Relaxed);
            progress.advance(block.min(x.len() - b * block) as u64).map(|()| sum)
        })
        .collect::<Result<_>>()?;
    match bad.into_inner() {
        usize::MAX => {
            let total = |j: usize| parts.iter().map(|part| part[j]).sum::<f64>();
            let mean = (0..dim).map(|j| (total(j) / x.len() as f64) as f32).collect();
            Ok((mean, f32::from_bits(most.into_inner())))
        }
        row => Err(not_finite(row)),
    }
}

fn fit_residual(source: &Source<'_>, levels: &[usize], settings: &Settings, progress: &Progress) -> Result<Learned> {
    let (n, dim, depth) = (source.x.len(), source.x.dim(), levels.len());
    let mut learned = Learned { codes: vec![0; n * depth], ..Learned::default() };
    for (level, &k) in levels.iter().enumerate() {
        let rows = Left { source, levels: &learned.centroids, codes: &learned.codes, depth };
        let spherical = kmeans::spherical(settings, level);
        let run = train(&rows, k, spherical, settings, level as u64, progress)?;
        write_level(&mut learned.codes, &run.labels, level, depth);
        learned.add(pad(run.centroids.clone(), k, dim), run.k(dim), &[run], k, dim);
    }
    Ok(learned)
}

fn fit_tree(source: &Source<'_>, levels: &[usize], settings: &Settings, progress: &Progress) -> Result<Learned> {
    let (n, dim, depth) = (source.x.len(), source.x.dim(), levels.len());
    let mut learned = Learned { codes: vec![0; n * depth], ..Learned::default() };
    let mut order: Vec<u32> = (0..n as u32).collect();
    let mut nodes: Vec<(Range<usize>, Vec<f32>)> = vec![(0..n, vec![0.0; dim])];
    for (level, &k) in levels.iter().enumerate() {
        let runs = cluster(source, &order, &nodes, level, k, settings, progress)?;
        let families: Vec<Family> = runs.iter().map(|run| matching::family(run, dim)).collect();
        let (shared, maps, used) = match level {
            0 => (pad(runs[0].centroids.clone(), k, dim), vec![(0..k as u32).collect()], runs[0].k(dim)),
            _ => matching::share(&families, k, dim, settings.seed, settings.isa, progress)?,
        };
        learned.add(shared, used, &runs, k, dim);
        let mut children = Vec::new();
        for (((node, position), run), map) in nodes.iter().zip(&runs).zip(&maps) {
            let (bounds, places) = sort(&run.labels, run.k(dim));
            let old = order[node.clone()].to_vec();
            for (&row, &label) in old.iter().zip(&run.labels) {
                learned.codes[row as usize * depth + level] = map[label as usize];
            }
            order[node.clone()].iter_mut().zip(places).for_each(|(to, place)| *to = old[place as usize]);
            for (edge, centroid) in bounds.windows(2).zip(run.centroids.chunks_exact(dim)).filter(|(e, _)| e[0] < e[1])
            {
                let position = position.iter().zip(centroid).map(|(p, c)| p + c).collect();
                children.push((node.start + edge[0]..node.start + edge[1], position));
            }
        }
        nodes = children;
    }
    Ok(learned)
}

/// k-means in every node, as many at a time as may be in memory together; the random streams are named by level and the
/// node's first place.
fn cluster(
    source: &Source<'_>,
    order: &[u32],
    nodes: &[(Range<usize>, Vec<f32>)],
    level: usize,
    k: usize,
    settings: &Settings,
    progress: &Progress,
) -> Result<Vec<KMeans>> {
    let spherical = kmeans::spherical(settings, level);
    let mut runs = Vec::with_capacity(nodes.len());
    while runs.len() < nodes.len() {
        let mut values = 0;
        let rest = &nodes[runs.len()..];
        let fit = rest.iter().take_while(|(node, _)| {
            values += node.len() * source.x.dim();
            values <= NODES
        });
        let together = &rest[..fit.count().max(1)];
        let found: Vec<KMeans> = together
            .par_iter()
            .map(|(node, position)| {
                let unit = ((level as u64) << 40) | node.start as u64;
                let rows = Node { source, rows: &order[node.clone()], position };
                train(&rows, k, spherical, settings, unit, progress)
            })
            .collect::<Result<_>>()?;
        runs.extend(found);
    }
    Ok(runs)
}
