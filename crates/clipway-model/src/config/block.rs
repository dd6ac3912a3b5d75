//! Options shared by the blocks of both towers.

use clipway_formats::{Code, FormatError};

use super::fields::{Fields, word};

/// Keys of the attention options, in open_clip's order.
pub(super) const BLOCK_KEYS: [&str; 7] = [
    "block_type",
    "qk_norm",
    "scaled_cosine_attn",
    "scale_heads",
    "scale_attn_inner",
    "scale_attn",
    "scale_fc",
];

/// A kind of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// `ResidualAttentionBlock`, on `torch.nn.MultiheadAttention`.
    Default,
    /// `CustomResidualAttentionBlock`, with the options below.
    Custom,
}

/// Options of the residual blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockConfig {
    /// The requested block; `None` lets the options decide.
    pub kind: Option<BlockKind>,
    /// Layer norm on the queries and keys of each head.
    pub qk_norm: bool,
    /// Cosine attention with a learned scale for each head (Swin V2).
    pub scaled_cosine_attention: bool,
    /// A learned factor on each head's output (NormFormer).
    pub scale_heads: bool,
    /// Layer norm before the attention's output projection.
    pub scale_attention_inner: bool,
    /// Layer norm after the attention.
    pub scale_attention: bool,
    /// Layer norm inside the MLP, before its second layer.
    pub scale_mlp: bool,
}

impl BlockConfig {
    /// open_clip's defaults.
    pub const DEFAULT: BlockConfig = BlockConfig {
        kind: None,
        qk_norm: false,
        scaled_cosine_attention: false,
        scale_heads: false,
        scale_attention_inner: false,
        scale_attention: false,
        scale_mlp: false,
    };

    pub(super) fn read(fields: &Fields<'_>) -> Result<BlockConfig, FormatError> {
        let kinds = [("default", BlockKind::Default), ("custom", BlockKind::Custom)];
        Ok(BlockConfig {
            kind: fields.value("block_type")?.map(|value| word(&value, &kinds)).transpose()?,
            qk_norm: fields.boolean("qk_norm", false)?,
            scaled_cosine_attention: fields.boolean("scaled_cosine_attn", false)?,
            scale_heads: fields.boolean("scale_heads", false)?,
            scale_attention_inner: fields.boolean("scale_attn_inner", false)?,
            scale_attention: fields.boolean("scale_attn", false)?,
            scale_mlp: fields.boolean("scale_fc", false)?,
        })
    }

    /// Whether any option asks for the custom block.
    pub fn any_option(&self) -> bool {
        self.qk_norm
            || self.scaled_cosine_attention
            || self.scale_heads
            || self.scale_attention_inner
            || self.scale_attention
            || self.scale_mlp
    }

    /// The block to build: the requested one, else the custom one if an option needs it.
    pub fn resolved(&self) -> BlockKind {
        let chosen = if self.any_option() { BlockKind::Custom } else { BlockKind::Default };
        self.kind.unwrap_or(chosen)
    }
}

/// `norm_kwargs`: arguments of the layer norms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConfig {
    /// Epsilon, added to the variance.
    pub epsilon: f64,
    /// Whether the norm has a shift.
    pub bias: bool,
    /// Whether the norm has scale and shift at all.
    pub affine: bool,
}

impl NormConfig {
    /// PyTorch's defaults.
    pub const DEFAULT: NormConfig = NormConfig { epsilon: 1e-5, bias: true, affine: true };

    pub(super) fn read(fields: &Fields<'_>) -> Result<NormConfig, FormatError> {
        let Some(value) = fields.value("norm_kwargs")? else { return Ok(NormConfig::DEFAULT) };
        let fields = Fields::new(value, &["eps", "elementwise_affine", "bias"])?;
        Ok(NormConfig {
            epsilon: fields.number("eps", NormConfig::DEFAULT.epsilon, 0.0..=1.0)?,
            bias: fields.boolean("bias", true)?,
            affine: fields.boolean("elementwise_affine", true)?,
        })
    }
}

/// `act_kwargs`: arguments of the activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActivationConfig {
    /// GELU's `approximate`: `Some(true)` for `tanh`, `Some(false)` for `none`.
    pub tanh: Option<bool>,
}

impl ActivationConfig {
    pub(super) fn read(fields: &Fields<'_>, quick_gelu: bool) -> Result<ActivationConfig, FormatError> {
        let Some(value) = fields.value("act_kwargs")? else { return Ok(ActivationConfig::default()) };
        let arguments = Fields::new(value.clone(), &["approximate"])?;
        let approximate = arguments.value("approximate")?;
        if quick_gelu && approximate.is_some() {
            let cause = "QuickGELU takes no arguments: `quick_gelu` and `act_kwargs` are mutually exclusive";
            return Err(value.error(Code::BadValue, cause));
        }
        let words = [("none", false), ("tanh", true)];
        Ok(ActivationConfig { tanh: approximate.map(|value| word(&value, &words)).transpose()? })
    }
}
