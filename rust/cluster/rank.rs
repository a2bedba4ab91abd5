//! The published scheme, for comparison: one k-means level, then the rank by distance to the centroid.

use super::Learned;
use super::balance;
use super::kmeans::{self, pad};
use super::params::Settings;
use crate::error::{Error, Result};
use crate::matrix::write_level;
use crate::matrix::{Rows, remainder, squared_distance};
use crate::progress::Progress;

/// Rank of each member by the length of what its centroid leaves, nearest first, lowest row among equals.
pub fn ranks(members: &[u32], left: Rows<'_>) -> Vec<u32> {
    let zero = vec![0.0; left.dim()];
    let distance: Vec<f64> = members.iter().map(|&row| squared_distance(left.row(row as usize), &zero)).collect();
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|&a, &b| distance[a].total_cmp(&distance[b]).then(members[a].cmp(&members[b])));
    let mut rank = vec![0; members.len()];
    for (place, &member) in order.iter().enumerate() {
        rank[member] = place as u32;
    }
    rank
}

/// Fails when a cluster has more members than there are rank tokens.
pub fn check_ranks(largest: usize, levels: &[usize]) -> Result<()> {
    if largest <= levels[1] {
        return Ok(());
    }
    Err(Error::invalid(
        "levels",
        format!(
            "the largest cluster has {largest} rows but there are only {} rank tokens; use levels=[{}, {largest}], \
             more clusters, or method=\"residual\", which keeps clusters within bounds",
            levels[1], levels[0]
        ),
    ))
}

/// Fits the clusters; the codeword of rank `r` is the mean offset of the members with that rank.
pub fn fit(rows: Rows<'_>, levels: &[usize], settings: &Settings, progress: &Progress) -> Result<Learned> {
    let (dim, n) = (rows.dim(), rows.len());
    let run = kmeans::fit(rows, levels[0], kmeans::spherical(settings, 0), settings, 0, progress)?;
    let (run, capped) = balance::capped(rows, run, levels[0], settings, progress)?;
    let left = remainder(rows, &run.labels, &run.centroids, progress)?;
    let left = Rows::new(&left, dim);
    let mut members = vec![Vec::new(); run.k(dim)];
    for (row, &label) in run.labels.iter().enumerate() {
        members[label as usize].push(row as u32);
    }
    let largest = members.iter().map(Vec::len).max().unwrap_or(0);
    check_ranks(largest, levels)?;
    let (mut sums, mut counts) = (vec![0.0f64; levels[1] * dim], vec![0u32; levels[1]]);
    let mut rank_of = vec![0; n];
    for cluster in &members {
        progress.check()?;
        for (&row, rank) in cluster.iter().zip(ranks(cluster, left)) {
            rank_of[row as usize] = rank;
            counts[rank as usize] += 1;
            let sum = &mut sums[rank as usize * dim..][..dim];
            sum.iter_mut().zip(left.row(row as usize)).for_each(|(s, &v)| *s += f64::from(v));
        }
    }
    let offsets: Vec<f32> =
        sums.iter().enumerate().map(|(j, s)| (s / f64::from(counts[j / dim].max(1))) as f32).collect();
    let mut codes = vec![0; n * 2];
    write_level(&mut codes, &run.labels, 0, 2);
    write_level(&mut codes, &rank_of, 1, 2);
    progress.advance((n * kmeans::passes(settings)) as u64)?;
    let k = run.k(dim);
    Ok(Learned {
        codes,
        inertia: vec![run.inertia, run.inertia],
        iterations: vec![run.iterations, 0],
        distinct: vec![k, largest],
        small_nodes: usize::from(k < levels[0]),
        capped,
        centroids: vec![pad(run.centroids, levels[0], dim), offsets],
    })
}
