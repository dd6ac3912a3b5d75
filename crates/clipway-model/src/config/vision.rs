//! `vision_cfg`: the image tower.

use clipway_formats::{Code, FormatError, JsonCursor};

use super::block::{ActivationConfig, BLOCK_KEYS, BlockConfig, NormConfig};
use super::fields::{Fields, number_in, sides, word};
use super::limits;

/// Depth of the image tower, which also selects its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisionLayers {
    /// Number of blocks of a vision transformer.
    Blocks(usize),
    /// Bottlenecks in each of the four stages of a modified ResNet.
    Stages([usize; 4]),
}

/// Origin of an image's positional embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionalEmbedding {
    /// Trained.
    Learnable,
    /// Sines and cosines of row and column, stored but not trained.
    SinCos2d,
}

/// How an image's tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisionPool {
    /// The class token.
    Token,
    /// The mean of all tokens except the class token.
    Average,
    /// No pooling.
    None,
}

/// Attentional pooling of an image's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionalPool {
    /// No.
    None,
    /// One pooler, whose outputs are pooled like tokens.
    Plain,
    /// Two poolers on the tokens; the second one gives the vector.
    Parallel,
    /// Two poolers, the second on the first's output.
    Cascade,
}

/// `timm_proj`: how a timm trunk's vector becomes the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimmProjection {
    /// A linear layer after the trunk.
    Linear,
    /// An MLP after the trunk.
    Mlp,
    /// The trunk's own classifier, made as wide as the embedding.
    Head,
    /// Nothing.
    None,
}

/// `timm_…`: an image tower by its timm name.
#[derive(Clone, Debug, PartialEq)]
pub struct TimmConfig {
    /// Name of the timm model.
    pub model_name: String,
    /// `timm_pool`: how the trunk pools; `None`, written `null`, for its default.
    pub pool: Option<String>,
    /// The projection after the trunk.
    pub projection: TimmProjection,
    /// Whether that projection has a bias.
    pub projection_bias: bool,
    /// `timm_model_kwargs`: differences from the named model. open_clip 3.3.0 has no such key.
    pub changes: TimmChanges,
}

impl TimmConfig {
    /// Whether it is a tower for images of any proportions (NaFlex).
    pub fn is_naflex(&self) -> bool {
        is_naflex(&self.model_name)
    }
}

/// Whether timm's name is of a tower for images of any proportions.
pub(crate) fn is_naflex(name: &str) -> bool {
    name.starts_with("naflexvit_")
}

/// Sizes and activation of a timm model that differ from its name's, in timm's words.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimmChanges {
    /// `img_size`: height and width of the images.
    pub image_size: Option<[usize; 2]>,
    /// `patch_size`: side of a patch.
    pub patch_size: Option<usize>,
    /// `embed_dim`: width of the tokens.
    pub width: Option<usize>,
    /// `depth`: number of blocks.
    pub depth: Option<usize>,
    /// `num_heads`: attention heads.
    pub heads: Option<usize>,
    /// `mlp_ratio`: ratio of the MLP's width to the block's.
    pub mlp_ratio: Option<f64>,
    /// `act_layer`: whether GELU is the tanh approximation, `gelu_tanh`, or exact, `gelu`.
    pub tanh: Option<bool>,
    /// `norm_eps`: epsilon of the norms, except in a stem, on embedded patches and in ViTamin's MLPs.
    pub norm_epsilon: Option<f64>,
    /// `pos_embed_grid_size`: rows and columns of a NaFlex tower's position table.
    pub grid: Option<[usize; 2]>,
    /// `pos_embed`: the positions of a NaFlex tower.
    pub positions: Option<GridTable>,
    /// `pos_embed_ar_preserving`: whether both axes of a NaFlex tower's positions are stretched alike.
    pub square: Option<bool>,
    /// `class_token`: whether a NaFlex tower has one.
    pub class_token: Option<bool>,
    /// `reg_tokens`: register tokens of a NaFlex tower.
    pub registers: Option<usize>,
    /// `attn_pool_mlp_ratio`: ratio of the width of a NaFlex tower's pooling MLP to the block's.
    pub pool_mlp_ratio: Option<f64>,
    /// `swiglu_mlp`: whether the MLPs of a NaFlex tower are gated.
    pub gated: Option<bool>,
    /// `stem_padding`: zero padding around the images before MobileCLIP-B's first convolution.
    pub stem_padding: Option<usize>,
}

/// The learned positions of a tower for images of any proportions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridTable {
    /// `learned`: a table of rows and columns.
    Grid,
    /// `factorized`: a table of rows and one of columns.
    Factorized,
    /// `none`: there are none.
    None,
}

/// The image tower.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Depth; a list of four makes the tower a modified ResNet.
    pub layers: VisionLayers,
    /// Width of the tokens, or of the ResNet's first stage.
    pub width: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Ratio of the MLP's width to the block's.
    pub mlp_ratio: f64,
    /// Height and width of a patch, in pixels; `None` if the config says `null`.
    pub patch_size: Option<[usize; 2]>,
    /// Height and width of the image, in pixels.
    pub image_size: [usize; 2],
    /// Initial value of the layer scales; `None` for no layer scale.
    pub layer_scale: Option<f64>,
    /// Fraction of patches dropped in training; no effect here.
    pub patch_dropout: f64,
    /// Attentional pooling.
    pub attentional_pool: AttentionalPool,
    /// Number of queries of that pooling.
    pub pooler_queries: usize,
    /// Number of heads of that pooling.
    pub pooler_heads: usize,
    /// Whether the layer norm before the blocks is omitted.
    pub no_ln_pre: bool,
    /// Positional embedding.
    pub positional_embedding: PositionalEmbedding,
    /// Whether the last layer norm comes after pooling.
    pub final_ln_after_pool: bool,
    /// Pooling.
    pub pool: VisionPool,
    /// Whether the tower also returns its tokens; no effect on the vector.
    pub output_tokens: bool,
    /// Arguments of the activation.
    pub activation: ActivationConfig,
    /// Arguments of the layer norms.
    pub norm: NormConfig,
    /// Options of the blocks.
    pub block: BlockConfig,
    /// The timm tower, which replaces everything above except the image size.
    pub timm: Option<TimmConfig>,
}

const KEYS: [&str; 18] = [
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "image_size",
    "ls_init_value",
    "patch_dropout",
    "attentional_pool",
    "attn_pooler_queries",
    "attn_pooler_heads",
    "no_ln_pre",
    "pos_embed_type",
    "final_ln_after_pool",
    "pool_type",
    "output_tokens",
    "act_kwargs",
    IMAGE_TOKENS_KEY,
];

/// Number of patches of a tower for images of any proportions; others ignore it. open_clip 3.3.0 has no such key.
pub(super) const IMAGE_TOKENS_KEY: &str = "image_seq_len";

const TIMM_KEYS: [&str; 9] = [
    "norm_kwargs",
    "timm_model_name",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
    "timm_drop",
    "timm_drop_path",
    TIMM_CHANGES_KEY,
];

/// A key that open_clip 3.3.0 does not know.
pub(super) const TIMM_CHANGES_KEY: &str = "timm_model_kwargs";

impl VisionConfig {
    /// Width of a block's MLP.
    pub fn mlp_width(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }

    pub(super) fn read(at: JsonCursor<'_>, quick_gelu: bool) -> Result<VisionConfig, FormatError> {
        let known: Vec<&str> = KEYS.into_iter().chain(TIMM_KEYS).chain(BLOCK_KEYS).collect();
        let fields = Fields::new(at, &known)?;
        fields.integer(IMAGE_TOKENS_KEY, 1, 1..=limits::TOKENS)?;
        let timm = read_timm(&fields)?;
        // timm's towers have their own activation, whatever `quick_gelu` says.
        let quick_gelu = quick_gelu && timm.is_none();
        let positions =
            [("learnable", PositionalEmbedding::Learnable), ("sin_cos_2d", PositionalEmbedding::SinCos2d)];
        let pools = [("tok", VisionPool::Token), ("avg", VisionPool::Average), ("none", VisionPool::None)];
        Ok(VisionConfig {
            layers: match fields.given("layers")? {
                Some(value) => read_layers(&value)?,
                None => VisionLayers::Blocks(12),
            },
            width: fields.integer("width", 768, 1..=limits::WIDTH)?,
            head_width: fields.integer("head_width", 64, 1..=limits::WIDTH)?,
            mlp_ratio: fields.number("mlp_ratio", 4.0, 0.0..=limits::MLP_RATIO)?,
            patch_size: if fields.has("patch_size")? {
                fields.sides("patch_size", 1..=limits::IMAGE_SIDE)?
            } else {
                Some([16, 16])
            },
            image_size: match fields.given("image_size")? {
                Some(value) => sides(&value, 1..=limits::IMAGE_SIDE)?,
                None => [224, 224],
            },
            layer_scale: fields.optional_number("ls_init_value")?,
            patch_dropout: fields.number("patch_dropout", 0.0, 0.0..=0.999_999)?,
            attentional_pool: read_attentional_pool(&fields)?,
            pooler_queries: fields.integer("attn_pooler_queries", 256, 1..=limits::TOKENS)?,
            pooler_heads: fields.integer("attn_pooler_heads", 8, 1..=limits::WIDTH)?,
            no_ln_pre: fields.boolean("no_ln_pre", false)?,
            positional_embedding: fields.word(
                "pos_embed_type",
                PositionalEmbedding::Learnable,
                &positions,
            )?,
            final_ln_after_pool: fields.boolean("final_ln_after_pool", false)?,
            pool: fields.word("pool_type", VisionPool::Token, &pools)?,
            output_tokens: fields.boolean("output_tokens", false)?,
            activation: ActivationConfig::read(&fields, quick_gelu)?,
            norm: NormConfig::read(&fields)?,
            block: BlockConfig::read(&fields)?,
            timm,
        })
    }
}

fn read_layers(value: &JsonCursor<'_>) -> Result<VisionLayers, FormatError> {
    let Ok(items) = value.items() else {
        return Ok(VisionLayers::Blocks(value.integer(1, limits::LAYERS)?));
    };
    if items.len() != 4 {
        let cause = format!("expected the depths of 4 stages, found an array of length {}", items.len());
        return Err(value.error(Code::BadValue, cause));
    }
    let mut stages = [0; 4];
    for (stage, item) in stages.iter_mut().zip(items) {
        *stage = item.integer(1, limits::LAYERS)?;
    }
    Ok(VisionLayers::Stages(stages))
}

fn read_attentional_pool(fields: &Fields<'_>) -> Result<AttentionalPool, FormatError> {
    match fields.value("attentional_pool")? {
        None => Ok(AttentionalPool::None),
        Some(value) if value.string().is_ok() => {
            word(&value, &[("parallel", AttentionalPool::Parallel), ("cascade", AttentionalPool::Cascade)])
        }
        Some(value) => Ok(if value.boolean()? { AttentionalPool::Plain } else { AttentionalPool::None }),
    }
}

fn read_timm(fields: &Fields<'_>) -> Result<Option<TimmConfig>, FormatError> {
    let pool = match fields.given("timm_pool")? {
        None => Some("avg".to_owned()),
        Some(value) if value.is_null() => None,
        Some(value) => Some(value.string()?.to_owned()),
    };
    let words = [
        ("linear", TimmProjection::Linear),
        ("mlp", TimmProjection::Mlp),
        ("none", TimmProjection::None),
        ("", TimmProjection::Head),
    ];
    let projection = match fields.given("timm_proj")? {
        None => TimmProjection::Linear,
        Some(value) if value.is_null() => TimmProjection::Head,
        Some(value) => word(&value, &words)?,
    };
    let projection_bias = fields.boolean("timm_proj_bias", false)?;
    fields.boolean("timm_model_pretrained", false)?;
    fields.number("timm_drop", 0.0, 0.0..=1.0)?;
    fields.optional_number("timm_drop_path")?;
    let model_name = fields.model_name("timm_model_name")?;
    let changes = fields.value(TIMM_CHANGES_KEY)?.map(read_changes).transpose()?.unwrap_or_default();
    let Some(model_name) = model_name else { return Ok(None) };
    Ok(Some(TimmConfig { model_name, pool, projection, projection_bias, changes }))
}

fn read_changes(at: JsonCursor<'_>) -> Result<TimmChanges, FormatError> {
    let keys = [
        "img_size",
        "patch_size",
        "embed_dim",
        "depth",
        "num_heads",
        "mlp_ratio",
        "act_layer",
        "norm_eps",
        "pos_embed_grid_size",
        "pos_embed",
        "pos_embed_ar_preserving",
        "class_token",
        "reg_tokens",
        "attn_pool_mlp_ratio",
        "swiglu_mlp",
        "stem_padding",
    ];
    let fields = Fields::new(at, &keys)?;
    let integer = |key: &str, most: usize| fields.value(key)?.map(|value| value.integer(1, most)).transpose();
    let activations = [("gelu", false), ("gelu_tanh", true)];
    let tables =
        [("learned", GridTable::Grid), ("factorized", GridTable::Factorized), ("none", GridTable::None)];
    let flag = |key: &str| fields.value(key)?.map(|value| value.boolean()).transpose();
    let ratio = |value: JsonCursor<'_>| number_in(&value, 0.0..=limits::MLP_RATIO);
    Ok(TimmChanges {
        image_size: fields.sides("img_size", 1..=limits::IMAGE_SIDE)?,
        patch_size: integer("patch_size", limits::IMAGE_SIDE)?,
        width: integer("embed_dim", limits::WIDTH)?,
        depth: integer("depth", limits::LAYERS)?,
        heads: integer("num_heads", limits::WIDTH)?,
        mlp_ratio: fields.value("mlp_ratio")?.map(ratio).transpose()?,
        tanh: fields.value("act_layer")?.map(|value| word(&value, &activations)).transpose()?,
        norm_epsilon: fields.value("norm_eps")?.map(|value| number_in(&value, 0.0..=1.0)).transpose()?,
        grid: fields.sides("pos_embed_grid_size", 1..=limits::IMAGE_SIDE)?,
        positions: fields.value("pos_embed")?.map(|value| word(&value, &tables)).transpose()?,
        square: flag("pos_embed_ar_preserving")?,
        class_token: flag("class_token")?,
        registers: fields.value("reg_tokens")?.map(|value| value.integer(0, limits::TOKENS)).transpose()?,
        pool_mlp_ratio: fields.value("attn_pool_mlp_ratio")?.map(ratio).transpose()?,
        gated: flag("swiglu_mlp")?,
        stem_padding: fields.value("stem_padding")?.map(|value| value.integer(0, 3)).transpose()?,
    })
}
