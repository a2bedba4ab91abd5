//! Some rows against one group of codewords: the nearest one, and the scores of it and of the next.

use super::kernel::{BLOCK, find, load, tile};
use super::pack::Codewords;
use crate::matrix::Rows;
use crate::simd::Job;
use crate::simd::lanes::{Lanes, each_panel};

/// Label within the group, least and second least score of each row that was looked at, in the order of the list.
pub(super) struct Found {
    pub labels: Vec<u32>,
    pub least: Vec<f32>,
    pub second: Vec<f32>,
}

impl Found {
    /// Room for `n` rows, and for a tile that reaches past the last one.
    pub fn new(n: usize) -> Self {
        let room = n + BLOCK;
        Self { labels: vec![0; room], least: vec![0.0; room], second: vec![0.0; room] }
    }
}

/// The rows `which` against the codewords, with the scores of `Nearest`.
pub(super) struct Judge<'a> {
    pub code: &'a Codewords,
    pub rows: Rows<'a>,
    pub which: &'a [u32],
    /// Whether the rows are likely not in cache.
    pub fetch: bool,
    pub found: &'a mut Found,
}

/// Running minima of a block of rows, one per lane.
struct Minima<L: Lanes> {
    best: [L::F; BLOCK],
    second: [L::F; BLOCK],
    index: [L::I; BLOCK],
}

impl Job for Judge<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(mut self) {
        assert!(self.found.labels.len() >= self.which.len() + BLOCK);
        // SAFETY: the job runs where `L` is available.
        unsafe {
            if self.code.registers() <= L::C {
                each_panel!(0..self.code.registers(), self.code.registers(), L, _first, C => self.one::<L, R, C>());
            } else {
                for begin in (0..self.which.len()).step_by(BLOCK) {
                    self.many::<L, R>(begin);
                }
            }
        }
    }
}

impl Judge<'_> {
    /// Pointers to `R` rows of the list; past the end the last one is repeated.
    #[inline(always)]
    fn pointers<const R: usize>(&self, first: usize) -> [*const f32; R] {
        let mut rows = [std::ptr::null(); R];
        for r in 0..R {
            rows[r] = self.rows.row(self.which[(first + r).min(self.which.len() - 1)] as usize).as_ptr();
        }
        rows
    }

    /// A group of one panel: rows are judged as soon as they have their scores.
    #[inline(always)]
    unsafe fn one<L: Lanes, const R: usize, const C: usize>(&mut self) {
        // SAFETY: the panel has `C` registers, rows are as wide as the codewords, and there is room for whole tiles.
        unsafe {
            let half = load::<L, C>(self.code.half_norms().as_ptr());
            for i in (0..self.which.len()).step_by(R) {
                if self.fetch {
                    // Rows in between are left out, so that no prefetcher of the processor finds the next ones.
                    for row in self.pointers::<R>(i + 2 * R) {
                        (0..self.rows.dim()).step_by(16).for_each(|line| L::prefetch(row.wrapping_add(line)));
                    }
                }
                let mut scores = [half; R];
                tile::<L, R, C, true>(self.pointers(i), self.code.panel::<L>(0), self.code.dim(), &mut scores);
                for r in 0..R {
                    let (mut best, mut second) = (scores[r][0], L::splat(f32::INFINITY));
                    for c in 1..C {
                        second = L::min(second, L::max(scores[r][c], best));
                        best = L::min(scores[r][c], best);
                    }
                    let least = L::least(best);
                    let (label, ties) = find::<L, C>(scores[r], least);
                    self.found.labels[i + r] = label;
                    self.found.least[i + r] = least;
                    self.found.second[i + r] = next::<L>(best, second, least, ties);
                }
            }
        }
    }

    /// A group of several panels: minima per lane of up to `BLOCK` rows, and the least lane in the end.
    #[inline(always)]
    unsafe fn many<L: Lanes, const R: usize>(&mut self, begin: usize) {
        let rows = (self.which.len() - begin).min(BLOCK);
        // SAFETY: panels are those of `code`; an index register is `W` integers.
        unsafe {
            let never = L::splat(f32::INFINITY);
            let mut minima = Minima::<L> { best: [never; BLOCK], second: [never; BLOCK], index: [L::iota(0); BLOCK] };
            each_panel!(0..self.code.registers(), self.code.registers(), L, first, C => {
                self.panel::<L, R, C>(first, begin, rows, &mut minima)
            });
            for place in 0..rows {
                let (best, second) = (minima.best[place], minima.second[place]);
                let least = L::least(best);
                let indices = std::ptr::from_ref(&minima.index[place]).cast::<u32>();
                let bits = L::equal(best, least);
                let (mut label, mut rest) = (if bits == 0 { 0 } else { u32::MAX }, bits);
                while rest != 0 {
                    label = label.min(*indices.add(rest.trailing_zeros() as usize));
                    rest &= rest - 1;
                }
                self.found.labels[begin + place] = label;
                self.found.least[begin + place] = least;
                self.found.second[begin + place] = next::<L>(best, second, least, bits.count_ones());
            }
        }
    }

    #[inline(always)]
    unsafe fn panel<L: Lanes, const R: usize, const C: usize>(
        &self,
        first: usize,
        begin: usize,
        rows: usize,
        minima: &mut Minima<L>,
    ) {
        // SAFETY: as in `many`; past the end the last row is repeated and its minima belong to no row.
        unsafe {
            let half = load::<L, C>(self.code.half_norms().as_ptr().add(first * L::W));
            let mut index = [L::iota(0); C];
            for c in 0..C {
                index[c] = L::iota(((first + c) * L::W) as i32);
            }
            for i in (0..rows).step_by(R) {
                let mut scores = [half; R];
                let panel = self.code.panel::<L>(first);
                tile::<L, R, C, true>(self.pointers(begin + i), panel, self.code.dim(), &mut scores);
                for r in 0..R {
                    let (mut best, mut second) = (minima.best[i + r], minima.second[i + r]);
                    let mut at = minima.index[i + r];
                    for c in 0..C {
                        second = L::min(second, L::max(scores[r][c], best));
                        L::keep_less(scores[r][c], index[c], &mut best, &mut at);
                    }
                    (minima.best[i + r], minima.second[i + r], minima.index[i + r]) = (best, second, at);
                }
            }
        }
    }
}

/// The second least score: where one lane alone has the least one, that lane shows its second and the others their
/// best. Where two registers of the same lane tie, `second` of that lane is the least itself.
#[inline(always)]
unsafe fn next<L: Lanes>(best: L::F, second: L::F, least: f32, ties: u32) -> f32 {
    // SAFETY: the caller runs where `L` is available.
    if ties == 1 { unsafe { L::least(L::instead(best, least, second)) } } else { least }
}
