//! Codewords laid out for the kernels: panels of `C * W` columns, value by value.

#[cfg(target_arch = "x86_64")]
use super::amx;
use crate::matrix::Rows;
#[cfg(target_arch = "aarch64")]
use crate::simd::lanes::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::lanes::{Avx2, Avx512};
use crate::simd::lanes::{Lanes, Portable};
use crate::simd::{Isa, Job};

/// One cache line, so that packed loads never straddle two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Codewords packed for one instruction set.
pub struct Codewords {
    isa: Isa,
    count: usize,
    dim: usize,
    /// Registers in all panels; the last panel may be narrower than the others.
    registers: usize,
    lines: Vec<Line>,
    /// `|c|^2 / 2`, infinite for the padding, which therefore never wins.
    half_norms: Vec<f32>,
    /// The same for the matrix unit, where it is to be used.
    #[cfg(target_arch = "x86_64")]
    tiles: Option<amx::Tiles>,
}

/// Floats per register and registers per full panel.
fn shape(isa: Isa) -> (usize, usize) {
    match isa {
        Isa::Portable => (Portable::W, Portable::C),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => (Avx2::W, Avx2::C),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => (Avx512::W, Avx512::C),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => (Neon::W, Neon::C),
        _ => unreachable!("only what `available` lists can be chosen"),
    }
}

/// Whether the matrix unit compares so many codewords.
fn on_matrix(isa: Isa, count: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa == Isa::Amx && count >= amx::FEWEST;
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (isa, count);
        false
    }
}

impl Codewords {
    /// Packs codewords that are compared by direction if `spherical` (their scores are `-x.c`), else by distance.
    pub fn pack_for(spherical: bool, codewords: Rows<'_>, isa: Isa) -> Self {
        if spherical { Self::pack_directions(codewords, isa) } else { Self::pack(codewords, isa) }
    }

    /// Packs codewords of length 1. Their norms are left out, so that a row of zeros is as near to all.
    pub fn pack_directions(codewords: Rows<'_>, isa: Isa) -> Self {
        let mut packed = Self::plain(codewords, isa);
        packed.half_norms[..codewords.len()].fill(0.0);
        packed.with_tiles(codewords, 1.001)
    }

    /// Packs codewords.
    pub fn pack(codewords: Rows<'_>, isa: Isa) -> Self {
        let packed = Self::plain(codewords, isa);
        let longest = packed.longest();
        packed.with_tiles(codewords, longest * 1.001)
    }

    /// Adds what the matrix unit needs, where it is to be used; no codeword is longer than `longest`.
    #[cfg(target_arch = "x86_64")]
    fn with_tiles(mut self, codewords: Rows<'_>, longest: f32) -> Self {
        if on_matrix(self.isa, self.count) {
            self.tiles = Some(amx::Tiles::pack(codewords, &self.half_norms, longest));
        }
        self
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn with_tiles(self, _: Rows<'_>, _: f32) -> Self {
        self
    }

    /// Packs vectors for what needs no nearest one.
    pub(super) fn plain(codewords: Rows<'_>, isa: Isa) -> Self {
        let (width, per_panel) = shape(isa);
        let (count, dim) = (codewords.len(), codewords.dim());
        let registers = count.div_ceil(width);
        let mut lines = vec![Line([0.0; 16]); (registers * width * dim).div_ceil(16)];
        // SAFETY: `Line` is 16 floats without padding.
        let flat = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), lines.len() * 16) };
        for first in (0..registers).step_by(per_panel) {
            let columns = (registers - first).min(per_panel) * width;
            let words = codewords.slice(first * width, (first * width + columns).min(count));
            let panel = &mut flat[first * width * dim..][..columns * dim];
            for (j, line) in panel.chunks_exact_mut(columns).enumerate() {
                for (place, word) in line.iter_mut().zip(words.data().chunks_exact(dim)) {
                    *place = word[j];
                }
            }
        }
        let mut packed = Self {
            isa,
            count,
            dim,
            registers,
            lines,
            half_norms: vec![f32::INFINITY; registers * width],
            #[cfg(target_arch = "x86_64")]
            tiles: None,
        };
        let mut norms = vec![0.0; registers * width];
        isa.run(SquareNorms { code: &packed, out: &mut norms });
        for (half, norm) in packed.half_norms[..count].iter_mut().zip(norms) {
            *half = 0.5 * norm;
        }
        packed
    }

    /// The codewords for the matrix unit, if it is to be used.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn tiles(&self) -> Option<&amx::Tiles> {
        self.tiles.as_ref()
    }

    /// Length of the longest codeword, unless they are directions.
    pub(super) fn longest(&self) -> f32 {
        (2.0 * self.half_norms[..self.count].iter().fold(0.0f32, |most, &h| most.max(h))).sqrt()
    }

    /// Number of codewords.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without codewords.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Values in a codeword.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The instruction set they are packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of codewords rounded up to whole registers.
    pub fn padded(&self) -> usize {
        self.half_norms.len()
    }

    /// Codewords of a full panel.
    pub(super) fn panel_columns(&self) -> usize {
        let (width, per_panel) = shape(self.isa);
        width * per_panel
    }

    /// `|c|^2 / 2` of codeword `k`.
    pub fn half_norm(&self, k: usize) -> f32 {
        self.half_norms[k]
    }

    /// Half the squared distance to codeword `k` of a row with these `products`, but for the row's own length, which is
    /// the same for every codeword.
    pub(super) fn score(&self, products: &[f32], k: usize) -> f64 {
        f64::from(self.half_norms[k]) - f64::from(products[k])
    }

    /// Registers in all panels.
    #[inline(always)]
    pub(super) fn registers(&self) -> usize {
        self.registers
    }

    /// `|c|^2 / 2` of all codewords and the padding.
    #[inline(always)]
    pub(super) fn half_norms(&self) -> &[f32] {
        &self.half_norms
    }

    /// The panel that begins with register `first`: its `C * W` columns for value 0, then for value 1, and so on.
    #[inline(always)]
    pub(super) fn panel<L: Lanes>(&self, first: usize) -> *const f32 {
        debug_assert!(first < self.registers && first.is_multiple_of(L::C));
        // SAFETY: the panel lies within `lines`, because `first` is one of its registers.
        unsafe { self.lines.as_ptr().cast::<f32>().add(first * L::W * self.dim) }
    }
}

/// `|c|^2` of every codeword, added in the order in which a tile adds products.
struct SquareNorms<'a> {
    code: &'a Codewords,
    out: &'a mut [f32],
}

impl Job for SquareNorms<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) {
        let code = self.code;
        for register in 0..code.registers {
            let first = register - register % L::C;
            let (columns, place) = ((code.registers - first).min(L::C), register % L::C);
            // SAFETY: the loads stay in the panel, the store in `out`, which has `registers * W` places.
            unsafe {
                let panel = code.panel::<L>(first);
                let mut sum = L::splat(0.0);
                for j in 0..code.dim {
                    let value = L::load(panel.add((j * columns + place) * L::W));
                    sum = L::fma(value, value, sum);
                }
                L::store(self.out[register * L::W..].as_mut_ptr(), sum);
            }
        }
    }
}
