//! Keys of `text_cfg` for open_clip's ModernText tower, which its main branch has and 3.3.0 has not.

use clipway_formats::{Code, FormatError};

use super::fields::Fields;
use super::limits;
use super::text::TextPool;

/// The tower's keys besides those that it shares with open_clip's first text tower.
pub(super) const KEYS: [&str; 15] = [
    "attention_mode",
    "pos_embed",
    "rope_temperature",
    "mlp_type",
    "norm_type",
    "norm_eps",
    "attn_gated",
    "pre_norm",
    "norm_placement",
    "zero_init_residual",
    "reg_tokens",
    "value_residual",
    "attention_bias",
    "mlp_bias",
    "gate_bias",
];

/// What the ModernText tower has that open_clip's first text tower has not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModernTextConfig {
    /// `attention_mode`: whether tokens see only earlier ones; otherwise they see all that are not padding.
    pub causal: bool,
    /// `rope_temperature`, if `pos_embed` is `rope`: the base of rotations. Without it there are no positions.
    pub rotary: Option<f64>,
    /// `mlp_type`.
    pub mlp: ModernMlp,
    /// `norm_type`: whether norms divide by the root mean square; otherwise they are layer norms.
    pub rms: bool,
    /// `norm_eps`: epsilon of all norms.
    pub norm_epsilon: f64,
    /// `attn_gated`: whether what attention finds is multiplied by a gate.
    pub gated: bool,
    /// `pre_norm`: whether embeddings are normalized before the first block.
    pub pre_norm: bool,
    /// `norm_placement: "sandwich"`: whether a branch is normalized at its end too.
    pub sandwich: bool,
    /// `reg_tokens`: learned tokens before the text, which are not pooled.
    pub registers: usize,
    /// `value_residual`: whether each block mixes its values with those of the first.
    pub value_residual: bool,
    /// `attention_bias`: whether the attention's layers and the query's have biases.
    pub attention_bias: bool,
    /// `gate_bias`: whether the gate has one.
    pub gate_bias: bool,
    /// `mlp_bias`: whether the MLP's layers have biases.
    pub mlp_bias: bool,
}

/// The kind of a ModernText tower's MLPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModernMlp {
    /// `swiglu`: gate and value, with SiLU.
    SwiGlu,
    /// `mlp`: GELU.
    Gelu,
    /// `relu2`: the square of ReLU.
    SquaredRelu,
}

/// Bases of rotations.
const TEMPERATURES: std::ops::RangeInclusive<f64> = 1.0..=1e12;

/// How a ModernText tower pools. `argmax` is the end token here, as in open_clip.
pub(super) const POOLS: [(&str, TextPool); 4] =
    [("argmax", TextPool::Eos), ("eos", TextPool::Eos), ("mean", TextPool::Mean), ("map", TextPool::Query)];

impl ModernTextConfig {
    /// Reads the keys; they are checked wherever they are, and the tower exists only if `text_arch` asks for it.
    pub(super) fn read(fields: &Fields<'_>) -> Result<ModernTextConfig, FormatError> {
        let flag = |key: &str| fields.boolean(key, false);
        let tri_state = |key: &str| fields.value(key)?.map(|value| value.boolean()).transpose();
        let temperature = fields.number("rope_temperature", 10_000.0, TEMPERATURES)?;
        let has_positions =
            fields.word("pos_embed", true, &[("rope", true), ("none", false), ("", false)])?;
        let norm = fields.value("norm_type")?;
        let norms = [("rmsnorm", true), ("layernorm", false)];
        let mlps =
            [("swiglu", ModernMlp::SwiGlu), ("mlp", ModernMlp::Gelu), ("relu2", ModernMlp::SquaredRelu)];
        flag("zero_init_residual")?;
        let attention_bias = tri_state("attention_bias")?.unwrap_or(false);
        Ok(ModernTextConfig {
            causal: fields.word("attention_mode", true, &[("causal", true), ("bidirectional", false)])?,
            rotary: has_positions.then_some(temperature),
            mlp: fields.word("mlp_type", ModernMlp::SwiGlu, &mlps)?,
            rms: norm.map_or(Ok(true), |norm| super::fields::word(&norm, &norms))?,
            norm_epsilon: fields.number("norm_eps", 1e-6, 0.0..=1.0)?,
            gated: flag("attn_gated")?,
            pre_norm: flag("pre_norm")?,
            sandwich: fields.word("norm_placement", false, &[("pre", false), ("sandwich", true)])?,
            registers: fields.integer("reg_tokens", 0, 0..=limits::TOKENS)?,
            value_residual: flag("value_residual")?,
            attention_bias,
            gate_bias: tri_state("gate_bias")?.unwrap_or(attention_bias),
            mlp_bias: tri_state("mlp_bias")?.unwrap_or(false),
        })
    }
}

/// Refuses what the tower cannot be combined with.
pub(super) fn check(fields: &Fields<'_>, pool: TextPool) -> Result<(), FormatError> {
    for key in ["hf_model_name", super::text::REP_MIXER_KEY] {
        if let Some(other) = fields.value(key)? {
            let cause = format!("`{key}` and `text_arch: modern` name two text towers");
            return Err(other.error(Code::BadValue, cause));
        }
    }
    if pool == TextPool::Eos {
        fields.required(super::text::END_KEY)?;
    }
    Ok(())
}
