//! What the shapes of a BERT's tensors say of it.

use clipway_formats::TensorInfo;
use serde_json::{Value, json};

/// Sizes of a BERT or RoBERTa.
pub(crate) struct BertSizes {
    /// Rows of the token embedding.
    vocabulary: usize,
    /// Width of the tokens.
    pub(crate) width: usize,
    /// Number of blocks.
    layers: usize,
    /// Width of the MLP.
    mlp_width: usize,
    /// Rows of the position embedding.
    pub(crate) positions: usize,
    /// Rows of the token type embedding.
    pub(crate) types: usize,
}

impl BertSizes {
    /// Width of a head of nearly all such models.
    pub(crate) const HEAD_WIDTH: usize = 64;

    /// Reads the sizes of the tensors below a prefix. `None` if one is missing.
    pub(crate) fn of(tensors: &[TensorInfo], prefix: &str) -> Option<BertSizes> {
        let shape = |name: &str| {
            let found = tensors.iter().find(|tensor| tensor.name.strip_prefix(prefix) == Some(name));
            found.map(|tensor| tensor.shape.as_slice())
        };
        let rows = |name: &str| shape(name)?.first().copied();
        let &[vocabulary, width] = shape("embeddings.word_embeddings.weight")? else { return None };
        let number = |tensor: &TensorInfo| -> Option<usize> {
            tensor.name.strip_prefix(prefix)?.strip_prefix("encoder.layer.")?.split('.').next()?.parse().ok()
        };
        let layers = tensors.iter().filter_map(number).max()?.checked_add(1)?;
        Some(BertSizes {
            vocabulary,
            width,
            layers,
            mlp_width: rows("encoder.layer.0.intermediate.dense.weight")?,
            positions: rows("embeddings.position_embeddings.weight")?,
            types: rows("embeddings.token_type_embeddings.weight")?,
        })
    }

    /// The `config.json` that transformers would have for it.
    pub(crate) fn config(&self, family: &str, heads: usize, epsilon: f64, padding: usize) -> Value {
        json!({
            "model_type": family,
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": heads,
            "intermediate_size": self.mlp_width,
            "max_position_embeddings": self.positions,
            "type_vocab_size": self.types,
            "hidden_act": "gelu",
            "layer_norm_eps": epsilon,
            "pad_token_id": padding,
        })
    }
}
