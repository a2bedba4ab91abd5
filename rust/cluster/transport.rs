//! The cheapest labels when each codeword takes at most so many rows, exactly.
//!
//! A minimum-cost flow from rows to codewords. The nearest codewords are the optimum without limits; the rows too many
//! are then sent, one at a time, along the cheapest chain of moves from an overfull codeword to one with room
//! (successive shortest paths from a pseudoflow: Ahuja, Magnanti and Orlin, "Network Flows", 1993, section 9.7). A chain
//! runs over codewords, not rows: the edge a -> b costs what the row of a that is cheapest to move loses by b.

use rayon::prelude::*;

use super::pack::Codewords;
use crate::error::Result;
use crate::matrix::Rows;
use crate::progress::Progress;

/// Most scores that are kept, and most steps that are taken.
const SCORES: usize = 1 << 24;
const STEPS: usize = 1 << 31;

/// Whether `rows` rows with `excess` too many of them in `k` codewords are few enough to solve.
pub fn small(rows: usize, k: usize, excess: usize) -> bool {
    let paths = k.saturating_mul(k).saturating_mul(excess);
    // Every path changes some codewords, whose rows are then looked at anew.
    let rescans = rows.saturating_mul(excess).saturating_mul(4);
    rows.saturating_mul(k) <= SCORES && paths.saturating_add(rescans) <= STEPS
}

/// Of an edge from a codeword without rows.
const NO_MOVE: (f64, u32) = (f64::INFINITY, u32::MAX);

struct Network<'a> {
    k: usize,
    room: &'a [usize],
    /// Score of each row for each codeword.
    scores: Vec<f32>,
    members: Vec<Vec<u32>>,
    /// For each pair of codewords the cheapest move and its row; infinite without one.
    edges: Vec<(f64, u32)>,
    potential: Vec<f64>,
}

/// Changes nearest `labels` to the cheapest ones with at most `room[c]` rows each.
pub fn solve(
    rows: Rows<'_>,
    codewords: &Codewords,
    room: &[usize],
    labels: &mut [u32],
    progress: &Progress,
) -> Result<()> {
    let k = codewords.len();
    let mut members = vec![Vec::new(); k];
    labels.iter().enumerate().for_each(|(row, &label)| members[label as usize].push(row as u32));
    let edges = vec![NO_MOVE; k * k];
    let scores = scores(rows, codewords);
    let mut network = Network { k, room, scores, members, edges, potential: vec![0.0; k] };
    for from in 0..k {
        progress.check()?;
        network.price(from);
    }
    while network.members.iter().zip(room).any(|(own, &room)| own.len() > room) {
        progress.check()?;
        network.send();
    }
    for (c, members) in network.members.iter().enumerate() {
        members.iter().for_each(|&row| labels[row as usize] = c as u32);
    }
    Ok(())
}

fn scores(rows: Rows<'_>, codewords: &Codewords) -> Vec<f32> {
    let k = codewords.len();
    let mut scores = vec![0.0; rows.len() * k];
    scores.par_chunks_mut(k).enumerate().for_each_init(
        || vec![0.0; codewords.padded()],
        |products, (row, out)| {
            codewords.products(rows.slice(row, row + 1), products);
            out.iter_mut().enumerate().for_each(|(c, s)| *s = codewords.score(products, c) as f32);
        },
    );
    scores
}

impl Network<'_> {
    /// Finds the cheapest move out of a codeword to each other, the lowest row among equals.
    fn price(&mut self, from: usize) {
        for place in 0..self.members[from].len() {
            self.arrive(from, self.members[from][place]);
        }
    }

    /// Lets a row that is new to a codeword compete for its moves.
    fn arrive(&mut self, at: usize, row: u32) {
        let scores = &self.scores[row as usize * self.k..][..self.k];
        let here = f64::from(scores[at]);
        for (edge, &there) in self.edges[at * self.k..][..self.k].iter_mut().zip(scores) {
            offer(edge, f64::from(there) - here, row);
        }
    }

    /// Finds other rows for the moves out of a codeword that were those of a row which has left it.
    fn leave(&mut self, from: usize, row: u32) {
        let edges = &mut self.edges[from * self.k..][..self.k];
        let gone: Vec<usize> = (0..self.k).filter(|&c| edges[c].1 == row).collect();
        gone.iter().for_each(|&c| edges[c] = NO_MOVE);
        for &row in &self.members[from] {
            let scores = &self.scores[row as usize * self.k..][..self.k];
            let here = f64::from(scores[from]);
            gone.iter().for_each(|&c| offer(&mut edges[c], f64::from(scores[c]) - here, row));
        }
    }

    /// Sends one row too many along the cheapest chain.
    fn send(&mut self) {
        let (distance, via) = self.shortest();
        let open = (0..self.k).filter(|&c| self.members[c].len() < self.room[c]);
        let mut to = open.min_by(|&a, &b| distance[a].total_cmp(&distance[b]).then(a.cmp(&b))).expect("there is room");
        self.potential = distance;
        while via[to] != usize::MAX {
            let from = via[to];
            let row = self.edges[from * self.k + to].1;
            let place =
                self.members[from].iter().position(|&r| r == row).expect("the row of an edge is where it starts");
            self.members[from].swap_remove(place);
            self.members[to].push(row);
            self.leave(from, row);
            self.arrive(to, row);
            to = from;
        }
    }

    /// Distance of each codeword from the overfull ones, and the codeword before it. Dijkstra over costs reduced by the
    /// last distances, which makes them all non-negative (up to rounding, hence the clamp).
    fn shortest(&self) -> (Vec<f64>, Vec<usize>) {
        let (k, potential) = (self.k, &self.potential);
        let (mut key, mut via) = (vec![f64::INFINITY; k], vec![usize::MAX; k]);
        for c in (0..k).filter(|&c| self.members[c].len() > self.room[c]) {
            key[c] = (-potential[c]).max(0.0);
        }
        let (mut distance, mut done) = (vec![f64::INFINITY; k], vec![false; k]);
        for _ in 0..k {
            let nearer = |best: usize, c: usize| if !done[c] && (done[best] || key[c] < key[best]) { c } else { best };
            let from = (0..k).fold(0, nearer);
            done[from] = true;
            distance[from] = key[from] + potential[from];
            let edges = &self.edges[from * k..][..k];
            for to in 0..k {
                let way = key[from] + (edges[to].0 + potential[from] - potential[to]).max(0.0);
                let shorter = !done[to] & (way < key[to]);
                key[to] = if shorter { way } else { key[to] };
                via[to] = if shorter { from } else { via[to] };
            }
        }
        (distance, via)
    }
}

/// Takes up a move that is cheaper, or as cheap by a lower row.
#[inline(always)]
fn offer(edge: &mut (f64, u32), cost: f64, row: u32) {
    if cost < edge.0 || (cost == edge.0 && row < edge.1) {
        *edge = (cost, row);
    }
}
