//! The residual attention block of timm's vision transformers.

use crate::graph::{
    Activation, AttentionBias, AttentionOptions, GraphBuilder, GraphError, Linear, ParameterId, Scope,
    ValueId,
};

use super::layers::{Mlp, MlpKind, MlpOptions, Norm, NormKind, join};
use super::token_trunk::TokenBlock;

/// Settings of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockOptions {
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) hidden: usize,
    pub(super) query_key_value_bias: bool,
    /// Whether the attention's output projection and the MLP's layers have a bias.
    pub(super) output_bias: bool,
    /// Norms before the attention's output projection and between the MLP's layers.
    pub(super) sub_norms: bool,
    pub(super) layer_scale: bool,
    pub(super) relative: Option<RelativePositions>,
    pub(super) order: Order,
    pub(super) mlp: MlpKind,
    pub(super) norm: NormKind,
    pub(super) activation: Activation,
}

/// The order of a block's branches and norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
    PreNorm,
    /// `x + norm(attention(x))`, then `x + norm(mlp(x))`.
    PostNorm,
    /// Pre-norm with two attentions side by side, then two MLPs (<https://arxiv.org/abs/2203.09795>).
    Parallel,
}

/// Bias added to attention scores for the relative positions of patches.
#[derive(Clone, Copy, Debug)]
pub(super) enum RelativePositions {
    /// Each attention has its own MLP.
    Own(GridMlpOptions),
    /// All attentions share one MLP.
    Shared(AttentionBias),
}

/// An MLP from relative positions to one number per head.
#[derive(Clone, Copy, Debug)]
pub(super) struct GridMlpOptions {
    pub(super) heads: usize,
    pub(super) hidden: usize,
    pub(super) grid: [usize; 2],
    /// Number of tokens before the patch tokens.
    pub(super) prefix: usize,
}

impl GridMlpOptions {
    /// Declares the MLP's tensors.
    pub(super) fn declare(self, mut scope: Scope<'_>) -> AttentionBias {
        let GridMlpOptions { heads, hidden, grid, prefix: skip } = self;
        let mut mlp = scope.child("mlp");
        let mut first = mlp.child("fc1");
        let hidden_weight = first.parameter("weight", &[hidden, 2]);
        let hidden_bias = first.parameter("bias", &[hidden]);
        let mut second = mlp.child("fc2");
        let weight = second.parameter("weight", &[heads, hidden]);
        let bias = second.parameter("bias", &[heads]);
        AttentionBias::GridMlp { hidden_weight, hidden_bias, weight, bias, grid, skip }
    }
}

/// A block with its tensors declared.
pub(super) struct Block {
    path: String,
    order: Order,
    attentions: Vec<Branch<Attention>>,
    mlps: Vec<Branch<Mlp>>,
}

struct Branch<Layer> {
    path: String,
    norm: Norm,
    layer: Layer,
    scale: Option<ParameterId>,
}

impl TokenBlock for Block {
    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let x = self.branches(graph, x, &self.attentions, Attention::forward)?;
        self.branches(graph, x, &self.mlps, Mlp::forward)
    }
}

impl Block {
    pub(super) fn declare(mut scope: Scope<'_>, options: &BlockOptions) -> Block {
        let BlockOptions { width, hidden, output_bias: bias, activation, mlp: kind, .. } = *options;
        let path = scope.path().to_owned();
        let gamma = |scope: Scope<'_>| options.layer_scale.then(|| { scope }.parameter("gamma", &[width]));
        let attention = |scope: Scope<'_>| Attention::declare(scope, options);
        let norm = options.sub_norms.then_some(options.norm);
        let mlp = |scope: Scope<'_>| {
            Mlp::declare(scope, MlpOptions { kind, width, hidden, bias, activation, norm })
        };
        let (attentions, mlps) = match options.order {
            Order::PreNorm => {
                let norm = Norm::new(scope.child("norm1"), width, options.norm);
                let layer = attention(scope.child("attn"));
                let scale = gamma(scope.child("ls1"));
                let first = Branch { path: format!("{path}.attn"), norm, layer, scale };
                let norm = Norm::new(scope.child("norm2"), width, options.norm);
                let layer = mlp(scope.child("mlp"));
                let scale = gamma(scope.child("ls2"));
                (vec![first], vec![Branch { path: format!("{path}.mlp"), norm, layer, scale }])
            }
            // The layer scale would be part of the norm: there is none.
            Order::PostNorm => {
                let layer = attention(scope.child("attn"));
                let norm = Norm::new(scope.child("norm1"), width, options.norm);
                let first = Branch { path: format!("{path}.attn"), norm, layer, scale: None };
                let layer = mlp(scope.child("mlp"));
                let norm = Norm::new(scope.child("norm2"), width, options.norm);
                (vec![first], vec![Branch { path: format!("{path}.mlp"), norm, layer, scale: None }])
            }
            Order::Parallel => (
                declare_parallel(scope.child("attns"), options, "attn", &attention, &gamma),
                declare_parallel(scope.child("ffns"), options, "mlp", &mlp, &gamma),
            ),
        };
        Block { path, order: options.order, attentions, mlps }
    }

    fn branches<Layer>(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        branches: &[Branch<Layer>],
        forward: fn(&Layer, &mut GraphBuilder<'_>, ValueId) -> Result<ValueId, GraphError>,
    ) -> Result<ValueId, GraphError> {
        let mut sum = x;
        for Branch { path, norm, layer, scale } in branches {
            graph.scope(path.as_str());
            let branch = if self.order == Order::PostNorm {
                let branch = forward(layer, graph, x)?;
                norm.forward(graph, branch)?
            } else {
                let branch = norm.forward(graph, x)?;
                forward(layer, graph, branch)?
            };
            graph.scope(self.path.as_str());
            sum = join(graph, sum, branch, *scale)?;
        }
        Ok(sum)
    }
}

fn declare_parallel<Layer>(
    mut scope: Scope<'_>,
    options: &BlockOptions,
    name: &str,
    layer: &dyn Fn(Scope<'_>) -> Layer,
    gamma: &dyn Fn(Scope<'_>) -> Option<ParameterId>,
) -> Vec<Branch<Layer>> {
    let mut branch = |index: usize| {
        let mut scope = scope.child(index);
        Branch {
            path: scope.path().to_owned(),
            norm: Norm::new(scope.child("norm"), options.width, options.norm),
            layer: layer(scope.child(name)),
            scale: gamma(scope.child("ls")),
        }
    };
    vec![branch(0), branch(1)]
}

/// Self-attention with queries, keys and values in one matrix.
struct Attention {
    heads: usize,
    query_key_value: Linear,
    bias: Option<AttentionBias>,
    norm: Option<Norm>,
    output: Linear,
}

impl Attention {
    fn declare(mut scope: Scope<'_>, options: &BlockOptions) -> Attention {
        let BlockOptions { width, heads, norm, .. } = *options;
        Attention {
            heads,
            query_key_value: Linear::new(scope.child("qkv"), width, 3 * width, options.query_key_value_bias),
            bias: options.relative.map(|relative| match relative {
                RelativePositions::Own(mlp) => mlp.declare(scope.child("rel_pos")),
                RelativePositions::Shared(bias) => bias,
            }),
            norm: options.sub_norms.then(|| Norm::new(scope.child("norm"), width, norm)),
            output: Linear::new(scope.child("proj"), width, width, options.output_bias),
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let options = AttentionOptions { bias: self.bias, ..AttentionOptions::new(self.heads) };
        let packed = graph.linear(x, &self.query_key_value)?;
        let mut y = graph.attention_with(&[packed], options)?;
        if let Some(norm) = &self.norm {
            y = norm.forward(graph, y)?;
        }
        graph.linear(y, &self.output)
    }
}
