//! The best of dense scores: for each row the items that a list of k can hold, in one pass.
//!
//! An item can be in a list of k if its score is no lower than the bound of the k-th best one, which is that score less a
//! tolerance: within it scores are ties, and whoever asked puts them into their order. A pass keeps what reaches the bound
//! of the k-th best score so far; the bound only rises, so nothing is lost that the last one lets in.

use crate::error::{Error, Result};
use crate::ordered::Key;
use crate::ragged::{check_items, divide};

/// Scores that are compared with the bound at once; most of a row is passed over by such strides.
const STRIDE: usize = 32;

/// What a list is made from.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// Row-major `[rows, n]`; minus infinity marks an item that no list holds.
    pub scores: &'a [f32],
    /// Items.
    pub n: usize,
    /// Where the removed items of each row begin and end, `[rows + 1]`.
    pub offsets: &'a [i64],
    /// Removed items of all rows.
    pub removed: &'a [i32],
    /// Length of the lists.
    pub k: usize,
    /// When scores are ties.
    pub ties: Ties,
}

/// Scores that are lower than the best one of a run of ties by no more than this belong to the run.
#[derive(Clone, Copy, PartialEq)]
pub enum Ties {
    /// Nothing ties: among equal scores the lowest item comes first.
    Never,
    /// So much.
    Within(f32),
    /// Such a share of the best one's size.
    Share(f32),
}

impl Ties {
    /// The lowest score that ties with `best`.
    fn bound(self, best: f32) -> f32 {
        match self {
            Self::Within(slack) if best.is_finite() => best - slack,
            Self::Share(share) if best.is_finite() => best - share * best.abs(),
            _ => best,
        }
    }
}

/// The items of each row that reach the bound of its k-th best score.
#[derive(Debug, Default, PartialEq)]
pub struct Best {
    /// How many there are in each row.
    pub counts: Vec<usize>,
    /// Items of all rows, best first, the lowest item first among equal scores.
    pub items: Vec<i32>,
    /// Their scores.
    pub scores: Vec<f32>,
}

/// Finds them.
pub fn best(problem: Problem<'_>) -> Result<Best> {
    problem.check()?;
    let (mut found, mut gone) = (Best::default(), vec![false; problem.n]);
    if problem.n == 0 {
        found.counts = vec![0; problem.offsets.len() - 1];
        return Ok(found);
    }
    for (row, scores) in problem.scores.chunks_exact(problem.n).enumerate() {
        let removed = &problem.removed[problem.offsets[row] as usize..problem.offsets[row + 1] as usize];
        removed.iter().for_each(|&item| gone[item as usize] = true);
        let mut kept = Kept::new(problem.k, problem.ties);
        kept.scan(scores, &gone).map_err(|()| nan(row))?;
        found.add(&kept.sorted());
        removed.iter().for_each(|&item| gone[item as usize] = false);
    }
    Ok(found)
}

fn nan(row: usize) -> Error {
    let message = format!("user {row} of the batch has a NaN score; the model may have diverged");
    Error::invalid("scores", message)
}

impl Problem<'_> {
    fn check(&self) -> Result<()> {
        if self.k < 1 {
            return Err(Error::invalid("k", "expected at least 1, got 0"));
        }
        let (named, value, most) = match self.ties {
            Ties::Never => ("tolerance", 0.0, f32::MAX),
            Ties::Within(slack) => ("tolerance", slack, f32::MAX),
            Ties::Share(share) => ("share", share, 1.0), // beyond it a better score has a lower bound
        };
        if !(0.0..=most).contains(&value) {
            return Err(Error::invalid(named, format!("expected a number from 0 to {most}, got {value}")));
        }
        let rows = self.offsets.len().saturating_sub(1);
        if !divide(self.offsets, self.removed.len()) || rows * self.n != self.scores.len() {
            let message = format!("expected one list for each of {} scores / {} items", self.scores.len(), self.n);
            return Err(Error::invalid("seen", message));
        }
        check_items("seen", self.removed, self.n)
    }
}

/// What is kept of one row.
struct Kept {
    k: usize,
    ties: Ties,
    /// No score below this is kept.
    bound: f32,
    keys: Vec<Key>,
    /// Keys that are held before the bound is raised.
    room: usize,
}

impl Kept {
    fn new(k: usize, ties: Ties) -> Self {
        let room = 2 * k.clamp(16, 1 << 16);
        Self { k, ties, bound: f32::NEG_INFINITY, keys: Vec::with_capacity(room), room }
    }

    /// Reads a row; fails where a score is NaN.
    fn scan(&mut self, scores: &[f32], gone: &[bool]) -> std::result::Result<(), ()> {
        for (at, part) in scores.chunks(STRIDE).enumerate() {
            let bound = self.bound;
            if !part.iter().fold(false, |any, &score| any | (score >= bound) | score.is_nan()) {
                continue;
            }
            for (place, &score) in part.iter().enumerate() {
                if score.is_nan() {
                    return Err(());
                }
                let item = at * STRIDE + place;
                if score >= self.bound && score != f32::NEG_INFINITY && !gone[item] {
                    self.push(Key::new(score, item as i32));
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, key: Key) {
        self.keys.push(key);
        if self.keys.len() >= self.room.max(self.k + 1) {
            self.raise();
            // Where many are ties, few leave.
            self.room = self.room.max(2 * self.keys.len());
        }
    }

    /// Raises the bound to that of the k-th best, and drops what is below.
    fn raise(&mut self) {
        if self.keys.len() > self.k {
            let (_, &mut kth, _) = self.keys.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            self.bound = self.ties.bound(kth.score());
            let least = if self.ties == Ties::Never { kth } else { Key::least(self.bound) };
            self.keys.retain(|&key| key >= least);
        }
    }

    fn sorted(mut self) -> Vec<Key> {
        self.raise();
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        self.keys
    }
}

impl Best {
    fn add(&mut self, keys: &[Key]) {
        self.counts.push(keys.len());
        self.items.extend(keys.iter().map(|key| key.id()));
        self.scores.extend(keys.iter().map(|key| key.score()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// All allowed items of a row sorted, then cut at the bound of the k-th.
    fn slow(scores: &[f32], removed: &[i32], k: usize, ties: Ties) -> Vec<(i32, f32)> {
        let allowed = |&item: &usize| scores[item] != f32::NEG_INFINITY && !removed.contains(&(item as i32));
        let mut all: Vec<usize> = (0..scores.len()).filter(allowed).collect();
        all.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).expect("numbers").then(a.cmp(&b)));
        let bound = all.get(k - 1).map_or(f32::NEG_INFINITY, |&kth| ties.bound(scores[kth]));
        if ties == Ties::Never {
            all.truncate(k);
        }
        all.into_iter().filter(|&item| scores[item] >= bound).map(|item| (item as i32, scores[item])).collect()
    }

    #[test]
    fn is_what_sorting_gives() {
        let mut rng = Rng::new(7, 0, 0);
        let below = |rng: &mut Rng, bound: usize| rng.below(bound as u64) as usize;
        for case in 0..400 {
            let (n, k) = (1 + below(&mut rng, 300), 1 + below(&mut rng, 40));
            let distinct = 1 + below(&mut rng, if case % 2 == 0 { 6 } else { 1000 });
            let draw = |rng: &mut Rng| match below(rng, distinct + 1) {
                0 => [f32::NEG_INFINITY, f32::INFINITY, -0.0, 0.0][below(rng, 4)],
                value => (value as f32 - 3.0) / 7.0,
            };
            let scores: Vec<f32> = (0..2 * n).map(|_| draw(&mut rng)).collect();
            let removed: Vec<i32> = (0..below(&mut rng, n)).map(|_| rng.below(n as u64) as i32).collect();
            let cut = below(&mut rng, removed.len() + 1);
            let offsets = [0, cut as i64, removed.len() as i64];
            for ties in [Ties::Never, Ties::Within(0.0), Ties::Within(0.2), Ties::Share(0.1)] {
                let problem = Problem { scores: &scores, n, offsets: &offsets, removed: &removed, k, ties };
                let found = best(problem).expect("sound");
                let expected =
                    [slow(&scores[..n], &removed[..cut], k, ties), slow(&scores[n..], &removed[cut..], k, ties)];
                assert_eq!(found.counts, expected.iter().map(Vec::len).collect::<Vec<_>>());
                assert_eq!(found.items, expected.iter().flatten().map(|one| one.0).collect::<Vec<_>>());
                assert_eq!(found.scores, expected.iter().flatten().map(|one| one.1).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn refuses_what_is_no_number_and_what_is_no_item() {
        let scores = [1.0, 2.0, 3.0, f32::NAN];
        let problem =
            Problem { scores: &scores, n: 2, offsets: &[0, 0, 1], removed: &[1], k: 1, ties: Ties::Within(0.0) };
        assert!(best(problem).expect_err("NaN").to_string().contains("user 1 of the batch has a NaN"));
        for removed in [[-1], [2]] {
            let said = best(Problem { removed: &removed, ..problem }).expect_err("no item").to_string();
            assert!(said.contains("item rows from 0 to 1"), "{said}");
        }
        assert!(best(Problem { offsets: &[0, 1], ..problem }).is_err());
        assert!(best(Problem { k: 0, ..problem }).is_err());
        for ties in [Ties::Within(f32::NAN), Ties::Within(-0.1), Ties::Within(f32::INFINITY), Ties::Share(1.5)] {
            assert!(best(Problem { ties, ..problem }).expect_err("no bound").to_string().contains("a number from 0"));
        }
        assert_eq!(best(Problem { scores: &[], n: 0, removed: &[], offsets: &[0], ..problem }), Ok(Best::default()));
    }
}
