//! skipgram
