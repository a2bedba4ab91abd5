//! From rows to codes: assignment, and codes made unique within a kind.

pub mod assign;
pub mod counter;
pub mod first;
pub mod groups;
pub mod unique;
