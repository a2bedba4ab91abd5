//! Sixteen floats at a time, in the instruction set of the machine.
//!
//! All sets add in the same order; those with fused multiply-add round once less than the portable one.

/// Floats in a strip; rows are padded with zeros to a multiple of it.
pub const LANES: usize = 16;

/// Instruction set of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// One register a strip.
    Avx512,
    /// Two registers a strip.
    Avx2,
    /// Whatever the compiler's baseline has.
    Portable,
}

impl Isa {
    /// The best set of this machine; `METATOKEN_ISA` (`avx2`, `portable`) asks for a lesser one.
    pub fn detect() -> Self {
        Self::best_of(&std::env::var("METATOKEN_ISA").unwrap_or_default())
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn best_of(wanted: &str) -> Self {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && wanted != "portable";
        match avx2 {
            true if is_x86_feature_detected!("avx512f") && wanted != "avx2" => Self::Avx512,
            true => Self::Avx2,
            false => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn best_of(_wanted: &str) -> Self {
        Self::Portable
    }
}

/// A strip in registers.
///
/// # Safety
/// Every method may be called only where the processor has the set of the implementing type.
#[allow(clippy::missing_safety_doc)] // said once, above, for all methods
pub unsafe trait Strip: Copy {
    /// Reads a strip.
    unsafe fn load(from: &[f32; LANES]) -> Self;
    /// Writes a strip.
    unsafe fn store(self, to: &mut [f32; LANES]);
    /// The same value in all lanes.
    unsafe fn splat(value: f32) -> Self;
    /// `self * by + to`.
    unsafe fn madd(self, by: Self, to: Self) -> Self;
    /// Sum of the lanes: halves added to each other, 8, 4, 2, 1.
    unsafe fn sum(self) -> f32;
}

// SAFETY: plain Rust, any processor has it.
unsafe impl Strip for [f32; LANES] {
    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        *from
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        *to = self;
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn madd(self, by: Self, to: Self) -> Self {
        std::array::from_fn(|lane| self[lane] * by[lane] + to[lane])
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let eight: [f32; 8] = std::array::from_fn(|k| self[k] + self[k + 8]);
        let four: [f32; 4] = std::array::from_fn(|k| eight[k] + eight[k + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Strip};

    #[inline(always)]
    unsafe fn sum8(x: __m256) -> f32 {
        // SAFETY: the caller has AVX2.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)))
        }
    }

    // SAFETY: AVX2 and FMA, as the trait asks of its callers; reads and writes stay inside the borrowed strips.
    unsafe impl Strip for [__m256; 2] {
        #[inline(always)]
        unsafe fn load(from: &[f32; LANES]) -> Self {
            unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))] }
        }
        #[inline(always)]
        unsafe fn store(self, to: &mut [f32; LANES]) {
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), self[0]);
                _mm256_storeu_ps(to.as_mut_ptr().add(8), self[1]);
            }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { [_mm256_set1_ps(value); 2] }
        }
        #[inline(always)]
        unsafe fn madd(self, by: Self, to: Self) -> Self {
            unsafe { [_mm256_fmadd_ps(self[0], by[0], to[0]), _mm256_fmadd_ps(self[1], by[1], to[1])] }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { sum8(_mm256_add_ps(self[0], self[1])) }
        }
    }

    // SAFETY: AVX-512F, as the trait asks of its callers; reads and writes stay inside the borrowed strips.
    unsafe impl Strip for __m512 {
        #[inline(always)]
        unsafe fn load(from: &[f32; LANES]) -> Self {
            unsafe { _mm512_loadu_ps(from.as_ptr()) }
        }
        #[inline(always)]
        unsafe fn store(self, to: &mut [f32; LANES]) {
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn madd(self, by: Self, to: Self) -> Self {
            unsafe { _mm512_fmadd_ps(self, by, to) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(self), 1));
                sum8(_mm256_add_ps(_mm512_castps512_ps256(self), high))
            }
        }
    }
}
