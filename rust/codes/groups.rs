//! Rows grouped by what they share, contiguous and in a fixed order.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::Result;
use crate::progress::Progress;

/// Groups of at least so many rows are sorted by counting, which can be stopped; smaller ones take a millisecond.
const LARGE: usize = 1 << 14;

/// Rows sorted by group; within a group ascending.
#[derive(Debug, Clone)]
pub struct Groups {
    order: Vec<u32>,
    bounds: Vec<usize>,
}

impl Groups {
    /// One group per distinct value, in ascending order of the values.
    pub fn by_value(values: &[i64]) -> Self {
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.par_sort_by_key(|&row| values[row as usize]);
        let mut bounds = vec![0];
        for i in 1..order.len() {
            if values[order[i] as usize] != values[order[i - 1] as usize] {
                bounds.push(i);
            }
        }
        if !order.is_empty() {
            bounds.push(order.len());
        }
        Self { order, bounds }
    }

    /// The groups split further by the label of each row.
    pub fn split(&self, labels: &[u32], progress: &Progress) -> Result<Self> {
        let (mut order, mut bounds) = (self.order.clone(), vec![0]);
        for range in self.ranges() {
            let group = &mut order[range.clone()];
            if group.len() < LARGE {
                progress.check()?;
                group.sort_by_key(|&row| labels[row as usize]);
            } else {
                count_sort(group, labels, progress)?;
            }
            for i in 1..group.len() {
                if labels[group[i] as usize] != labels[group[i - 1] as usize] {
                    bounds.push(range.start + i);
                }
            }
            bounds.push(range.end);
        }
        Ok(Self { order, bounds })
    }

    /// Rows of every group, group after group.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Where each group lies in `order`.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.bounds.windows(2).map(|w| w[0]..w[1])
    }

    /// Rows of each group.
    pub fn members(&self) -> Vec<&[u32]> {
        self.ranges().map(|range| &self.order[range]).collect()
    }

    /// Size of the largest group.
    pub fn largest(&self) -> usize {
        self.ranges().map(|range| range.len()).max().unwrap_or(0)
    }
}

/// Sorts rows by label, stably.
fn count_sort(group: &mut [u32], labels: &[u32], progress: &Progress) -> Result<()> {
    let mut next: Vec<usize> = Vec::new();
    for rows in group.chunks(LARGE) {
        progress.check()?;
        for &row in rows {
            let label = labels[row as usize] as usize;
            if label >= next.len() {
                next.resize(label + 1, 0);
            }
            next[label] += 1;
        }
    }
    let mut begin = 0;
    for place in &mut next {
        (begin, *place) = (begin + *place, begin);
    }
    let old = group.to_vec();
    for rows in old.chunks(LARGE) {
        progress.check()?;
        for &row in rows {
            let place = &mut next[labels[row as usize] as usize];
            group[*place] = row;
            *place += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn splits_large_groups_as_small_ones() {
        let mut rng = Rng::new(0, 0, 0);
        let n = 3 * LARGE;
        let kinds: Vec<i64> = (0..n).map(|i| i64::from(i % 3 == 0)).collect();
        let labels: Vec<u32> = (0..n).map(|_| rng.below(1000) as u32).collect();
        let groups = Groups::by_value(&kinds).split(&labels, &Progress::new()).unwrap();
        let mut expected: Vec<u32> = (0..n as u32).collect();
        expected.sort_by_key(|&row| (kinds[row as usize], labels[row as usize]));
        assert_eq!(groups.order(), expected);
        assert_eq!(groups.ranges().count(), 2000);
    }
}
