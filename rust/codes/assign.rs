//! Codes of rows under a learned codebook, greedily level by level.
//!
//! The rows stay where they are, if need be in a mapped file: a few hundred at a time are moved into a buffer that fits
//! the cache, and all levels work there.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::cluster::kernel::{BLOCK, Codewords, Isa};
use crate::cluster::params::Metric;
use crate::cluster::rows::{self, Rows, block_rows};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Values in a buffer of rows: 256 KiB.
const BUFFER: usize = 1 << 16;

/// A learned codebook: level 0 holds positions, deeper levels offsets, so a row is decoded by adding its codewords.
#[derive(Debug, Clone)]
pub struct Codebook<'a> {
    /// Codewords of each level.
    pub levels: Vec<Rows<'a>>,
    /// How rows are compared.
    pub metric: Metric,
    /// Instruction set of the kernel.
    pub isa: Isa,
}

/// A codebook made ready for search.
pub struct Search {
    /// Values in a row.
    pub dim: usize,
    /// Codewords of each level, the first one moved to `origin`.
    pub codewords: Vec<Vec<f32>>,
    /// What the nearest codeword is searched among, packed: under cosine the directions of level 0, else `codewords`.
    pub packed: Vec<Codewords>,
    metric: Metric,
    /// Under the Euclidean metric the mean of the first level's centroids, so that distances do not cancel far from
    /// zero.
    origin: Vec<f32>,
}

/// Rows to a buffer: whole blocks of the kernel.
pub fn buffer_rows(dim: usize) -> usize {
    (BUFFER / dim / BLOCK).max(1) * BLOCK
}

/// Writes `row - origin`, under cosine `row` scaled to length 1; a zero row stays zero.
#[inline]
pub fn place(row: &[f32], metric: Metric, origin: &[f32], out: &mut [f32]) {
    match metric {
        Metric::Euclidean => out.iter_mut().zip(row).zip(origin).for_each(|((o, v), shift)| *o = v - shift),
        Metric::Cosine => {
            let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            out.iter_mut().zip(row).for_each(|(o, &v)| *o = (f64::from(v) * scale) as f32);
        }
    }
}

/// True if no value is NaN or infinite; every bit of an exponent is set only in those.
#[inline]
pub fn finite(row: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    row.iter().fold(0, |bad, v| bad | u32::from(v.to_bits() & EXPONENT == EXPONENT)) == 0
}

/// The error for a row that is not finite.
pub fn not_finite(row: usize) -> Error {
    let message =
        format!("expected finite float32 values, row {row} holds NaN or infinity; drop or repair such rows first");
    Error::invalid("x", message)
}

impl Search {
    /// Prepares a codebook for rows of `dim` values.
    pub fn new(book: &Codebook<'_>, dim: usize) -> Result<Self> {
        let expected = book.levels[0].dim();
        if dim != expected {
            let message = format!("expected rows of {expected} values as the codebook was fitted on, got {dim}");
            return Err(Error::invalid("x", message));
        }
        let origin: Vec<f32> = match book.metric {
            Metric::Euclidean => rows::mean(book.levels[0]).iter().map(|&m| m as f32).collect(),
            Metric::Cosine => vec![0.0; dim],
        };
        let mut codewords: Vec<Vec<f32>> = book.levels.iter().map(|level| level.data().to_vec()).collect();
        for centroid in codewords[0].chunks_exact_mut(dim) {
            centroid.iter_mut().zip(&origin).for_each(|(v, o)| *v -= o);
        }
        let mut first = codewords[0].clone();
        if book.metric == Metric::Cosine {
            rows::normalise(&mut first, dim);
        }
        let deeper = codewords[1..].iter().map(Vec::as_slice);
        let packed = std::iter::once(first.as_slice())
            .chain(deeper)
            .map(|words| Codewords::pack(Rows::new(words, dim), book.isa))
            .collect();
        Ok(Self { dim, codewords, packed, metric: book.metric, origin })
    }

    /// Levels of the codebook.
    pub fn depth(&self) -> usize {
        self.codewords.len()
    }

    /// Codewords of each level.
    pub fn sizes(&self) -> Vec<usize> {
        self.packed.iter().map(Codewords::len).collect()
    }

    /// Writes a row as level 0 expects it.
    #[inline]
    pub fn place(&self, row: &[f32], out: &mut [f32]) {
        place(row, self.metric, &self.origin, out);
    }

    /// Takes codeword `code` of a level from what is left of a row.
    #[inline]
    pub fn take(&self, level: usize, code: u32, left: &mut [f32]) {
        let word = &self.codewords[level][code as usize * self.dim..][..self.dim];
        left.iter_mut().zip(word).for_each(|(v, c)| *v -= c);
    }

    /// `n x levels` codes: at each level the codeword nearest to what the levels before left.
    pub fn greedy(&self, x: Rows<'_>, progress: &Progress) -> Result<Vec<u32>> {
        let (depth, chunk) = (self.depth(), buffer_rows(self.dim));
        let mut codes = vec![0; x.len() * depth];
        let bad = AtomicUsize::new(usize::MAX);
        let buffers = || (vec![0.0; chunk * self.dim], vec![0; chunk], vec![0.0; chunk]);
        codes.par_chunks_mut(chunk * depth).enumerate().try_for_each_init(
            buffers,
            |(left, labels, scores), (b, codes)| {
                let part = x.slice(b * chunk, b * chunk + codes.len() / depth);
                match (0..part.len()).find(|&i| !finite(part.row(i))) {
                    Some(row) => drop(bad.fetch_min(b * chunk + row, Ordering::Relaxed)),
                    None => self.chunk(part, left, labels, scores, codes),
                }
                progress.advance(codes.len() as u64)
            },
        )?;
        match bad.into_inner() {
            usize::MAX => Ok(codes),
            row => Err(not_finite(row)),
        }
    }

    fn chunk(&self, part: Rows<'_>, left: &mut [f32], labels: &mut [u32], scores: &mut [f32], codes: &mut [u32]) {
        let (depth, n) = (self.depth(), part.len());
        for (i, out) in left.chunks_exact_mut(self.dim).take(n).enumerate() {
            self.place(part.row(i), out);
        }
        for (level, packed) in self.packed.iter().enumerate() {
            let rows = Rows::new(&left[..n * self.dim], self.dim);
            packed.nearest(rows, &mut labels[..n], &mut scores[..n]);
            for (i, &label) in labels[..n].iter().enumerate() {
                codes[i * depth + level] = label;
                if level + 1 < depth {
                    self.take(level, label, &mut left[i * self.dim..][..self.dim]);
                }
            }
        }
    }

    /// `sum |x - decoded|^2 / sum |x - mean|^2` for each of several codings of finite rows; 0 when the rows do not vary
    /// and are met exactly.
    pub fn errors<const N: usize>(&self, x: Rows<'_>, codings: [&[u32]; N], progress: &Progress) -> Result<[f64; N]> {
        let mut mean = vec![0.0; self.dim];
        for part in self.blocks(x, vec![0.0; self.dim], progress, |_, row, sums| {
            sums.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
        })? {
            mean.iter_mut().zip(part).for_each(|(m, s)| *m += s / x.len() as f64);
        }
        let depth = self.depth();
        let mut totals = vec![0.0; N + 1];
        for part in self.blocks(x, vec![0.0; N + 1], progress, |i, row, sums| {
            sums[N] += row.iter().zip(&mean).map(|(&v, m)| (f64::from(v) - m) * (f64::from(v) - m)).sum::<f64>();
            for (sum, codes) in sums.iter_mut().zip(codings) {
                let mut left = row.to_vec();
                (0..depth).for_each(|level| self.take(level, codes[i * depth + level], &mut left));
                *sum += left.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
            }
        })? {
            totals.iter_mut().zip(part).for_each(|(t, s)| *t += s);
        }
        Ok(std::array::from_fn(|coding| if totals[coding] == 0.0 { 0.0 } else { totals[coding] / totals[N] }))
    }

    /// Adds up something over the placed rows in fixed blocks; the sums of each block, in order.
    fn blocks(
        &self,
        x: Rows<'_>,
        zero: Vec<f64>,
        progress: &Progress,
        add: impl Fn(usize, &[f32], &mut Vec<f64>) + Sync,
    ) -> Result<Vec<Vec<f64>>> {
        let block = block_rows(x.len());
        (0..x.len().div_ceil(block))
            .into_par_iter()
            .map(|b| {
                let (mut sums, mut row) = (zero.clone(), vec![0.0; self.dim]);
                for i in b * block..((b + 1) * block).min(x.len()) {
                    progress.check()?;
                    self.place(x.row(i), &mut row);
                    add(i, &row, &mut sums);
                }
                Ok(sums)
            })
            .collect()
    }
}
