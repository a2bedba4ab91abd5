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
use crate::simd::arrays::{LANES, least, position, smaller};
use crate::simd::lanes::Lanes;
use crate::simd::{Isa, Job};

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

struct Network<'a> {
    isa: Isa,
    k: usize,
    /// Length of a line of edges, in whole steps.
    width: usize,
    room: &'a [usize],
    /// Score of each row for each codeword.
    scores: Vec<f32>,
    members: Vec<Vec<u32>>,
    /// What the cheapest move from a codeword to each other costs, a line of `width` each; infinite without one.
    costs: Vec<f64>,
    /// The row of that move.
    movers: Vec<u32>,
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
    let (isa, k) = (codewords.isa(), codewords.len());
    let width = k.next_multiple_of(LANES);
    let mut members = vec![Vec::new(); k];
    labels.iter().enumerate().for_each(|(row, &label)| members[label as usize].push(row as u32));
    let (costs, movers) = (vec![f64::INFINITY; k * width], vec![u32::MAX; k * width]);
    let (scores, potential) = (scores(rows, codewords), vec![0.0; k]);
    let mut network = Network { isa, k, width, room, scores, members, costs, movers, potential };
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
        let (here, line) = (f64::from(scores[at]), at * self.width);
        let edges = self.costs[line..].iter_mut().zip(&mut self.movers[line..]);
        edges.zip(scores).for_each(|(edge, &there)| offer(edge, f64::from(there) - here, row));
    }

    /// Finds other rows for the moves out of a codeword that were those of a row which has left it.
    fn leave(&mut self, from: usize, row: u32) {
        let line = from * self.width;
        let (costs, movers) = (&mut self.costs[line..][..self.k], &mut self.movers[line..][..self.k]);
        let gone: Vec<usize> = (0..self.k).filter(|&c| movers[c] == row).collect();
        gone.iter().for_each(|&c| (costs[c], movers[c]) = (f64::INFINITY, u32::MAX));
        for &row in &self.members[from] {
            let scores = &self.scores[row as usize * self.k..][..self.k];
            let here = f64::from(scores[from]);
            gone.iter().for_each(|&c| offer((&mut costs[c], &mut movers[c]), f64::from(scores[c]) - here, row));
        }
    }

    /// Sends one row too many along the cheapest chain.
    fn send(&mut self) {
        let (distance, via) = self.isa.run(Shortest(self));
        let open = (0..self.k).filter(|&c| self.members[c].len() < self.room[c]);
        let mut to = open.min_by(|&a, &b| distance[a].total_cmp(&distance[b]).then(a.cmp(&b))).expect("there is room");
        self.potential = distance;
        while via[to] != NOWHERE {
            let from = via[to] as usize;
            let row = self.movers[from * self.width + to];
            let place =
                self.members[from].iter().position(|&r| r == row).expect("the row of an edge is where it starts");
            self.members[from].swap_remove(place);
            self.members[to].push(row);
            self.leave(from, row);
            self.arrive(to, row);
            to = from;
        }
    }
}

/// Takes up a move that is cheaper, or as cheap by a lower row.
#[inline(always)]
fn offer((cost, mover): (&mut f64, &mut u32), new: f64, row: u32) {
    let better = (new < *cost) | ((new == *cost) & (row < *mover));
    *cost = if better { new } else { *cost };
    *mover = if better { row } else { *mover };
}

/// Before a codeword that no chain of moves enters.
const NOWHERE: u32 = u32::MAX;

/// Distance of each codeword from the overfull ones, and the codeword before it. Dijkstra over costs reduced by the last
/// distances, which makes them all non-negative (up to rounding, hence the clamp).
struct Shortest<'a>(&'a Network<'a>);

impl Job for Shortest<'_> {
    type Output = (Vec<f64>, Vec<u32>);

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) -> (Vec<f64>, Vec<u32>) {
        let Network { k, width, room, members, costs, potential, .. } = self.0;
        let (mut key, mut via) = (vec![f64::INFINITY; *width], vec![NOWHERE; *width]);
        for c in (0..*k).filter(|&c| members[c].len() > room[c]) {
            key[c] = (-potential[c]).max(0.0);
        }
        let mut distance = vec![f64::INFINITY; *k];
        // Of a codeword that is done the key is infinite and the potential minus infinity: no way to it is shorter.
        let mut open = potential.clone();
        open.resize(*width, 0.0);
        for _ in 0..*k {
            let near = least(key.as_chunks().0.iter().copied().fold([f64::INFINITY; LANES], smaller));
            let Some(from) = position(&key, near, 0).filter(|_| near < f64::INFINITY) else {
                break;
            };
            distance[from] = near + potential[from];
            (key[from], open[from]) = (f64::INFINITY, f64::NEG_INFINITY);
            let own = potential[from];
            let lines = costs[from * width..][..*width].as_chunks::<LANES>().0.iter().zip(open.as_chunks::<LANES>().0);
            let to = key.as_chunks_mut::<LANES>().0.iter_mut().zip(via.as_chunks_mut::<LANES>().0);
            for ((cost, other), (key, via)) in lines.zip(to) {
                (*key, *via) = reached(*cost, *other, own, near, from as u32, *key, *via);
            }
        }
        (distance, via)
    }
}

/// Keys of some codewords and what stands before them, with the ways through one more; by copies, which the compiler can
/// keep in registers.
#[inline(always)]
fn reached(
    cost: [f64; LANES],
    other: [f64; LANES],
    own: f64,
    near: f64,
    from: u32,
    key: [f64; LANES],
    via: [u32; LANES],
) -> ([f64; LANES], [u32; LANES]) {
    let reduced: [f64; LANES] = std::array::from_fn(|j| cost[j] + own - other[j]);
    let way: [f64; LANES] = std::array::from_fn(|j| near + if reduced[j] > 0.0 { reduced[j] } else { 0.0 });
    let before = std::array::from_fn(|j| if way[j] < key[j] { from } else { via[j] });
    (smaller(way, key), before)
}
