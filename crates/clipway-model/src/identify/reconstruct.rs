//! Infers a config from shapes: what they determine, and what must be assumed.

use std::fmt::Write;

use crate::architecture;
use crate::config::{ModelConfig, VisionLayers};
use crate::differences::Differences;
use crate::registry;

use super::sketch::{Shapes, Sketch, TextSketch, VisionSketch};

/// A config that matches the tensors, with assumptions where shapes do not determine a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconstruction {
    /// The config.
    pub config: ModelConfig,
    /// Fields that no shape determines; all others are certain.
    pub assumed: Vec<Assumption>,
    /// What the config does not explain; empty if every tensor matches.
    pub differences: Differences,
}

/// A config field that shapes do not determine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assumption {
    /// Path of the field, such as `vision_cfg.head_width`.
    pub field: &'static str,
    /// The assumed value, as JSON.
    pub value: String,
    /// The reason for this value.
    pub why: &'static str,
}

/// Infers the config of a state dict whose towers are both open_clip's own.
pub(super) fn reconstruct(
    sketch: &Sketch,
    shapes: &Shapes<'_>,
    tensors: &[(&str, &[usize])],
) -> Option<Reconstruction> {
    let (vision, text) = (sketch.vision?, sketch.text?);
    let embed_cls = shapes.has(&format!("{}cls_emb", sketch.text_prefix()));
    let (image_size, context_length) = sizes(sketch, embed_cls)?;
    let mut assumed = Vec::new();
    let embed_dim = vision.embed_dim();
    let mut json = format!("{{\"embed_dim\": {embed_dim}, \"vision_cfg\": ");
    write_vision(&mut json, vision, image_size?, shapes, &mut assumed);
    json.push_str(", \"text_cfg\": {");
    write_text(&mut json, text, context_length, embed_cls, sketch.text_prefix(), shapes, &mut assumed);
    json.push('}');
    if sketch.custom_text {
        json.push_str(", \"custom_text\": true");
    }
    if shapes.has("logit_bias") {
        json.push_str(", \"init_logit_bias\": -10");
    }
    if shapes.of::<1>("logit_scale").is_some() {
        json.push_str(", \"nonscalar_logit_scale\": true");
    }
    json.push('}');
    assumed.push(Assumption {
        field: "quick_gelu",
        value: "false".into(),
        why: "an activation has no tensors; OpenAI's own models use QuickGELU",
    });
    let config = ModelConfig::parse(json.as_bytes()).ok()?;
    let model = architecture::build(&config).ok()?;
    let differences = Differences::between(&model.parameters, tensors.iter().copied());
    Some(Reconstruction { config, assumed, differences })
}

/// The config of a state dict from OpenAI's code, which uses QuickGELU, head width 64 and no options, so every field is
/// certain. `None` if this code cannot produce the shapes.
pub(crate) fn reconstruct_openai<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
) -> Option<ModelConfig> {
    /// Head width; for a tower whose width it does not divide, the smallest possible head width.
    const HEAD_WIDTH: usize = 64;
    let tensors: Vec<(&str, &[usize])> = tensors.into_iter().collect();
    let shapes = Shapes::new(&tensors);
    let sketch = Sketch::of(&shapes);
    let mut config = reconstruct(&sketch, &shapes, &tensors)?.config;
    let heads_of =
        |width: usize| Some(width / HEAD_WIDTH).filter(|heads| *heads > 0 && width.is_multiple_of(*heads));
    let head_width = match config.vision.layers {
        VisionLayers::Blocks(_) => config.vision.width / heads_of(config.vision.width)?,
        VisionLayers::Stages(_) => HEAD_WIDTH,
    };
    config.set_heads(head_width, heads_of(config.text.width)?).ok()?;
    config.set_quick_gelu(true).ok()?;
    Some(config)
}

/// Width of the embedding and, as JSON, the `vision_cfg` of an image tower of open_clip's own, with head widths as
/// usual. `None` for another tower.
pub(crate) fn reconstruct_vision<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
) -> Option<(usize, String)> {
    let tensors: Vec<(&str, &[usize])> = tensors.into_iter().collect();
    let shapes = Shapes::new(&tensors);
    let sketch = Sketch::of(&shapes);
    let vision = sketch.vision?;
    let mut json = String::new();
    write_vision(&mut json, vision, image_size(&sketch)??, &shapes, &mut Vec::new());
    Some((vision.embed_dim(), json))
}

/// Image size and context length of the tensors. The image size is `None` if the patches do not form a square.
pub(super) fn sizes(sketch: &Sketch, embed_cls: bool) -> Option<(Option<[usize; 2]>, usize)> {
    let context_length = sketch.text?.positions.checked_sub(usize::from(embed_cls))?;
    Some((image_size(sketch)?, context_length))
}

/// Image size of the tensors; the inner `None` if the patches do not form a square.
fn image_size(sketch: &Sketch) -> Option<Option<[usize; 2]>> {
    let side = sketch.image_tokens()?.checked_sub(1)?.isqrt();
    let square = side > 0 && side * side + 1 == sketch.image_tokens()?;
    let [patch_height, patch_width] = match sketch.vision? {
        VisionSketch::Transformer { patch, .. } => patch,
        VisionSketch::ResNet { .. } => [32, 32],
    };
    let size = [side.checked_mul(patch_height)?, side.checked_mul(patch_width)?];
    Some(square.then_some(size))
}

impl VisionSketch {
    fn embed_dim(self) -> usize {
        let (VisionSketch::Transformer { embed_dim, .. } | VisionSketch::ResNet { embed_dim, .. }) = self;
        embed_dim
    }
}

impl Sketch {
    /// Number of rows in the image tower's positional embedding.
    pub(super) fn image_tokens(&self) -> Option<usize> {
        self.vision.map(|vision| match vision {
            VisionSketch::Transformer { tokens, .. } | VisionSketch::ResNet { tokens, .. } => tokens,
        })
    }
}

/// Writes the whole `vision_cfg`.
fn write_vision(
    json: &mut String,
    vision: VisionSketch,
    [image_height, image_width]: [usize; 2],
    shapes: &Shapes<'_>,
    assumed: &mut Vec<Assumption>,
) {
    // Writing to a string cannot fail.
    let _ = match image_height == image_width {
        true => write!(json, "{{\"image_size\": {image_height}"),
        false => write!(json, "{{\"image_size\": [{image_height}, {image_width}]"),
    };
    let (width, layers) = match vision {
        VisionSketch::Transformer { width, layers, .. } => (width, layers.to_string()),
        VisionSketch::ResNet { width, stages, .. } => (width, format!("{stages:?}")),
    };
    let _ = write!(json, ", \"layers\": {layers}, \"width\": {width}");
    let VisionSketch::Transformer { patch, mlp_width, layers, .. } = vision else {
        let why = "the heads of a ResNet's pooling have no tensors; open_clip's are all 64 wide";
        assumed.push(Assumption { field: "vision_cfg.head_width", value: "64".into(), why });
        json.push('}');
        return;
    };
    let [patch_height, patch_width] = patch;
    let _ = if patch_height == patch_width {
        write!(json, ", \"patch_size\": {patch_height}")
    } else {
        write!(json, ", \"patch_size\": [{patch_height}, {patch_width}]")
    };
    let block = "visual.transformer.resblocks.0.";
    let head_width = match heads_of(shapes, block, width) {
        Some(heads) => width / heads,
        None => {
            let (head_width, why) = usual_head_width(width, layers);
            let field = "vision_cfg.head_width";
            assumed.push(Assumption { field, value: head_width.to_string(), why });
            head_width
        }
    };
    let _ = write!(json, ", \"head_width\": {head_width}, \"mlp_ratio\": {:?}", mlp_ratio(width, mlp_width));
    if !shapes.has("visual.ln_pre.weight") {
        json.push_str(", \"no_ln_pre\": true");
    }
    write_block(json, shapes, block, "visual.ln_post");
    if let Some([queries, _]) = shapes.of("visual.attn_pool.query") {
        let contrastive = shapes.has("visual.attn_pool_contrastive.query");
        let value = if contrastive { "\"parallel\"" } else { "true" };
        let _ = write!(json, ", \"attentional_pool\": {value}, \"attn_pooler_queries\": {queries}");
        if contrastive {
            let why = "`parallel` and `cascade` have the same tensors";
            assumed.push(Assumption { field: "vision_cfg.attentional_pool", value: value.into(), why });
        }
        let why = "heads have no tensors; this is open_clip's default";
        assumed.push(Assumption { field: "vision_cfg.attn_pooler_heads", value: "8".into(), why });
    }
    let why = "pooling has no tensors; this is open_clip's default";
    assumed.push(Assumption { field: "vision_cfg.pool_type", value: "\"tok\"".into(), why });
    assumed.push(Assumption { field: "vision_cfg.final_ln_after_pool", value: "false".into(), why });
    let why = "an epsilon has no tensor; this is PyTorch's default";
    assumed.push(Assumption { field: "vision_cfg.norm_kwargs.eps", value: "1e-5".into(), why });
    json.push('}');
}

fn write_text(
    json: &mut String,
    text: TextSketch,
    context_length: usize,
    embed_cls: bool,
    prefix: &str,
    shapes: &Shapes<'_>,
    assumed: &mut Vec<Assumption>,
) {
    let TextSketch { width, layers, vocab_size, mlp_width, .. } = text;
    let block = format!("{prefix}transformer.resblocks.0.");
    let heads = heads_of(shapes, &block, width).unwrap_or_else(|| {
        let heads = if width.is_multiple_of(64) { width / 64 } else { 1 };
        let why = if width.is_multiple_of(64) {
            "heads have no tensors; open_clip's are 64 wide"
        } else {
            "heads have no tensors, and 64 does not divide the width"
        };
        assumed.push(Assumption { field: "text_cfg.heads", value: heads.to_string(), why });
        heads
    });
    let _ = write!(
        json,
        "\"context_length\": {context_length}, \"vocab_size\": {vocab_size}, \"width\": {width}, \
         \"heads\": {heads}, \"layers\": {layers}, \"mlp_ratio\": {:?}",
        mlp_ratio(width, mlp_width)
    );
    if embed_cls {
        json.push_str(", \"embed_cls\": true");
    }
    if shapes.has(&format!("{prefix}text_projection.weight")) {
        json.push_str(", \"proj_bias\": true");
    } else if !shapes.has(&format!("{prefix}text_projection")) {
        json.push_str(", \"proj_type\": \"none\"");
    }
    write_block(json, shapes, &block, &format!("{prefix}ln_final"));
    let why = "masks and pooling have no tensors; this is open_clip's default";
    assumed.push(Assumption { field: "text_cfg.no_causal_mask", value: "false".into(), why });
    assumed.push(Assumption { field: "text_cfg.pool_type", value: "\"argmax\"".into(), why });
    let why = "an epsilon has no tensor; this is PyTorch's default";
    assumed.push(Assumption { field: "text_cfg.norm_kwargs.eps", value: "1e-5".into(), why });
}

/// Options that add tensors to blocks; `norm` is a layer norm outside of the blocks.
fn write_block(json: &mut String, shapes: &Shapes<'_>, block: &str, norm: &str) {
    let options = [
        ("ls_1.gamma", "ls_init_value", "1e-5"),
        ("attn.ln_q.weight", "qk_norm", "true"),
        ("attn.logit_scale", "scaled_cosine_attn", "true"),
        ("attn.head_scale", "scale_heads", "true"),
        ("attn.ln_inner.weight", "scale_attn_inner", "true"),
        ("ln_attn.weight", "scale_attn", "true"),
        ("mlp.ln.weight", "scale_fc", "true"),
    ];
    for (leaf, key, value) in options {
        if shapes.has(&format!("{block}{leaf}")) {
            let _ = write!(json, ", \"{key}\": {value}");
        }
    }
    if !shapes.has(&format!("{norm}.bias")) {
        json.push_str(", \"norm_kwargs\": {\"bias\": false}");
    }
}

/// Number of heads, if a tensor in a block shows it.
fn heads_of(shapes: &Shapes<'_>, block: &str, width: usize) -> Option<usize> {
    let scale = ["attn.head_scale", "attn.logit_scale"];
    let heads = scale.into_iter().find_map(|leaf| shapes.of(&format!("{block}{leaf}")).map(|[n, _, _]| n));
    let norm = shapes.of(&format!("{block}attn.ln_q.weight")).map(|[head_width]| head_width);
    let heads = heads.or(norm.filter(|n| *n > 0).map(|head_width| width / head_width));
    heads.filter(|heads| *heads > 0)
}

/// The head width of a registered model with this width and depth, or with this width, or 64, or a divisor.
fn usual_head_width(width: usize, layers: usize) -> (usize, &'static str) {
    let same = |config: &ModelConfig, depth: bool| {
        let vision = &config.vision;
        let blocks = matches!(vision.layers, VisionLayers::Blocks(n) if !depth || n == layers);
        vision.timm.is_none() && vision.width == width && blocks
    };
    let registered = |depth: bool| {
        let mut configs = registry::names().filter_map(|name| registry::model(name).ok());
        configs.find(|config| same(config, depth)).map(|config| config.vision.head_width)
    };
    match registered(true).or_else(|| registered(false)) {
        Some(head_width) => (head_width, "heads have no tensors; open_clip's models of this width use this"),
        None if width.is_multiple_of(64) => (64, "heads have no tensors; this is open_clip's default"),
        None => (width, "heads have no tensors, and 64 does not divide the width"),
    }
}

/// The ratio with the fewest digits that gives this MLP width, rounding down like open_clip.
pub(crate) fn mlp_ratio(width: usize, mlp_width: usize) -> f64 {
    let exact = mlp_width as f64 / width as f64;
    let gives = |ratio: &f64| (width as f64 * ratio) as usize == mlp_width;
    let rounded = [1.0, 1e1, 1e2, 1e3, 1e4].map(|scale| (exact * scale).ceil() / scale);
    rounded.into_iter().find(gives).unwrap_or((mlp_width as f64 + 0.5) / width as f64)
}
