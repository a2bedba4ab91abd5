//! One codebook of offsets for the children of all parents.
//!
//! Every parent `p` of a tree level brings its own children: offsets `o_pj` from the parent with `w_pj` rows. A token
//! must mean the same below every parent, so each parent's children are mapped one to one to shared offsets `s_k`
//! minimising `sum w_pj |o_pj - s_map_p(j)|^2`. Two steps alternate, neither of which can raise that sum: the best map
//! of each parent given the shared offsets (linear assignment), and the weighted mean of the children given the maps.

use rayon::prelude::*;

use super::kmeans::{self, KMeans, pad};
use super::lap;
use super::pack::Codewords;
use super::params::{Init, Metric, Settings};
use crate::error::Result;
use crate::matrix::Rows;
use crate::progress::Progress;
use crate::simd::Isa;

/// Alternations; the sum hardly moves after the second.
const ROUNDS: usize = 3;
/// Lloyd updates for the shared offsets that the alternation starts from.
const START_ITERATIONS: usize = 10;

/// Children of one parent.
#[derive(Debug, Clone)]
pub struct Family {
    /// Row-major offsets from the parent.
    pub offsets: Vec<f32>,
    /// Rows below each child.
    pub weights: Vec<u32>,
}

/// The children that a run found.
pub fn family(run: &KMeans, dim: usize) -> Family {
    let mut weights = vec![0; run.k(dim)];
    for &label in &run.labels {
        weights[label as usize] += 1;
    }
    Family { offsets: run.centroids.clone(), weights }
}

/// Shared offsets (`k x dim`), the map of each family, and how many shared offsets have a child.
pub fn share(
    families: &[Family],
    k: usize,
    dim: usize,
    seed: u64,
    isa: Isa,
    progress: &Progress,
) -> Result<(Vec<f32>, Vec<Vec<u32>>, usize)> {
    let all: Vec<f32> = families.iter().flat_map(|f| f.offsets.iter().copied()).collect();
    let settings = Settings {
        metric: Metric::Euclidean,
        init: Init::PlusPlus,
        max_iterations: START_ITERATIONS,
        sample: None,
        max_cluster_size: None,
        seed,
        isa,
    };
    let start = kmeans::fit(Rows::new(&all, dim), k, false, &settings, u64::MAX, &progress.quiet())?;
    let mut shared = pad(start.centroids, k, dim);
    let mut maps: Vec<Vec<u32>> = Vec::new();
    let mut used = 0;
    for _ in 0..ROUNDS {
        let packed = Codewords::plain(Rows::new(&shared, dim), isa);
        let found: Vec<Vec<u32>> = families.par_iter().map(|f| map(f, &packed, progress)).collect::<Result<_>>()?;
        if found == maps {
            break;
        }
        maps = found;
        used = update(families, &maps, &mut shared, dim);
    }
    Ok((shared, maps, used))
}

/// The cheapest map of one family. Half the squared distance less `|o|^2 / 2` will do as a cost: every child gets an
/// offset, so what depends on the child alone is paid in any case.
fn map(family: &Family, shared: &Codewords, progress: &Progress) -> Result<Vec<u32>> {
    let (rows, k) = (family.weights.len(), shared.len());
    let mut products = vec![0.0; rows * shared.padded()];
    shared.products(Rows::new(&family.offsets, shared.dim()), &mut products);
    let mut cost = Vec::with_capacity(rows * k);
    for (products, &weight) in products.chunks_exact(shared.padded()).zip(&family.weights) {
        cost.extend((0..k).map(|c| f64::from(weight) * shared.score(products, c)));
    }
    lap::assign(&cost, rows, k, shared.isa(), progress)
}

fn update(families: &[Family], maps: &[Vec<u32>], shared: &mut [f32], dim: usize) -> usize {
    let (mut sums, mut weights) = (vec![0.0f64; shared.len()], vec![0.0f64; shared.len() / dim]);
    for (family, map) in families.iter().zip(maps) {
        for ((offset, &weight), &k) in family.offsets.chunks_exact(dim).zip(&family.weights).zip(map) {
            weights[k as usize] += f64::from(weight);
            let sum = &mut sums[k as usize * dim..][..dim];
            sum.iter_mut().zip(offset).for_each(|(s, &v)| *s += f64::from(weight) * f64::from(v));
        }
    }
    for (j, value) in shared.iter_mut().enumerate() {
        if weights[j / dim] > 0.0 {
            *value = (sums[j] / weights[j / dim]) as f32;
        }
    }
    weights.iter().filter(|&&w| w > 0.0).count()
}
