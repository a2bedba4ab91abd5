//! The caller's rows as fitting and assignment work on them: moved to an origin, or scaled to length 1.

use std::borrow::Cow;

use rayon::prelude::*;

use super::params::Metric;
use crate::error::Result;
use crate::limits::check_range;
use crate::matrix::{Rows, TASK, block_rows, build, largest_of, length, normalise_row};
use crate::progress::Progress;

/// Rows lie far from zero when the square of their mean's length is this many times their variance.
const FAR: f64 = 4.0;

/// What fitting works on, and the origin it was moved by.
///
/// The kernel's `|c|^2 - 2 x.c` cancels on data far from zero: such rows are copied and moved to their mean (Euclidean);
/// others stay where they are, and the origin is zero. Under cosine the copy is scaled to length 1.
pub fn prepare<'a>(x: Rows<'a>, metric: Metric, progress: &Progress) -> Result<(Cow<'a, [f32]>, Vec<f64>)> {
    // A direction has no length that could be too large or too small.
    let most = largest_of(x, progress)?;
    check_range("x", if metric == Metric::Cosine { 0.0 } else { most }, true)?;
    let (mean, square) = moments(x, progress)?;
    let zero = vec![0.0; x.dim()];
    match metric {
        Metric::Cosine => Ok((Cow::Owned(centred(x, metric, &zero, progress)?), zero)),
        Metric::Euclidean if is_far(&mean, square) => Ok((Cow::Owned(centred(x, metric, &mean, progress)?), mean)),
        Metric::Euclidean => Ok((Cow::Borrowed(x.data()), zero)),
    }
}

fn is_far(mean: &[f64], square: f64) -> bool {
    let length: f64 = mean.iter().map(|m| m * m).sum();
    length > FAR * (square - length)
}

/// The mean row, if the rows lie far from zero.
pub fn far_mean(x: Rows<'_>) -> Option<Vec<f64>> {
    let (mean, square) = moments(x, &Progress::new()).ok()?;
    is_far(&mean, square).then_some(mean)
}

/// Mean row, and the mean of the squared lengths, added in fixed blocks.
fn moments(x: Rows<'_>, progress: &Progress) -> Result<(Vec<f64>, f64)> {
    let block = block_rows(x.len());
    let parts: Vec<(Vec<f64>, f64)> = (0..x.len().div_ceil(block))
        .into_par_iter()
        .map(|b| {
            let (mut sums, mut squares) = (vec![0.0; x.dim()], vec![0.0; x.dim()]);
            for i in b * block..((b + 1) * block).min(x.len()) {
                if i % TASK == 0 {
                    progress.check()?;
                }
                for ((sum, square), &v) in sums.iter_mut().zip(&mut squares).zip(x.row(i)) {
                    *sum += f64::from(v);
                    *square += f64::from(v) * f64::from(v);
                }
            }
            Ok((sums, squares.iter().sum()))
        })
        .collect::<Result<_>>()?;
    let (mut mean, mut square) = (vec![0.0; x.dim()], 0.0);
    for (sums, squares) in parts {
        mean.iter_mut().zip(sums).for_each(|(m, s)| *m += s / x.len() as f64);
        square += squares / x.len() as f64;
    }
    Ok((mean, square))
}

/// `x - origin`, under cosine `x` scaled to length 1.
fn centred(x: Rows<'_>, metric: Metric, origin: &[f64], progress: &Progress) -> Result<Vec<f32>> {
    build(x.len(), x.dim(), progress, |i, out| {
        out.copy_from_slice(x.row(i));
        match metric {
            Metric::Cosine => normalise_row(out),
            Metric::Euclidean => out.iter_mut().zip(origin).for_each(|(v, o)| *v = (f64::from(*v) - o) as f32),
        }
    })
}

/// Writes `row - origin`, under cosine `row` scaled to length 1; a zero row stays zero.
#[inline(always)]
pub fn place(row: &[f32], metric: Metric, origin: &[f32], out: &mut [f32]) {
    match metric {
        Metric::Euclidean => out.iter_mut().zip(row).zip(origin).for_each(|((o, v), shift)| *o = v - shift),
        Metric::Cosine => {
            let norm = length(row);
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            out.iter_mut().zip(row).for_each(|(o, &v)| *o = (f64::from(v) * scale) as f32);
        }
    }
}
