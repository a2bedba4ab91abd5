//! Sums over floats in sixteen lanes, in one order on every machine: wider registers change the speed, not a bit.

use crate::simd::lanes::Lanes;
use crate::simd::{Isa, Job};

const LANES: usize = 16;

/// Inner product.
pub fn dot(isa: Isa, a: &[f32], b: &[f32]) -> f32 {
    isa.run(Dot(a, b))
}

/// `log sum e^x`; minus infinity for no values, NaN where one is NaN.
pub fn log_sum_exp(isa: Isa, x: &[f32]) -> f32 {
    isa.run(LogSumExp(x))
}

struct Dot<'a>(&'a [f32], &'a [f32]);

// No fused multiply-add in these jobs: it would round differently.
impl Job for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) -> f32 {
        dot_lanes(self.0, self.1)
    }
}

struct LogSumExp<'a>(&'a [f32]);

impl Job for LogSumExp<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) -> f32 {
        log_sum_exp_lanes(self.0)
    }
}

#[inline(always)]
fn reduce(lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut left = lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            left[lane] = join(left[lane], left[lane + half]);
        }
        half /= 2;
    }
    left[0]
}

#[inline(always)]
fn dot_lanes(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_strips, b_strips) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_strips.remainder().iter().zip(b_strips.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_strips.zip(b_strips) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    reduce(sums, |x, y| x + y) + rest
}

/// `e^x` for `x` at most 0, to about 2 units in the last place; 0 below -87, NaN for NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| at most half of ln 2, split in two parts so that r is exact; then a polynomial in r.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let y = if x < -87.0 { -87.0 } else { x }; // `max` would lose NaN
    let n = y * std::f32::consts::LOG2_E + ROUND;
    let bits = n.to_bits();
    let n = n - ROUND;
    let r = (y - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (0.166_666_66 + r * (0.041_666_64 + r * (0.008_333_33 + r * 0.001_4)))));
    let scale = f32::from_bits(bits.wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { p * scale }
}

#[inline(always)]
fn log_sum_exp_lanes(x: &[f32]) -> f32 {
    let strips = x.chunks_exact(LANES);
    let rest = strips.remainder();
    let mut most = [f32::NEG_INFINITY; LANES];
    for strip in strips.clone() {
        for lane in 0..LANES {
            most[lane] = if strip[lane] > most[lane] { strip[lane] } else { most[lane] };
        }
    }
    let top = rest.iter().fold(reduce(most, f32::max), |top, &value| top.max(value));
    if top == f32::NEG_INFINITY {
        // Nothing to add, or NaN alone, which a comparison passes over.
        return if x.iter().any(|value| value.is_nan()) { f32::NAN } else { top };
    }
    let mut sums = [0.0f32; LANES];
    for strip in strips {
        for lane in 0..LANES {
            sums[lane] += exp(strip[lane] - top);
        }
    }
    let sum = rest.iter().fold(reduce(sums, |a, b| a + b), |sum, &value| sum + exp(value - top));
    top + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919) % 1000) as f32 / 40.0 - 12.0).collect()
    }

    #[test]
    fn sums_equal_double_precision() {
        for n in [1, 2, 15, 16, 17, 100, 1000] {
            let x = values(n);
            let exact = x.iter().map(|&v| f64::from(v).exp()).sum::<f64>().ln();
            assert!((f64::from(log_sum_exp_lanes(&x)) - exact).abs() < 2e-6 * exact.abs().max(1.0), "{n}");
            let product: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            assert!((f64::from(dot_lanes(&x, &x)) - product).abs() < 1e-5 * product, "{n}");
        }
    }

    #[test]
    fn exponential_is_exact_to_a_few_bits() {
        for step in 0..8700 {
            let x = -(step as f32) / 100.0;
            let error = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
            assert!(error.abs() < 4e-7, "{x}: {error}");
        }
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn edges() {
        assert_eq!(log_sum_exp_lanes(&[]), f32::NEG_INFINITY);
        assert!(log_sum_exp_lanes(&[f32::NAN]).is_nan());
        assert!(log_sum_exp_lanes(&[1.0, f32::NAN]).is_nan());
        assert_eq!(log_sum_exp_lanes(&[3.0]), 3.0);
        assert!((log_sum_exp_lanes(&[-500.0, -500.0]) - (-500.0 + 2f32.ln())).abs() < 1e-4);
    }

    #[test]
    fn registers_do_not_change_a_bit() {
        let x = values(517);
        for isa in Isa::available() {
            assert_eq!(log_sum_exp(isa, &x).to_bits(), log_sum_exp_lanes(&x).to_bits());
            assert_eq!(dot(isa, &x, &x).to_bits(), dot_lanes(&x, &x).to_bits());
        }
    }
}
