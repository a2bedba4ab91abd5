//! The loss of a pair, its gradient, and the step that follows it.
//!
//! For a centre with vector `c`, a context with vector `v_0` and negatives with vectors `v_1 .. v_K`
//!
//! ```text
//! L = -log s(c.v_0) - sum_{k>0} log s(-c.v_k)          s(x) = 1 / (1 + exp(-x))
//! ```
//!
//! With `s'(x) = s(x) s(-x)`, `d(-log s(x))/dx = -(1 - s(x))` and `d(-log s(-x))/dx = s(x)`; with labels `y_0 = 1`,
//! `y_k = 0` both read `s(x) - y`. So, writing `g_k = y_k - s(c.v_k)`,
//!
//! ```text
//! -dL/dv_k = g_k c                -dL/dc = sum_k g_k v_k
//! ```
//!
//! and a step of rate `r` adds `r g_k c` to each `v_k` and `r sum_k g_k v_k` to `c`, all scores and `c` taken before
//! the step. A negative that equals the context is left out; one that is drawn twice takes its two steps in turn.
//!
//! `s` is computed, not tabled: its error is below 2e-7 on the whole line (gensim tables it on [-6, 6] and skips the
//! step beyond).

use crate::rng::Rng;
use crate::skipgram::negative::Alias;
use crate::skipgram::params::MAX_NEGATIVES;
use crate::skipgram::shared::Table;
use crate::skipgram::simd::{Isa, LANES, Strip};

const MOST: usize = MAX_NEGATIVES + 1;
/// Scores whose sigmoids are computed together.
const GROUP: usize = 8;

/// What a run of steps needs besides the rows and the pairs.
pub struct Step<'a> {
    /// Padded length of a row.
    pub width: usize,
    /// Negatives drawn per pair.
    pub negatives: usize,
    /// Learning rate.
    pub rate: f32,
    /// Rows that negatives are drawn from.
    pub alias: &'a Alias,
}

/// Takes one step for each (centre row, context row) in turn. `isa` must come from [`Isa::detect`].
pub(crate) fn train<T: Table>(
    isa: Isa,
    step: &Step,
    centres: &mut T,
    contexts: &mut T,
    pairs: &[(u32, u32)],
    rng: &mut Rng,
) {
    match isa {
        // SAFETY: `Isa::detect` returns a set only where the processor has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { train_avx512(step, centres, contexts, pairs, rng) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { train_avx2(step, centres, contexts, pairs, rng) },
        // SAFETY: the portable set is everywhere.
        _ => unsafe { steps::<[f32; LANES], T>(step, step.width, centres, contexts, pairs, rng) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn train_avx512<T: Table>(s: &Step, centres: &mut T, contexts: &mut T, pairs: &[(u32, u32)], rng: &mut Rng) {
    use std::arch::x86_64::__m512;
    // SAFETY: this function has the set. The usual width is a constant, so that its loops are unrolled.
    match s.width {
        64 => unsafe { steps::<__m512, T>(s, 64, centres, contexts, pairs, rng) },
        width => unsafe { steps::<__m512, T>(s, width, centres, contexts, pairs, rng) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn train_avx2<T: Table>(s: &Step, centres: &mut T, contexts: &mut T, pairs: &[(u32, u32)], rng: &mut Rng) {
    use std::arch::x86_64::__m256;
    // SAFETY: as above.
    match s.width {
        64 => unsafe { steps::<[__m256; 2], T>(s, 64, centres, contexts, pairs, rng) },
        width => unsafe { steps::<[__m256; 2], T>(s, width, centres, contexts, pairs, rng) },
    }
}

/// Places in the table of a pair's context and negatives.
struct Targets {
    at: [usize; MOST],
    count: usize,
}

impl Targets {
    #[inline(always)]
    fn draw(s: &Step, width: usize, context: u32, rng: &mut Rng) -> Self {
        let mut at = [0; MOST];
        at[0] = context as usize * width;
        let mut count = 1;
        for _ in 0..s.negatives {
            let negative = s.alias.draw(rng);
            at[count] = negative as usize * width;
            count += usize::from(negative != context);
        }
        Self { at, count }
    }

    /// Asks for the rows before they are needed.
    #[inline(always)]
    fn prefetch<T: Table>(&self, table: &T, width: usize) {
        for &at in &self.at[..self.count] {
            for strip in (0..width).step_by(LANES) {
                fetch(table.start().wrapping_add(at + strip));
            }
        }
    }
}

#[inline(always)]
fn fetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it reads nothing and any address may be given.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The steps of `pairs`; the rows of a pair are fetched while the pair before it is worked on.
#[inline(always)]
unsafe fn steps<S: Strip, T: Table>(
    s: &Step,
    width: usize,
    centres: &mut T,
    contexts: &mut T,
    pairs: &[(u32, u32)],
    rng: &mut Rng,
) {
    let Some(&(_, first)) = pairs.first() else { return };
    let mut targets = Targets::draw(s, width, first, rng);
    for (place, &(centre, _)) in pairs.iter().enumerate() {
        let next = pairs.get(place + 1).map(|&(centre, context)| {
            let next = Targets::draw(s, width, context, rng);
            fetch(centres.start().wrapping_add(centre as usize * width));
            next.prefetch(contexts, width);
            next
        });
        // SAFETY: the caller vouches for the set of `S`.
        unsafe { step::<S, T>(s.rate, width, centre as usize * width, centres, contexts, &targets) };
        if let Some(next) = next {
            targets = next;
        }
    }
}

#[inline(always)]
unsafe fn step<S: Strip, T: Table>(
    rate: f32,
    width: usize,
    centre: usize,
    centres: &mut T,
    contexts: &mut T,
    targets: &Targets,
) {
    let targets = &targets.at[..targets.count];
    let mut scores = [0f32; MOST];
    // SAFETY: the caller vouches for the set of `S`.
    unsafe {
        for (score, &target) in scores.iter_mut().zip(targets) {
            let mut sum = S::splat(0.0);
            for strip in 0..width / LANES {
                let c = S::load(centres.strip(centre + strip * LANES));
                sum = c.madd(S::load(contexts.strip(target + strip * LANES)), sum);
            }
            *score = sum.sum();
        }
        gradients(&mut scores, targets.len(), rate);
        for strip in (0..width / LANES).map(|strip| strip * LANES) {
            let c = S::load(centres.strip(centre + strip));
            let mut pulled = c;
            for (&g, &target) in scores.iter().zip(targets) {
                let (g, v) = (S::splat(g), S::load(contexts.strip(target + strip)));
                pulled = g.madd(v, pulled);
                g.madd(c, v).store(contexts.strip(target + strip));
            }
            pulled.store(centres.strip(centre + strip));
        }
    }
}

/// Scores become `rate * (label - s(score))`; the first is the context's.
#[inline(always)]
fn gradients(scores: &mut [f32; MOST], count: usize, rate: f32) {
    for group in scores[..count.next_multiple_of(GROUP)].chunks_exact_mut(GROUP) {
        for x in group {
            *x = -rate * sigmoid(*x);
        }
    }
    scores[0] += rate;
}

/// `1 / (1 + exp(-x))` with `exp(-x) = 2^n 2^f`, n whole and |f| <= 1/2, `2^f` by its Taylor series to order 6.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let t = x.clamp(-80.0, 80.0) * -std::f32::consts::LOG2_E;
    let shifted = t + ROUND;
    let f = (t - (shifted - ROUND)) * std::f32::consts::LN_2;
    let series = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f / 720.0)))));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    1.0 / (1.0 + power * series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipgram::shared::Owned;

    #[test]
    fn sigmoid_is_exact_enough() {
        for k in -100_000..=100_000 {
            let x = k as f32 * 1e-3;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() < 2e-7, "{x}");
        }
    }

    #[test]
    fn every_instruction_set_takes_the_same_steps() {
        let alias = Alias::new(&[1.0, 2.0, 3.0]);
        for width in [16, 48, 64] {
            let step = Step { width, negatives: 5, rate: 0.1, alias: &alias };
            let run = |isa| {
                let mut centres: Vec<f32> = (0..3 * width).map(|k| (k as f32).sin()).collect();
                let mut contexts: Vec<f32> = (0..3 * width).map(|k| (k as f32).cos()).collect();
                let pairs = [(0, 1), (2, 2), (1, 0), (0, 0)];
                let mut rng = Rng::new(1, 2, 3);
                train(isa, &step, &mut Owned(&mut centres), &mut Owned(&mut contexts), &pairs, &mut rng);
                [centres, contexts].concat()
            };
            let (best, portable) = (run(Isa::detect()), run(Isa::Portable));
            assert!(best.iter().zip(&portable).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
