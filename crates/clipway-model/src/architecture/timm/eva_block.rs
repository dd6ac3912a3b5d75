//! The residual attention block of timm's `Eva`.

use crate::graph::{
    Activation, GraphBuilder, GraphError, Linear, Mask, ParameterId, Rotation, Rows, Scope, ValueId,
    WeightLayout,
};

use super::layers::{Mlp, MlpKind, MlpOptions, Norm, NormKind, join};
use super::token_trunk::TokenBlock;

/// Settings of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct EvaBlockOptions {
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) hidden: usize,
    pub(super) attention: AttentionKind,
    /// Whether queries, keys and values have a bias; which of them depends on the kind.
    pub(super) bias: bool,
    /// A norm before the attention's output projection.
    pub(super) attention_norm: bool,
    pub(super) mlp: MlpKind,
    /// A norm between the MLP's layers.
    pub(super) mlp_norm: bool,
    pub(super) layer_scale: bool,
    /// Whether a branch is normalized at its end instead of its start.
    pub(super) post_norm: bool,
    pub(super) norm: NormKind,
    pub(super) rotation: Option<Rotation>,
}

/// How the tensors of queries, keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttentionKind {
    /// One matrix; separate biases for queries and values, none for keys.
    BiasApart,
    /// Separate matrices; no bias for keys.
    MatricesApart,
    /// One matrix and one bias.
    Packed,
}

/// A block with its tensors declared.
pub(super) struct EvaBlock {
    path: String,
    post_norm: bool,
    norms: [Norm; 2],
    attention: Attention,
    mlp: Mlp,
    scales: [Option<ParameterId>; 2],
}

impl TokenBlock for EvaBlock {
    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let x = self.branch(graph, x, 0, "attn", &|graph, x| self.attention.forward(graph, x))?;
        self.branch(graph, x, 1, "mlp", &|graph, x| self.mlp.forward(graph, x))
    }
}

impl EvaBlock {
    pub(super) fn declare(mut scope: Scope<'_>, options: &EvaBlockOptions) -> EvaBlock {
        let EvaBlockOptions { width, hidden, norm, post_norm, .. } = *options;
        let scales = ["gamma_1", "gamma_2"]
            .map(|name| (options.layer_scale && !post_norm).then(|| scope.parameter(name, &[width])));
        let mlp = MlpOptions {
            kind: options.mlp,
            width,
            hidden,
            bias: true,
            activation: if options.mlp == MlpKind::Plain { Activation::Gelu } else { Activation::Silu },
            norm: options.mlp_norm.then_some(norm),
        };
        let path = scope.path().to_owned();
        let new_norm = |scope: &mut Scope<'_>, name: &str| Norm::new(scope.child(name), width, norm);
        // A state dict lists a branch's modules in construction order.
        let (norms, attention, mlp) = if post_norm {
            let attention = Attention::declare(scope.child("attn"), options);
            let first = new_norm(&mut scope, "norm1");
            let mlp = Mlp::declare(scope.child("mlp"), mlp);
            ([first, new_norm(&mut scope, "norm2")], attention, mlp)
        } else {
            let first = new_norm(&mut scope, "norm1");
            let attention = Attention::declare(scope.child("attn"), options);
            let second = new_norm(&mut scope, "norm2");
            ([first, second], attention, Mlp::declare(scope.child("mlp"), mlp))
        };
        EvaBlock { path, post_norm, norms, attention, mlp, scales }
    }

    fn branch(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        index: usize,
        name: &str,
        layer: &dyn Fn(&mut GraphBuilder<'_>, ValueId) -> Result<ValueId, GraphError>,
    ) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.{name}", self.path));
        let branch = if self.post_norm {
            let branch = layer(graph, x)?;
            self.norms[index].forward(graph, branch)?
        } else {
            let branch = self.norms[index].forward(graph, x)?;
            layer(graph, branch)?
        };
        graph.scope(self.path.as_str());
        join(graph, x, branch, self.scales[index])
    }
}

/// Self-attention whose queries and keys may be rotated by their positions.
struct Attention {
    heads: usize,
    query_key_value: [Linear; 3],
    rotation: Option<Rotation>,
    norm: Option<Norm>,
    output: Linear,
}

impl Attention {
    fn declare(mut scope: Scope<'_>, options: &EvaBlockOptions) -> Attention {
        let EvaBlockOptions { width, heads, norm, bias, rotation, .. } = *options;
        let query_key_value = match options.attention {
            AttentionKind::BiasApart => {
                let [query, value] =
                    ["q_bias", "v_bias"].map(|name| bias.then(|| scope.parameter(name, &[width])));
                let weight = scope.child("qkv").parameter("weight", &[3 * width, width]);
                [(0, query), (1, None), (2, value)].map(|(index, bias)| Linear {
                    weight,
                    bias,
                    layout: WeightLayout::OutIn,
                    rows: Some(Rows { weight: index * width, bias: 0, count: width }),
                })
            }
            AttentionKind::MatricesApart => [("q_proj", bias), ("k_proj", false), ("v_proj", bias)]
                .map(|(name, bias)| Linear::new(scope.child(name), width, width, bias)),
            AttentionKind::Packed => {
                let packed = Linear::new(scope.child("qkv"), width, 3 * width, bias);
                [0, 1, 2].map(|index| packed.part(index, width))
            }
        };
        Attention {
            heads,
            query_key_value,
            rotation,
            norm: options.attention_norm.then(|| Norm::new(scope.child("norm"), width, norm)),
            output: Linear::new(scope.child("proj"), width, width, true),
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let [query, key, value] = &self.query_key_value;
        let mut query = graph.linear(x, query)?;
        let mut key = graph.linear(x, key)?;
        let value = graph.linear(x, value)?;
        if let Some(rotation) = self.rotation {
            query = graph.rotary(query, self.heads, rotation)?;
            key = graph.rotary(key, self.heads, rotation)?;
        }
        let mut x = graph.attention(&[query, key, value], self.heads, Mask::None)?;
        if let Some(norm) = &self.norm {
            x = norm.forward(graph, x)?;
        }
        graph.linear(x, &self.output)
    }
}
