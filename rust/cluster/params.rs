//! Settings of the clustering routines and the checks on them.

use crate::error::{Error, Result};
use crate::limits::check_room;
use crate::matrix::Rows;
use crate::simd::Isa;

/// Most levels.
const MOST_LEVELS: usize = 64;

/// How rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Squared Euclidean distance.
    Euclidean,
    /// Rows are scaled to length 1 and the first level compares by direction (spherical k-means); its centroids get the
    /// length of their rows' mean projection, and deeper levels are Euclidean on what they leave.
    Cosine,
}

/// Where k-means starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// Greedy k-means++.
    PlusPlus,
    /// Distinct rows at random.
    Random,
}

/// How levels are stacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// k-means on what the levels before left, one codebook for all parents.
    Residual,
    /// k-means in every node, the children of all parents matched to one codebook of offsets.
    Tree,
    /// One k-means level, then the rank by distance to the centroid.
    FlatRank,
}

/// Settings shared by every k-means run of a fit.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How rows are compared.
    pub metric: Metric,
    /// Where k-means starts.
    pub init: Init,
    /// Most Lloyd updates per run.
    pub max_iterations: usize,
    /// Rows that a run is trained on when there are more; one update and the labels still see every row.
    pub sample: Option<usize>,
    /// Most rows in a cluster of the first level.
    pub max_cluster_size: Option<usize>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Instruction set of the kernel.
    pub isa: Isa,
}

/// Refuses shapes that cannot be clustered.
pub(super) fn check(x: Rows<'_>, levels: &[usize], method: Method, settings: &Settings) -> Result<()> {
    let invalid = |argument, message: String| Err(Error::invalid(argument, message));
    if levels.is_empty() || levels.contains(&0) {
        return invalid("levels", format!("expected at least one level, each of at least 1 token, got {levels:?}"));
    }
    if let Some(k) = levels.iter().find(|&&k| k > 1 << 24) {
        return invalid("levels", format!("expected at most 16,777,216 tokens in a level, got {k}"));
    }
    if levels.len() > MOST_LEVELS {
        return invalid("levels", format!("expected at most {MOST_LEVELS} levels, got {}", levels.len()));
    }
    if method == Method::FlatRank && levels.len() != 2 {
        return invalid("levels", format!("expected two levels [K, R] for flat+rank, got {}", levels.len()));
    }
    if levels[0] > x.len() {
        return invalid(
            "levels",
            format!(
                "the first level has {} tokens but there are only {} rows; use a first level of at most {}",
                levels[0],
                x.len(),
                x.len()
            ),
        );
    }
    if let Some(cap) = settings.max_cluster_size {
        check_cap(x.len(), levels[0], cap, settings.sample)?;
    }
    check_memory(x, levels, method)
}

/// Asks for the memory that the levels take: codewords and their sums, codes, and in a tree the costs of matching the
/// children of a node with the tokens of their level.
fn check_memory(x: Rows<'_>, levels: &[usize], method: Method) -> Result<()> {
    check_room("levels", &[levels.iter().sum(), x.dim(), 16])?;
    check_room("levels", &[x.len(), levels.len(), 8])?;
    let matched = if method == Method::Tree { &levels[1..] } else { &[] };
    matched.iter().try_for_each(|&k| check_room("levels", &[k.min(x.len()), k, 16]))
}

fn check_cap(n: usize, k: usize, cap: usize, sample: Option<usize>) -> Result<()> {
    let least = n.div_ceil(k);
    let message = if cap < least {
        format!("{k} clusters of at most {cap} rows hold fewer than {n} rows; give at least {least}")
    } else if sample.is_some_and(|wanted| wanted < n) {
        "a cap needs every row in every round; fit without sample, or cap in encode".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::invalid("max_cluster_size", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fit;
    use crate::progress::Progress;

    fn settings(metric: Metric) -> Settings {
        let isa = Isa::choose(None).unwrap();
        let (init, max_iterations, sample) = (Init::PlusPlus, 5, None);
        Settings { metric, init, max_iterations, sample, max_cluster_size: None, seed: 0, isa }
    }

    fn fitted(scale: f32, levels: &[usize], method: Method, settings: &Settings) -> Result<Vec<u32>> {
        let mut rng = crate::rng::Rng::new(0, 0, 0);
        let data: Vec<f32> = (0..300 * 8).map(|_| (rng.uniform() as f32 - 0.5) * scale).collect();
        fit(Rows::new(&data, 8), levels, method, settings, &Progress::new()).map(|learned| learned.codes)
    }

    #[test]
    fn values_whose_squares_are_none_are_refused_by_every_method() {
        for method in [Method::Residual, Method::Tree, Method::FlatRank] {
            for sample in [None, Some(50)] {
                let settings = Settings { sample, ..settings(Metric::Euclidean) };
                for scale in [1e20, 3e38, 1e-17, 1e-38, 1e-44] {
                    let said = fitted(scale, &[8, 200], method, &settings).unwrap_err().to_string();
                    assert!(said.starts_with("x: expected the largest value"), "{said}");
                }
                assert!(fitted(1e15, &[8, 200], method, &settings).is_ok());
            }
        }
    }

    #[test]
    fn directions_have_no_length_to_refuse() {
        let codes = |scale| fitted(scale, &[8, 20], Method::Residual, &settings(Metric::Cosine)).unwrap();
        let plain = codes(1.0);
        assert!(codes(2f32.powi(90)) == plain && codes(2f32.powi(-90)) == plain);
    }

    #[test]
    fn levels_that_no_memory_holds_are_refused() {
        let settings = settings(Metric::Euclidean);
        let refused = |levels: &[usize], method| fitted(1.0, levels, method, &settings).unwrap_err().to_string();
        assert!(refused(&[8; 65], Method::Residual).contains("at most 64 levels"));
        assert!(refused(&[8, 1 << 25], Method::Residual).contains("16,777,216"));
        let many = [&[8][..], &[1 << 24; 63]].concat();
        assert!(refused(&many, Method::Residual).contains("needs more memory"));
    }
}
