//! The loss of a group of pairs, its gradient, and what a step adds.
//!
//! For a centre with vector `c`, a context with vector `v` and K negatives `n_k` drawn from the noise distribution,
//! Mikolov et al. (2013) take
//!
//! ```text
//! L(c, v) = -log s(c.v) - sum_k log s(-c.n_k)          s(x) = 1 / (1 + exp(-x))
//! ```
//!
//! **Shared negatives.** The pairs `(c, v_1) .. (c, v_m)` of one centre form a *group*. Each pair would draw K
//! negatives of its own; here all m pairs meet the same N = K min(m, 2) ones, each counted K / N times:
//!
//! ```text
//! L = - sum_j log s(c.v_j) - sum_k w_k log s(-c.n_k)          w_k = (K / N) |{j : v_j != n_k}|
//! ```
//!
//! (a negative that equals a pair's context is left out for that pair, as in word2vec). The draws are identically
//! distributed, so for any fixed vectors the expectation of the second sum is
//! `sum_j (K/N) N E_n[1(n != v_j) -log s(-c.n)] = sum_j K E_n[1(n != v_j) -log s(-c.n)]`, that of word2vec: the
//! expected loss and gradient are the same, only the noise of the m pairs is correlated. A pair alone (m = 1) is
//! word2vec's own. The work falls from m (1 + K) rows to m + N.
//!
//! **Gradient.** `d(-log s(x))/dx = -(1 - s(x))` and `d(-log s(-x))/dx = s(x)`. With `t` running over contexts
//! (label `y_t` = 1, `w_t` = 1) and negatives (`y_t` = 0), and `g_t = w_t (y_t - s(c.u_t))` for the row `u_t`,
//!
//! ```text
//! -dL/du_t = g_t c                -dL/dc = sum_t g_t u_t
//! ```
//!
//! and a step of rate `r` adds `r g_t c` to each `u_t` and `r sum_t g_t u_t` to `c`, all scores and `c` taken before
//! the step. A row that is drawn twice takes its two steps in turn.
//!
//! `s` is computed, not tabled: its error is below 2e-7 on the whole line (gensim tables it on [-6, 6] and skips the
//! step beyond).

use crate::skipgram::strip::LANES;

/// Scores become `weight * (0 - s(score))`, to which the caller adds the weight where the label is 1.
#[inline(always)]
pub(crate) fn gradients(scores: &[f32; LANES], weights: &[f32; LANES]) -> [f32; LANES] {
    let mut steps = [0.0; LANES];
    for k in 0..LANES {
        steps[k] = -weights[k] * sigmoid(scores[k]);
    }
    steps
}

/// `1 / (1 + exp(-x))` with `exp(-x) = 2^n 2^f`, n whole and |f| <= 1/2, `2^f` by its Taylor series to order 6.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let t = x.clamp(-80.0, 80.0) * -std::f32::consts::LOG2_E;
    let shifted = t + ROUND;
    let f = (t - (shifted - ROUND)) * std::f32::consts::LN_2;
    let series =
        1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    1.0 / (1.0 + power * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_is_exact_enough() {
        for k in -100_000..=100_000 {
            let x = k as f32 * 1e-3;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() < 2e-7, "{x}");
        }
    }
}
