//! Limits on model sizes: far above any real model, and low enough that no config can exhaust the machine.

/// Maximum size of a config file, in bytes.
pub const FILE_BYTES: u64 = 1 << 20;
/// Maximum length of a vector: width, embedding, heads.
pub const WIDTH: usize = 1 << 15;
/// Maximum number of blocks in a tower.
pub const LAYERS: usize = 1 << 10;
/// Maximum side of an image, in pixels.
pub const IMAGE_SIDE: usize = 1 << 13;
/// Maximum number of tokens in an image or a text.
pub const TOKENS: usize = 1 << 16;
/// Maximum number of vocabulary rows.
pub const VOCABULARY: usize = 1 << 24;
/// Maximum ratio of an MLP's width to its block's.
pub const MLP_RATIO: f64 = 64.0;
