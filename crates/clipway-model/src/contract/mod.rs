//! Everything but the weights that decides a model's features, as an artifact states it.

mod tokenizer;

pub use tokenizer::{Clean, JsonRules, Side, TokenizerKind, TokenizerMode, TokenizerRules};
