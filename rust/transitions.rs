//! Where two steps along the transitions of items lead to, for many users at once.
//!
//! With rows `T_i` of steps (sparse, not negative), a start `v` (sparse: weights of a user's last items), the weight h of
//! the second step, the popularity q of items (sums to 1) and a smoothing s,
//!
//! ```text
//! g = v T + h (v T) T,    p = (1 - s) g / |g|_1 + s q,    p = q where g is nothing
//! ```
//!
//! One dense row takes in what a user's steps add up to, so that neither `T^2` nor a sparse result is made.

use crate::error::{Error, Result};
use crate::ragged::{check_items, divide};

/// Rows of sparse numbers.
#[derive(Clone, Copy)]
pub struct Sparse<'a> {
    /// Where rows begin and end, `[rows + 1]`.
    pub offsets: &'a [i64],
    /// Columns of all rows.
    pub columns: &'a [i32],
    /// Their values.
    pub values: &'a [f32],
}

impl<'a> Sparse<'a> {
    fn check(&self, argument: &'static str, n: usize) -> Result<()> {
        if !divide(self.offsets, self.columns.len()) || self.values.len() != self.columns.len() {
            return Err(Error::invalid(
                argument,
                "expected offsets from 0 to the number of columns, and as many values",
            ));
        }
        check_items(argument, self.columns, n)
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn row(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + 'a {
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        self.columns[range.clone()].iter().map(|&column| column as usize).zip(self.values[range].iter().copied())
    }
}

/// How steps become a distribution.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// Of the second step.
    pub second_hop: f32,
    /// Of popularity.
    pub smoothing: f32,
    /// `[n]`.
    pub popularity: &'a [f32],
}

/// Distributions `[starts, n]` over the items.
pub fn distributions(steps: Sparse<'_>, starts: Sparse<'_>, weights: Weights<'_>) -> Result<Vec<f32>> {
    let n = weights.popularity.len();
    steps.check("steps", n)?;
    starts.check("starts", n)?;
    if steps.len() != n {
        let message = format!("expected a row for each of {n} items, got {}", steps.len());
        return Err(Error::invalid("steps", message));
    }
    let mut out = vec![0.0; starts.len() * n];
    if n > 0 {
        for (user, row) in out.chunks_exact_mut(n).enumerate() {
            walk(steps, starts.row(user), weights.second_hop, row);
            finish(row, weights);
        }
    }
    Ok(out)
}

/// Adds `g` to a row of zeros.
fn walk(steps: Sparse<'_>, start: impl Iterator<Item = (usize, f32)>, second_hop: f32, row: &mut [f32]) {
    let mut reached = Vec::new();
    for (item, weight) in start {
        for (to, step) in steps.row(item) {
            if row[to] == 0.0 {
                reached.push(to);
            }
            row[to] += weight * step;
        }
    }
    if second_hop == 0.0 {
        return;
    }
    // Once each, also what was reached by steps worth nothing; and in the order in which the rows lie in memory.
    reached.sort_unstable();
    reached.dedup();
    let first: Vec<(usize, f32)> = reached.into_iter().map(|item| (item, second_hop * row[item])).collect();
    for (item, weight) in first {
        for (to, step) in steps.row(item) {
            row[to] += weight * step;
        }
    }
}

/// Makes `g` a distribution.
fn finish(row: &mut [f32], weights: Weights<'_>) {
    let mass: f64 = row.chunks(1024).map(|part| f64::from(part.iter().sum::<f32>())).sum();
    let (own, rest) =
        if mass > 0.0 { ((f64::from(1.0 - weights.smoothing) / mass) as f32, weights.smoothing) } else { (0.0, 1.0) };
    for (value, &popular) in row.iter_mut().zip(weights.popularity) {
        *value = *value * own + rest * popular;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    struct Owned {
        offsets: Vec<i64>,
        columns: Vec<i32>,
        values: Vec<f32>,
    }

    impl Owned {
        fn drawn(rows: usize, n: usize, most: u64, rng: &mut Rng) -> Self {
            let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
            for _ in 0..rows {
                for _ in 0..rng.below(most + 1) {
                    columns.push(rng.below(n as u64) as i32);
                    values.push(if rng.below(9) == 0 { 0.0 } else { rng.uniform() as f32 });
                }
                offsets.push(columns.len() as i64);
            }
            Self { offsets, columns, values }
        }

        fn view(&self) -> Sparse<'_> {
            Sparse { offsets: &self.offsets, columns: &self.columns, values: &self.values }
        }

        fn dense(&self, n: usize) -> Vec<Vec<f64>> {
            let mut rows = vec![vec![0.0; n]; self.offsets.len() - 1];
            for (row, values) in rows.iter_mut().enumerate() {
                self.view().row(row).for_each(|(column, value)| values[column] += f64::from(value));
            }
            rows
        }
    }

    #[test]
    fn is_what_dense_products_give() {
        let mut rng = Rng::new(3, 0, 0);
        for case in 0..60 {
            let n = 1 + rng.below(40) as usize;
            let (steps, starts) = (Owned::drawn(n, n, 5, &mut rng), Owned::drawn(4, n, 3, &mut rng));
            let popularity = vec![1.0 / n as f32; n];
            let (second_hop, smoothing) = if case % 3 == 0 { (0.0, 0.0) } else { (0.5, 0.01) };
            let weights = Weights { second_hop, smoothing, popularity: &popularity };
            let found = distributions(steps.view(), starts.view(), weights).expect("sound");
            let (t, v) = (steps.dense(n), starts.dense(n));
            for (user, start) in v.iter().enumerate() {
                let times =
                    |row: &[f64]| -> Vec<f64> { (0..n).map(|j| (0..n).map(|i| row[i] * t[i][j]).sum()).collect() };
                let one = times(start);
                let two = times(&one);
                let g: Vec<f64> = one.iter().zip(&two).map(|(a, b)| a + f64::from(second_hop) * b).collect();
                let mass: f64 = g.iter().sum();
                for (item, value) in g.iter().enumerate() {
                    let q = f64::from(popularity[item]);
                    let s = f64::from(smoothing);
                    let wanted = if mass > 0.0 { (1.0 - s) * value / mass + s * q } else { q };
                    assert!((f64::from(found[user * n + item]) - wanted).abs() < 1e-6, "case {case}, user {user}");
                }
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let popularity = [0.5, 0.5];
        let weights = Weights { second_hop: 0.5, smoothing: 0.1, popularity: &popularity };
        let steps = Sparse { offsets: &[0, 1, 1], columns: &[1], values: &[1.0] };
        let starts = Sparse { offsets: &[0, 1], columns: &[0], values: &[1.0] };
        assert_eq!(distributions(steps, starts, weights).expect("sound"), [0.05, 0.95]);
        for columns in [[-1], [2]] {
            assert!(distributions(steps, Sparse { columns: &columns, ..starts }, weights).is_err());
            assert!(distributions(Sparse { columns: &columns, ..steps }, starts, weights).is_err());
        }
        assert!(distributions(Sparse { offsets: &[0, 1], ..steps }, starts, weights).is_err());
        assert!(distributions(steps, Sparse { values: &[], ..starts }, weights).is_err());
        assert!(distributions(steps, Sparse { offsets: &[1, 0], ..starts }, weights).is_err());
    }
}
