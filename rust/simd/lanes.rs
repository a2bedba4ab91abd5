//! The vector registers that the kernels are written over: one trait, four instruction sets.
//!
//! Everything is `inline(always)` so that it takes the target features of the function it is inlined into.

#[cfg(target_arch = "aarch64")]
pub(crate) use super::lanes_arm::Neon;
#[cfg(target_arch = "x86_64")]
pub(crate) use super::lanes_x86::{Avx2, Avx512};

/// A register of `W` floats with the matching register of `W` integers.
///
/// # Safety
/// The methods of an implementation may be called only where its instruction set is available; pointers must be valid
/// for `W` values.
pub(crate) trait Lanes {
    /// Floats per register.
    const W: usize;
    /// Registers per full panel of codewords.
    const C: usize;
    type F: Copy;
    type I: Copy;
    unsafe fn splat(value: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    unsafe fn store(to: *mut f32, value: Self::F);
    /// `a * b + c`, fused where the instruction set has it.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `c - a * b`, fused where the instruction set has it.
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// The greater, and `b` where one of the two is NaN.
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// `first, first + 1, ...`
    unsafe fn iota(first: i32) -> Self::I;
    /// Where `score < best`, takes the score and its index; keeps the earlier one on a tie.
    unsafe fn keep_less(score: Self::F, index: Self::I, best: &mut Self::F, best_index: &mut Self::I);
    /// The least lane.
    unsafe fn least(value: Self::F) -> f32;
    /// A bit for each lane that equals `other`.
    unsafe fn equal(value: Self::F, other: f32) -> u32;
    /// `other` in the lanes where `value` equals `this`, `value` in the others.
    unsafe fn instead(value: Self::F, this: f32, other: Self::F) -> Self::F;
    /// `a * b + c` of one value, rounded as in `fma`.
    fn fma_one(a: f32, b: f32, c: f32) -> f32;

    /// The greatest whole number that is not above a value.
    unsafe fn floor(value: Self::F) -> Self::F;

    /// `value * 2^floor(power)`, for powers between -126 and 128; `floor` is that of `power`.
    unsafe fn scale(value: Self::F, power: Self::F, floor: Self::F) -> Self::F;

    /// `2^x` within 2e-7 of itself, for `x` up to 127; below -126 it is `2^-126`, next to nothing.
    ///
    /// `2^x = 2^n 2^f` with `n = floor(x)`, and `2^f` by the polynomial of degree 5 that errs least on `[0, 1]`, relative to
    /// its value: 7.5e-8.
    #[inline(always)]
    unsafe fn exp2(x: Self::F) -> Self::F {
        const TERMS: [f32; 5] = [0.008_989_34, 0.055_826_318, 0.240_153_61, 0.693_153_1, 0.999_999_94];
        // SAFETY: the contract of the methods.
        unsafe {
            // In this order the greater of the two is NaN where `x` is.
            let x = Self::max(Self::splat(-126.0), x);
            let floor = Self::floor(x);
            let rest = Self::sub(x, floor);
            let mut sum = Self::splat(0.001_877_576_7);
            for term in TERMS {
                sum = Self::fma(sum, rest, Self::splat(term));
            }
            Self::scale(sum, x, floor)
        }
    }

    /// Asks for the cache line at an address that will be read soon, and may lie outside of any allocation.
    #[inline(always)]
    unsafe fn prefetch(_from: *const f32) {}

    /// Sum of the lanes.
    #[inline(always)]
    unsafe fn sum(value: Self::F) -> f32 {
        let mut lanes = [0.0f32; 16];
        // SAFETY: no register is wider than 16 floats.
        unsafe { Self::store(lanes.as_mut_ptr(), value) };
        let mut half = 8;
        while half > 0 {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// Runs `$body` for each panel of up to `C` registers in a range that ends at, or before, `$registers` in all, with
/// `$first` as its first register and `$c` as how many it has, a constant.
macro_rules! each_panel {
    ($range:expr, $registers:expr, $lanes:ty, $first:ident, $c:ident => $body:expr) => {
        for $first in ($range).step_by(<$lanes>::C) {
            match ($registers - $first).min(<$lanes>::C) {
                1 => {
                    const $c: usize = 1;
                    $body
                }
                2 => {
                    const $c: usize = 2;
                    $body
                }
                3 => {
                    const $c: usize = 3;
                    $body
                }
                _ => {
                    const $c: usize = 4;
                    $body
                }
            }
        }
    };
}
pub(crate) use each_panel;

/// Plain Rust, eight floats at a time; the compiler maps them to what the target has.
pub(crate) struct Portable;

#[inline(always)]
fn each(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
    let mut out = a;
    for i in 0..8 {
        out[i] = f(a[i], b[i]);
    }
    out
}

impl Lanes for Portable {
    const W: usize = 8;
    const C: usize = 1;
    type F = [f32; 8];
    type I = [i32; 8];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::F {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        // SAFETY: the caller vouches for eight values.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::F) {
        // SAFETY: the caller vouches for eight values.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        each(each(a, b, |a, b| a * b), c, |product, c| product + c)
    }

    #[inline(always)]
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        each(each(a, b, |a, b| a * b), c, |product, c| c - product)
    }

    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn iota(first: i32) -> Self::I {
        let mut out = [first; 8];
        for i in 0..8 {
            out[i] += i as i32;
        }
        out
    }

    #[inline(always)]
    unsafe fn keep_less(score: Self::F, index: Self::I, best: &mut Self::F, best_index: &mut Self::I) {
        for i in 0..8 {
            let less = score[i] < best[i];
            best[i] = if less { score[i] } else { best[i] };
            best_index[i] = if less { index[i] } else { best_index[i] };
        }
    }

    #[inline(always)]
    unsafe fn least(value: Self::F) -> f32 {
        value.iter().fold(f32::INFINITY, |least, &v| if v < least { v } else { least })
    }

    #[inline(always)]
    unsafe fn equal(value: Self::F, other: f32) -> u32 {
        (0..8).fold(0, |bits, i| bits | u32::from(value[i] == other) << i)
    }

    #[inline(always)]
    unsafe fn instead(value: Self::F, this: f32, other: Self::F) -> Self::F {
        each(value, other, |value, other| if value == this { other } else { value })
    }

    #[inline(always)]
    fn fma_one(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }

    #[inline(always)]
    unsafe fn floor(value: Self::F) -> Self::F {
        value.map(f32::floor)
    }

    #[inline(always)]
    unsafe fn scale(value: Self::F, _power: Self::F, floor: Self::F) -> Self::F {
        each(value, floor, |value, power| value * f32::from_bits(((power as i32 + 127) as u32) << 23))
    }
}
