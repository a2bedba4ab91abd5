//! Residual k-means: each level clusters what the levels before left, with one codebook for all parents.

use super::Learned;
use super::balance;
use super::kmeans::{self, pad};
use super::params::Settings;
use crate::error::Result;
use crate::matrix::{Rows, remainder, subtract, write_level};
use crate::progress::Progress;

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
        learned.add(pad(run.centroids.clone(), k, dim), run.k(dim), &[run], k, dim);
    }
    Ok(learned)
}
