//! Codewords in groups of near ones, so that one bound of a row rules out all codewords of a group at once.

use super::pack::Codewords;
use crate::matrix::{Rows, squared_distance};
use crate::simd::Isa;

/// Codewords in a group, where a row has room for the bounds of so many groups: two registers of AVX-512.
const WIDTH: usize = 32;
/// Most bounds of a row, as a share of its values.
const SHARE: usize = 4;

/// Which codewords are judged together.
pub(super) struct Groups {
    /// Codewords of each group, ascending: the first of equal scores is the lowest of them.
    members: Vec<Vec<u32>>,
    /// Group of each codeword.
    of: Vec<u32>,
}

impl Groups {
    /// Halves the codewords again and again, across the direction in which they lie far apart, until no part has more
    /// than a group's share.
    pub fn new(codewords: Rows<'_>) -> Self {
        let count = (codewords.len() / WIDTH).min(codewords.dim() / SHARE).max(1);
        let width = codewords.len().div_ceil(count).next_multiple_of(WIDTH / 2);
        let mut groups = Self { members: Vec::new(), of: vec![0; codewords.len()] };
        groups.halve(codewords, (0..codewords.len() as u32).collect(), width);
        groups
    }

    fn halve(&mut self, codewords: Rows<'_>, mut part: Vec<u32>, width: usize) {
        if part.len() <= width {
            part.sort_unstable();
            part.iter().for_each(|&k| self.of[k as usize] = self.members.len() as u32);
            self.members.push(part);
            return;
        }
        let direction = extent(codewords, &part);
        let along =
            |k: u32| -> f64 { codewords.row(k as usize).iter().zip(&direction).map(|(&v, d)| f64::from(v) * d).sum() };
        let mut places: Vec<(f64, u32)> = part.iter().map(|&k| (along(k), k)).collect();
        places.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (left, right) = places.split_at(part.len().div_ceil(width) / 2 * width);
        for half in [left, right] {
            self.halve(codewords, half.iter().map(|&(_, k)| k).collect(), width);
        }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Codewords of a group, ascending.
    pub fn members(&self, group: usize) -> &[u32] {
        &self.members[group]
    }

    /// Group of a codeword.
    #[inline]
    pub fn of(&self, codeword: u32) -> usize {
        self.of[codeword as usize] as usize
    }

    /// Each group packed for the kernel.
    pub fn pack(&self, codewords: Rows<'_>, isa: Isa) -> Vec<Codewords> {
        let packed = |group: &Vec<u32>| Codewords::plain(Rows::new(&codewords.gather(group), codewords.dim()), isa);
        self.members.iter().map(packed).collect()
    }
}

/// From the codeword farthest from the mean of a part to the one farthest from it.
fn extent(codewords: Rows<'_>, part: &[u32]) -> Vec<f64> {
    let mut mean = vec![0.0f32; codewords.dim()];
    for &k in part {
        mean.iter_mut().zip(codewords.row(k as usize)).for_each(|(m, v)| *m += v / part.len() as f32);
    }
    let farthest = |from: &[f32]| {
        let mut found = (f64::NEG_INFINITY, part[0]);
        for &k in part {
            let distance = squared_distance(codewords.row(k as usize), from);
            if distance > found.0 {
                found = (distance, k);
            }
        }
        codewords.row(found.1 as usize)
    };
    let one = farthest(&mean);
    one.iter().zip(farthest(one)).map(|(&a, &b)| f64::from(b) - f64::from(a)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codeword_is_in_one_group_of_its_neighbours() {
        for (count, dim) in [(1, 3), (32, 64), (64, 64), (200, 64), (256, 64), (257, 8), (4096, 16)] {
            let data: Vec<f32> = (0..count * dim).map(|i| ((i / dim * 7919) % 64) as f32 + (i % 7) as f32).collect();
            let groups = Groups::new(Rows::new(&data, dim));
            let mut all: Vec<u32> = (0..groups.len()).flat_map(|g| groups.members(g).to_vec()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..count as u32).collect::<Vec<_>>());
            assert!((0..groups.len()).all(|g| groups.members(g).is_sorted() && !groups.members(g).is_empty()));
            assert!((0..count as u32).all(|k| groups.members(groups.of(k)).contains(&k)));
            assert!(groups.len() <= (dim / SHARE).max(1));
        }
        // Two heaps far apart are not mixed.
        let data: Vec<f32> = (0..64 * 16).map(|i| if i / 16 % 2 == 0 { 0.0 } else { 100.0 } + (i % 5) as f32).collect();
        let groups = Groups::new(Rows::new(&data, 16));
        assert!(groups.len() == 2 && groups.members(0).iter().all(|k| k % 2 == groups.members(0)[0] % 2));
    }
}
