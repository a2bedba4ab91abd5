//! At most so many rows per codeword: the rows whose move costs least go to their next-best codeword with room.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::cluster::rows::{Rows, squared_distance};

/// A possible move. Ordered by extra cost, then place, so that ties have one answer.
#[derive(PartialEq)]
struct Move {
    cost: f64,
    place: usize,
    to: usize,
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

/// Lowers every codeword to at most `capacity` of the `members`; `labels` holds the nearest codeword of each member and
/// is changed in place. Needs `members.len() <= capacity * codewords`.
///
/// A heap holds the cheapest move of each row in an overfull codeword. Room only shrinks, so a move whose target has
/// filled up meanwhile can only get dearer: it is priced again and put back.
pub fn limit(members: &[u32], rows: Rows<'_>, codewords: Rows<'_>, capacity: usize, labels: &mut [u32]) {
    let mut count = vec![0usize; codewords.len()];
    for &label in labels.iter() {
        count[label as usize] += 1;
    }
    if count.iter().all(|&c| c <= capacity) {
        return;
    }
    assert!(members.len() <= capacity.saturating_mul(codewords.len()), "{} rows cannot fit", members.len());
    let cheapest = |place: usize, from: usize, count: &[usize]| {
        let row = rows.row(members[place] as usize);
        let here = squared_distance(row, codewords.row(from));
        (0..codewords.len())
            .filter(|&k| count[k] < capacity)
            .map(|to| Move { cost: squared_distance(row, codewords.row(to)) - here, place, to })
            .min()
            .expect("a codeword with room is left while another is overfull")
    };
    let mut heap: BinaryHeap<Reverse<Move>> = (0..members.len())
        .filter(|&place| count[labels[place] as usize] > capacity)
        .map(|place| Reverse(cheapest(place, labels[place] as usize, &count)))
        .collect();
    while let Some(Reverse(step)) = heap.pop() {
        let from = labels[step.place] as usize;
        if count[from] <= capacity {
            continue;
        }
        if count[step.to] >= capacity {
            heap.push(Reverse(cheapest(step.place, from, &count)));
            continue;
        }
        count[from] -= 1;
        count[step.to] += 1;
        labels[step.place] = step.to as u32;
    }
}
