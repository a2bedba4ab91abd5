//! Short lists of the best candidates of a prompt.

use crate::ordered::Key;

/// A candidate: larger keys are better, by score, then by lower id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    key: Key,
    row: u32,
}

impl Entry {
    pub(super) fn new(score: f32, id: i32, row: usize) -> Self {
        Self { key: Key::new(score, id), row: row as u32 }
    }

    pub(super) fn score(self) -> f32 {
        self.key.score()
    }

    pub(super) fn id(self) -> i32 {
        self.key.id()
    }
}

/// The best `limit` entries seen so far.
pub(super) struct Best {
    limit: usize,
    least: f32,
    entries: Vec<Entry>,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Best { limit, least: f32::NEG_INFINITY, entries: Vec::with_capacity(2 * limit) }
    }

    /// Whether a score can still enter; an equal one may, by its id.
    pub(super) fn open(&self, score: f32) -> bool {
        score >= self.least
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        if self.entries.len() == 2 * self.limit {
            self.entries.select_nth_unstable_by(self.limit - 1, |a, b| b.key.cmp(&a.key));
            self.entries.truncate(self.limit);
            self.least = self.entries[self.limit - 1].score();
        }
    }

    pub(super) fn sorted(mut self) -> Vec<Entry> {
        self.entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.key));
        self.entries.truncate(self.limit);
        self.entries
    }
}

/// Candidates of all prompts, flat.
#[derive(Debug, Default, PartialEq)]
pub struct Kept {
    /// Candidates of each prompt.
    pub counts: Vec<i64>,
    /// Node or leaf.
    pub ids: Vec<i32>,
    /// Log-probability.
    pub scores: Vec<f32>,
    /// Beam that it came from.
    pub rows: Vec<i64>,
}

impl Kept {
    fn add(&mut self, entries: &[Entry]) {
        self.counts.push(entries.len() as i64);
        self.ids.extend(entries.iter().map(|entry| entry.id()));
        self.scores.extend(entries.iter().map(|entry| entry.score()));
        self.rows.extend(entries.iter().map(|entry| i64::from(entry.row)));
    }

    pub(super) fn join(parts: Vec<Vec<Entry>>) -> Self {
        let mut kept = Kept::default();
        parts.iter().for_each(|part| kept.add(part));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_best_and_breaks_ties_by_lower_id() {
        let scores = [-1.5, 0.0, -0.0, 3.25, f32::NEG_INFINITY, -1.5, 2.0, 3.25];
        for limit in 1..=8 {
            let mut best = Best::new(limit);
            for (id, &score) in scores.iter().enumerate() {
                if best.open(score) {
                    best.push(Entry::new(score, id as i32, 10 + id));
                }
            }
            let kept = Kept::join(vec![best.sorted()]);
            let expected = [3, 7, 6, 1, 2, 0, 5, 4];
            assert_eq!(kept.ids, expected[..limit]);
            assert_eq!(kept.counts, [limit as i64]);
            assert!(kept.ids.iter().zip(&kept.scores).all(|(&id, &score)| score == scores[id as usize]));
            assert!(kept.ids.iter().zip(&kept.rows).all(|(&id, &row)| row == i64::from(id) + 10));
        }
    }
}
