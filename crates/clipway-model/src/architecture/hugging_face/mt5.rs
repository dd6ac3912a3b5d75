//! The encoder of mT5 (<https://arxiv.org/abs/2010.11934>), which is T5's (<https://arxiv.org/abs/1910.10683>): no
//! positions but a bias on the scores, shared by all blocks, and unscaled scores.

use crate::config::text_model::{Mt5Sizes, TextModel};
use crate::graph::{
    Activation, AttentionBias, AttentionOptions, GraphBuilder, GraphError, Linear, ParameterId, RmsNorm,
    Scope, ValueId,
};

use super::super::transformer::Masking;
use super::encoder::{Encoder, masking};

pub(super) struct Mt5 {
    path: String,
    words: ParameterId,
    blocks: Vec<Block>,
    bias: Option<AttentionBias>,
    norm: RmsNorm,
    pad_id: i64,
}

struct Block {
    path: String,
    heads: usize,
    query_key_value: [Linear; 3],
    output: Linear,
    attention_norm: RmsNorm,
    mlp: Mlp,
    mlp_norm: RmsNorm,
}

/// The second half of a block: two layers, or three with the first two multiplied.
struct Mlp {
    inner: Linear,
    gate: Option<Linear>,
    activation: Activation,
    outer: Linear,
}

impl Mt5 {
    /// Declares the encoder. The first block's attention holds the bias table.
    pub(super) fn declare(scope: &mut Scope<'_>, model: &TextModel, sizes: Mt5Sizes) -> Mt5 {
        let path = scope.path().to_owned();
        let words = scope.child("embed_tokens").parameter("weight", &[model.vocab_size, model.width]);
        let mut list = scope.child("block");
        let mut bias = None;
        let blocks = (0..model.layers)
            .map(|index| {
                let table = (index == 0).then_some(&mut bias);
                Block::declare(list.child(index), model, sizes, table)
            })
            .collect();
        let norm = RmsNorm::new(scope.child("final_layer_norm"), model.width, model.epsilon);
        Mt5 { path, words, blocks, bias, norm, pad_id: model.pad_id as i64 }
    }
}

impl Encoder for Mt5 {
    fn forward(&self, graph: &mut GraphBuilder<'_>, ids: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let mut x = graph.embedding(ids, self.words)?;
        let masking = masking(self.pad_id, ids);
        for block in &self.blocks {
            x = block.forward(graph, x, masking, self.bias)?;
        }
        graph.scope(self.path.as_str());
        graph.rms_norm(x, &self.norm)
    }
}

impl Block {
    fn declare(
        mut scope: Scope<'_>,
        model: &TextModel,
        sizes: Mt5Sizes,
        bias: Option<&mut Option<AttentionBias>>,
    ) -> Block {
        let TextModel { width, heads, mlp_width, epsilon, activation, .. } = *model;
        let path = scope.path().to_owned();
        let inside = heads * sizes.head_width;
        let mut layers = scope.child("layer");
        let mut first = layers.child(0);
        let mut attention = first.child("SelfAttention");
        let query_key_value =
            ["q", "k", "v"].map(|name| Linear::new(attention.child(name), width, inside, false));
        let output = Linear::new(attention.child("o"), inside, width, false);
        if let Some(bias) = bias {
            let table =
                attention.child("relative_attention_bias").parameter("weight", &[sizes.buckets, heads]);
            *bias = Some(AttentionBias::Buckets { table, reach: sizes.reach });
        }
        let attention_norm = RmsNorm::new(first.child("layer_norm"), width, epsilon);
        let mut second = layers.child(1);
        let mut mlp = second.child("DenseReluDense");
        let mut inner = |name: &str| Linear::new(mlp.child(name), width, mlp_width, false);
        let (inner, gate) =
            if sizes.gated { (inner("wi_0"), Some(inner("wi_1"))) } else { (inner("wi"), None) };
        let outer = Linear::new(mlp.child("wo"), mlp_width, width, false);
        let mlp = Mlp { inner, gate, activation, outer };
        let mlp_norm = RmsNorm::new(second.child("layer_norm"), width, epsilon);
        Block { path, heads, query_key_value, output, attention_norm, mlp, mlp_norm }
    }

    fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        Masking { mask, ids }: Masking,
        bias: Option<AttentionBias>,
    ) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.layer.0", self.path));
        let normed = graph.rms_norm(x, &self.attention_norm)?;
        let [query, key, value] = &self.query_key_value;
        let inputs = [graph.linear(normed, query)?, graph.linear(normed, key)?, graph.linear(normed, value)?];
        let options =
            AttentionOptions { mask, ids, bias, scale: Some(1.0), ..AttentionOptions::new(self.heads) };
        let mut branch = graph.attention_with(&inputs, options)?;
        branch = graph.linear(branch, &self.output)?;
        let x = graph.add(x, branch)?;

        graph.scope(format!("{}.layer.1", self.path));
        let normed = graph.rms_norm(x, &self.mlp_norm)?;
        let mut branch = graph.linear(normed, &self.mlp.inner)?;
        branch = graph.activation(branch, self.mlp.activation);
        if let Some(gate) = &self.mlp.gate {
            let gate = graph.linear(normed, gate)?;
            branch = graph.multiply(branch, gate)?;
        }
        branch = graph.linear(branch, &self.mlp.outer)?;
        graph.add(x, branch)
    }
}
