//! ModernBERT (<https://arxiv.org/abs/2412.13663>): rotated queries and keys, gated MLPs, norms before the branches, and
//! attention to all keys in every few layers, to near ones in the others.

use crate::config::text_model::{ModernBertSizes, TextModel};
use crate::graph::{
    Activation, AttentionBias, AttentionOptions, Coordinates, GraphBuilder, GraphError, LayerNorm, Linear,
    Pairs, ParameterId, Rotation, Scope, ValueId,
};

use super::super::transformer::Masking;
use super::encoder::{Encoder, masking};

pub(super) struct ModernBert {
    path: String,
    words: ParameterId,
    embedding_norm: LayerNorm,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    pad_id: i64,
}

struct Layer {
    path: String,
    heads: usize,
    rotation: Rotation,
    /// How far a query sees, if not everywhere.
    reach: Option<usize>,
    /// None before the first layer, whose input is normalized.
    attention_norm: Option<LayerNorm>,
    query_key_value: [Linear; 3],
    output: Linear,
    mlp_norm: LayerNorm,
    input: Linear,
    gate: Linear,
    activation: Activation,
    last: Linear,
}

impl ModernBert {
    /// Declares the tensors; texts have at most `context_length` tokens.
    pub(super) fn declare(
        scope: &mut Scope<'_>,
        model: &TextModel,
        sizes: ModernBertSizes,
        context_length: usize,
    ) -> ModernBert {
        let path = scope.path().to_owned();
        let norm = |scope: Scope<'_>| LayerNorm::new(scope, model.width, sizes.norm_bias, model.epsilon);
        let mut embeddings = scope.child("embeddings");
        let words = embeddings.child("tok_embeddings").parameter("weight", &[model.vocab_size, model.width]);
        let embedding_norm = norm(embeddings.child("norm"));
        let mut list = scope.child("layers");
        let layers = (0..model.layers)
            .map(|index| Layer::declare(list.child(index), index, model, sizes, context_length))
            .collect();
        let final_norm = norm(scope.child("final_norm"));
        ModernBert { path, words, embedding_norm, layers, final_norm, pad_id: model.pad_id as i64 }
    }
}

impl Encoder for ModernBert {
    fn forward(&self, graph: &mut GraphBuilder<'_>, ids: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.embeddings", self.path));
        let x = graph.embedding(ids, self.words)?;
        let mut x = graph.layer_norm(x, &self.embedding_norm)?;
        let masking = masking(self.pad_id, ids);
        for layer in &self.layers {
            x = layer.forward(graph, x, masking)?;
        }
        graph.scope(self.path.as_str());
        graph.layer_norm(x, &self.final_norm)
    }
}

impl Layer {
    fn declare(
        mut scope: Scope<'_>,
        index: usize,
        model: &TextModel,
        sizes: ModernBertSizes,
        context_length: usize,
    ) -> Layer {
        let TextModel { width, mlp_width, epsilon, activation, heads, .. } = *model;
        let ModernBertSizes { global_every, reach, thetas, norm_bias, attention_bias, mlp_bias } = sizes;
        let path = scope.path().to_owned();
        let sees_all = index.is_multiple_of(global_every);
        let norm = |scope: Scope<'_>| LayerNorm::new(scope, width, norm_bias, epsilon);
        let attention_norm = (index > 0).then(|| norm(scope.child("attn_norm")));
        let mut attention = scope.child("attn");
        let packed = Linear::new(attention.child("Wqkv"), width, 3 * width, attention_bias);
        let output = Linear::new(attention.child("Wo"), width, width, attention_bias);
        let mlp_norm = norm(scope.child("mlp_norm"));
        let mut mlp = scope.child("mlp");
        let both = Linear::new(mlp.child("Wi"), width, 2 * mlp_width, mlp_bias);
        Layer {
            path,
            heads,
            rotation: Rotation {
                grid: [context_length, 1],
                skip: 0,
                coordinates: Coordinates::Line,
                columns_first: false,
                temperature: thetas[usize::from(!sees_all)],
                pairs: Pairs::Halves,
            },
            reach: (!sees_all).then_some(reach),
            attention_norm,
            query_key_value: [0, 1, 2].map(|part| packed.part(part, width)),
            output,
            mlp_norm,
            input: both.part(0, mlp_width),
            gate: both.part(1, mlp_width),
            activation,
            last: Linear::new(mlp.child("Wo"), mlp_width, width, mlp_bias),
        }
    }

    fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        Masking { mask, ids }: Masking,
    ) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.attn", self.path));
        let normed = match &self.attention_norm {
            Some(norm) => graph.layer_norm(x, norm)?,
            None => x,
        };
        let [query, key, value] = &self.query_key_value;
        let [query, key, value] =
            [graph.linear(normed, query)?, graph.linear(normed, key)?, graph.linear(normed, value)?];
        let query = graph.rotary(query, self.heads, self.rotation)?;
        let key = graph.rotary(key, self.heads, self.rotation)?;
        let bias = self.reach.map(|reach| AttentionBias::Window { reach });
        let options = AttentionOptions { mask, ids, bias, ..AttentionOptions::new(self.heads) };
        let attended = graph.attention_with(&[query, key, value], options)?;
        let branch = graph.linear(attended, &self.output)?;
        let x = graph.add(x, branch)?;

        graph.scope(format!("{}.mlp", self.path));
        let normed = graph.layer_norm(x, &self.mlp_norm)?;
        let input = graph.linear(normed, &self.input)?;
        let input = graph.activation(input, self.activation);
        let gate = graph.linear(normed, &self.gate)?;
        let gated = graph.multiply(input, gate)?;
        let branch = graph.linear(gated, &self.last)?;
        graph.add(x, branch)
    }
}
