//! At most so many rows per codeword.
//!
//! `limit` starts from the nearest codewords. Small cases it solves exactly (`transport`), larger ones by a greedy rule:
//! of all rows in overfull codewords the one whose move to a codeword with room costs least moves first. `within`
//! repeats it between updates, as k-means repeats the nearest codeword.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use super::kernel::BLOCK;
use super::kmeans::{self, KMeans, pad};
use super::pack::Codewords;
use super::params::Settings;
use super::transport;
use crate::error::Result;
use crate::matrix::{Rows, fixed_sum, normalise, squared_distance};
use crate::progress::Progress;

/// Rounds of `within`; the sum of squares hardly falls after the fifth.
const ROUNDS: usize = 10;
/// Rows that one task labels.
const CHUNK: usize = 4 * BLOCK;
/// Cheapest moves that are kept of a row, so that it is not priced anew each time that a codeword fills up.
const KEPT: usize = 16;

/// A possible move. Ordered by extra cost, then place, so that ties have one answer.
#[derive(PartialEq)]
struct Move {
    cost: f64,
    place: usize,
    to: u32,
}

impl Eq for Move {}

impl PartialOrd for Move {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Move {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.cost.total_cmp(&other.cost).then(self.place.cmp(&other.place)).then(self.to.cmp(&other.to))
    }
}

/// What a move from codeword to codeword costs.
struct Prices<'a> {
    rows: Rows<'a>,
    codewords: &'a Codewords,
    room: &'a [usize],
}

impl Prices<'_> {
    /// Cheapest moves of a row to codewords with room as (extra cost, codeword), the cheapest last.
    fn moves(&self, row: usize, from: u32, count: &[usize], products: &mut [f32]) -> Vec<(f64, u32)> {
        self.codewords.products(self.rows.slice(row, row + 1), products);
        let here = self.codewords.score(products, from as usize);
        let open = (0..count.len()).filter(|&c| count[c] < self.room[c]);
        let mut moves: Vec<(f64, u32)> = open.map(|c| (self.codewords.score(products, c) - here, c as u32)).collect();
        let dearest_first = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1));
        if moves.len() > KEPT {
            let drop = moves.len() - KEPT;
            moves.select_nth_unstable_by(drop, dearest_first);
            moves = moves.split_off(drop);
        }
        moves.sort_unstable_by(dearest_first);
        moves
    }
}

/// Lowers every codeword to at most `room[c]` rows; `labels` holds the nearest codeword of each row and is changed in
/// place. Needs as many places as rows. With `exact` the cheapest of all such labellings is found where the case is
/// small enough; says whether it was.
pub fn limit(
    rows: Rows<'_>,
    codewords: &Codewords,
    room: &[usize],
    exact: bool,
    labels: &mut [u32],
    progress: &Progress,
) -> Result<bool> {
    let mut count = vec![0usize; codewords.len()];
    labels.iter().for_each(|&label| count[label as usize] += 1);
    let excess: usize = count.iter().zip(room).map(|(&c, &r)| c.saturating_sub(r)).sum();
    if excess == 0 {
        return Ok(true);
    }
    let places = room.iter().fold(0usize, |sum, &r| sum.saturating_add(r));
    assert!(labels.len() <= places, "{} rows cannot fit", labels.len());
    if exact && transport::small(labels.len(), room.len(), excess) {
        transport::solve(rows, codewords, room, labels, progress)?;
        return Ok(true);
    }
    greedy(&Prices { rows, codewords, room }, count, labels, progress)?;
    Ok(false)
}

/// A heap holds the cheapest move of each row in an overfull codeword. Room only shrinks, so a move whose target has
/// filled up meanwhile can only get dearer: the row's next one is put back instead.
fn greedy(prices: &Prices<'_>, mut count: Vec<usize>, labels: &mut [u32], progress: &Progress) -> Result<()> {
    let buffer = || vec![0.0; prices.codewords.padded()];
    let price = |products: &mut Vec<f32>, place: usize| {
        progress.check()?;
        Ok(match count[labels[place] as usize] > prices.room[labels[place] as usize] {
            true => prices.moves(place, labels[place], &count, products),
            false => Vec::new(),
        })
    };
    let mut moves: Vec<Vec<(f64, u32)>> =
        (0..labels.len()).into_par_iter().map_init(buffer, price).collect::<Result<_>>()?;
    let head = |place: usize, moves: &[(f64, u32)]| moves.last().map(|&(cost, to)| Reverse(Move { cost, place, to }));
    let mut heap: BinaryHeap<_> = moves.iter().enumerate().filter_map(|(place, moves)| head(place, moves)).collect();
    let mut products = buffer();
    while let Some(Reverse(step)) = heap.pop() {
        progress.check()?;
        let from = labels[step.place];
        if count[from as usize] <= prices.room[from as usize] {
            continue;
        }
        if count[step.to as usize] < prices.room[step.to as usize] {
            count[from as usize] -= 1;
            count[step.to as usize] += 1;
            labels[step.place] = step.to;
            continue;
        }
        let left = &mut moves[step.place];
        while left.pop_if(|&mut (_, to)| count[to as usize] >= prices.room[to as usize]).is_some() {}
        if left.is_empty() {
            *left = prices.moves(step.place, from, &count, &mut products);
        }
        heap.push(head(step.place, left).expect("a codeword with room is left while another is overfull"));
    }
    Ok(())
}

/// How a cap was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capped {
    /// Rows that are not with their nearest centroid.
    pub moved: usize,
    /// Whether the last labels are the cheapest of all within the cap.
    pub exact: bool,
}

/// The first level's run within the cap of the settings.
pub(super) fn capped(
    rows: Rows<'_>,
    run: KMeans,
    k: usize,
    settings: &Settings,
    progress: &Progress,
) -> Result<(KMeans, Option<Capped>)> {
    match settings.max_cluster_size {
        None => Ok((run, None)),
        Some(cap) => {
            let run = match run.k(rows.dim()).saturating_mul(cap) < rows.len() {
                // Equal rows that overflow one cluster share it with tokens that would else stay unused.
                true => KMeans { centroids: pad(run.centroids, k, rows.dim()), ..run },
                false => run,
            };
            let (run, capped) = within(rows, run, cap, kmeans::spherical(settings, 0), settings, progress)?;
            Ok((run, Some(capped)))
        }
    }
}

/// Fits on from a finished run until no cluster has more than `cap` rows: labels within the cap, then centroids moved to
/// the means of their rows, until no label changes. Centroids come and go as `kmeans::fit` gives them.
fn within(
    rows: Rows<'_>,
    run: KMeans,
    cap: usize,
    spherical: bool,
    settings: &Settings,
    progress: &Progress,
) -> Result<(KMeans, Capped)> {
    let dim = rows.dim();
    let room = vec![cap; run.k(dim)];
    let (mut centroids, mut labels) = (run.centroids, vec![u32::MAX; rows.len()]);
    let mut capped = Capped { moved: 0, exact: true };
    for round in 0..=ROUNDS {
        let mut directions = centroids.clone();
        if spherical {
            normalise(&mut directions, dim);
        }
        let packed = Codewords::pack_for(spherical, Rows::new(&directions, dim), settings.isa);
        let nearest = packed_nearest(rows, &packed, progress)?;
        let mut found = nearest.clone();
        let exact = limit(rows, &packed, &room, true, &mut found, progress)?;
        capped = Capped { moved: found.iter().zip(&nearest).filter(|(a, b)| a != b).count(), exact };
        let settled = found == labels;
        labels = found;
        if settled || round == ROUNDS {
            break;
        }
        means(rows, &labels, spherical, &mut centroids, progress)?;
    }
    let own = |i: usize| &centroids[labels[i] as usize * dim..][..dim];
    let inertia = fixed_sum(rows.len(), progress, |i| squared_distance(rows.row(i), own(i)))?;
    Ok((KMeans { centroids, labels, inertia, ..run }, capped))
}

/// Nearest codeword of every row.
pub fn packed_nearest(rows: Rows<'_>, packed: &Codewords, progress: &Progress) -> Result<Vec<u32>> {
    let mut labels = vec![0; rows.len()];
    labels.par_chunks_mut(CHUNK).enumerate().try_for_each(|(b, part)| {
        packed.nearest(rows.slice(b * CHUNK, b * CHUNK + part.len()), part);
        progress.check()
    })?;
    Ok(labels)
}

/// Moves each centroid to the mean of its rows. Under the spherical metric that is its direction at the length of its
/// rows' mean projection, which `kmeans::fit` gives too: `mean(x).c / |c|` is `|mean(x)|` along the mean itself.
fn means(rows: Rows<'_>, labels: &[u32], spherical: bool, centroids: &mut [f32], progress: &Progress) -> Result<()> {
    let dim = rows.dim();
    let (mut sums, mut counts) = (vec![0.0f64; centroids.len()], vec![0u64; centroids.len() / dim]);
    for (i, &label) in labels.iter().enumerate() {
        if i % 4096 == 0 {
            progress.check()?;
        }
        counts[label as usize] += 1;
        let sum = &mut sums[label as usize * dim..][..dim];
        sum.iter_mut().zip(rows.row(i)).for_each(|(s, &v)| *s += f64::from(v));
    }
    for (c, (centroid, sum)) in centroids.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)).enumerate() {
        let length: f64 = sum.iter().map(|s| s * s).sum();
        if counts[c] > 0 && (!spherical || length > 0.0) {
            centroid.iter_mut().zip(sum).for_each(|(v, s)| *v = (s / counts[c] as f64) as f32);
        }
    }
    Ok(())
}
