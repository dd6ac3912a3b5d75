//! Text models of transformers, as their own `config.json` describes them.
//!
//! open_clip names such a model and leaves its sizes to transformers. Here they come from the `config.json` beside
//! the weights, or from a table of the models whose names are in use.

mod known;
mod read;

pub use known::{UnknownTextModel, known, names};
pub use read::TextModelError;

use crate::graph::Activation;

/// Name of the file that transformers keeps beside weights.
pub const CONFIG_NAME: &str = "config.json";

/// A text model of transformers.
#[derive(Clone, Debug, PartialEq)]
pub struct TextModel {
    /// Kind of model, with what this kind alone has.
    pub family: Family,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the tokens.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the MLP.
    pub mlp_width: usize,
    /// Activation of the MLP.
    pub activation: Activation,
    /// Epsilon of the norms.
    pub epsilon: f64,
    /// Id of padding, which attention does not see.
    pub pad_id: usize,
}

/// A kind of text model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// BERT (<https://arxiv.org/abs/1810.04805>).
    Bert(Tables),
    /// RoBERTa (<https://arxiv.org/abs/1907.11692>).
    Roberta(Tables),
    /// XLM-RoBERTa (<https://arxiv.org/abs/1911.02116>): RoBERTa of many languages.
    XlmRoberta(Tables),
    /// The encoder of mT5 (<https://arxiv.org/abs/2010.11934>).
    Mt5(Mt5Sizes),
    /// The encoder of M2M-100 and NLLB (<https://arxiv.org/abs/2010.11125>, <https://arxiv.org/abs/2207.04672>).
    M2m100 {
        /// Whether embeddings are multiplied by the square root of the width.
        scale_embedding: bool,
    },
}

/// What mT5 has and the others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mt5Sizes {
    /// Width of a head.
    pub head_width: usize,
    /// Whether the MLP multiplies an activated branch with a linear one.
    pub gated: bool,
    /// Rows of the table of relative positions.
    pub buckets: usize,
    /// Distance from which on all keys share a bucket.
    pub reach: usize,
}

/// Rows of the tables that are added to the token embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Rows of the position embedding.
    pub positions: usize,
    /// Rows of the token type embedding, of which the first is used.
    pub types: usize,
}

impl Family {
    /// Its `model_type` in transformers.
    pub fn name(self) -> &'static str {
        match self {
            Family::Bert(_) => "bert",
            Family::Roberta(_) => "roberta",
            Family::XlmRoberta(_) => "xlm-roberta",
            Family::Mt5(_) => "mt5",
            Family::M2m100 { .. } => "m2m_100",
        }
    }
}

impl TextModel {
    /// Reads a `config.json` of transformers; `None` where it is of another kind of model.
    ///
    /// # Errors
    /// JSON that is malformed, keys that are not known, values out of their range or that do not fit each other.
    pub fn parse(bytes: &[u8]) -> Result<Option<TextModel>, TextModelError> {
        read::parse(bytes)
    }

    /// Most tokens of a text that the position embedding has rows for; `None` where there is no such limit.
    pub fn most_tokens(&self) -> Option<usize> {
        match self.family {
            Family::Bert(tables) => Some(tables.positions),
            // Positions are counted from behind the row of padding.
            Family::Roberta(tables) | Family::XlmRoberta(tables) => {
                Some(tables.positions.saturating_sub(self.pad_id + 1))
            }
            Family::Mt5(_) | Family::M2m100 { .. } => None,
        }
    }
}
