//! Codes of rows under a learned codebook, greedily level by level.
//!
//! The rows stay where they are, if need be in a mapped file: a few hundred at a time are moved into a buffer that fits
//! the cache, and all levels work there.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::cluster::kernel::buffer_rows;
use crate::cluster::pack::Codewords;
use crate::cluster::params::Metric;
use crate::cluster::prepare::{far_mean, place};
use crate::error::{Error, Result};
use crate::limits::{check_range, larger, largest};
use crate::matrix::{Rows, block_rows, finite, normalise, not_finite, write_level};
use crate::progress::Progress;
use crate::simd::lanes::Lanes;
use crate::simd::{Isa, Job};

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
    /// Under the Euclidean metric the mean of the first level's centroids where they lie far from zero, so that distances
    /// do not cancel; else zero.
    origin: Vec<f32>,
    /// The largest value of a codeword.
    most: f32,
    /// Whether the rows can be searched where they are, because their origin is zero.
    in_place: bool,
}

impl Search {
    /// Prepares a codebook for rows of `dim` values.
    pub fn new(book: &Codebook<'_>, dim: usize) -> Result<Self> {
        let expected = book.levels[0].dim();
        if dim != expected {
            let message = format!("expected rows of {expected} values as the codebook was fitted on, got {dim}");
            return Err(Error::invalid("x", message));
        }
        let most = book.levels.iter().map(|level| largest(level.data())).fold(0.0, larger);
        check_range("centroids", most, false)?;
        let far = far_mean(book.levels[0]).filter(|_| book.metric == Metric::Euclidean);
        let in_place = book.metric == Metric::Euclidean && far.is_none();
        let origin = far.map_or_else(|| vec![0.0; dim], |mean| mean.iter().map(|&m| m as f32).collect());
        let mut codewords: Vec<Vec<f32>> = book.levels.iter().map(|level| level.data().to_vec()).collect();
        for centroid in codewords[0].chunks_exact_mut(dim) {
            centroid.iter_mut().zip(&origin).for_each(|(v, o)| *v -= o);
        }
        let mut first = codewords[0].clone();
        if book.metric == Metric::Cosine {
            normalise(&mut first, dim);
        }
        let cosine = book.metric == Metric::Cosine;
        let deeper = codewords[1..].iter().map(|words| Codewords::pack(Rows::new(words, dim), book.isa));
        let first = Codewords::pack_for(cosine, Rows::new(&first, dim), book.isa);
        let packed = std::iter::once(first).chain(deeper).collect();
        Ok(Self { dim, codewords, packed, metric: book.metric, origin, most, in_place })
    }

    /// Fails where rows have a square that float32 cannot hold, or codewords and rows both have none but 0; `largest` is
    /// the largest value of the rows.
    pub fn check_range(&self, largest: f32) -> Result<()> {
        match self.metric {
            Metric::Cosine => Ok(()),
            Metric::Euclidean if largest == 0.0 => Ok(()),
            Metric::Euclidean => check_range("x", larger(largest, self.most), self.most > 0.0),
        }
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
    #[inline(always)]
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
        let (bad, most) = (AtomicUsize::new(usize::MAX), AtomicU32::new(0));
        let buffers = || (vec![0.0; chunk * self.dim], vec![0; chunk]);
        codes.par_chunks_mut(chunk * depth).enumerate().try_for_each_init(buffers, |(left, labels), (b, codes)| {
            let part = x.slice(b * chunk, b * chunk + codes.len() / depth);
            let own = largest(part.data());
            most.fetch_max(own.to_bits(), Ordering::Relaxed);
            if !own.is_finite() {
                let row = (0..part.len()).find(|&i| !finite(part.row(i))).unwrap_or(0);
                bad.fetch_min(b * chunk + row, Ordering::Relaxed);
            } else if self.metric == Metric::Cosine || check_range("x", own, false).is_ok() {
                self.chunk(part, left, &mut labels[..part.len()], codes);
            }
            progress.advance(codes.len() as u64)
        })?;
        match bad.into_inner() {
            usize::MAX => self.check_range(f32::from_bits(most.into_inner())).map(|()| codes),
            row => Err(not_finite(row)),
        }
    }

    /// The codes of some rows.
    fn chunk(&self, part: Rows<'_>, left: &mut [f32], labels: &mut [u32], codes: &mut [u32]) {
        let (depth, dim) = (self.depth(), self.dim);
        let left = &mut left[..part.data().len()];
        let copied = depth > 1 || !self.in_place;
        if copied {
            place_rows(self.packed[0].isa(), part, self.metric, &self.origin, left);
        }
        let first = if self.in_place { part } else { Rows::new(left, dim) };
        self.packed[0].nearest(first, labels);
        write_level(codes, labels, 0, depth);
        for level in 1..depth {
            take_words(self.packed[level].isa(), &self.codewords[level - 1], labels, left);
            self.packed[level].nearest(Rows::new(left, dim), labels);
            write_level(codes, labels, level, depth);
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

/// `place` for each of the rows.
fn place_rows(isa: Isa, rows: Rows<'_>, metric: Metric, origin: &[f32], out: &mut [f32]) {
    isa.run(Place { rows, metric, origin, out });
}

struct Place<'a> {
    rows: Rows<'a>,
    metric: Metric,
    origin: &'a [f32],
    out: &'a mut [f32],
}

impl Job for Place<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        for (i, out) in self.out.chunks_exact_mut(self.rows.dim()).enumerate() {
            place(self.rows.row(i), self.metric, self.origin, out);
        }
    }
}

/// Takes from each row the codeword of its label.
fn take_words(isa: Isa, words: &[f32], labels: &[u32], left: &mut [f32]) {
    isa.run(Take { words, labels, left });
}

struct Take<'a> {
    words: &'a [f32],
    labels: &'a [u32],
    left: &'a mut [f32],
}

impl Job for Take<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        let dim = self.left.len() / self.labels.len().max(1);
        for (row, &label) in self.left.chunks_exact_mut(dim.max(1)).zip(self.labels) {
            row.iter_mut().zip(&self.words[label as usize * dim..][..dim]).for_each(|(v, c)| *v -= c);
        }
    }
}
