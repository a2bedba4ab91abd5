//! Codes of rows under a learned codebook, greedily level by level.

use rayon::prelude::*;

use crate::cluster::kernel::{Codewords, Isa};
use crate::cluster::params::Metric;
use crate::cluster::rows::{self, Rows, block_rows, fixed_sum, squared_distance, subtract};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// A learned codebook: level 0 holds positions, deeper levels offsets, so a row is decoded by adding its codewords.
#[derive(Debug, Clone)]
pub struct Codebook<'a> {
    /// Codewords of each level.
    pub levels: Vec<Rows<'a>>,
    /// How rows are compared.
    pub metric: Metric,
    /// Instruction set of the kernel.
    pub isa: Isa,
}

/// Rows prepared for a codebook: moved (or scaled) as its level 0 expects, and that level moved along.
pub struct Prepared {
    /// The rows.
    pub data: Vec<f32>,
    /// Codewords of each level, the first one moved to the rows' origin.
    pub codewords: Vec<Vec<f32>>,
    /// What the nearest codeword is searched among: under cosine the directions of level 0, else `codewords`.
    pub search: Vec<Vec<f32>>,
    /// Values in a row.
    pub dim: usize,
}

impl Prepared {
    /// The rows.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&self.data, self.dim)
    }

    /// `sum |x - decoded|^2 / sum |x - mean|^2`; 0 when the rows do not vary and are met exactly.
    pub fn error(&self, codes: &[u32]) -> f64 {
        let (rows, depth) = (self.rows(), self.codewords.len());
        let mean: Vec<f32> = rows::mean(rows).iter().map(|&m| m as f32).collect();
        let spread = fixed_sum(rows.len(), |i| squared_distance(rows.row(i), &mean));
        let lost = fixed_sum(rows.len(), |i| {
            let mut left = rows.row(i).to_vec();
            for (words, &code) in self.codewords.iter().zip(&codes[i * depth..]) {
                let word = &words[code as usize * self.dim..][..self.dim];
                left.iter_mut().zip(word).for_each(|(v, c)| *v -= c);
            }
            left.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
        });
        if lost == 0.0 { 0.0 } else { lost / spread }
    }
}

/// Checks the rows against the codebook and prepares both: under the Euclidean metric they move to the mean of the
/// first level's centroids, so that distances do not cancel far from zero.
pub fn prepare(x: Rows<'_>, book: &Codebook<'_>) -> Result<Prepared> {
    let dim = book.levels[0].dim();
    if x.dim() != dim {
        return Err(Error::invalid(
            "x",
            format!("expected rows of {dim} values as the codebook was fitted on, got {}", x.dim()),
        ));
    }
    rows::check_finite(x)?;
    let origin = match book.metric {
        Metric::Euclidean => rows::mean(book.levels[0]),
        Metric::Cosine => vec![0.0; dim],
    };
    let mut codewords: Vec<Vec<f32>> = book.levels.iter().map(|level| level.data().to_vec()).collect();
    for centroid in codewords[0].chunks_exact_mut(dim) {
        centroid.iter_mut().zip(&origin).for_each(|(v, o)| *v = (f64::from(*v) - o) as f32);
    }
    let mut search = codewords.clone();
    if book.metric == Metric::Cosine {
        rows::normalise(&mut search[0], dim);
    }
    Ok(Prepared { data: rows::centred(x, book.metric, &origin), codewords, search, dim })
}

/// Nearest codeword of every row.
pub fn nearest(rows: Rows<'_>, codewords: &[f32], isa: Isa, progress: &Progress) -> Result<Vec<u32>> {
    let packed = Codewords::pack(Rows::new(codewords, rows.dim()), isa);
    let block = block_rows(rows.len());
    let mut labels = vec![0; rows.len()];
    labels.par_chunks_mut(block).enumerate().try_for_each(|(b, part)| {
        let mut scores = vec![0.0; part.len()];
        packed.nearest(rows.slice(b * block, b * block + part.len()), part, &mut scores);
        progress.advance(part.len() as u64)
    })?;
    Ok(labels)
}

/// `n x levels` codes: at each level the codeword nearest to what the levels before left.
pub fn greedy(prepared: &Prepared, isa: Isa, progress: &Progress) -> Result<Vec<u32>> {
    let depth = prepared.codewords.len();
    let mut left = prepared.data.clone();
    let mut codes = vec![0; prepared.rows().len() * depth];
    for (level, (codewords, search)) in prepared.codewords.iter().zip(&prepared.search).enumerate() {
        let labels = nearest(Rows::new(&left, prepared.dim), search, isa, progress)?;
        subtract(&mut left, prepared.dim, &labels, codewords);
        codes.chunks_exact_mut(depth).zip(labels).for_each(|(row, label)| row[level] = label);
    }
    Ok(codes)
}
