//! Rows grouped by what they share, contiguous and in a fixed order.

use std::ops::Range;

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
        order.sort_by_key(|&row| values[row as usize]);
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
    pub fn split(&self, labels: &[u32]) -> Self {
        let (mut order, mut bounds) = (self.order.clone(), vec![0]);
        for range in self.ranges() {
            let group = &mut order[range.clone()];
            group.sort_by_key(|&row| labels[row as usize]);
            for i in 1..group.len() {
                if labels[group[i] as usize] != labels[group[i - 1] as usize] {
                    bounds.push(range.start + i);
                }
            }
            bounds.push(range.end);
        }
        Self { order, bounds }
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
