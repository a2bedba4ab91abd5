//! Rows as a codebook's first level expects them, and what its codewords leave of them.

use super::isa::{Isa, Job};
use super::lanes::Lanes;
use super::params::Metric;
use super::rows::{self, Rows};

/// Writes `row - origin`, under cosine `row` scaled to length 1; a zero row stays zero.
#[inline(always)]
pub fn place(row: &[f32], metric: Metric, origin: &[f32], out: &mut [f32]) {
    match metric {
        Metric::Euclidean => out.iter_mut().zip(row).zip(origin).for_each(|((o, v), shift)| *o = v - shift),
        Metric::Cosine => {
            let norm = rows::length(row);
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            out.iter_mut().zip(row).for_each(|(o, &v)| *o = (f64::from(v) * scale) as f32);
        }
    }
}

/// `place` for each of the rows.
pub fn place_rows(isa: Isa, rows: Rows<'_>, metric: Metric, origin: &[f32], out: &mut [f32]) {
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
pub fn take_words(isa: Isa, words: &[f32], labels: &[u32], left: &mut [f32]) {
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
