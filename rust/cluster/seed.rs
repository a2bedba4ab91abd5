//! Where k-means starts: greedy k-means++, or rows at random.
//!
//! Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding" (2007): each next centre is drawn with
//! probability proportional to the squared distance to the nearest centre so far. Of `2 + ln K` draws the one that
//! lowers the sum of those distances most is kept, as scikit-learn does. Where rows are compared by direction, zero rows
//! have none and are never centres, unless there are no others.

use std::collections::HashSet;

use rayon::prelude::*;

use super::params::{Init, Settings};
use super::potential::Potential;
use crate::error::Result;
use crate::matrix::{Rows, gather};
use crate::progress::Progress;
use crate::rng::Rng;

/// Random stream of the draws.
const SEEDING: u64 = 1;
/// Random stream of `sorted_sample`.
const SAMPLING: u64 = 2;
/// k-means++ looks at this many rows per centre, and at least `FEWEST` rows; choosing centres needs no more.
const ROWS_PER_CENTRE: usize = 64;
const FEWEST: usize = 4096;

/// `wanted` of `0..n` without replacement, ascending (selection sampling, Knuth 3.4.2 S); all when there are no more.
pub fn sorted_sample(n: usize, wanted: usize, seed: u64, unit: u64) -> Vec<u32> {
    let mut rng = Rng::new(seed, SAMPLING, unit);
    let mut picked = Vec::with_capacity(wanted.min(n));
    for i in 0..n {
        let missing = wanted.min(n) - picked.len();
        if missing == n - i || rng.uniform() * ((n - i) as f64) < missing as f64 {
            picked.push(i as u32);
        }
        if picked.len() == wanted {
            break;
        }
    }
    picked
}

/// Chooses up to `k` centres among the rows; fewer when there are fewer distinct rows. `unit` names the run.
pub fn centres(
    rows: Rows<'_>,
    k: usize,
    spherical: bool,
    settings: &Settings,
    unit: u64,
    progress: &Progress,
) -> Result<Vec<f32>> {
    let among = if spherical { with_direction(rows) } else { None };
    if settings.init == Init::Random {
        let order = among.unwrap_or_else(|| (0..rows.len() as u32).collect());
        return random(rows, order, k, settings, unit, progress);
    }
    let (limit, n) = (FEWEST.max(ROWS_PER_CENTRE * k), among.as_ref().map_or(rows.len(), Vec::len));
    if n > limit {
        let places = sorted_sample(n, limit, settings.seed, unit);
        let row = |place: u32| among.as_ref().map_or(place, |rows| rows[place as usize]);
        let part = gather(rows, &places.into_iter().map(row).collect::<Vec<_>>(), progress)?;
        let found = greedy(Rows::new(&part, rows.dim()), k, settings, unit, progress)?;
        if found.len() == k * rows.dim() {
            return Ok(found);
        }
        // Too few distinct rows among the ones looked at: all must be.
    }
    let part = among.map(|some| gather(rows, &some, progress)).transpose()?;
    greedy(part.as_ref().map_or(rows, |data| Rows::new(data, rows.dim())), k, settings, unit, progress)
}

/// The rows that are not zero, if there are both kinds.
fn with_direction(rows: Rows<'_>) -> Option<Vec<u32>> {
    let found: Vec<u32> = (0..rows.len() as u32).into_par_iter().filter(|&i| !rows.is_zero(i as usize)).collect();
    (!found.is_empty() && found.len() < rows.len()).then_some(found)
}

fn greedy(rows: Rows<'_>, k: usize, settings: &Settings, unit: u64, progress: &Progress) -> Result<Vec<f32>> {
    let mut rng = Rng::new(settings.seed, SEEDING, unit);
    let trials = (2 + (k as f64).ln() as usize).min(rows.len());
    let mut potential = Potential::new(rows, settings.isa);
    let mut centres: Vec<f32> = Vec::with_capacity(k.min(rows.len()) * rows.dim());
    let first = rng.below(rows.len() as u64) as u32;
    potential.lower(&[first]);
    centres.extend_from_slice(rows.row(first as usize));
    while centres.len() < k * rows.dim() && potential.total() > 0.0 {
        progress.check()?;
        let draws: Vec<u32> = (0..2 + (k as f64).ln() as usize).map(|_| potential.draw(rng.uniform())).collect();
        let chosen = potential.lower(&draws[..trials]);
        centres.extend_from_slice(rows.row(chosen as usize));
    }
    Ok(centres)
}

/// The first `k` distinct rows of `order` made random (Fisher and Yates, as far as it is needed).
fn random(
    rows: Rows<'_>,
    mut order: Vec<u32>,
    k: usize,
    settings: &Settings,
    unit: u64,
    progress: &Progress,
) -> Result<Vec<f32>> {
    let mut rng = Rng::new(settings.seed, SEEDING, unit);
    let most = k.min(rows.len());
    let (mut seen, mut centres) = (HashSet::with_capacity(most), Vec::with_capacity(most * rows.dim()));
    for place in 0..order.len() {
        if seen.len() == k {
            break;
        }
        progress.check()?;
        let other = place + rng.below((order.len() - place) as u64) as usize;
        order.swap(place, other);
        let row = rows.row(order[place] as usize);
        // Adding 0 makes -0 and 0 the same bits.
        if seen.insert(row.iter().map(|v| (v + 0.0).to_bits()).collect::<Vec<_>>()) {
            centres.extend_from_slice(row);
        }
    }
    Ok(centres)
}
