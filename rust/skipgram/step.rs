//! Steps on groups of pairs, row by row in registers.

use crate::rng::Rng;
use crate::simd::{Isa, prefetch};
use crate::skipgram::group::{MOST_ROWS, Noise, Pair, Targets, most_pairs, next_group};
use crate::skipgram::loss::gradients;
use crate::skipgram::shared::Table;
use crate::skipgram::strip::{LANES, Line, Strip};

/// Takes one step for each group of `pairs` in turn; `lines` is the padded length of a row. `isa` must be
/// one that [`Isa::available`] lists.
pub(crate) fn train<T: Table>(
    isa: Isa,
    noise: &Noise,
    lines: usize,
    centres: &mut T,
    contexts: &mut T,
    pairs: &[Pair],
    rng: &mut Rng,
) {
    let job = Job { noise, lines, centres, contexts };
    match isa {
        // SAFETY: the processor has the set, see above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => unsafe { train_avx512(job, pairs, rng) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { train_avx2(job, pairs, rng) },
        // SAFETY: the portable set is everywhere.
        _ => unsafe { job.run::<[f32; LANES]>(pairs, rng) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn train_avx512<T: Table>(job: Job<T>, pairs: &[Pair], rng: &mut Rng) {
    // SAFETY: this function has the set.
    unsafe { job.run::<std::arch::x86_64::__m512>(pairs, rng) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn train_avx2<T: Table>(job: Job<T>, pairs: &[Pair], rng: &mut Rng) {
    // SAFETY: as above.
    unsafe { job.run::<[std::arch::x86_64::__m256; 2]>(pairs, rng) }
}

struct Job<'a, T> {
    noise: &'a Noise<'a>,
    lines: usize,
    centres: &'a mut T,
    contexts: &'a mut T,
}

/// Partial sums of the scores, a line each.
struct Scratch([Line; MOST_ROWS]);

impl<T: Table> Job<'_, T> {
    /// Picks how many lines of a row are held in registers at once: a number that divides the row.
    #[inline(always)]
    unsafe fn run<S: Strip>(self, pairs: &[Pair], rng: &mut Rng) {
        // SAFETY: the caller vouches for the set of `S`.
        unsafe {
            match self.lines {
                lines if lines % 4 == 0 => self.steps::<S, 4>(pairs, rng),
                lines if lines % 2 == 0 => self.steps::<S, 2>(pairs, rng),
                _ => self.steps::<S, 1>(pairs, rng),
            }
        }
    }

    /// The rows of a group are fetched while the group before it is worked on.
    #[inline(always)]
    unsafe fn steps<S: Strip, const HELD: usize>(mut self, mut pairs: &[Pair], rng: &mut Rng) {
        let (mut now, mut next, mut scratch) =
            (Targets::default(), Targets::default(), Scratch([Line::ZERO; MOST_ROWS]));
        let most = most_pairs(self.noise);
        while let Some((group, rest)) = next_group(pairs, most) {
            next.draw(self.noise, group, rng);
            self.prefetch::<HELD>(&next);
            if now.count > 0 {
                // SAFETY: the caller vouches for the set of `S`.
                unsafe { self.step::<S, HELD>(&now, &mut scratch) };
            }
            std::mem::swap(&mut now, &mut next);
            pairs = rest;
        }
        if now.count > 0 {
            // SAFETY: as above.
            unsafe { self.step::<S, HELD>(&now, &mut scratch) };
        }
    }

    #[inline(always)]
    fn prefetch<const HELD: usize>(&self, targets: &Targets) {
        for first in (0..self.lines).step_by(HELD) {
            fetch::<HELD>(self.centres.start().wrapping_add(targets.centre as usize * self.lines + first));
            for &row in &targets.rows[..targets.count] {
                fetch::<HELD>(self.contexts.start().wrapping_add(row as usize * self.lines + first));
            }
        }
    }

    #[inline(always)]
    unsafe fn step<S: Strip, const HELD: usize>(&mut self, targets: &Targets, scratch: &mut Scratch) {
        // SAFETY: the caller vouches for the set of `S`; `Table::lines` has checked the rows.
        unsafe {
            self.score::<S, HELD>(targets, scratch);
            let mut steps = [0f32; MOST_ROWS];
            for first in (0..targets.count).step_by(LANES) {
                let Line(scores) = S::sums(scratch.0[first..].first_chunk().unwrap_unchecked());
                let weights = targets.weights[first..].first_chunk().unwrap_unchecked();
                steps[first..first + LANES].copy_from_slice(&gradients(&scores, weights));
            }
            for place in 0..targets.positives {
                steps[place] += targets.weights[place];
            }
            self.update::<S, HELD>(targets, &steps);
        }
    }

    /// Products of the centre with each target, added up to a line each.
    #[inline(always)]
    unsafe fn score<S: Strip, const HELD: usize>(&mut self, targets: &Targets, scratch: &mut Scratch) {
        for first in (0..self.lines).step_by(HELD) {
            let centre = self.centres.lines(targets.centre as usize * self.lines + first, HELD);
            // SAFETY: as in `step`.
            unsafe {
                let c = held::<S, HELD>(centre);
                for (&row, line) in targets.rows[..targets.count].iter().zip(&mut scratch.0) {
                    let target = self.contexts.lines(row as usize * self.lines + first, HELD);
                    let mut sum = if first == 0 { S::splat(0.0) } else { S::load(line) };
                    for k in 0..HELD {
                        sum = c[k].madd(S::load(target.add(k)), sum);
                    }
                    sum.store(line);
                }
            }
        }
    }

    /// Adds `step * centre` to each target, and the sum of `step * target` to the centre.
    #[inline(always)]
    unsafe fn update<S: Strip, const HELD: usize>(&mut self, targets: &Targets, steps: &[f32; MOST_ROWS]) {
        for first in (0..self.lines).step_by(HELD) {
            let centre = self.centres.lines(targets.centre as usize * self.lines + first, HELD);
            // SAFETY: as in `step`.
            unsafe {
                let c = held::<S, HELD>(centre);
                let mut pulled = c;
                for (&row, &step) in targets.rows[..targets.count].iter().zip(steps) {
                    let target = self.contexts.lines(row as usize * self.lines + first, HELD);
                    let step = S::splat(step);
                    for k in 0..HELD {
                        let v = S::load(target.add(k));
                        pulled[k] = step.madd(v, pulled[k]);
                        step.madd(c[k], v).store(target.add(k));
                    }
                }
                for k in 0..HELD {
                    pulled[k].store(centre.add(k));
                }
            }
        }
    }
}

/// Lines in registers. A loop and no closure: closures are functions of their own, which the compiler may leave outside
/// of the one that has the instruction set, and then every instruction is a call.
#[inline(always)]
unsafe fn held<S: Strip, const HELD: usize>(from: *const Line) -> [S; HELD] {
    // SAFETY: as in `Job::step`.
    unsafe {
        let mut lines = [S::splat(0.0); HELD];
        for k in 0..HELD {
            lines[k] = S::load(from.add(k));
        }
        lines
    }
}

/// Asks for lines before they are needed.
#[inline(always)]
fn fetch<const HELD: usize>(from: *const Line) {
    (0..HELD).for_each(|k| prefetch(from.wrapping_add(k)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipgram::negative::Alias;
    use crate::skipgram::shared::Owned;

    fn table(rows: usize, lines: usize, value: fn(f32) -> f32) -> Vec<Line> {
        (0..rows * lines).map(|at| Line(std::array::from_fn(|k| value((at * LANES + k) as f32)))).collect()
    }

    #[test]
    fn every_instruction_set_takes_the_same_steps() {
        let alias = Alias::new(&[1.0; 30]);
        let noise = Noise { negatives: 5, rate: 0.1, alias: &alias };
        for lines in [1, 2, 3, 4, 8] {
            let run = |isa| {
                let (mut centres, mut contexts) = (table(3, lines, f32::sin), table(30, lines, f32::cos));
                let pairs = [(0, 1), (0, 2), (2, 2), (1, 0), (0, 29)];
                let mut rng = Rng::new(1, 2, 3);
                train(isa, &noise, lines, &mut Owned(&mut centres), &mut Owned(&mut contexts), &pairs, &mut rng);
                [centres, contexts].concat()
            };
            let portable = run(Isa::Portable);
            for isa in Isa::available() {
                for (a, b) in run(isa).iter().zip(&portable) {
                    assert!(a.0.iter().zip(&b.0).all(|(a, b)| (a - b).abs() < 1e-4), "{isa:?} {lines}");
                }
            }
        }
    }
}
