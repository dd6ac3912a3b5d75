//! open_clip configs for other projects' SigLIP models.
//!
//! The image tower is a timm model. If no timm name has the sizes and the activation, the nearest one is used, with the
//! differences under `timm_model_kwargs`, which open_clip 3.3.0 does not know.

use clipway_formats::{FormatError, TensorInfo};
use serde_json::{Map, Value, json};

use super::hf_config::{OWN_TOKENIZER, sides};
use crate::architecture::siglip::{SiglipVariant, siglip_variant, siglip_variants};
use crate::config::ModelConfig;
use crate::contract::Clean;
use crate::identify::{fitting, mlp_ratio};

/// A SigLIP model, as another project describes it.
pub(super) struct SiglipShape {
    /// Whether the image tower takes images of any proportions (NaFlex).
    pub(super) naflex: bool,
    pub(super) image_size: [usize; 2],
    pub(super) patch_size: [usize; 2],
    pub(super) vision: SiglipTower,
    pub(super) text: SiglipTower,
    pub(super) context_length: usize,
    pub(super) vocabulary: usize,
    /// Whether the tokenizer's files are beside the weights.
    pub(super) has_tokenizer: bool,
    /// Whether those files say how texts are cleaned, as transformers' do.
    pub(super) cleans_texts: bool,
}

/// Settings of both towers.
pub(super) struct SiglipTower {
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) mlp_width: usize,
    /// Whether GELU is the tanh approximation, if known.
    pub(super) tanh: Option<bool>,
    /// Epsilon of the layer norms.
    pub(super) epsilon: f64,
}

/// A config, its registered name if it has one, and notes for the user.
pub(super) type Told = (ModelConfig, Option<String>, Vec<String>);

/// Tokenizers of open_clip's SigLIP models, by vocabulary size.
const TOKENIZERS: [(usize, &str); 3] = [
    (32_000, "timm/ViT-B-16-SigLIP"),
    (250_000, "timm/ViT-B-16-SigLIP-i18n-256"),
    (256_000, "timm/ViT-B-16-SigLIP2"),
];

/// The timm names that others derive from: of a plain tower, and of NaFlex.
const BASES: [&str; 2] = ["vit_base_patch16_siglip_224", "naflexvit_base_patch16_siglip"];

impl SiglipTower {
    /// Epsilon of the layer norms in SigLIP's code, for both towers.
    pub(super) const EPSILON: f64 = 1e-6;
}

impl SiglipShape {
    /// The config of a model with these tensors under open_clip's names.
    pub(super) fn config(&self, tensors: &[TensorInfo]) -> Result<Told, FormatError> {
        let fits = fitting(tensors);
        if let Some((name, model)) = fits.iter().find(|(_, model)| self.is(model)) {
            let mut model = model.clone();
            if self.cleans_texts {
                model.set_tokenizer(OWN_TOKENIZER, Clean::Whitespace)?;
            }
            return Ok((model, Some((*name).to_owned()), Vec::new()));
        }
        let model = ModelConfig::parse(self.json().to_string().as_bytes())?;
        let other = fits.first().map(|(name, _)| {
            format!(
                "`{name}` has the same shapes but another activation; choose the model `{name}` to use it, for a folder that \
                 open_clip 3.3.0 loads"
            )
        });
        Ok((model, None, other.into_iter().collect()))
    }

    /// Whether a registered model agrees with this one in what shapes do not show.
    fn is(&self, model: &ModelConfig) -> bool {
        let Some(variant) = model.vision.timm.as_ref().and_then(|timm| siglip_variant(&timm.model_name))
        else {
            return false;
        };
        let agrees = |known: Option<bool>, found: bool| known.is_none_or(|known| known == found);
        model.vision.image_size == self.image_size
            && variant.naflex == self.naflex
            && variant.heads == self.vision.heads
            && model.text.heads == self.text.heads
            && variant.epsilon == self.vision.epsilon
            && model.text.norm.epsilon == self.text.epsilon
            && agrees(self.vision.tanh, variant.tanh)
            && agrees(self.text.tanh, model.text.activation.tanh == Some(true))
    }

    /// The config of a model without a registered name.
    fn json(&self) -> Value {
        let SiglipShape { vision, text, .. } = self;
        let mut text_config = json!({
            "context_length": self.context_length,
            "vocab_size": self.vocabulary,
            "hf_tokenizer_name": self.tokenizer(),
            "tokenizer_kwargs": { "clean": if self.cleans_texts { "whitespace" } else { "canonicalize" } },
            "width": text.width,
            "heads": text.heads,
            "layers": text.layers,
            "mlp_ratio": mlp_ratio(text.width, text.mlp_width),
            "no_causal_mask": true,
            "proj_bias": true,
            "pool_type": "last",
            "norm_kwargs": { "eps": text.epsilon },
        });
        // By default, what open_clip uses for the newer models.
        if text.tanh.unwrap_or(true) {
            text_config["act_kwargs"] = json!({ "approximate": "tanh" });
        }
        let mut vision_config = Map::new();
        vision_config.insert("image_size".into(), sides(self.image_size));
        let (name, changes) = self.timm();
        vision_config.insert("timm_model_name".into(), json!(name));
        vision_config.insert("timm_model_pretrained".into(), json!(false));
        vision_config.insert("timm_pool".into(), json!("map"));
        vision_config.insert("timm_proj".into(), json!("none"));
        if !changes.is_empty() {
            vision_config.insert("timm_model_kwargs".into(), Value::Object(changes));
        }
        json!({
            "embed_dim": vision.width,
            "init_logit_bias": -10,
            "custom_text": true,
            "vision_cfg": vision_config,
            "text_cfg": text_config,
        })
    }

    /// The tokenizer's name: if its files exist, open_clip uses those, whatever the name.
    fn tokenizer(&self) -> &'static str {
        let known = TOKENIZERS.into_iter().find(|(ids, _)| *ids == self.vocabulary);
        known.filter(|_| !self.has_tokenizer).map_or(OWN_TOKENIZER, |(_, name)| name)
    }

    /// The timm name of the image tower, or the nearest with the differences.
    fn timm(&self) -> (&'static str, Map<String, Value>) {
        let vision = &self.vision;
        // NaFlex's is the approximation, by default.
        let tanh = vision.tanh.unwrap_or(self.naflex);
        let same = |variant: &SiglipVariant, tanh: bool| {
            variant.naflex == self.naflex
                && variant.image == self.image_size
                && [variant.patch; 2] == self.patch_size
                && variant.width == vision.width
                && variant.depth == vision.layers
                && variant.heads == vision.heads
                && variant.hidden == vision.mlp_width
                && variant.epsilon == vision.epsilon
                && variant.tanh == tanh
        };
        let known = |tanh: bool| siglip_variants().find(|variant| same(variant, tanh));
        let found = known(tanh).or_else(|| vision.tanh.is_none().then(|| known(!tanh)).flatten());
        if let Some(found) = found {
            return (found.name, Map::new());
        }
        let mut changes = Map::new();
        let base = BASES[usize::from(self.naflex)];
        let Some(base) = siglip_variant(base) else { return (base, changes) };
        let mut change = |key: &str, differs: bool, value: Value| {
            if differs {
                changes.insert(key.to_owned(), value);
            }
        };
        let ratio = mlp_ratio(vision.width, vision.mlp_width);
        if self.naflex {
            let grid = |image: [usize; 2], patch: [usize; 2]| [image[0] / patch[0], image[1] / patch[1]];
            let own = grid(self.image_size, self.patch_size);
            change("pos_embed_grid_size", own != grid(base.image, [base.patch; 2]), json!(own));
        } else {
            change("img_size", self.image_size != base.image, sides(self.image_size));
        }
        change("patch_size", self.patch_size != [base.patch; 2], sides(self.patch_size));
        change("embed_dim", vision.width != base.width, json!(vision.width));
        change("depth", vision.layers != base.depth, json!(vision.layers));
        change("num_heads", vision.heads != base.heads, json!(vision.heads));
        change("mlp_ratio", base.hidden * vision.width != vision.mlp_width * base.width, json!(ratio));
        change("act_layer", tanh != base.tanh, json!(if tanh { "gelu_tanh" } else { "gelu" }));
        change("norm_eps", vision.epsilon != base.epsilon, json!(vision.epsilon));
        (base.name, changes)
    }
}
