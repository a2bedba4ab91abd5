//! The vector registers that the kernel is written over: one trait, three instruction sets.
//!
//! Everything is `inline(always)` so that it takes the target features of the function it is inlined into.

/// A register of `W` floats with the matching register of `W` integers.
///
/// # Safety
/// The methods of an implementation may be called only where its instruction set is available.
pub(super) trait Lanes {
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
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    /// `first, first + 1, ...`
    unsafe fn iota(first: i32) -> Self::I;
    unsafe fn store_index(to: *mut i32, value: Self::I);
    /// Where `score < best`, takes the score and its index; keeps the earlier one on a tie.
    unsafe fn keep_less(score: Self::F, index: Self::I, best: &mut Self::F, best_index: &mut Self::I);
    /// `a * b + c` of one value, rounded as in `fma`.
    fn fma_one(a: f32, b: f32, c: f32) -> f32;
}

/// Plain Rust, eight floats at a time; the compiler maps them to what the target has.
pub(super) struct Portable;

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
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::F) {
        unsafe { to.cast::<[f32; 8]>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, mut c: Self::F) -> Self::F {
        for i in 0..8 {
            c[i] += a[i] * b[i];
        }
        c
    }

    #[inline(always)]
    unsafe fn sub(mut a: Self::F, b: Self::F) -> Self::F {
        for i in 0..8 {
            a[i] -= b[i];
        }
        a
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
    unsafe fn store_index(to: *mut i32, value: Self::I) {
        unsafe { to.cast::<[i32; 8]>().write_unaligned(value) }
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
    fn fma_one(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    /// 256-bit registers with fused multiply-add.
    pub(in super::super) struct Avx2;

    impl Lanes for Avx2 {
        const W: usize = 8;
        const C: usize = 3;
        type F = __m256;
        type I = __m256i;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, value: __m256) {
            unsafe { _mm256_storeu_ps(to, value) }
        }

        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn iota(first: i32) -> __m256i {
            unsafe { _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
        }

        #[inline(always)]
        unsafe fn store_index(to: *mut i32, value: __m256i) {
            unsafe { _mm256_storeu_si256(to.cast(), value) }
        }

        #[inline(always)]
        unsafe fn keep_less(score: __m256, index: __m256i, best: &mut __m256, best_index: &mut __m256i) {
            unsafe {
                let less = _mm256_cmp_ps::<_CMP_LT_OQ>(score, *best);
                *best = _mm256_blendv_ps(*best, score, less);
                let (old, new) = (_mm256_castsi256_ps(*best_index), _mm256_castsi256_ps(index));
                *best_index = _mm256_castps_si256(_mm256_blendv_ps(old, new, less));
            }
        }

        #[inline(always)]
        fn fma_one(a: f32, b: f32, c: f32) -> f32 {
            a.mul_add(b, c)
        }
    }

    /// 512-bit registers.
    pub(in super::super) struct Avx512;

    impl Lanes for Avx512 {
        const W: usize = 16;
        const C: usize = 4;
        type F = __m512;
        type I = __m512i;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, value: __m512) {
            unsafe { _mm512_storeu_ps(to, value) }
        }

        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn iota(first: i32) -> __m512i {
            unsafe {
                let steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                _mm512_add_epi32(_mm512_set1_epi32(first), steps)
            }
        }

        #[inline(always)]
        unsafe fn store_index(to: *mut i32, value: __m512i) {
            unsafe { _mm512_storeu_si512(to.cast(), value) }
        }

        #[inline(always)]
        unsafe fn keep_less(score: __m512, index: __m512i, best: &mut __m512, best_index: &mut __m512i) {
            unsafe {
                let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(score, *best);
                *best = _mm512_mask_mov_ps(*best, less, score);
                *best_index = _mm512_mask_mov_epi32(*best_index, less, index);
            }
        }

        #[inline(always)]
        fn fma_one(a: f32, b: f32, c: f32) -> f32 {
            a.mul_add(b, c)
        }
    }
}
