//! The registers of x86-64: AVX2 with FMA, and AVX-512F.
//!
//! The contract of `Lanes` (the instruction set is available, pointers are valid for `W` values) is what the intrinsics
//! need.

use std::arch::x86_64::*;

use super::lanes::Lanes;

/// Methods that are one intrinsic each, of the same arguments.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident: $of:ty),*) -> $to:ty = $call:ident;)*) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $of),*) -> $to {
            // SAFETY: an intrinsic alone, under the contract of `Lanes`.
            unsafe { $call($($arg),*) }
        }
    )*};
}

/// 256-bit registers with fused multiply-add.
pub(crate) struct Avx2;

impl Lanes for Avx2 {
    const W: usize = 8;
    const C: usize = 2;
    type F = __m256;
    type I = __m256i;

    intrinsics! {
        splat(value: f32) -> __m256 = _mm256_set1_ps;
        load(from: *const f32) -> __m256 = _mm256_loadu_ps;
        store(to: *mut f32, value: __m256) -> () = _mm256_storeu_ps;
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps;
        fnma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fnmadd_ps;
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps;
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps;
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps;
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps;
    }

    #[inline(always)]
    unsafe fn iota(first: i32) -> __m256i {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    #[inline(always)]
    unsafe fn keep_less(score: __m256, index: __m256i, best: &mut __m256, best_index: &mut __m256i) {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe {
            let less = _mm256_cmp_ps::<_CMP_LT_OQ>(score, *best);
            *best = _mm256_min_ps(score, *best);
            let (old, new) = (_mm256_castsi256_ps(*best_index), _mm256_castsi256_ps(index));
            *best_index = _mm256_castps_si256(_mm256_blendv_ps(old, new, less));
        }
    }

    #[inline(always)]
    unsafe fn least(value: __m256) -> f32 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { least_of_eight(value) }
    }

    #[inline(always)]
    unsafe fn equal(value: __m256, other: f32) -> u32 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(value, _mm256_set1_ps(other))) as u32 }
    }

    #[inline(always)]
    unsafe fn instead(value: __m256, this: f32, other: __m256) -> __m256 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { _mm256_blendv_ps(value, other, _mm256_cmp_ps::<_CMP_EQ_OQ>(value, _mm256_set1_ps(this))) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn floor(value: __m256) -> __m256 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { _mm256_floor_ps(value) }
    }

    #[inline(always)]
    unsafe fn scale(value: __m256, _power: __m256, floor: __m256) -> __m256 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(floor), _mm256_set1_epi32(127));
            _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }

    #[inline(always)]
    fn fma_one(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

#[inline(always)]
unsafe fn least_of_eight(value: __m256) -> f32 {
    // SAFETY: intrinsics alone, under the contract of `Lanes`.
    unsafe {
        let four = _mm_min_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
        let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_min_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

/// 512-bit registers.
pub(crate) struct Avx512;

impl Lanes for Avx512 {
    const W: usize = 16;
    const C: usize = 4;
    type F = __m512;
    type I = __m512i;

    intrinsics! {
        splat(value: f32) -> __m512 = _mm512_set1_ps;
        load(from: *const f32) -> __m512 = _mm512_loadu_ps;
        store(to: *mut f32, value: __m512) -> () = _mm512_storeu_ps;
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps;
        fnma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fnmadd_ps;
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps;
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps;
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps;
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps;
    }

    #[inline(always)]
    unsafe fn iota(first: i32) -> __m512i {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe {
            let steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            _mm512_add_epi32(_mm512_set1_epi32(first), steps)
        }
    }

    #[inline(always)]
    unsafe fn keep_less(score: __m512, index: __m512i, best: &mut __m512, best_index: &mut __m512i) {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(score, *best);
            *best = _mm512_min_ps(score, *best);
            *best_index = _mm512_mask_mov_epi32(*best_index, less, index);
        }
    }

    #[inline(always)]
    unsafe fn least(value: __m512) -> f32 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(value)));
            least_of_eight(_mm256_min_ps(_mm512_castps512_ps256(value), upper))
        }
    }

    #[inline(always)]
    unsafe fn equal(value: __m512, other: f32) -> u32 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { u32::from(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(value, _mm512_set1_ps(other))) }
    }

    #[inline(always)]
    unsafe fn instead(value: __m512, this: f32, other: __m512) -> __m512 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { _mm512_mask_mov_ps(value, _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(value, _mm512_set1_ps(this)), other) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn floor(value: __m512) -> __m512 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(value) }
    }

    #[inline(always)]
    unsafe fn scale(value: __m512, power: __m512, _floor: __m512) -> __m512 {
        // SAFETY: intrinsics alone, under the contract of `Lanes`.
        unsafe { _mm512_scalef_ps(value, power) }
    }

    #[inline(always)]
    fn fma_one(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}
