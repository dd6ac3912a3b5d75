//! Everything besides the weights that decides a model's features, as an artifact states it, with the origin of each
//! part.

mod field;
mod origin;
mod table;
mod terms;
mod tokenizer;
mod vocabulary;

pub use field::{Field, Origins};
pub use origin::{Known, Origin};
pub use table::Row;
pub use terms::{Activation, Contract, ImageContract, LicenseTerms, Pooling, TextContract};
pub use tokenizer::{Clean, JsonRules, Side, TokenizerKind, TokenizerMode, TokenizerRules};
pub use vocabulary::{HiddenTexts, TrimmedVocabulary};
