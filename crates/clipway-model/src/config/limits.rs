//! How large a model may be: far above any that exists, and low enough that no config can exhaust the machine.

/// Most bytes of a config file.
pub const FILE_BYTES: u64 = 1 << 20;
/// Most elements of a vector: width, embedding, heads.
pub const WIDTH: usize = 1 << 15;
/// Most blocks of a tower.
pub const LAYERS: usize = 1 << 10;
/// Longest side of an image, in pixels.
pub const IMAGE_SIDE: usize = 1 << 13;
/// Most tokens of an image or a text.
pub const TOKENS: usize = 1 << 16;
/// Most rows of a vocabulary.
pub const VOCABULARY: usize = 1 << 24;
/// Highest ratio of an MLP's width to its block's.
pub const MLP_RATIO: f64 = 64.0;
