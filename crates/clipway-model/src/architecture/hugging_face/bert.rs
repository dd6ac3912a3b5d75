//! BERT (<https://arxiv.org/abs/1810.04805>), RoBERTa and XLM-RoBERTa, with norms after the residual sums.

use crate::config::text_model::{Family, Tables, TextModel};
use crate::graph::{
    Activation, AttentionOptions, GraphBuilder, GraphError, LayerNorm, Linear, ParameterId, Scope,
    TextPositions, ValueId,
};

use super::super::transformer::Masking;
use super::encoder::{Encoder, masking};

pub(super) struct Bert {
    path: String,
    words: ParameterId,
    positions: ParameterId,
    types: ParameterId,
    norm: LayerNorm,
    layers: Vec<Layer>,
    pad_id: i64,
    /// Whether positions skip padding and start after its id, as in RoBERTa.
    counted: bool,
}

struct Layer {
    path: String,
    heads: usize,
    query_key_value: [Linear; 3],
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    activation: Activation,
    output: Linear,
    output_norm: LayerNorm,
}

impl Bert {
    pub(super) fn declare(scope: &mut Scope<'_>, model: &TextModel, tables: Tables) -> Bert {
        let path = scope.path().to_owned();
        let counted = !matches!(model.family, Family::Bert(_));
        let (width, epsilon) = (model.width, model.epsilon);
        let mut embeddings = scope.child("embeddings");
        let mut table = |name: &str, rows: usize| embeddings.child(name).parameter("weight", &[rows, width]);
        let words = table("word_embeddings", model.vocab_size);
        // The two kinds store the same tables in a different order.
        let (positions, types, norm);
        if counted {
            types = table("token_type_embeddings", tables.types);
            norm = LayerNorm::new(embeddings.child("LayerNorm"), width, true, epsilon);
            positions =
                embeddings.child("position_embeddings").parameter("weight", &[tables.positions, width]);
        } else {
            positions = table("position_embeddings", tables.positions);
            types = table("token_type_embeddings", tables.types);
            norm = LayerNorm::new(embeddings.child("LayerNorm"), width, true, epsilon);
        }
        let mut encoder = scope.child("encoder");
        let mut list = encoder.child("layer");
        let layers = (0..model.layers).map(|index| Layer::declare(list.child(index), model)).collect();
        Bert { path, words, positions, types, norm, layers, pad_id: model.pad_id as i64, counted }
    }
}

impl Encoder for Bert {
    fn forward(&self, graph: &mut GraphBuilder<'_>, ids: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.embeddings", self.path));
        let mut x = graph.embedding(ids, self.words)?;
        x = graph.add_row(x, self.types, 0)?;
        x = if self.counted {
            graph.add_text_positions(x, ids, TextPositions::Table(self.positions), self.pad_id)?
        } else {
            graph.add_positions(x, self.positions)?
        };
        x = graph.layer_norm(x, &self.norm)?;
        let masking = masking(self.pad_id, ids);
        self.layers.iter().try_fold(x, |x, layer| layer.forward(graph, x, masking))
    }
}

impl Layer {
    fn declare(mut scope: Scope<'_>, model: &TextModel) -> Layer {
        let TextModel { width, mlp_width, epsilon, activation, heads, .. } = *model;
        let path = scope.path().to_owned();
        let mut attention = scope.child("attention");
        let mut own = attention.child("self");
        let query_key_value =
            ["query", "key", "value"].map(|name| Linear::new(own.child(name), width, width, true));
        let mut output = attention.child("output");
        let attention_output = Linear::new(output.child("dense"), width, width, true);
        let attention_norm = LayerNorm::new(output.child("LayerNorm"), width, true, epsilon);
        let intermediate = Linear::new(scope.child("intermediate").child("dense"), width, mlp_width, true);
        let mut last = scope.child("output");
        let output = Linear::new(last.child("dense"), mlp_width, width, true);
        let output_norm = LayerNorm::new(last.child("LayerNorm"), width, true, epsilon);
        Layer {
            path,
            heads,
            query_key_value,
            attention_output,
            attention_norm,
            intermediate,
            activation,
            output,
            output_norm,
        }
    }

    fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        Masking { mask, ids }: Masking,
    ) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.attention", self.path));
        let [query, key, value] = &self.query_key_value;
        let inputs = [graph.linear(x, query)?, graph.linear(x, key)?, graph.linear(x, value)?];
        let options = AttentionOptions { mask, ids, ..AttentionOptions::new(self.heads) };
        let mut branch = graph.attention_with(&inputs, options)?;
        branch = graph.linear(branch, &self.attention_output)?;
        let sum = graph.add(x, branch)?;
        let x = graph.layer_norm(sum, &self.attention_norm)?;

        graph.scope(self.path.as_str());
        let mut branch = graph.linear(x, &self.intermediate)?;
        branch = graph.activation(branch, self.activation);
        branch = graph.linear(branch, &self.output)?;
        let sum = graph.add(x, branch)?;
        graph.layer_norm(sum, &self.output_norm)
    }
}
