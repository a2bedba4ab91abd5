//! Tiles of the bf16 matrix unit (AMX), and `f32` numbers in two bf16 parts each.
//!
//! A tile is 16 lines of 32 values. The unit multiplies a tile whose lines are rows of the left factor, 32 values of each,
//! by one that holds as many rows of the right factor in pairs: line `p` has values `2p` and `2p + 1` of each of 16
//! columns. With `x = h + l + r`, `|r| <= 2^-16 |x|`, three products, `h h' + h l' + l h'`, make up one of `f32` but for
//! `3 * 2^-16` of the lengths, and are summed in `f32`. Wherever tiles lie in a row, those of high and of low parts
//! alternate, a [`GROUP`] for each step of 32 values.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::matrix::Rows;

/// Lines of a tile, and columns of a product.
pub(crate) const TILE: usize = 16;
/// Values of a line.
pub(crate) const STEP: usize = 32;
/// Rows and columns of the square of four tiles that is multiplied at once.
pub(crate) const SQUARE: usize = 2 * TILE;
/// Lines of one step: a tile of high parts and one of low parts.
pub(crate) const GROUP: usize = 2 * TILE;

/// 32 bf16 values: a row of a tile.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [u16; STEP]);

impl Line {
    pub const ZERO: Self = Self([0; STEP]);
}

/// The product of a square.
#[repr(C, align(64))]
pub(crate) struct Scores(pub [f32; SQUARE * SQUARE]);

/// Gives all eight tiles of this thread their shape, 16 rows of 64 bytes, until [`release`].
///
/// # Safety
/// The matrix unit must be there.
pub(crate) unsafe fn configure() {
    #[repr(C, align(64))]
    struct Shape([u8; 64]);
    let mut shape = Shape([0; 64]);
    shape.0[0] = 1;
    for tile in 0..8 {
        shape.0[16 + 2 * tile] = 64;
        shape.0[48 + tile] = TILE as u8;
    }
    // SAFETY: 64 bytes of the form that the instruction reads.
    unsafe { asm!("ldtilecfg [{shape}]", shape = in(reg) &raw const shape.0, options(nostack, readonly)) };
}

/// Gives up what [`configure`] set.
///
/// # Safety
/// The matrix unit must be there.
pub(crate) unsafe fn release() {
    // SAFETY: changes the state of tiles alone.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Writes rows as the columns of a right factor: of each 16 rows and each of `steps` times 32 values, a group.
///
/// # Safety
/// AVX-512 with bf16 must be available, and `lines` hold the tiles.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) unsafe fn as_columns<const NEGATE: bool>(rows: Rows<'_>, steps: usize, lines: &mut [Line]) {
    let places = _mm512_setr_epi32(0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240);
    for k in 0..rows.len() {
        for step in 0..steps {
            let tile = ((k / TILE) * steps + step) * GROUP;
            let mut pair = [Line::ZERO; 2];
            // SAFETY: the parts of one row are 16 pairs each, which go to one column of the 16 rows of a tile.
            unsafe {
                let [high, low] = &mut pair;
                split::<NEGATE>(rows.row(k), step, high, low);
                for part in 0..2 {
                    let column = lines[tile + part * TILE..][..TILE].as_mut_ptr().cast::<i32>().add(k % TILE);
                    let values = _mm512_load_si512(std::ptr::from_ref(&pair[part]).cast());
                    _mm512_i32scatter_epi32::<4>(column, places, values);
                }
            }
        }
    }
}

/// Writes the high and low bf16 parts of 32 values of a row, zeros past its end, and returns the sums of their squares.
///
/// # Safety
/// AVX-512 with bf16 must be available.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) unsafe fn split<const NEGATE: bool>(row: &[f32], step: usize, high: &mut Line, low: &mut Line) -> __m512 {
    let mut squares = _mm512_setzero_ps();
    for half in 0..2 {
        let begin = step * STEP + half * 16;
        let left = row.len().saturating_sub(begin).min(16);
        // SAFETY: the mask keeps the load within the row; each store fills one half of a line.
        unsafe {
            let mask = ((1u32 << left) - 1) as u16;
            let mut value = _mm512_maskz_loadu_ps(mask, row.as_ptr().wrapping_add(begin));
            squares = _mm512_fmadd_ps(value, value, squares);
            if NEGATE {
                value = _mm512_sub_ps(_mm512_setzero_ps(), value);
            }
            let first: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(value));
            let rounded = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(first)));
            let second: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(_mm512_sub_ps(value, rounded)));
            _mm256_store_si256(high.0.as_mut_ptr().add(half * 16).cast(), first);
            _mm256_store_si256(low.0.as_mut_ptr().add(half * 16).cast(), second);
        }
    }
    squares
}

/// The bits of 16 finite values, of which the upper halves are rounded.
#[inline]
#[target_feature(enable = "avx512f")]
fn rounded(values: __m512) -> __m512i {
    _mm512_add_epi32(_mm512_castps_si512(values), _mm512_set1_epi32(0x8000))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn upper(bits: __m512i) -> __m512i {
    _mm512_and_si512(bits, _mm512_set1_epi32(0xffff_0000_u32 as i32))
}

/// What the high parts of 16 values leave.
#[inline]
#[target_feature(enable = "avx512f")]
fn rest(values: __m512) -> __m512 {
    _mm512_sub_ps(values, _mm512_castsi512_ps(upper(rounded(values))))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn line(bits: __m512i) -> Line {
    // SAFETY: 64 bytes either way.
    unsafe { std::mem::transmute(bits) }
}

/// The high and the low parts of two rows of 16 values, in pairs: a line of a right factor.
///
/// # Safety
/// AVX-512 must be available.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn pairs(even: __m512, odd: __m512) -> [Line; 2] {
    let join = |even, odd| line(_mm512_or_si512(_mm512_srli_epi32::<16>(rounded(even)), upper(rounded(odd))));
    [join(even, odd), join(rest(even), rest(odd))]
}

/// The high and the low parts of 32 values of a row: a line of a left factor.
///
/// # Safety
/// AVX-512 must be available.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn row(first: __m512, second: __m512) -> [Line; 2] {
    // The upper halves of both, in order.
    let places = _mm512_set_epi16(
        63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9,
        7, 5, 3, 1,
    );
    let join = |first, second| line(_mm512_permutex2var_epi16(rounded(first), places, rounded(second)));
    [join(first, second), join(rest(first), rest(second))]
}

/// Two by two tiles to multiply, each the first of `steps` groups in a row.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    /// Of the left factor: 16 rows, and the next 16.
    pub rows: [*const Line; 2],
    /// Of the right factor: 16 columns, and the next 16.
    pub columns: [*const Line; 2],
    pub steps: usize,
}

/// What the forms of [`Factors`] share: tiles 0 to 3 are begun by `$begin`, of `$own` operands, and stored in the end.
macro_rules! multiply {
    ($factors:expr, $out:expr, $apart:expr, [$($begin:literal),*] $(, $own:ident = $value:expr)*) => {
        asm!(
            $($begin,)*
            "2:",
            "tileloadd tmm4, [{a} + {line}*1]",
            "tileloadd tmm6, [{b} + {line}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{d} + {line}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{c} + {line}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{d} + {line}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm4, [{a} + {line}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{c} + {line}*1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 2048",
            "add {b}, 2048",
            "add {c}, 2048",
            "add {d}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {apart}*1], tmm0",
            "tilestored [{out} + {apart}*1 + 64], tmm1",
            "tilestored [{lower} + {apart}*1], tmm2",
            "tilestored [{lower} + {apart}*1 + 64], tmm3",
            a = inout(reg) $factors.rows[0] => _,
            c = inout(reg) $factors.rows[1] => _,
            b = inout(reg) $factors.columns[0] => _,
            d = inout(reg) $factors.columns[1] => _,
            steps = inout(reg) $factors.steps => _,
            line = in(reg) 64usize,
            apart = in(reg) 4 * $apart,
            out = in(reg) $out,
            lower = in(reg) $out.add(TILE * $apart),
            $($own = in(reg) $value,)*
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

impl Factors {
    /// Writes their product to 32 rows of 32 values, `apart` values from each other.
    ///
    /// # Safety
    /// Tiles must have their shape, all groups and `out` be there, and `steps` not be 0.
    #[inline]
    pub unsafe fn set(self, out: *mut f32, apart: usize) {
        // SAFETY: the caller's.
        unsafe { multiply!(self, out, apart, ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"]) };
    }

    /// Adds their product to 32 rows of 32 values, `apart` values from each other.
    ///
    /// # Safety
    /// As of [`Factors::set`].
    #[inline]
    pub unsafe fn add(self, out: *mut f32, apart: usize) {
        // SAFETY: the caller's.
        unsafe {
            multiply!(
                self,
                out,
                apart,
                [
                    "tileloadd tmm0, [{out} + {apart}*1]",
                    "tileloadd tmm1, [{out} + {apart}*1 + 64]",
                    "tileloadd tmm2, [{lower} + {apart}*1]",
                    "tileloadd tmm3, [{lower} + {apart}*1 + 64]"
                ]
            );
        }
    }

    /// Writes their product, to each row of which one line of 32 values is added, to 32 rows of 32 values.
    ///
    /// # Safety
    /// As of [`Factors::set`], and `line` 32 values.
    #[inline]
    pub unsafe fn set_beside(self, line: &[f32], out: &mut Scores) {
        let (out, beside) = (out.0.as_mut_ptr(), line.as_ptr());
        // SAFETY: the caller's; a stride of 0 reads the same line for all rows.
        unsafe {
            multiply!(
                self,
                out,
                SQUARE,
                [
                    "tileloadd tmm0, [{beside} + {none}*1]",
                    "tileloadd tmm1, [{beside} + {none}*1 + 64]",
                    "tileloadd tmm2, [{beside} + {none}*1]",
                    "tileloadd tmm3, [{beside} + {none}*1 + 64]"
                ],
                beside = beside,
                none = 0usize
            );
        }
    }
}
