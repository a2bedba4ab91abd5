//! Compressed sparse rows, weighted or not.

use crate::rng::Rng;
use crate::simd::prefetch;

/// Neighbours of the nodes of one type within another type: 4 bytes an edge, 12 with weights.
#[derive(Debug, Clone)]
pub struct Csr {
    offsets: Vec<u32>,
    targets: Vec<u32>,
    /// Sums of the weights within each row up to each edge; `None`: all edges weigh 1.
    cumulative: Option<Vec<f64>>,
}

impl Csr {
    pub(crate) fn new(offsets: Vec<u32>, targets: Vec<u32>, cumulative: Option<Vec<f64>>) -> Self {
        Self { offsets, targets, cumulative }
    }

    #[inline]
    fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    /// Neighbours of a row, as node ids of the whole graph, ascending.
    #[inline]
    pub fn neighbours(&self, row: usize) -> &[u32] {
        &self.targets[self.range(row)]
    }

    /// An edge of a row with probability weight / sum of the row's weights; `None` where there is none.
    ///
    /// Weighted rows are searched in their running sums: with `x` uniform in `[0, sum)`, edge `k` is taken where
    /// `sum of weights before k <= x < that sum + weight of k`.
    #[inline]
    pub fn draw(&self, row: usize, rng: &mut Rng) -> Option<usize> {
        let range = self.range(row);
        let (first, count) = (range.start, range.len());
        if count == 0 {
            return None;
        }
        let place = match &self.cumulative {
            None => rng.below(count as u64) as usize,
            Some(sums) => {
                let sums = &sums[range];
                let x = rng.uniform() * sums[count - 1];
                sums.partition_point(|&sum| sum <= x).min(count - 1)
            }
        };
        Some(first + place)
    }

    /// Where an edge leads, a node id of the whole graph.
    #[inline]
    pub fn target(&self, edge: usize) -> u32 {
        self.targets[edge]
    }

    /// Asks for the target of an edge before it is needed.
    #[inline]
    pub fn fetch_target(&self, edge: usize) {
        prefetch(&self.targets[edge]);
    }

    /// Asks for what [`Csr::draw`] reads first of a row.
    #[inline]
    pub fn fetch_row(&self, row: usize) {
        prefetch(&self.offsets[row]);
    }

    /// Weight of the edge at a place of a row.
    #[inline]
    pub fn weight(&self, row: usize, place: usize) -> f64 {
        self.cumulative.as_ref().map_or(1.0, |sums| {
            let sums = &sums[self.range(row)];
            if place == 0 { sums[0] } else { sums[place] - sums[place - 1] }
        })
    }

    /// Sum of the weights of a row.
    #[inline]
    pub fn total(&self, row: usize) -> f64 {
        let range = self.range(row);
        match &self.cumulative {
            Some(sums) if !range.is_empty() => sums[range.end - 1],
            _ => range.len() as f64,
        }
    }

    /// Number of edges.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is no edge.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Bytes that the arrays take.
    pub fn bytes(&self) -> usize {
        4 * (self.offsets.len() + self.targets.len()) + 8 * self.cumulative.as_ref().map_or(0, Vec::len)
    }
}
