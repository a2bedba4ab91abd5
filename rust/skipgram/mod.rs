//! Skip-gram with negative sampling (Mikolov et al., "Distributed representations of words and phrases and their
//! compositionality", 2013) over meta-path walks that are trained on as they are made, never stored.

pub mod blocks;
pub mod corpus;
pub mod group;
pub mod loss;
pub mod negative;
pub mod pairs;
pub mod params;
pub mod shared;
pub mod step;
pub mod strip;
pub mod tables;
pub mod train;
