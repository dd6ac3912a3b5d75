//! Pooling by learned queries that attend to the tokens of an image (CoCa, <https://arxiv.org/abs/2205.01917>).

use crate::graph::{
    GraphBuilder, GraphError, LayerNorm, Linear, Mask, ParameterId, Rows, Scope, ValueId, WeightLayout,
};

/// PyTorch's default, whatever the config says about the tower's other layer norms.
const EPSILON: f64 = 1e-5;

/// `[batch, tokens, context width]` to `[batch, queries, width]`.
pub(super) struct AttentionalPooler {
    path: String,
    query: ParameterId,
    heads: usize,
    query_key_value: [Linear; 3],
    out_proj: Linear,
    ln_query: LayerNorm,
    ln_key: LayerNorm,
}

impl AttentionalPooler {
    pub(super) fn declare(
        mut scope: Scope<'_>,
        [queries, width, context]: [usize; 3],
        heads: usize,
    ) -> AttentionalPooler {
        let path = scope.path().to_owned();
        let query = scope.parameter("query", &[queries, width]);
        let mut attention = scope.child("attn");
        // torch.nn.MultiheadAttention: one matrix if all widths agree, else three; one bias either way.
        let weights = if width == context {
            [attention.parameter("in_proj_weight", &[3 * width, width]); 3]
        } else {
            [("q_proj_weight", width), ("k_proj_weight", context), ("v_proj_weight", context)]
                .map(|(leaf, inputs)| attention.parameter(leaf, &[width, inputs]))
        };
        let bias = Some(attention.parameter("in_proj_bias", &[3 * width]));
        let query_key_value = [0, 1, 2].map(|index| {
            let first = if width == context { index * width } else { 0 };
            let rows = Some(Rows { weight: first, bias: index * width, count: width });
            Linear { weight: weights[index], bias, layout: WeightLayout::OutIn, rows }
        });
        let out_proj = Linear::new(attention.child("out_proj"), width, width, true);
        let ln_query = LayerNorm::new(scope.child("ln_q"), width, true, EPSILON);
        let ln_key = LayerNorm::new(scope.child("ln_k"), context, true, EPSILON);
        AttentionalPooler { path, query, heads, query_key_value, out_proj, ln_query, ln_key }
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let x = graph.layer_norm(x, &self.ln_key)?;
        let queries = graph.queries(x, self.query)?;
        let queries = graph.layer_norm(queries, &self.ln_query)?;
        let [query, key, value] = &self.query_key_value;
        let inputs = [graph.linear(queries, query)?, graph.linear(x, key)?, graph.linear(x, value)?];
        let y = graph.attention(&inputs, self.heads, Mask::None)?;
        graph.linear(y, &self.out_proj)
    }
}
