//! The residual block of ModernText.

use crate::config::ModernMlp;
use crate::graph::{
    Activation, AttentionOptions, GraphBuilder, GraphError, Linear, ParameterId, Rotation, Scope, ValueId,
};

use super::super::norm::Norm;
use super::super::transformer::Masking;
use super::Options;

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`; each branch may be normalized and scaled at its end.
pub(super) struct Block {
    path: String,
    norms: [Norm; 2],
    attention: Attention,
    mlp: Mlp,
    ends: [End; 2],
}

/// What is done to a branch before it is added.
struct End {
    norm: Option<Norm>,
    scale: Option<ParameterId>,
}

struct Attention {
    heads: usize,
    query_key_value: [Linear; 3],
    /// Norms of the heads of queries and keys.
    head_norms: Option<[Norm; 2]>,
    rotation: Option<Rotation>,
    gate: Option<Linear>,
    values: Values,
    output: Linear,
}

/// Where an attention's values come from.
enum Values {
    /// Its own layer.
    Own,
    /// Its own layer, and later blocks mix theirs with these.
    First,
    /// Those of the first block plus this share of the difference to its own.
    Mixed(ParameterId),
}

enum Mlp {
    Gated { value: Linear, gate: Linear, last: Linear },
    Plain { first: Linear, squares: bool, last: Linear },
}

impl Block {
    pub(super) fn declare(mut scope: Scope<'_>, index: usize, options: &Options<'_>) -> Block {
        let (width, kind, modern) = (options.text.width, options.norm, options.modern);
        let norm = |scope: Scope<'_>| Norm::new(scope, width, kind);
        let end = |scope: &mut Scope<'_>, [norm_name, scale_name]: [&str; 2]| End {
            norm: modern.sandwich.then(|| norm(scope.child(norm_name))),
            scale: options.text.layer_scale.map(|_| scope.child(scale_name).parameter("gamma", &[width])),
        };
        let first_norm = norm(scope.child("norm1"));
        let attention = Attention::declare(scope.child("attn"), index, options);
        let first_end = end(&mut scope, ["norm1_post", "ls1"]);
        let second_norm = norm(scope.child("norm2"));
        let mlp = Mlp::declare(scope.child("mlp"), options);
        let second_end = end(&mut scope, ["norm2_post", "ls2"]);
        Block {
            path: scope.path().to_owned(),
            norms: [first_norm, second_norm],
            attention,
            mlp,
            ends: [first_end, second_end],
        }
    }

    pub(super) fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        masking: Masking,
        first_values: &mut Option<ValueId>,
    ) -> Result<ValueId, GraphError> {
        let [first_end, second_end] = &self.ends;
        graph.scope(format!("{}.attn", self.path));
        let branch = self.norms[0].forward(graph, x)?;
        let branch = self.attention.forward(graph, branch, masking, first_values)?;
        let x = first_end.join(graph, x, branch)?;
        graph.scope(format!("{}.mlp", self.path));
        let branch = self.norms[1].forward(graph, x)?;
        let branch = self.mlp.forward(graph, branch)?;
        graph.scope(self.path.as_str());
        second_end.join(graph, x, branch)
    }
}

impl End {
    fn join(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        mut branch: ValueId,
    ) -> Result<ValueId, GraphError> {
        if let Some(norm) = &self.norm {
            branch = norm.forward(graph, branch)?;
        }
        if let Some(scale) = self.scale {
            branch = graph.scale(branch, scale)?;
        }
        graph.add(x, branch)
    }
}

impl Attention {
    fn declare(mut scope: Scope<'_>, index: usize, options: &Options<'_>) -> Attention {
        let (text, modern) = (options.text, options.modern);
        let (width, head) = (text.width, text.width / text.heads);
        let values = match (modern.value_residual, index) {
            (false, _) => Values::Own,
            (true, 0) => Values::First,
            (true, _) => Values::Mixed(scope.parameter("vr_lambda", &[1])),
        };
        let packed = Linear::new(scope.child("qkv"), width, 3 * width, modern.attention_bias);
        let head_norms = text
            .block
            .qk_norm
            .then(|| ["q_norm", "k_norm"].map(|name| Norm::new(scope.child(name), head, options.norm)));
        let gate = modern.gated.then(|| Linear::new(scope.child("gate"), width, width, modern.gate_bias));
        Attention {
            heads: text.heads,
            query_key_value: [0, 1, 2].map(|part| packed.part(part, width)),
            head_norms,
            rotation: options.rotation,
            gate,
            values,
            output: Linear::new(scope.child("proj"), width, width, modern.attention_bias),
        }
    }

    fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        Masking { mask, ids }: Masking,
        first_values: &mut Option<ValueId>,
    ) -> Result<ValueId, GraphError> {
        let [query, key, value] = &self.query_key_value;
        let mut query = graph.linear(x, query)?;
        let mut key = graph.linear(x, key)?;
        let mut value = graph.linear(x, value)?;
        match (&self.values, *first_values) {
            (Values::First, _) => *first_values = Some(value),
            (&Values::Mixed(share), Some(first)) => {
                let difference = graph.subtract(value, first)?;
                let difference = graph.scale_heads(difference, share, None)?;
                value = graph.add(first, difference)?;
            }
            _ => {}
        }
        if let Some([query_norm, key_norm]) = &self.head_norms {
            query = query_norm.forward_heads(graph, query)?;
            key = key_norm.forward_heads(graph, key)?;
        }
        if let Some(rotation) = self.rotation {
            query = graph.rotary(query, self.heads, rotation)?;
            key = graph.rotary(key, self.heads, rotation)?;
        }
        let options = AttentionOptions { mask, ids, ..AttentionOptions::new(self.heads) };
        let mut attended = graph.attention_with(&[query, key, value], options)?;
        if let Some(gate) = &self.gate {
            let gate = graph.linear(x, gate)?;
            let gate = graph.activation(gate, Activation::Sigmoid);
            attended = graph.multiply(attended, gate)?;
        }
        graph.linear(attended, &self.output)
    }
}

impl Mlp {
    fn declare(mut scope: Scope<'_>, options: &Options<'_>) -> Mlp {
        let (width, hidden) = (options.text.width, options.text.mlp_width());
        let bias = options.modern.mlp_bias;
        if options.modern.mlp == ModernMlp::SwiGlu {
            let both = Linear::new(scope.child("w12"), width, 2 * hidden, bias);
            return Mlp::Gated {
                value: both.part(0, hidden),
                gate: both.part(1, hidden),
                last: Linear::new(scope.child("w3"), hidden, width, bias),
            };
        }
        Mlp::Plain {
            first: Linear::new(scope.child("c_fc"), width, hidden, bias),
            squares: options.modern.mlp == ModernMlp::SquaredRelu,
            last: Linear::new(scope.child("c_proj"), hidden, width, bias),
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            Mlp::Gated { value, gate, last } => {
                let value = graph.linear(x, value)?;
                let gate = graph.linear(x, gate)?;
                let gate = graph.activation(gate, Activation::Silu);
                let hidden = graph.multiply(gate, value)?;
                graph.linear(hidden, last)
            }
            Mlp::Plain { first, squares, last } => {
                let hidden = graph.linear(x, first)?;
                let hidden = match squares {
                    false => graph.activation(hidden, Activation::Gelu),
                    true => {
                        let hidden = graph.activation(hidden, Activation::Relu);
                        graph.multiply(hidden, hidden)?
                    }
                };
                graph.linear(hidden, last)
            }
        }
    }
}
