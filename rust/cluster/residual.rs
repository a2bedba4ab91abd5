//! Residual k-means: each level clusters what the levels before left, with one codebook for all parents.

use super::Learned;
use super::balance;
use super::kmeans;
use super::params::Settings;
use crate::error::Result;
use crate::matrix::{Rows, remainder, subtract, write_level};
use crate::progress::Progress;

/// Repeats codeword 0 until there are `k`: a repeated codeword never wins, because ties go to the lowest index.
pub(super) fn pad(mut centroids: Vec<f32>, k: usize, dim: usize) -> Vec<f32> {
    let first = centroids[..dim].to_vec();
    while centroids.len() < k * dim {
        centroids.extend_from_slice(&first);
    }
    centroids
}

/// Fits every level in turn.
pub fn fit(rows: Rows<'_>, levels: &[usize], settings: &Settings, progress: &Progress) -> Result<Learned> {
    let dim = rows.dim();
    let mut left: Vec<f32> = Vec::new();
    let mut learned = Learned { codes: vec![0; rows.len() * levels.len()], ..Learned::default() };
    for (level, &k) in levels.iter().enumerate() {
        let spherical = kmeans::spherical(settings, level);
        let current = if level == 0 { rows } else { Rows::new(&left, dim) };
        let mut run = kmeans::fit(current, k, spherical, settings, level as u64, progress)?;
        if level == 0 {
            (run, learned.capped) = balance::capped(rows, run, k, settings, progress)?;
        }
        if level + 1 < levels.len() {
            if level == 0 {
                left = remainder(rows, &run.labels, &run.centroids, progress)?;
            } else {
                subtract(&mut left, dim, &run.labels, &run.centroids, progress)?;
            }
        }
        write_level(&mut learned.codes, &run.labels, level, levels.len());
        learned.distinct.push(run.k(dim));
        learned.small_nodes += usize::from(run.k(dim) < k);
        learned.inertia.push(run.inertia);
        learned.iterations.push(run.iterations);
        learned.centroids.push(pad(run.centroids, k, dim));
    }
    Ok(learned)
}
