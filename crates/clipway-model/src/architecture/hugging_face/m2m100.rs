//! The encoder of M2M-100 and NLLB (<https://arxiv.org/abs/2010.11125>): sinusoidal positions, norms before the
//! branches.

use crate::config::text_model::TextModel;
use crate::graph::{
    Activation, AttentionOptions, GraphBuilder, GraphError, LayerNorm, Linear, ParameterId, Scope,
    TextPositions, ValueId,
};

use super::super::transformer::Masking;
use super::encoder::{Encoder, masking};

pub(super) struct M2m100 {
    path: String,
    words: ParameterId,
    /// Factor applied to the embeddings.
    scale: Option<f64>,
    layers: Vec<Layer>,
    norm: LayerNorm,
    pad_id: i64,
}

struct Layer {
    path: String,
    heads: usize,
    query_key_value: [Linear; 3],
    output: Linear,
    attention_norm: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
    mlp_norm: LayerNorm,
}

impl M2m100 {
    pub(super) fn declare(scope: &mut Scope<'_>, model: &TextModel, scale_embedding: bool) -> M2m100 {
        let TextModel { width, epsilon, .. } = *model;
        let path = scope.path().to_owned();
        let words = scope.child("embed_tokens").parameter("weight", &[model.vocab_size, width]);
        let mut list = scope.child("layers");
        let layers = (0..model.layers).map(|index| Layer::declare(list.child(index), model)).collect();
        let norm = LayerNorm::new(scope.child("layer_norm"), width, true, epsilon);
        let scale = scale_embedding.then(|| (width as f64).sqrt());
        M2m100 { path, words, scale, layers, norm, pad_id: model.pad_id as i64 }
    }
}

impl Encoder for M2m100 {
    fn forward(&self, graph: &mut GraphBuilder<'_>, ids: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let mut x = graph.embedding(ids, self.words)?;
        if let Some(scale) = self.scale {
            x = graph.times(x, scale);
        }
        x = graph.add_text_positions(x, ids, TextPositions::Sinusoids, self.pad_id)?;
        let masking = masking(self.pad_id, ids);
        for layer in &self.layers {
            x = layer.forward(graph, x, masking)?;
        }
        graph.scope(self.path.as_str());
        graph.layer_norm(x, &self.norm)
    }
}

impl Layer {
    fn declare(mut scope: Scope<'_>, model: &TextModel) -> Layer {
        let TextModel { width, mlp_width, epsilon, activation, heads, .. } = *model;
        let path = scope.path().to_owned();
        let mut attention = scope.child("self_attn");
        let [key, value, query, output] = ["k_proj", "v_proj", "q_proj", "out_proj"]
            .map(|name| Linear::new(attention.child(name), width, width, true));
        let attention_norm = LayerNorm::new(scope.child("self_attn_layer_norm"), width, true, epsilon);
        let fc1 = Linear::new(scope.child("fc1"), width, mlp_width, true);
        let fc2 = Linear::new(scope.child("fc2"), mlp_width, width, true);
        let mlp_norm = LayerNorm::new(scope.child("final_layer_norm"), width, true, epsilon);
        let query_key_value = [query, key, value];
        Layer { path, heads, query_key_value, output, attention_norm, fc1, activation, fc2, mlp_norm }
    }

    fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        Masking { mask, ids }: Masking,
    ) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.self_attn", self.path));
        let normed = graph.layer_norm(x, &self.attention_norm)?;
        let [query, key, value] = &self.query_key_value;
        let inputs = [graph.linear(normed, query)?, graph.linear(normed, key)?, graph.linear(normed, value)?];
        let options = AttentionOptions { mask, ids, ..AttentionOptions::new(self.heads) };
        let mut branch = graph.attention_with(&inputs, options)?;
        branch = graph.linear(branch, &self.output)?;
        let x = graph.add(x, branch)?;

        graph.scope(self.path.as_str());
        let normed = graph.layer_norm(x, &self.mlp_norm)?;
        let mut branch = graph.linear(normed, &self.fc1)?;
        branch = graph.activation(branch, self.activation);
        branch = graph.linear(branch, &self.fc2)?;
        graph.add(x, branch)
    }
}
