//! `text_cfg` and `multimodal_cfg`: the text tower, and CoCa's decoder.

use clipway_formats::{Code, FormatError, JsonCursor, shown};

use super::block::{ActivationConfig, BLOCK_KEYS, BlockConfig, NormConfig};
use super::fields::{Fields, word};
use super::limits;
use super::modern_text::{self, ModernTextConfig};
use super::tokenizer::{TIKTOKEN_KEYS as TOKENIZER_KEYS, TokenizerConfig, TokenizerSource};

/// How the tokens of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPool {
    /// The first token.
    First,
    /// The last token.
    Last,
    /// The token with the highest id.
    Argmax,
    /// The first token with id `eos_id`.
    Eos,
    /// The mean of the tokens that are not padding, of a ModernText tower.
    Mean,
    /// What a learned query finds among those tokens, of a ModernText tower.
    Query,
    /// No pooling.
    None,
}

/// How a Hugging Face tower's tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPooler {
    /// `mean_pooler`: the mean of all tokens that are not padding.
    Mean,
    /// `max_pooler`: the maximum over all tokens that are not padding.
    Max,
    /// `cls_pooler`: the first token, through the tower's own pooler if it has one.
    Class,
    /// `cls_last_hidden_state_pooler`: the first token.
    ClassLastHiddenState,
}

/// The projection of a Hugging Face tower's pooled vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextProjection {
    /// `linear`: one layer.
    Linear,
    /// `mlp`: two layers with GELU between them.
    Mlp,
}

/// `hf_…`: a text tower by its Hugging Face name.
#[derive(Clone, Debug, PartialEq)]
pub struct HuggingFaceConfig {
    /// Name of the model.
    pub model_name: String,
    /// `hf_proj_type`: the projection of the pooled vector; `None` if the config says `null`.
    pub projection: Option<TextProjection>,
    /// `hf_pooler_type`; `None` if the config says `null`.
    pub pooler: Option<TextPooler>,
}

/// The text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Context length in tokens.
    pub context_length: usize,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// The tokenizer.
    pub tokenizer: TokenizerConfig,
    /// Width of the tokens.
    pub width: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Ratio of the MLP's width to the block's.
    pub mlp_ratio: f64,
    /// Initial value of the layer scales; `None` for no layer scale.
    pub layer_scale: Option<f64>,
    /// Whether a class token follows the text.
    pub embed_cls: bool,
    /// Padding id.
    pub pad_id: i64,
    /// Id that begins a text, if the config states it. No tower looks for it.
    pub begin_id: Option<i64>,
    /// End token id, for `TextPool::Eos`.
    pub eos_id: i64,
    /// Whether tokens see later tokens.
    pub no_causal_mask: bool,
    /// Accepted for compatibility; it has no effect in open_clip or here, since pooling selects one token.
    pub final_ln_after_pool: bool,
    /// Pooling.
    pub pool: TextPool,
    /// Whether the projection is a linear layer with bias.
    pub projection_bias: bool,
    /// Whether the tower has a projection.
    pub projection: bool,
    /// Whether the tower also returns its tokens; no effect on the vector.
    pub output_tokens: bool,
    /// Arguments of the activation.
    pub activation: ActivationConfig,
    /// Arguments of the layer norms.
    pub norm: NormConfig,
    /// Options of the blocks.
    pub block: BlockConfig,
    /// The Hugging Face tower, which replaces the tower described above.
    pub hugging_face: Option<HuggingFaceConfig>,
    /// Convolution blocks instead of attention blocks. open_clip 3.3.0 has no such key.
    pub rep_mixer: Option<RepMixerConfig>,
    /// The ModernText tower, which replaces open_clip's first text tower. open_clip 3.3.0 has no such tower.
    pub modern: Option<ModernTextConfig>,
}

/// `rep_mixer_cfg`: convolution blocks among a text tower's attention blocks, as in Apple's MobileCLIP-S0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepMixerConfig {
    /// Indices of these blocks.
    pub layers: Vec<usize>,
    /// Kernel size in tokens, odd.
    pub kernel: usize,
}

/// The multimodal decoder of CoCa.
#[derive(Clone, Debug, PartialEq)]
pub struct MultimodalConfig {
    /// What it shares with text towers.
    pub text: TextConfig,
    /// Width of a head; unused by open_clip.
    pub head_width: usize,
    /// Queries; unused by open_clip.
    pub queries: usize,
    /// Heads of the pooling; unused by open_clip.
    pub pooler_heads: usize,
}

const KEYS: [&str; 32] = [
    "context_length",
    "vocab_size",
    "hf_tokenizer_name",
    "tokenizer_mode",
    "tokenizer_kwargs",
    TOKENIZER_KEYS[0],
    TOKENIZER_KEYS[1],
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "ls_init_value",
    "embed_cls",
    PADDING_KEY,
    BEGIN_KEY,
    END_KEY,
    "no_causal_mask",
    "final_ln_after_pool",
    "pool_type",
    "proj_bias",
    "proj_type",
    "output_tokens",
    "act_kwargs",
    "norm_kwargs",
    "hf_model_name",
    "hf_model_pretrained",
    "hf_proj_type",
    "hf_pooler_type",
    REP_MIXER_KEY,
    VARIABLE_KEY,
    ARCHITECTURE_KEY,
    CHANGES_KEY,
];

/// The id of padding.
pub(crate) const PADDING_KEY: &str = "pad_id";

/// The id that begins a text, which no tower reads. open_clip 3.3.0 has no such key.
pub(crate) const BEGIN_KEY: &str = "bos_id";

/// The id that ends a text.
pub(crate) const END_KEY: &str = "eos_id";

/// The kind of text tower. open_clip 3.3.0 has no such key.
pub(super) const ARCHITECTURE_KEY: &str = "text_arch";

/// Whether batches of texts may be left without padding, which changes no feature. open_clip 3.3.0 has no such key.
pub(super) const VARIABLE_KEY: &str = "variable_text";

/// Changes to a text model's own `config.json`. open_clip 3.3.0 has no such key.
pub(super) const CHANGES_KEY: &str = "hf_model_config";

/// Changes that leave the features as they are: the shapes show the number of positions, where there are any.
const CHANGES: [&str; 6] = [
    "max_position_embeddings",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "embedding_dropout",
    "hidden_dropout_prob",
    "mlp_dropout",
];

/// A key that open_clip 3.3.0 does not know.
pub(super) const REP_MIXER_KEY: &str = "rep_mixer_cfg";

const MULTIMODAL_KEYS: [&str; 3] = ["dim_head", "n_queries", "attn_pooler_heads"];

impl TextConfig {
    /// Where the tokenizer comes from, and how open_clip reads texts.
    pub fn tokenizer_source(&self) -> TokenizerSource {
        self.tokenizer.source(self.context_length)
    }

    /// Width of a block's MLP.
    pub fn mlp_width(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }

    pub(super) fn read(at: JsonCursor<'_>, quick_gelu: bool) -> Result<TextConfig, FormatError> {
        if let Some(changes) = at.get(CHANGES_KEY)?.filter(|value| !value.is_null()) {
            for (key, value) in changes.members()? {
                if !CHANGES.contains(&key) {
                    let cause = format!("a text tower with another `{}` is not supported", shown(key));
                    return Err(value.error(Code::Unsupported, cause));
                }
            }
        }
        let known: Vec<&str> = KEYS.into_iter().chain(BLOCK_KEYS).chain(modern_text::KEYS).collect();
        let fields = Fields::new(at, &known)?;
        let is_modern = fields.word(ARCHITECTURE_KEY, false, &[("clip", false), ("modern", true)])?;
        let modern = ModernTextConfig::read(&fields)?;
        TextConfig::read_fields(&fields, quick_gelu, is_modern.then_some(modern))
    }

    fn read_fields(
        fields: &Fields<'_>,
        quick_gelu: bool,
        modern: Option<ModernTextConfig>,
    ) -> Result<TextConfig, FormatError> {
        fields.boolean(VARIABLE_KEY, false)?;
        let begin_id = fields.value(BEGIN_KEY)?.map(|id| id.integer(0, limits::VOCABULARY)).transpose()?;
        let hugging_face = read_hugging_face(fields)?;
        let quick_gelu = quick_gelu && hugging_face.is_none();
        let pools = [
            ("first", TextPool::First),
            ("last", TextPool::Last),
            ("argmax", TextPool::Argmax),
            ("eos", TextPool::Eos),
            ("none", TextPool::None),
        ];
        let pool = match &modern {
            Some(_) => fields.word("pool_type", TextPool::Eos, &modern_text::POOLS)?,
            None => fields.word("pool_type", TextPool::Argmax, &pools)?,
        };
        if modern.is_some() {
            modern_text::check(fields, pool)?;
        }
        Ok(TextConfig {
            context_length: fields.integer("context_length", 77, 1..=limits::TOKENS)?,
            vocab_size: fields.integer("vocab_size", 49408, 1..=limits::VOCABULARY)?,
            tokenizer: TokenizerConfig::read(fields)?,
            width: fields.integer("width", 512, 1..=limits::WIDTH)?,
            heads: fields.integer("heads", 8, 1..=limits::WIDTH)?,
            layers: fields.integer("layers", 12, 1..=limits::LAYERS)?,
            mlp_ratio: fields.number("mlp_ratio", 4.0, 0.0..=limits::MLP_RATIO)?,
            layer_scale: fields.optional_number("ls_init_value")?,
            embed_cls: fields.boolean("embed_cls", false)?,
            pad_id: fields.integer(PADDING_KEY, 0, 0..=limits::VOCABULARY)? as i64,
            begin_id: begin_id.map(|id| id as i64).filter(|_| modern.is_some()),
            eos_id: fields.integer(END_KEY, 2, 0..=limits::VOCABULARY)? as i64,
            no_causal_mask: fields.boolean("no_causal_mask", false)?,
            final_ln_after_pool: fields.boolean("final_ln_after_pool", false)?,
            pool,
            projection_bias: fields.boolean("proj_bias", false)?,
            projection: fields.word("proj_type", true, &[("linear", true), ("none", false)])?,
            output_tokens: fields.boolean("output_tokens", false)?,
            activation: ActivationConfig::read(fields, quick_gelu)?,
            norm: NormConfig::read(fields)?,
            block: BlockConfig::read(fields)?,
            hugging_face,
            rep_mixer: fields.value(REP_MIXER_KEY)?.map(read_rep_mixer).transpose()?,
            modern,
        })
    }
}

fn read_rep_mixer(at: JsonCursor<'_>) -> Result<RepMixerConfig, FormatError> {
    let fields = Fields::new(at, &["layers", "kernel"])?;
    let mut layers = Vec::new();
    for layer in fields.required("layers")?.items()? {
        layers.push(layer.integer(0, limits::LAYERS)?);
    }
    let kernel = fields.required("kernel")?;
    match kernel.integer(1, limits::TOKENS)? {
        odd if odd % 2 == 1 => Ok(RepMixerConfig { layers, kernel: odd }),
        even => Err(kernel.error(Code::BadValue, format!("expected an odd number of tokens, found {even}"))),
    }
}

impl MultimodalConfig {
    pub(super) fn read(at: JsonCursor<'_>, quick_gelu: bool) -> Result<MultimodalConfig, FormatError> {
        let known: Vec<&str> = KEYS.into_iter().chain(MULTIMODAL_KEYS).chain(BLOCK_KEYS).collect();
        let fields = Fields::new(at, &known)?;
        Ok(MultimodalConfig {
            text: TextConfig::read_fields(&fields, quick_gelu, None)?,
            head_width: fields.integer("dim_head", 64, 1..=limits::WIDTH)?,
            queries: fields.integer("n_queries", 256, 1..=limits::TOKENS)?,
            pooler_heads: fields.integer("attn_pooler_heads", 8, 1..=limits::WIDTH)?,
        })
    }
}

fn read_hugging_face(fields: &Fields<'_>) -> Result<Option<HuggingFaceConfig>, FormatError> {
    fields.boolean("hf_model_pretrained", true)?;
    let projections = [("linear", TextProjection::Linear), ("mlp", TextProjection::Mlp)];
    let projection = word_or_null(fields, "hf_proj_type", TextProjection::Mlp, &projections)?;
    let poolers = [
        ("mean_pooler", TextPooler::Mean),
        ("max_pooler", TextPooler::Max),
        ("cls_pooler", TextPooler::Class),
        ("cls_last_hidden_state_pooler", TextPooler::ClassLastHiddenState),
    ];
    let pooler = word_or_null(fields, "hf_pooler_type", TextPooler::Mean, &poolers)?;
    let model_name = fields.model_name("hf_model_name")?;
    Ok(model_name.map(|model_name| HuggingFaceConfig { model_name, projection, pooler }))
}

/// One of a few words; a missing key gives the default, `null` gives `None`.
fn word_or_null<T: Copy>(
    fields: &Fields<'_>,
    key: &str,
    default: T,
    words: &[(&str, T)],
) -> Result<Option<T>, FormatError> {
    match fields.given(key)? {
        None => Ok(Some(default)),
        Some(value) if value.is_null() => Ok(None),
        Some(value) => word(&value, words).map(Some),
    }
}
