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

/// Rows are padded with zeros to a multiple of this many values.
pub const LANES: usize = 16;
const MOST: usize = MAX_NEGATIVES + 1;

/// Instruction set of the step; the sums of different sets round differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// 16 values at a time.
    Avx512,
    /// 8 values at a time.
    Avx2,
    /// Whatever the compiler's baseline has.
    Portable,
}

impl Isa {
    /// The best set of this machine, or the one that `METATOKEN_ISA` names where the machine has it.
    pub fn detect() -> Self {
        let wanted = std::env::var("METATOKEN_ISA").unwrap_or_default();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if is_x86_feature_detected!("avx512f") && avx2 && !matches!(wanted.as_str(), "avx2" | "portable") {
                return Self::Avx512;
            }
            if avx2 && wanted != "portable" {
                return Self::Avx2;
            }
        }
        let _ = wanted;
        Self::Portable
    }
}

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

/// Takes one step for each (centre row, context row) in turn.
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
        _ => train_by_width::<false, T>(step, centres, contexts, pairs, rng),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn train_avx512<T: Table>(s: &Step, centres: &mut T, contexts: &mut T, pairs: &[(u32, u32)], rng: &mut Rng) {
    train_by_width::<true, T>(s, centres, contexts, pairs, rng);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn train_avx2<T: Table>(s: &Step, centres: &mut T, contexts: &mut T, pairs: &[(u32, u32)], rng: &mut Rng) {
    train_by_width::<true, T>(s, centres, contexts, pairs, rng);
}

/// Widths in common use get code of their own, in which the centre stays in registers.
#[inline(always)]
fn train_by_width<const FMA: bool, T: Table>(
    s: &Step,
    centres: &mut T,
    contexts: &mut T,
    pairs: &[(u32, u32)],
    rng: &mut Rng,
) {
    match s.width {
        16 => steps::<FMA, 16, T>(s, centres, contexts, pairs, rng),
        32 => steps::<FMA, 32, T>(s, centres, contexts, pairs, rng),
        64 => steps::<FMA, 64, T>(s, centres, contexts, pairs, rng),
        128 => steps::<FMA, 128, T>(s, centres, contexts, pairs, rng),
        _ => {
            // Wider or odd rows go in strips of LANES values through the same arithmetic.
            let mut pull = vec![0.0; s.width];
            for &(centre, context) in pairs {
                let (targets, count) = draw(s, context, rng);
                wide_step::<FMA, T>(s, centres.row(centre, s.width), contexts, &targets[..count], &mut pull);
            }
        }
    }
}

#[inline(always)]
fn steps<const FMA: bool, const W: usize, T: Table>(
    s: &Step,
    centres: &mut T,
    contexts: &mut T,
    pairs: &[(u32, u32)],
    rng: &mut Rng,
) {
    for &(centre, context) in pairs {
        let (targets, count) = draw(s, context, rng);
        let row: &mut [f32; W] = fixed(centres.row(centre, W));
        step::<FMA, W, T>(s.rate, row, contexts, &targets[..count]);
    }
}

/// The context, then its negatives.
#[inline(always)]
fn draw(s: &Step, context: u32, rng: &mut Rng) -> ([u32; MOST], usize) {
    let mut targets = [0u32; MOST];
    targets[0] = context;
    let mut count = 1;
    for _ in 0..s.negatives {
        let negative = s.alias.draw(rng);
        targets[count] = negative;
        count += usize::from(negative != context);
    }
    (targets, count)
}

#[inline(always)]
fn step<const FMA: bool, const W: usize, T: Table>(
    rate: f32,
    centre: &mut [f32; W],
    contexts: &mut T,
    targets: &[u32],
) {
    let c = *centre;
    let mut scores = [0f32; MOST];
    for (score, &target) in scores.iter_mut().zip(targets) {
        *score = dot::<FMA>(&c, contexts.row(target, W));
    }
    gradients(&mut scores, targets.len(), rate);
    let mut pull = c;
    for (&g, &target) in scores.iter().zip(targets) {
        let row: &mut [f32; W] = fixed(contexts.row(target, W));
        for d in 0..W {
            pull[d] = madd::<FMA>(g, row[d], pull[d]);
            row[d] = madd::<FMA>(g, c[d], row[d]);
        }
    }
    *centre = pull;
}

#[inline(always)]
fn wide_step<const FMA: bool, T: Table>(
    s: &Step,
    centre: &mut [f32],
    contexts: &mut T,
    targets: &[u32],
    pull: &mut [f32],
) {
    let mut scores = [0f32; MOST];
    for (score, &target) in scores.iter_mut().zip(targets) {
        *score = dot::<FMA>(centre, contexts.row(target, s.width));
    }
    gradients(&mut scores, targets.len(), s.rate);
    pull.copy_from_slice(centre);
    for (&g, &target) in scores.iter().zip(targets) {
        let row = contexts.row(target, s.width);
        for ((p, r), &c) in pull.iter_mut().zip(row).zip(&*centre) {
            *p = madd::<FMA>(g, *r, *p);
            *r = madd::<FMA>(g, c, *r);
        }
    }
    centre.copy_from_slice(pull);
}

/// Scores become `rate * (label - s(score))`; the first is the context's.
#[inline(always)]
fn gradients(scores: &mut [f32; MOST], count: usize, rate: f32) {
    for group in scores[..count.next_multiple_of(8)].chunks_exact_mut(8) {
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

#[inline(always)]
fn fixed<const W: usize>(row: &mut [f32]) -> &mut [f32; W] {
    row.try_into().expect("a row of the table's width")
}

#[inline(always)]
fn madd<const FMA: bool>(a: f32, b: f32, sum: f32) -> f32 {
    if FMA { a.mul_add(b, sum) } else { a * b + sum }
}

/// Sixteen partial sums, then a tree, so that the order of additions is fixed.
#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    for (x, y) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] = madd::<FMA>(x[lane], y[lane], sums[lane]);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
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
