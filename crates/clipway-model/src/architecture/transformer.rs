//! Residual attention blocks, used by both towers.

use crate::config::{ActivationConfig, BlockConfig, BlockKind, ModelConfig, NormConfig};
use crate::graph::{
    Activation, AttentionOptions, GraphBuilder, GraphError, LayerNorm, Linear, Mask, ParameterId, Scope,
    ValueId, WeightLayout,
};

use super::ArchitectureError;

/// Maximum log scale of cosine attention (Swin V2): ln 100.
const HIGHEST_LOG_SCALE: f32 = 4.605_170_2;

/// Settings of a transformer's blocks.
pub(super) struct BlockOptions {
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) mlp_ratio: f64,
    pub(super) layer_scale: bool,
    pub(super) activation: Activation,
    pub(super) norm: NormConfig,
    pub(super) block: BlockConfig,
}

impl BlockOptions {
    /// The settings of a config's text tower.
    pub(super) fn of_text(config: &ModelConfig) -> BlockOptions {
        let text = &config.text;
        BlockOptions {
            width: text.width,
            heads: text.heads,
            mlp_ratio: text.mlp_ratio,
            layer_scale: text.layer_scale.is_some(),
            activation: activation(config.quick_gelu, text.activation),
            norm: text.norm,
            block: text.block,
        }
    }
}

/// A stack of residual attention blocks.
pub(super) struct Transformer {
    blocks: Vec<TransformerBlock>,
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`, each branch with its own scale if there is one.
pub(super) struct TransformerBlock {
    path: String,
    ln_1: LayerNorm,
    attention: Attention,
    ln_attention: Option<LayerNorm>,
    scale_1: Option<ParameterId>,
    ln_2: LayerNorm,
    c_fc: Linear,
    activation: Activation,
    ln_mlp: Option<LayerNorm>,
    c_proj: Linear,
    scale_2: Option<ParameterId>,
}

/// Self-attention with queries, keys and values in one matrix.
struct Attention {
    heads: usize,
    width: usize,
    in_proj: Linear,
    /// Logarithms of the scales of cosine attention, one per head.
    log_scale: Option<ParameterId>,
    head_scale: Option<ParameterId>,
    ln_query_key: Option<[LayerNorm; 2]>,
    ln_inner: Option<LayerNorm>,
    out_proj: Linear,
}

/// Which keys are visible, and the token ids if the mask depends on them.
#[derive(Clone, Copy)]
pub(super) struct Masking {
    pub(super) mask: Mask,
    pub(super) ids: Option<ValueId>,
}

impl Masking {
    pub(super) const NONE: Masking = Masking { mask: Mask::None, ids: None };
}

/// Declares the tensors of a block that is not computed; a cross-attention block also has a norm for the other tokens.
pub(super) fn declare_block(scope: Scope<'_>, options: &BlockOptions, looks_elsewhere: bool) {
    TransformerBlock::declare(scope, options, looks_elsewhere);
}

/// The activation of open_clip's own towers.
pub(super) fn activation(quick_gelu: bool, arguments: ActivationConfig) -> Activation {
    match (quick_gelu, arguments.tanh) {
        (true, _) => Activation::QuickGelu,
        (false, Some(true)) => Activation::GeluTanh,
        (false, _) => Activation::Gelu,
    }
}

/// A layer norm with `norm_kwargs`.
pub(super) fn layer_norm(scope: Scope<'_>, width: usize, norm: NormConfig) -> LayerNorm {
    LayerNorm::new(scope, width, norm.bias, norm.epsilon)
}

/// Refuses layer norms without parameters, for which there is no operation.
pub(super) fn check_norm(norm: NormConfig, tower: &str) -> Result<(), ArchitectureError> {
    if norm.affine {
        return Ok(());
    }
    let what = format!("`norm_kwargs.elementwise_affine: false` in `{tower}`");
    Err(ArchitectureError::unsupported(what, "layer norms without a scale are not implemented"))
}

impl Transformer {
    pub(super) fn declare(mut scope: Scope<'_>, layers: usize, options: &BlockOptions) -> Transformer {
        let mut list = scope.child("resblocks");
        Transformer {
            blocks: (0..layers)
                .map(|index| TransformerBlock::declare(list.child(index), options, false))
                .collect(),
        }
    }

    /// Maps `[batch, tokens, width]` to the same shape.
    pub(super) fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        masking: Masking,
    ) -> Result<ValueId, GraphError> {
        self.blocks.iter().try_fold(x, |x, block| block.forward(graph, x, masking))
    }
}

impl TransformerBlock {
    pub(super) fn declare(
        mut scope: Scope<'_>,
        options: &BlockOptions,
        looks_elsewhere: bool,
    ) -> TransformerBlock {
        let BlockOptions { width, norm, ref block, .. } = *options;
        let custom = block.resolved() == BlockKind::Custom;
        let layer_scale =
            |scope: Scope<'_>| options.layer_scale.then(|| { scope }.parameter("gamma", &[width]));
        let path = scope.path().to_owned();
        let ln_1 = layer_norm(scope.child("ln_1"), width, norm);
        let attention = Attention::declare(scope.child("attn"), options, custom);
        let ln_attention =
            (custom && block.scale_attention).then(|| layer_norm(scope.child("ln_attn"), width, norm));
        let scale_1 = layer_scale(scope.child("ls_1"));
        if looks_elsewhere {
            layer_norm(scope.child("ln_1_kv"), width, norm);
        }
        let ln_2 = layer_norm(scope.child("ln_2"), width, norm);
        let mlp_width = (width as f64 * options.mlp_ratio) as usize;
        let mut mlp = scope.child("mlp");
        let c_fc = Linear::new(mlp.child("c_fc"), width, mlp_width, true);
        let ln_mlp = (custom && block.scale_mlp).then(|| layer_norm(mlp.child("ln"), mlp_width, norm));
        let c_proj = Linear::new(mlp.child("c_proj"), mlp_width, width, true);
        let scale_2 = layer_scale(scope.child("ls_2"));
        let activation = options.activation;
        TransformerBlock {
            path,
            ln_1,
            attention,
            ln_attention,
            scale_1,
            ln_2,
            c_fc,
            activation,
            ln_mlp,
            c_proj,
            scale_2,
        }
    }

    pub(super) fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        masking: Masking,
    ) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.attn", self.path));
        let mut branch = graph.layer_norm(x, &self.ln_1)?;
        branch = self.attention.forward(graph, branch, masking)?;
        if let Some(norm) = &self.ln_attention {
            branch = graph.layer_norm(branch, norm)?;
        }
        if let Some(scale) = self.scale_1 {
            branch = graph.scale(branch, scale)?;
        }
        let x = graph.add(x, branch)?;

        graph.scope(format!("{}.mlp", self.path));
        let mut branch = graph.layer_norm(x, &self.ln_2)?;
        branch = graph.linear(branch, &self.c_fc)?;
        branch = graph.activation(branch, self.activation);
        if let Some(norm) = &self.ln_mlp {
            branch = graph.layer_norm(branch, norm)?;
        }
        branch = graph.linear(branch, &self.c_proj)?;
        if let Some(scale) = self.scale_2 {
            branch = graph.scale(branch, scale)?;
        }
        graph.add(x, branch)
    }
}

impl Attention {
    fn declare(mut scope: Scope<'_>, options: &BlockOptions, custom: bool) -> Attention {
        let BlockOptions { width, heads, norm, ref block, .. } = *options;
        let weight = scope.parameter("in_proj_weight", &[3 * width, width]);
        let bias = Some(scope.parameter("in_proj_bias", &[3 * width]));
        let in_proj = Linear { weight, bias, layout: WeightLayout::OutIn, rows: None };
        let log_scale =
            (custom && block.scaled_cosine_attention).then(|| scope.parameter("logit_scale", &[heads, 1, 1]));
        let head_scale = (custom && block.scale_heads).then(|| scope.parameter("head_scale", &[heads, 1, 1]));
        let ln_query_key = (custom && block.qk_norm)
            .then(|| ["ln_q", "ln_k"].map(|name| layer_norm(scope.child(name), width / heads, norm)));
        let ln_inner =
            (custom && block.scale_attention_inner).then(|| layer_norm(scope.child("ln_inner"), width, norm));
        let out_proj = Linear::new(scope.child("out_proj"), width, width, true);
        Attention { heads, width, in_proj, log_scale, head_scale, ln_query_key, ln_inner, out_proj }
    }

    fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        masking: Masking,
    ) -> Result<ValueId, GraphError> {
        let Masking { mask, ids } = masking;
        let mut options = AttentionOptions { mask, ids, ..AttentionOptions::new(self.heads) };
        let mut y = if self.log_scale.is_none() && self.ln_query_key.is_none() {
            let packed = graph.linear(x, &self.in_proj)?;
            graph.attention_with(&[packed], options)?
        } else {
            let [mut query, mut key, value] = self.query_key_value(graph, x)?;
            if let Some([ln_query, ln_key]) = &self.ln_query_key {
                query = graph.head_norm(query, ln_query)?;
                key = graph.head_norm(key, ln_key)?;
            }
            if let Some(log_scale) = self.log_scale {
                query = graph.unit_heads(query, self.heads)?;
                query = graph.scale_heads(query, log_scale, Some(HIGHEST_LOG_SCALE))?;
                key = graph.unit_heads(key, self.heads)?;
                options.scale = Some(1.0);
            }
            graph.attention_with(&[query, key, value], options)?
        };
        if let Some(head_scale) = self.head_scale {
            y = graph.scale_heads(y, head_scale, None)?;
        }
        if let Some(norm) = &self.ln_inner {
            y = graph.layer_norm(y, norm)?;
        }
        graph.linear(y, &self.out_proj)
    }

    fn query_key_value(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<[ValueId; 3], GraphError> {
        let part = |index: usize| self.in_proj.part(index, self.width);
        Ok([graph.linear(x, &part(0))?, graph.linear(x, &part(1))?, graph.linear(x, &part(2))?])
    }
}
