//! Sixteen floats at a time, in the instruction set of the machine.
//!
//! Sets differ in rounding only: the order of additions within a sum, and whether a product is rounded before it is
//! added.

/// Floats in a lane; rows are padded with zeros to a multiple of it.
pub const LANES: usize = 16;

/// A cache line of floats. Tables are made of them, so that no load and no row straddles two lines.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Line(pub [f32; LANES]);

impl Line {
    /// All zero.
    pub const ZERO: Self = Self([0.0; LANES]);
}

/// A line in registers.
///
/// # Safety
/// Every method may be called only where the processor has the set of the implementing type, and with pointers that
/// are good for the access.
#[allow(clippy::missing_safety_doc)] // said once, above, for all methods
pub unsafe trait Strip: Copy {
    /// Reads a line.
    unsafe fn load(from: *const Line) -> Self;
    /// Writes a line.
    unsafe fn store(self, to: *mut Line);
    /// The same value in all lanes.
    unsafe fn splat(value: f32) -> Self;
    /// `self * by + to`.
    unsafe fn madd(self, by: Self, to: Self) -> Self;
    /// The sum of each of sixteen lines.
    unsafe fn sums(lines: &[Line; LANES]) -> Line;
}

// SAFETY: plain Rust, any processor has it.
unsafe impl Strip for [f32; LANES] {
    #[inline(always)]
    unsafe fn load(from: *const Line) -> Self {
        // SAFETY: the caller vouches for the pointer.
        unsafe { (*from).0 }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut Line) {
        // SAFETY: as above.
        unsafe { to.write(Line(self)) }
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
    unsafe fn sums(lines: &[Line; LANES]) -> Line {
        Line(std::array::from_fn(|k| {
            let Line(x) = lines[k];
            let eight: [f32; 8] = std::array::from_fn(|k| x[k] + x[k + 8]);
            let four: [f32; 4] = std::array::from_fn(|k| eight[k] + eight[k + 4]);
            (four[0] + four[2]) + (four[1] + four[3])
        }))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Line, Strip};

    /// Sums of eight registers: neighbours are added until each 128-bit half holds four partial sums.
    #[inline(always)]
    unsafe fn sums8(x: [__m256; 8]) -> __m256 {
        // SAFETY: the caller has AVX2.
        unsafe {
            let low = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
            let high = _mm256_hadd_ps(_mm256_hadd_ps(x[4], x[5]), _mm256_hadd_ps(x[6], x[7]));
            _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
        }
    }

    // SAFETY: AVX2 and FMA, as the trait asks of its callers, who also vouch for the pointers.
    unsafe impl Strip for [__m256; 2] {
        #[inline(always)]
        unsafe fn load(from: *const Line) -> Self {
            // SAFETY: as for the impl.
            unsafe { [_mm256_load_ps(from.cast()), _mm256_load_ps(from.cast::<f32>().add(8))] }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut Line) {
            // SAFETY: as for the impl.
            unsafe {
                _mm256_store_ps(to.cast(), self[0]);
                _mm256_store_ps(to.cast::<f32>().add(8), self[1]);
            }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: as for the impl.
            unsafe { [_mm256_set1_ps(value); 2] }
        }
        #[inline(always)]
        unsafe fn madd(self, by: Self, to: Self) -> Self {
            // SAFETY: as for the impl.
            unsafe { [_mm256_fmadd_ps(self[0], by[0], to[0]), _mm256_fmadd_ps(self[1], by[1], to[1])] }
        }
        #[inline(always)]
        unsafe fn sums(lines: &[Line; LANES]) -> Line {
            // SAFETY: as for the impl.
            unsafe {
                let mut halves = [[_mm256_setzero_ps(); 8]; 2];
                for k in 0..LANES {
                    let [low, high] = Self::load(&lines[k]);
                    halves[k / 8][k % 8] = _mm256_add_ps(low, high);
                }
                let mut sums = Line::ZERO;
                [sums8(halves[0]), sums8(halves[1])].store(&mut sums);
                sums
            }
        }
    }

    #[inline(always)]
    unsafe fn load(lines: &[Line; LANES], k: usize) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_load_ps(lines[k].0.as_ptr()) }
    }

    /// The sums of pairs of lanes of two registers, interleaved.
    #[inline(always)]
    unsafe fn fold(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has AVX-512F.
        unsafe { _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)) }
    }

    #[inline(always)]
    unsafe fn fold_pairs(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
            _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)))
        }
    }

    #[inline(always)]
    unsafe fn fold_quarters(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b)) }
    }

    // SAFETY: AVX-512F, as the trait asks of its callers, who also vouch for the pointers.
    unsafe impl Strip for __m512 {
        #[inline(always)]
        unsafe fn load(from: *const Line) -> Self {
            // SAFETY: as for the impl.
            unsafe { _mm512_load_ps(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut Line) {
            // SAFETY: as for the impl.
            unsafe { _mm512_store_ps(to.cast(), self) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: as for the impl.
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn madd(self, by: Self, to: Self) -> Self {
            // SAFETY: as for the impl.
            unsafe { _mm512_fmadd_ps(self, by, to) }
        }
        /// Four rounds, each halving the registers and the summands of a sum; the sums come out in order.
        #[inline(always)]
        unsafe fn sums(lines: &[Line; LANES]) -> Line {
            // SAFETY: as for the impl.
            unsafe {
                let mut x = [_mm512_setzero_ps(); 4];
                for k in 0..4 {
                    let [a, b, c, d] = [4 * k, 4 * k + 1, 4 * k + 2, 4 * k + 3];
                    let (low, high) = (fold(load(lines, a), load(lines, b)), fold(load(lines, c), load(lines, d)));
                    x[k] = fold_pairs(low, high);
                }
                let mut sums = Line::ZERO;
                fold_quarters(fold_quarters(x[0], x[1]), fold_quarters(x[2], x[3])).store(&mut sums);
                sums
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums_are_in_order<S: Strip>() {
        let lines: [Line; LANES] = std::array::from_fn(|k| Line(std::array::from_fn(|j| (k * 100 + j * j) as f32)));
        // SAFETY: the test that calls this has looked for the set.
        let Line(sums) = unsafe { S::sums(&lines) };
        for k in 0..LANES {
            assert_eq!(sums[k], lines[k].0.iter().sum::<f32>());
        }
    }

    #[test]
    fn sums_of_every_set() {
        sums_are_in_order::<[f32; LANES]>();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{__m256, __m512};

            use crate::simd::Isa;
            if Isa::available().contains(&Isa::Avx2) {
                sums_are_in_order::<[__m256; 2]>();
            }
            if Isa::available().contains(&Isa::Avx512) {
                sums_are_in_order::<__m512>();
            }
        }
    }
}
