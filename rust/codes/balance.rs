//! At most so many rows per codeword: the rows whose move costs least go to their next-best codeword with room.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::cluster::kernel::Codewords;
use crate::cluster::rows::Rows;

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

/// Cheapest moves that are kept of a row, so that it is not priced anew each time that a codeword fills up.
const KEPT: usize = 16;

/// What a move from codeword to codeword costs.
struct Prices<'a> {
    members: &'a [u32],
    rows: Rows<'a>,
    codewords: &'a Codewords,
    capacity: usize,
}

impl Prices<'_> {
    /// Cheapest moves of a member to codewords with room as (extra cost, codeword), the cheapest last.
    fn moves(&self, place: usize, from: u32, count: &[usize], products: &mut [f32]) -> Vec<(f64, u32)> {
        let row = self.members[place] as usize;
        self.codewords.products(self.rows.slice(row, row + 1), products);
        // Half the squared distance, but for the row's own length, which no move changes.
        let score = |c: usize| f64::from(self.codewords.half_norm(c)) - f64::from(products[c]);
        let here = score(from as usize);
        let open = (0..count.len()).filter(|&c| count[c] < self.capacity);
        let mut moves: Vec<(f64, u32)> = open.map(|c| (score(c) - here, c as u32)).collect();
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

/// Lowers every codeword to at most `capacity` of the `members`; `labels` holds the nearest codeword of each member and
/// is changed in place. Needs `members.len() <= capacity * codewords`.
///
/// A heap holds the cheapest move of each row in an overfull codeword. Room only shrinks, so a move whose target has
/// filled up meanwhile can only get dearer: the row's next one is put back instead.
pub fn limit(members: &[u32], rows: Rows<'_>, codewords: &Codewords, capacity: usize, labels: &mut [u32]) {
    let mut count = vec![0usize; codewords.len()];
    for &label in labels.iter() {
        count[label as usize] += 1;
    }
    if count.iter().all(|&c| c <= capacity) {
        return;
    }
    assert!(members.len() <= capacity.saturating_mul(count.len()), "{} rows cannot fit", members.len());
    let prices = Prices { members, rows, codewords, capacity };
    let buffer = || vec![0.0; codewords.padded()];
    let price = |products: &mut Vec<f32>, place: usize| match count[labels[place] as usize] > capacity {
        true => prices.moves(place, labels[place], &count, products),
        false => Vec::new(),
    };
    let mut moves: Vec<Vec<(f64, u32)>> = (0..members.len()).into_par_iter().map_init(buffer, price).collect();
    let head = |place: usize, moves: &[(f64, u32)]| moves.last().map(|&(cost, to)| Reverse(Move { cost, place, to }));
    let mut heap: BinaryHeap<_> = moves.iter().enumerate().filter_map(|(place, moves)| head(place, moves)).collect();
    let mut products = buffer();
    while let Some(Reverse(step)) = heap.pop() {
        let from = labels[step.place];
        if count[from as usize] <= capacity {
            continue;
        }
        if count[step.to as usize] < capacity {
            count[from as usize] -= 1;
            count[step.to as usize] += 1;
            labels[step.place] = step.to;
            continue;
        }
        let left = &mut moves[step.place];
        while left.pop_if(|&mut (_, to)| count[to as usize] >= capacity).is_some() {}
        if left.is_empty() {
            *left = prices.moves(step.place, from, &count, &mut products);
        }
        heap.push(head(step.place, left).expect("a codeword with room is left while another is overfull"));
    }
}
