//! Parameters of the skip-gram, checked once before any work.

use crate::error::{Error, Result};
use crate::limits::{at_least, within};

/// Most negatives that a pair may have.
pub const MAX_NEGATIVES: usize = 31;
/// Most blocks: an episode has a buffer for each pair of them.
const MOST_BLOCKS: i64 = 64;
/// Most pairs of one walk, 8 bytes each, and most walks from a node, which are numbered in 32 bits.
const PAIRS: u64 = 1 << 28;
const PASSES: u64 = 1 << 32;

/// What the caller asks for, unchecked.
#[derive(Debug, Clone)]
pub struct Params {
    /// Length of a vector.
    pub dim: i64,
    /// Largest distance in a walk between the two nodes of a pair; each position draws its own from `1..=window`.
    pub window: i64,
    /// Negatives per pair.
    pub negatives: i64,
    /// Walks from each start node per epoch.
    pub walks_per_node: i64,
    /// Nodes in a walk.
    pub walk_length: i64,
    /// Passes; each draws fresh walks.
    pub epochs: i64,
    /// Seed of every stream.
    pub seed: i64,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Learning rate at the end of its linear decay.
    pub min_learning_rate: f64,
    /// Whether each position draws its reach from `1..=window` (else it is always `window`).
    pub dynamic_window: bool,
    /// Share of all visits above which a node is left out of walks by chance; 0: never.
    pub subsample: f64,
    /// Let threads write to shared rows without order.
    pub hogwild: bool,
    /// Blocks that the nodes are split into (`None`: from their number). Never from the number of threads.
    pub blocks: Option<i64>,
}

/// Parameters that can be worked with.
#[derive(Debug, Clone)]
pub struct Checked {
    pub(crate) dim: usize,
    pub(crate) window: usize,
    pub(crate) negatives: usize,
    pub(crate) walks_per_node: usize,
    pub(crate) walk_length: usize,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
    pub(crate) learning_rate: f64,
    pub(crate) min_learning_rate: f64,
    pub(crate) dynamic_window: bool,
    pub(crate) subsample: f64,
    pub(crate) hogwild: bool,
    pub(crate) blocks: Option<usize>,
}

impl Params {
    /// Nodes of a walk and of its window.
    fn pairs(&self) -> Result<(usize, usize)> {
        let (length, window) = (at_least("walk_length", self.walk_length, 2)?, at_least("window", self.window, 1)?);
        let pairs = length * (2 * window).min(length - 1);
        if pairs > PAIRS {
            let message = format!("{pairs} pairs of one walk of {length} nodes are too many, {PAIRS} are the most");
            return Err(Error::invalid("window", message));
        }
        Ok((length as usize, window as usize))
    }

    /// Walks from a node in each epoch, and epochs.
    fn passes(&self) -> Result<(usize, usize)> {
        let (walks, epochs) =
            (at_least("walks_per_node", self.walks_per_node, 1)?, at_least("epochs", self.epochs, 1)?);
        if walks * epochs > PASSES {
            let message = format!("{walks} walks per node in each of {epochs} epochs are more than 2^32");
            return Err(Error::invalid("epochs", message));
        }
        Ok((walks as usize, epochs as usize))
    }

    /// Checks every rule; the first that is broken is the error.
    pub fn check(&self) -> Result<Checked> {
        let count = |argument, value, least| at_least(argument, value, least).map(|v| v as usize);
        let negatives = count("negatives", self.negatives, 1)?;
        if negatives > MAX_NEGATIVES {
            return Err(Error::invalid("negatives", format!("expected at most {MAX_NEGATIVES}, got {negatives}")));
        }
        let rate = self.learning_rate;
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(Error::invalid("learning_rate", format!("expected a number in (0, 1], got {rate}")));
        }
        let least = self.min_learning_rate;
        if !(least >= 0.0 && least <= rate) {
            let message = format!("expected a number in [0, learning_rate], got {least}");
            return Err(Error::invalid("min_learning_rate", message));
        }
        let subsample = self.subsample;
        if !(0.0..1.0).contains(&subsample) {
            return Err(Error::invalid("subsample", format!("expected a number in [0, 1), got {subsample}")));
        }
        let ((length, window), (walks, epochs)) = (self.pairs()?, self.passes()?);
        let blocks = self.blocks.map(|blocks| within("blocks", blocks.into(), 1, MOST_BLOCKS)).transpose()?;
        Ok(Checked {
            dim: count("dim", self.dim, 1)?,
            window,
            negatives,
            walks_per_node: walks,
            walk_length: length,
            epochs,
            seed: at_least("seed", self.seed, 0)?,
            learning_rate: rate,
            min_learning_rate: least,
            dynamic_window: self.dynamic_window,
            subsample,
            hogwild: self.hogwild,
            blocks: blocks.map(|blocks| blocks as usize),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Params {
        Params {
            dim: 8,
            window: 5,
            negatives: 5,
            walks_per_node: 2,
            walk_length: 10,
            epochs: 1,
            seed: 0,
            learning_rate: 0.025,
            min_learning_rate: 0.0001,
            dynamic_window: true,
            subsample: 0.0,
            hogwild: false,
            blocks: None,
        }
    }

    #[test]
    fn each_rule_names_its_argument() {
        assert!(good().check().is_ok());
        type Break = fn(&mut Params);
        let rules: [(&str, Break); 19] = [
            ("dim", |p| p.dim = 0),
            ("window", |p| p.window = 0),
            ("negatives", |p| p.negatives = 0),
            ("negatives", |p| p.negatives = 32),
            ("walks_per_node", |p| p.walks_per_node = -1),
            ("walk_length", |p| p.walk_length = 1),
            ("epochs", |p| p.epochs = 0),
            ("seed", |p| p.seed = -1),
            ("learning_rate", |p| p.learning_rate = 0.0),
            ("learning_rate", |p| p.learning_rate = f64::NAN),
            ("min_learning_rate", |p| p.min_learning_rate = 1.0),
            ("min_learning_rate", |p| p.min_learning_rate = -1.0),
            ("subsample", |p| p.subsample = -0.1),
            ("subsample", |p| p.subsample = 1.0),
            ("subsample", |p| p.subsample = f64::NAN),
            ("blocks", |p| p.blocks = Some(0)),
            ("blocks", |p| p.blocks = Some(65)),
            ("window", |p| (p.window, p.walk_length) = (1 << 20, 1 << 20)),
            ("epochs", |p| (p.epochs, p.walks_per_node) = (1 << 20, 1 << 20)),
        ];
        for (argument, break_rule) in rules {
            let mut params = good();
            break_rule(&mut params);
            let error = params.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{argument}:")), "{error}");
        }
    }
}
