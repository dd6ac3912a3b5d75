//! Text models of transformers, as their own `config.json` describes them.
//!
//! open_clip names such a model and leaves its sizes to transformers. Here they come from the `config.json` beside the
//! weights, or from a table of well-known models.

mod known;
mod modern_bert;
mod read;
mod shapes;

pub(crate) use known::known_file;
pub use known::{UnknownTextModel, known, names};
pub use read::TextModelError;
pub(crate) use shapes::BertSizes;

use crate::graph::Activation;

/// Name of the config file that transformers puts beside weights.
pub const CONFIG_NAME: &str = "config.json";

/// A text model of transformers.
#[derive(Clone, Debug, PartialEq)]
pub struct TextModel {
    /// Kind of model, with settings specific to it.
    pub family: Family,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the tokens.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width of the MLP.
    pub mlp_width: usize,
    /// Activation of the MLP.
    pub activation: Activation,
    /// Epsilon of the norms.
    pub epsilon: f64,
    /// Padding id, hidden from attention.
    pub pad_id: usize,
}

/// A kind of text model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    /// BERT (<https://arxiv.org/abs/1810.04805>).
    Bert(Tables),
    /// RoBERTa (<https://arxiv.org/abs/1907.11692>).
    Roberta(Tables),
    /// XLM-RoBERTa (<https://arxiv.org/abs/1911.02116>): a multilingual RoBERTa.
    XlmRoberta(Tables),
    /// The encoder of mT5 (<https://arxiv.org/abs/2010.11934>).
    Mt5(Mt5Sizes),
    /// The encoder of M2M-100 and NLLB (<https://arxiv.org/abs/2010.11125>, <https://arxiv.org/abs/2207.04672>).
    M2m100 {
        /// Whether embeddings are multiplied by the square root of the width.
        scale_embedding: bool,
    },
    /// ModernBERT (<https://arxiv.org/abs/2412.13663>).
    ModernBert(ModernBertSizes),
}

/// Settings specific to ModernBERT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModernBertSizes {
    /// Every layer of this distance, from the first, sees all tokens; the others see near ones.
    pub global_every: usize,
    /// How many tokens away the farthest is that the others see.
    pub reach: usize,
    /// Bases of the rotations: of layers that see all tokens, and of the others.
    pub thetas: [f32; 2],
    /// Whether norms have a bias.
    pub norm_bias: bool,
    /// Whether the layers of attentions have a bias.
    pub attention_bias: bool,
    /// Whether the layers of MLPs have a bias.
    pub mlp_bias: bool,
}

/// Settings specific to mT5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mt5Sizes {
    /// Width of a head.
    pub head_width: usize,
    /// Whether the MLP multiplies an activated branch with a linear one.
    pub gated: bool,
    /// Rows of the table of relative positions.
    pub buckets: usize,
    /// Distance beyond which all keys share a bucket.
    pub reach: usize,
}

/// Rows of the tables added to the token embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Rows of the position embedding.
    pub positions: usize,
    /// Rows of the token type embedding; only the first is used.
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
            Family::ModernBert(_) => "modernbert",
        }
    }
}

impl TextModel {
    /// Reads a transformers `config.json`; `None` for another kind of model.
    ///
    /// # Errors
    /// Malformed JSON, unknown keys, and values that are out of range or inconsistent.
    pub fn parse(bytes: &[u8]) -> Result<Option<TextModel>, TextModelError> {
        read::parse(bytes)
    }

    /// Maximum text length that the position embedding has rows for; `None` if unlimited.
    pub fn most_tokens(&self) -> Option<usize> {
        match self.family {
            Family::Bert(tables) => Some(tables.positions),
            // Positions start after the padding row.
            Family::Roberta(tables) | Family::XlmRoberta(tables) => {
                Some(tables.positions.saturating_sub(self.pad_id + 1))
            }
            Family::Mt5(_) | Family::M2m100 { .. } | Family::ModernBert(_) => None,
        }
    }
}
