//! Everything but the weights that decides a model's features, as an artifact states it, and where each part of it is
//! known from.

mod field;
mod origin;
mod table;
mod terms;
mod tokenizer;

pub use field::{Field, Origins};
pub use origin::{Known, Origin};
pub use table::Row;
pub use terms::{Activation, Contract, ImageContract, Pooling, TextContract};
pub use tokenizer::{Clean, JsonRules, Side, TokenizerKind, TokenizerMode, TokenizerRules};
