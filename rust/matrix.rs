//! A borrowed row-major matrix, and passes over rows whose result no number of threads changes.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::limits::{larger, largest};
use crate::progress::Progress;

/// Rows of equal length, contiguous.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    data: &'a [f32],
    dim: usize,
}

impl<'a> Rows<'a> {
    /// Views `data` as rows of `dim` values.
    ///
    /// # Panics
    /// If `dim` is 0 or does not divide the length.
    pub fn new(data: &'a [f32], dim: usize) -> Self {
        assert!(dim > 0 && data.len().is_multiple_of(dim), "{} values are no rows of {dim}", data.len());
        Self { data, dim }
    }

    /// Number of rows.
    #[inline]
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Values in a row.
    #[inline]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Row `i`.
    #[inline]
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// Rows `begin..end`.
    #[inline]
    pub fn slice(&self, begin: usize, end: usize) -> Rows<'a> {
        Rows { data: &self.data[begin * self.dim..end * self.dim], dim: self.dim }
    }

    /// All values.
    #[inline]
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// True if every value of row `i` is zero.
    pub fn is_zero(&self, i: usize) -> bool {
        self.row(i).iter().all(|&v| v == 0.0)
    }

    /// A copy of the rows `picked`, in that order.
    pub fn gather(&self, picked: &[u32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(picked.len() * self.dim);
        for &i in picked {
            out.extend_from_slice(self.row(i as usize));
        }
        out
    }
}

/// Rows that are changed between two looks at the flag that stops a run.
pub const TASK: usize = 1024;

/// Calls `change(i, row)` for every row, in parallel.
pub fn change(data: &mut [f32], dim: usize, progress: &Progress, f: impl Fn(usize, &mut [f32]) + Sync) -> Result<()> {
    data.par_chunks_mut(TASK * dim).enumerate().try_for_each(|(task, part)| {
        part.chunks_exact_mut(dim).enumerate().for_each(|(i, row)| f(task * TASK + i, row));
        progress.check()
    })
}

/// `n` rows written by `make(i, row)`, in parallel.
pub fn build(n: usize, dim: usize, progress: &Progress, make: impl Fn(usize, &mut [f32]) + Sync) -> Result<Vec<f32>> {
    let mut out = vec![0.0; n * dim];
    change(&mut out, dim, progress, make).map(|()| out)
}

/// A copy of the rows `picked`, in that order, made in parallel.
pub fn gather(rows: Rows<'_>, picked: &[u32], progress: &Progress) -> Result<Vec<f32>> {
    build(picked.len(), rows.dim(), progress, |i, out| out.copy_from_slice(rows.row(picked[i] as usize)))
}

/// Rows per block of a parallel pass: a function of the count alone, so that threads never change a sum, and at most
/// 64 blocks, so that partial sums stay small.
pub fn block_rows(n: usize) -> usize {
    n.div_ceil(64).max(4096)
}

/// Squared Euclidean distance, in `f64`.
#[inline]
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(x - y) * f64::from(x - y)).sum()
}

/// Sum of `value(i)` for `i` in `0..n`, added in fixed blocks.
pub fn fixed_sum(n: usize, progress: &Progress, value: impl Fn(usize) -> f64 + Sync) -> Result<f64> {
    let block = block_rows(n);
    let parts: Vec<f64> = (0..n.div_ceil(block))
        .into_par_iter()
        .map(|b| progress.check().map(|()| (b * block..((b + 1) * block).min(n)).map(&value).sum()))
        .collect::<Result<_>>()?;
    Ok(parts.iter().sum())
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

/// The largest absolute value of all rows; fails at the first row that holds NaN or infinity.
pub fn largest_of(x: Rows<'_>, progress: &Progress) -> Result<f32> {
    let parts = x.data().par_chunks(TASK * x.dim()).map(|part| progress.check().map(|()| largest(part)));
    let most = parts.try_reduce(|| 0.0, |a, b| Ok(larger(a, b)))?;
    match most.is_finite() {
        true => Ok(most),
        false => Err(not_finite((0..x.len()).find(|&i| !finite(x.row(i))).unwrap_or(0))),
    }
}

/// Length of a row, in `f64`, added in eight sums side by side.
#[inline(always)]
pub fn length(row: &[f32]) -> f64 {
    let (whole, rest) = row.as_chunks::<8>();
    let mut sums = [0.0f64; 8];
    for part in whole {
        for i in 0..8 {
            sums[i] += f64::from(part[i]) * f64::from(part[i]);
        }
    }
    let rest: f64 = rest.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt()
}

/// Scales every row to length 1; a zero row stays zero.
pub fn normalise(data: &mut [f32], dim: usize) {
    data.par_chunks_exact_mut(dim).for_each(normalise_row);
}

/// Scales one row to length 1; zero stays zero.
pub fn normalise_row(row: &mut [f32]) {
    let norm = length(row);
    if norm > 0.0 {
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
}

/// What the codewords that the rows are labelled with leave of them.
pub fn remainder(rows: Rows<'_>, labels: &[u32], codewords: &[f32], progress: &Progress) -> Result<Vec<f32>> {
    let dim = rows.dim();
    build(rows.len(), dim, progress, |i, out| {
        let c = &codewords[labels[i] as usize * dim..][..dim];
        out.iter_mut().zip(rows.row(i)).zip(c).for_each(|((o, v), c)| *o = v - c);
    })
}

/// Subtracts from each row the codeword it is labelled with.
pub fn subtract(data: &mut [f32], dim: usize, labels: &[u32], codewords: &[f32], progress: &Progress) -> Result<()> {
    change(data, dim, progress, |i, row| {
        let c = &codewords[labels[i] as usize * dim..][..dim];
        row.iter_mut().zip(c).for_each(|(v, c)| *v -= c);
    })
}

/// Writes the labels of one level into row-major codes.
pub fn write_level(codes: &mut [u32], labels: &[u32], level: usize, depth: usize) {
    for (row, &label) in codes.chunks_exact_mut(depth).zip(labels) {
        row[level] = label;
    }
}
