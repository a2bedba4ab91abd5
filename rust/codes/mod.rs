//! From rows to codes: assignment, codes made unique within a kind, and the prefix index over them.

pub mod assign;
pub mod groups;
pub mod search;
pub mod shortlist;
pub mod trie;
pub mod unique;
pub mod vector;
