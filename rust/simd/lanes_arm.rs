//! The registers of ARM: NEON, which every 64-bit ARM processor has.
//!
//! The contract of `Lanes` (pointers are valid for `W` values) is what the intrinsics need.

use std::arch::aarch64::*;

use super::lanes::Lanes;

/// 128-bit registers with fused multiply-add.
pub(crate) struct Neon;

/// Methods that are one intrinsic each.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident: $of:ty),*) -> $to:ty = $call:ident($($given:ident),*);)*) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $of),*) -> $to {
            // SAFETY: an intrinsic alone, under the contract of `Lanes`.
            unsafe { $call($($given),*) }
        }
    )*};
}

impl Lanes for Neon {
    const W: usize = 4;
    const C: usize = 4;
    type F = float32x4_t;
    type I = int32x4_t;

    intrinsics! {
        splat(value: f32) -> float32x4_t = vdupq_n_f32(value);
        load(from: *const f32) -> float32x4_t = vld1q_f32(from);
        store(to: *mut f32, value: float32x4_t) -> () = vst1q_f32(to, value);
        fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        fnma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmsq_f32(c, a, b);
        add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        min(a: float32x4_t, b: float32x4_t) -> float32x4_t = vminq_f32(a, b);
        least(value: float32x4_t) -> f32 = vminvq_f32(value);
        floor(value: float32x4_t) -> float32x4_t = vrndmq_f32(value);
    }

    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // `vmaxq_f32` would be NaN where `a` is. SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }

    #[inline(always)]
    unsafe fn iota(first: i32) -> int32x4_t {
        // SAFETY: four integers are there.
        unsafe { vaddq_s32(vdupq_n_s32(first), vld1q_s32([0, 1, 2, 3].as_ptr())) }
    }

    #[inline(always)]
    unsafe fn keep_less(score: float32x4_t, index: int32x4_t, best: &mut float32x4_t, best_index: &mut int32x4_t) {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe {
            let less = vcltq_f32(score, *best);
            *best = vbslq_f32(less, score, *best);
            *best_index = vbslq_s32(less, index, *best_index);
        }
    }

    #[inline(always)]
    unsafe fn equal(value: float32x4_t, other: f32) -> u32 {
        // SAFETY: four integers are there.
        unsafe {
            let equal = vceqq_f32(value, vdupq_n_f32(other));
            vaddvq_u32(vandq_u32(equal, vld1q_u32([1, 2, 4, 8].as_ptr())))
        }
    }

    #[inline(always)]
    unsafe fn instead(value: float32x4_t, this: f32, other: float32x4_t) -> float32x4_t {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { vbslq_f32(vceqq_f32(value, vdupq_n_f32(this)), other, value) }
    }

    #[inline(always)]
    unsafe fn scale(value: float32x4_t, _power: float32x4_t, floor: float32x4_t) -> float32x4_t {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe {
            let exponent = vaddq_s32(vcvtq_s32_f32(floor), vdupq_n_s32(127));
            vmulq_f32(value, vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent)))
        }
    }

    #[inline(always)]
    fn fma_one(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}
