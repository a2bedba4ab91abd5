//! Nearest codeword of each row, fused: distances stay in registers and the `rows x K` product is never stored.
//!
//! `|x - c|^2 = |x|^2 + 2 s` with the score `s = |c|^2 / 2 - x.c`, so the argmin needs `s` alone. Codewords are packed
//! into panels of `C * W` columns; a tile of `R` rows walks one panel with `R * C` accumulators in registers. A row's
//! score is the same sequence of operations wherever it lies in a tile, so labels do not depend on the split into
//! blocks; a repeated row is at distance exactly 0 from its copy, because norms are added in that same order.

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{Lanes, Portable};
use super::rows::Rows;
use crate::error::{Error, Result};

/// Name of the environment variable that forces an instruction set.
const VARIABLE: &str = "METATOKEN_KERNEL";
/// Rows whose running minima are kept at once; a multiple of the tile heights 4 and 6.
pub const BLOCK: usize = 96;

/// Instruction set of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Any machine.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F.
    Avx512,
}

impl Isa {
    /// All that this machine can run, slowest first.
    pub fn available() -> Vec<Isa> {
        let mut found = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Isa::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                found.push(Isa::Avx512);
            }
        }
        found
    }

    /// Name, as the environment variable takes it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// The one that was asked for, else the one of the environment, else the fastest.
    pub fn choose(asked: Option<&str>) -> Result<Isa> {
        let available = Isa::available();
        let from_environment = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
        match asked.or(from_environment.as_deref()) {
            None => Ok(available[available.len() - 1]),
            Some(name) => available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
                let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
                Error::invalid("kernel", format!("this machine can run {}, got {name:?}", names.join(", ")))
            }),
        }
    }

    fn panel(self) -> (usize, usize) {
        match self {
            Isa::Portable => (Portable::W, Portable::C),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => (Avx2::W, Avx2::C),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => (Avx512::W, Avx512::C),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("only what `available` lists can be chosen"),
        }
    }
}

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
}

impl Codewords {
    /// Packs `codewords`.
    pub fn pack(codewords: Rows<'_>, isa: Isa) -> Self {
        let (width, per_panel) = isa.panel();
        let (count, dim) = (codewords.len(), codewords.dim());
        let registers = count.div_ceil(width);
        let mut lines = vec![Line([0.0; 16]); (registers * width * dim).div_ceil(16)];
        // SAFETY: `Line` is 16 floats without padding.
        let flat = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), lines.len() * 16) };
        for k in 0..count {
            let panel = k / (width * per_panel);
            let columns = (registers - panel * per_panel).min(per_panel) * width;
            let base = panel * per_panel * width * dim + k % (width * per_panel);
            for (j, &value) in codewords.row(k).iter().enumerate() {
                flat[base + j * columns] = value;
            }
        }
        let mut half_norms = vec![f32::INFINITY; registers * width];
        for (half, norm) in half_norms.iter_mut().zip(square_norms(codewords, isa)) {
            *half = 0.5 * norm;
        }
        Self { isa, count, dim, registers, lines, half_norms }
    }

    /// Number of codewords.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without codewords.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Columns of `products`: the number of codewords rounded up to whole registers.
    pub fn padded(&self) -> usize {
        self.half_norms.len()
    }

    /// `|c|^2 / 2` of codeword `k`.
    pub fn half_norm(&self, k: usize) -> f32 {
        self.half_norms[k]
    }

    /// Writes the nearest codeword of each row (lowest index on a tie) and its score.
    pub fn nearest(&self, rows: Rows<'_>, labels: &mut [u32], scores: &mut [f32]) {
        assert!(rows.dim() == self.dim && labels.len() == rows.len() && scores.len() == rows.len() && self.count > 0);
        // SAFETY: `isa` comes from `Isa::available`, and the lengths were checked.
        unsafe {
            match self.isa {
                Isa::Portable => nearest::<Portable, 4>(self, rows, labels, scores),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => nearest_avx2(self, rows, labels, scores),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => nearest_avx512(self, rows, labels, scores),
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("only what `available` lists can be chosen"),
            }
        }
    }

    /// Writes `x.c` for each row and codeword, `rows x padded()`; meant for few codewords or few rows.
    pub fn products(&self, rows: Rows<'_>, out: &mut [f32]) {
        assert!(rows.dim() == self.dim && out.len() == rows.len() * self.padded());
        // SAFETY: as in `nearest`.
        unsafe {
            match self.isa {
                Isa::Portable => products::<Portable, 4>(self, rows, out),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => products_avx2(self, rows, out),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => products_avx512(self, rows, out),
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("only what `available` lists can be chosen"),
            }
        }
    }
}

/// `|x|^2` of each row, added in the order of the kernel.
pub fn square_norms(rows: Rows<'_>, isa: Isa) -> Vec<f32> {
    // SAFETY: `isa` comes from `Isa::available`.
    unsafe {
        match isa {
            Isa::Portable => norms::<Portable>(rows),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => norms_fused(rows),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("only what `available` lists can be chosen"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn nearest_avx2(code: &Codewords, rows: Rows<'_>, labels: &mut [u32], scores: &mut [f32]) {
    unsafe { nearest::<Avx2, 4>(code, rows, labels, scores) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn nearest_avx512(code: &Codewords, rows: Rows<'_>, labels: &mut [u32], scores: &mut [f32]) {
    unsafe { nearest::<Avx512, 6>(code, rows, labels, scores) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn products_avx2(code: &Codewords, rows: Rows<'_>, out: &mut [f32]) {
    unsafe { products::<Avx2, 4>(code, rows, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn products_avx512(code: &Codewords, rows: Rows<'_>, out: &mut [f32]) {
    unsafe { products::<Avx512, 6>(code, rows, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn norms_fused(rows: Rows<'_>) -> Vec<f32> {
    norms::<Avx2>(rows)
}

#[inline(always)]
fn norms<L: Lanes>(rows: Rows<'_>) -> Vec<f32> {
    (0..rows.len()).map(|i| rows.row(i).iter().fold(0.0, |sum, &v| L::fma_one(v, v, sum))).collect()
}

/// Products of `R` rows with the `C * W` codewords of one panel.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const C: usize>(
    rows: [*const f32; R],
    panel: *const f32,
    dim: usize,
) -> [[L::F; C]; R] {
    unsafe {
        let mut sums = [[L::splat(0.0); C]; R];
        for j in 0..dim {
            let mut column = [L::splat(0.0); C];
            for c in 0..C {
                column[c] = L::load(panel.add((j * C + c) * L::W));
            }
            for r in 0..R {
                let value = L::splat(*rows[r].add(j));
                for c in 0..C {
                    sums[r][c] = L::fma(value, column[c], sums[r][c]);
                }
            }
        }
        sums
    }
}

/// Pointers to `R` rows from `first`; past the end the last row is repeated and its results are dropped.
#[inline(always)]
fn pointers<const R: usize>(rows: Rows<'_>, first: usize) -> [*const f32; R] {
    let mut out = [std::ptr::null(); R];
    for r in 0..R {
        out[r] = rows.row((first + r).min(rows.len() - 1)).as_ptr();
    }
    out
}

/// Running minima of a block of rows, one per lane.
struct Minima<L: Lanes> {
    best: [L::F; BLOCK],
    index: [L::I; BLOCK],
}

#[inline(always)]
unsafe fn nearest<L: Lanes, const R: usize>(code: &Codewords, rows: Rows<'_>, labels: &mut [u32], scores: &mut [f32]) {
    unsafe {
        for begin in (0..rows.len()).step_by(BLOCK) {
            let block = rows.slice(begin, (begin + BLOCK).min(rows.len()));
            let mut minima = Minima::<L> { best: [L::splat(f32::INFINITY); BLOCK], index: [L::iota(0); BLOCK] };
            for first in (0..code.registers).step_by(L::C) {
                match (code.registers - first).min(L::C) {
                    1 => sweep::<L, R, 1>(code, first, block, &mut minima),
                    2 => sweep::<L, R, 2>(code, first, block, &mut minima),
                    3 => sweep::<L, R, 3>(code, first, block, &mut minima),
                    _ => sweep::<L, R, 4>(code, first, block, &mut minima),
                }
            }
            for i in 0..block.len() {
                let (label, score) = lowest::<L>(minima.best[i], minima.index[i]);
                labels[begin + i] = label;
                scores[begin + i] = score;
            }
        }
    }
}

/// One panel against a block of rows.
#[inline(always)]
unsafe fn sweep<L: Lanes, const R: usize, const C: usize>(
    code: &Codewords,
    first: usize,
    block: Rows<'_>,
    minima: &mut Minima<L>,
) {
    unsafe {
        let panel = code.lines.as_ptr().cast::<f32>().add(first * L::W * code.dim);
        let mut half = [L::splat(0.0); C];
        let mut index = [L::iota(0); C];
        for c in 0..C {
            half[c] = L::load(code.half_norms.as_ptr().add((first + c) * L::W));
            index[c] = L::iota(((first + c) * L::W) as i32);
        }
        for i in (0..block.len()).step_by(R) {
            let sums = tile::<L, R, C>(pointers(block, i), panel, code.dim);
            for r in 0..R {
                for c in 0..C {
                    let score = L::sub(half[c], sums[r][c]);
                    L::keep_less(score, index[c], &mut minima.best[i + r], &mut minima.index[i + r]);
                }
            }
        }
    }
}

/// The least lane, and the lowest index among equals.
#[inline(always)]
unsafe fn lowest<L: Lanes>(best: L::F, index: L::I) -> (u32, f32) {
    let (mut scores, mut indices) = ([f32::INFINITY; 16], [0i32; 16]);
    unsafe {
        L::store(scores.as_mut_ptr(), best);
        L::store_index(indices.as_mut_ptr(), index);
    }
    let (mut label, mut score) = (indices[0], scores[0]);
    for lane in 1..L::W {
        if scores[lane] < score || (scores[lane] == score && indices[lane] < label) {
            (label, score) = (indices[lane], scores[lane]);
        }
    }
    (label as u32, score)
}

#[inline(always)]
unsafe fn products<L: Lanes, const R: usize>(code: &Codewords, rows: Rows<'_>, out: &mut [f32]) {
    unsafe {
        for first in (0..code.registers).step_by(L::C) {
            match (code.registers - first).min(L::C) {
                1 => spread::<L, R, 1>(code, first, rows, out),
                2 => spread::<L, R, 2>(code, first, rows, out),
                3 => spread::<L, R, 3>(code, first, rows, out),
                _ => spread::<L, R, 4>(code, first, rows, out),
            }
        }
    }
}

/// Products of one panel, written out.
#[inline(always)]
unsafe fn spread<L: Lanes, const R: usize, const C: usize>(
    code: &Codewords,
    first: usize,
    rows: Rows<'_>,
    out: &mut [f32],
) {
    unsafe {
        let panel = code.lines.as_ptr().cast::<f32>().add(first * L::W * code.dim);
        for i in (0..rows.len()).step_by(R) {
            let sums = tile::<L, R, C>(pointers(rows, i), panel, code.dim);
            for r in 0..R.min(rows.len() - i) {
                for c in 0..C {
                    L::store(out.as_mut_ptr().add((i + r) * code.padded() + (first + c) * L::W), sums[r][c]);
                }
            }
        }
    }
}
