//! A pass over the rows whose bounds leave the label open, each against those groups that may hold a nearer codeword.

use super::bounds::Limits;
use super::judge::{Found, Judge};
use super::sweep::{Shift, Totals, UNLABELLED};
use crate::matrix::Rows;
use crate::simd::Job;
use crate::simd::lanes::Lanes;

/// Values of the rows that are worked on together, so that they stay in cache, and limits of their number.
const VALUES: usize = 1 << 17;
const FEWEST: usize = 384;
const MOST: usize = 1536;

/// Rows that are worked on together.
pub(super) fn together(dim: usize) -> usize {
    (VALUES / dim).clamp(FEWEST, MOST)
}

/// Bounds of some rows of a block: the lower ones of a group every `stride` values.
pub(super) struct Part<'a> {
    pub upper: &'a mut [f32],
    pub lower: &'a mut [f32],
    pub stride: usize,
    pub squares: &'a [f32],
}

/// The nearest codeword of a row so far.
#[derive(Clone, Copy, Default)]
struct Best {
    score: f32,
    label: u32,
    group: u32,
}

/// What is known about the rows at hand.
pub(super) struct Desk {
    /// Least of the lower bounds.
    least: Vec<f32>,
    /// Lower bound above which a group is out of the question; minus infinity for a row whose label is certain.
    limit: Vec<f32>,
    /// Rows whose label is open, ascending; and sorted by the group of their label.
    open: Vec<u32>,
    sorted: Vec<u32>,
    /// Rows that are judged by a group, and whether a row is.
    which: Vec<u32>,
    doubt: Vec<u8>,
    /// Group that a row was judged by first.
    own: Vec<u32>,
    best: Vec<Best>,
    labels: Vec<u32>,
    found: Found,
    /// Of each row that was judged: `|x|^2`, and the bounds that follow from its scores.
    square: Vec<f32>,
    above: Vec<f32>,
    below: Vec<f32>,
}

impl Desk {
    pub fn new(n: usize) -> Self {
        let (value, number) = (vec![0.0; n], vec![0; n]);
        Self {
            least: value.clone(),
            limit: value.clone(),
            open: number.clone(),
            sorted: number.clone(),
            which: number.clone(),
            doubt: vec![0; n.next_multiple_of(8)],
            own: number.clone(),
            best: vec![Best::default(); n],
            labels: number,
            found: Found::new(n),
            square: value.clone(),
            above: value.clone(),
            below: value,
        }
    }
}

/// Labels anew the rows whose label is open, and moves those that change in `totals`, in their order.
pub(super) struct Relabel<'a, 'l> {
    pub limits: &'a Limits<'l>,
    pub rows: Rows<'a>,
    pub labels: &'a mut [u32],
    pub part: Part<'a>,
    pub desk: &'a mut Desk,
    pub totals: &'a mut Totals,
}

impl Job for Relabel<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(mut self) {
        let count = self.open();
        if count == 0 {
            return;
        }
        // SAFETY: the job runs where `L` is available.
        unsafe {
            self.judge_own::<L, R>(count);
            for group in 0..self.limits.groups.len() {
                self.judge_other::<L, R>(group);
            }
            let Self { rows, labels, desk, totals, .. } = self;
            Shift { rows, found: &desk.labels[..labels.len()], known: labels, totals }.run::<L, R>();
        }
    }
}

impl Relabel<'_, '_> {
    /// Takes the last update into account, and lists the rows whose label is open; returns how many those are.
    #[inline(always)]
    fn open(&mut self) -> usize {
        let (limits, part, n) = (self.limits, &mut self.part, self.labels.len());
        let (open, least, limit) = (&mut self.desk.open[..n], &mut self.desk.least[..n], &mut self.desk.limit[..n]);
        self.desk.labels[..n].copy_from_slice(self.labels);
        limit.fill(f32::NEG_INFINITY);
        if limits.fresh {
            open.iter_mut().enumerate().for_each(|(row, place)| *place = row as u32);
            return n;
        }
        limits.age(self.labels, part.upper, part.lower, part.stride, least);
        // Written whether it is open or not: a branch would be guessed wrong half of the time.
        let mut count = 0;
        for row in 0..n {
            let certain = least[row] > limits.beyond(part.upper[row]);
            open[count] = row as u32;
            count += usize::from(!certain);
        }
        count
    }

    /// Sorts the open rows by the group of their label; returns where each group's begin.
    #[inline(always)]
    fn sort(&mut self, count: usize) -> Vec<usize> {
        let (desk, groups) = (&mut *self.desk, self.limits.groups);
        // Counted two places on: after the sums, place `group + 1` is where its rows begin, and when all rows are in
        // their places, where they end, which is where those of the next group begin.
        let mut next = vec![0; groups.len() + 2];
        for &row in &desk.open[..count] {
            let label = self.labels[row as usize];
            let own = if label == UNLABELLED { 0 } else { groups.of(label) };
            desk.own[row as usize] = own as u32;
            next[own + 2] += 1;
        }
        (2..next.len()).for_each(|group| next[group] += next[group - 1]);
        for &row in &desk.open[..count] {
            let place = &mut next[desk.own[row as usize] as usize + 1];
            desk.sorted[*place] = row;
            *place += 1;
        }
        next
    }

    /// Judges each open row by the group of its label.
    #[inline(always)]
    unsafe fn judge_own<L: Lanes, const R: usize>(&mut self, count: usize) {
        let begins = self.sort(count);
        for group in 0..self.limits.groups.len() {
            let range = begins[group]..begins[group + 1];
            if range.is_empty() {
                continue;
            }
            let sorted = std::mem::take(&mut self.desk.sorted); // lent to `judge`, which writes to the desk
            // SAFETY: the caller runs where `L` is available.
            unsafe { self.judge::<L, R, true>(group, &sorted[range.clone()]) };
            let (members, desk, part) = (self.limits.groups.members(group), &mut *self.desk, &mut self.part);
            let lower = &mut part.lower[group * part.stride..][..self.rows.len()];
            for (place, &row) in sorted[range].iter().enumerate() {
                let (row, label) = (row as usize, members[desk.found.labels[place] as usize]);
                desk.best[row] = Best { score: desk.found.least[place], label, group: group as u32 };
                desk.labels[row] = label;
                part.upper[row] = desk.above[place];
                desk.limit[row] = self.limits.beyond(desk.above[place]);
                lower[row] = desk.below[place];
            }
            desk.sorted = sorted;
        }
    }

    /// Judges by a group the open rows for which it may hold the nearest codeword.
    #[inline(always)]
    unsafe fn judge_other<L: Lanes, const R: usize>(&mut self, group: usize) {
        let count = self.doubt(group);
        if count == 0 {
            return;
        }
        let which = std::mem::take(&mut self.desk.which);
        // SAFETY: the caller runs where `L` is available.
        unsafe { self.judge::<L, R, false>(group, &which[..count]) };
        let (members, desk, part) = (self.limits.groups.members(group), &mut *self.desk, &mut self.part);
        let offset = group * part.stride;
        for (place, &row) in which[..count].iter().enumerate() {
            let (row, score) = (row as usize, desk.found.least[place]);
            let (best, label) = (desk.best[row], members[desk.found.labels[place] as usize]);
            part.lower[offset + row] = desk.below[place];
            if score < best.score || (score == best.score && label < best.label) {
                // What was nearest so far is now one of the others of its group.
                let (square, before) = (desk.square[place], best.group as usize * part.stride + row);
                part.lower[before] = part.lower[before].min(self.limits.below(square, best.score));
                part.lower[offset + row] = self.limits.below(square, desk.found.second[place]);
                part.upper[row] = self.limits.above(square, score);
                desk.limit[row] = self.limits.beyond(part.upper[row]);
                desk.best[row] = Best { score, label, group: group as u32 };
                desk.labels[row] = label;
            }
        }
        desk.which = which;
    }

    /// Lists the rows for which a group that is not their own may hold the nearest codeword, and returns how many those
    /// are; no bound is NaN.
    #[inline(always)]
    fn doubt(&mut self, group: usize) -> usize {
        let n = self.labels.len();
        let (desk, lower) = (&mut *self.desk, &self.part.lower[group * self.part.stride..][..n]);
        let (limit, own, doubt) = (&desk.limit[..n], &desk.own[..n], &mut desk.doubt[..n.next_multiple_of(8)]);
        for row in 0..n {
            doubt[row] = u8::from((lower[row] <= limit[row]) & (own[row] != group as u32));
        }
        doubt[n..].fill(0);
        // Most rows are in no doubt: eight at a time are passed over by one test.
        let mut count = 0;
        for (first, eight) in doubt.as_chunks::<8>().0.iter().enumerate() {
            let mut bits = u64::from_le_bytes(*eight);
            while bits != 0 {
                desk.which[count] = (8 * first) as u32 + bits.trailing_zeros() / 8;
                count += 1;
                bits &= bits - 1;
            }
        }
        count
    }

    /// Scores of some rows and the bounds that follow from them: `above` of the least score (if `OWN`), `below` of the
    /// second if `OWN`, else of the least.
    #[inline(always)]
    unsafe fn judge<L: Lanes, const R: usize, const OWN: bool>(&mut self, group: usize, which: &[u32]) {
        let (desk, limits, n) = (&mut *self.desk, self.limits, which.len());
        let judge = Judge { code: &limits.packed[group], rows: self.rows, which, fetch: OWN, found: &mut desk.found };
        // SAFETY: the caller runs where `L` is available.
        unsafe { judge.run::<L, R>() };
        let (square, above, below) = (&mut desk.square[..n], &mut desk.above[..n], &mut desk.below[..n]);
        let (least, second) = (&desk.found.least[..n], &desk.found.second[..n]);
        for place in 0..n {
            square[place] = self.part.squares[which[place] as usize];
        }
        for place in 0..n {
            if OWN {
                above[place] = limits.above(square[place], least[place]);
            }
            below[place] = limits.below(square[place], if OWN { second[place] } else { least[place] });
        }
    }
}
