//! Apple's MobileCLIP as saved by Apple's own code: training branches and separate batch norms.
//!
//! The image towers are timm's `fastvit_mci…` and `vit_base_mci_224`. The text tower of `mobileclip_s0` has convolution
//! blocks, which no open_clip 3.3.0 model has.

use std::collections::BTreeSet;

use clipway_formats::TensorInfo;
use serde_json::{Value, json};

use super::names::transpose;
use super::{Conversion, KnownConfig, Layout, LayoutError, has_prefix};
use crate::architecture;
use crate::checkpoint::Checkpoint;
use crate::config::{ConfigFile, Interpolation, ModelConfig, PreprocessOptions, ResizeMode};
use crate::contract::Origins;
use crate::differences::Differences;
use crate::identify::{fitting, mlp_ratio};
use crate::plan::{Converted, PlannedTensor, Step, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "mobileclip",
    title: "Apple MobileCLIP",
    recognizes: |tensors| PARTICULAR.into_iter().any(|prefix| has_prefix(tensors, prefix)),
    conversion: Conversion::Steps(convert),
    known_config: Some(known_config),
    check_numbers: None,
};

/// Beginnings of names that no other project gives.
const PARTICULAR: [&str; 4] = [
    "image_encoder.model.patch_emb",
    NETWORK,
    "text_encoder.embedding_layer.",
    "image_encoder.model.cls_token",
];

/// Prefix of a FastViT's stages and of the layers that shrink the map between them, by index.
const NETWORK: &str = "image_encoder.model.network.";

/// Prefix of the text tower's blocks.
const TEXT_BLOCKS: &str = "text_encoder.transformer.";

/// Blocks of MobileCLIP-B's image tower.
const IMAGE_BLOCKS: &str = "image_encoder.model.transformer.";

/// Names outside of blocks, with open_clip's.
const NAMES: [(&str, &str); 12] = [
    ("text_encoder.projection_layer", "text.text_projection"),
    ("text_encoder.embedding_layer.", "text.token_embedding."),
    ("text_encoder.positional_embedding.pos_embed.pos_embed", "text.positional_embedding"),
    ("text_encoder.final_layer_norm.", "text.ln_final."),
    ("image_encoder.model.cls_token", "visual.trunk.cls_token"),
    ("image_encoder.model.pos_embed.pos_embed.pos_embed", "visual.trunk.pos_embed"),
    ("image_encoder.model.post_transformer_norm.", "visual.trunk.norm."),
    ("image_encoder.model.classifier.proj", "visual.trunk.head.weight"),
    ("image_encoder.model.head.proj", "visual.trunk.head.fc.weight"),
    ("image_encoder.model.patch_emb.", "visual.trunk.patch_embed.backbone."),
    ("image_encoder.model.patch_embed.", "visual.trunk.stem."),
    ("image_encoder.model.conv_exp.", "visual.trunk.final_conv."),
];

/// Modules of an attention block, with open_clip's and timm's names.
const ATTENTION_BLOCK: [(&str, &str, &str); 6] = [
    ("pre_norm_mha.0.", "ln_1.", "norm1."),
    ("pre_norm_mha.1.qkv_proj.", "attn.in_proj_", "attn.qkv."),
    ("pre_norm_mha.1.out_proj.", "attn.out_proj.", "attn.proj."),
    ("pre_norm_ffn.0.", "ln_2.", "norm2."),
    ("pre_norm_ffn.1.", "mlp.c_fc.", "mlp.fc1."),
    ("pre_norm_ffn.4.", "mlp.c_proj.", "mlp.fc2."),
];

/// Name parts of convolution blocks that timm spells differently.
const PARTS: [(&str, &str); 10] = [
    ("rbr_conv", "conv_kxk"),
    ("rbr_scale", "conv_scale"),
    ("rbr_skip", "identity"),
    ("lkb_origin", "large_conv"),
    ("convffn", "mlp"),
    ("reduce", "fc1"),
    ("expand", "fc2"),
    ("layer_scale", "layer_scale.gamma"),
    ("layer_scale_1", "layer_scale_1.gamma"),
    ("layer_scale_2", "layer_scale_2.gamma"),
];

/// Name parts of the convolutions before MobileCLIP-B's transformer that timm spells differently.
const STEM_PARTS: [(&str, &str); 2] = [("block.conv.", "conv."), ("block.norm.", "bn.")];

fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let shrinks = shrinks(state_dict);
    let mut converted = Converted::default();
    for tensor in state_dict.tensors() {
        let mut planned = PlannedTensor::same(tensor);
        // An unknown name stays, and is reported as unused.
        if let Some(name) = open_clip_name(&tensor.name, &shrinks) {
            planned.target.name = name;
        }
        let name = planned.target.name.clone();
        match (name.as_str(), &tensor.shape[..]) {
            ("text.positional_embedding", &[1, 1, rows, width]) => {
                planned.then(Step::Reshape { shape: vec![rows, width] })?;
            }
            ("visual.trunk.pos_embed", &[1, 1, rows, width]) => {
                planned.then(Step::Reshape { shape: vec![1, rows, width] })?;
            }
            ("visual.trunk.head.weight" | "visual.trunk.head.fc.weight", &[_, outputs]) => {
                // timm's classifier has a bias; Apple's projection has none.
                let bias = name.replace("weight", "bias");
                planned.then(transpose())?;
                converted.tensors.push(PlannedTensor::filled(bias, 0, tensor.dtype, &[outputs])?);
            }
            _ => {}
        }
        converted.tensors.push(planned);
    }
    Ok(converted)
}

/// Indices of a FastViT's layers that shrink the map: each begins a stage.
fn shrinks(state_dict: &StateDict) -> BTreeSet<usize> {
    let number = |name: &str| {
        let (number, rest) = name.strip_prefix(NETWORK)?.split_once('.')?;
        number.parse().ok().filter(|_| rest.starts_with("proj."))
    };
    state_dict.tensors().iter().filter_map(|tensor| number(&tensor.name)).collect()
}

fn open_clip_name(name: &str, shrinks: &BTreeSet<usize>) -> Option<String> {
    if let Some((number, leaf)) = name.strip_prefix(TEXT_BLOCKS).and_then(|rest| rest.split_once('.')) {
        let block = format!("text.transformer.resblocks.{number}.");
        return Some(match attention_module(leaf) {
            Some(([module, _], rest)) => format!("{block}{module}{rest}"),
            None => format!("{block}{}", convolutional(leaf)),
        });
    }
    if let Some((number, leaf)) = name.strip_prefix(IMAGE_BLOCKS).and_then(|rest| rest.split_once('.')) {
        let ([_, module], rest) = attention_module(leaf)?;
        return Some(format!("visual.trunk.blocks.{number}.{module}{rest}"));
    }
    if let Some((number, leaf)) = name.strip_prefix(NETWORK).and_then(|rest| rest.split_once('.')) {
        let number: usize = number.parse().ok()?;
        let stage = shrinks.range(..=number).count();
        let place = match leaf.split_once('.')? {
            ("proj", leaf) => format!("downsample.proj.{}", convolutional(leaf)),
            ("pe", leaf) => format!("pos_emb.pos_enc.{leaf}"),
            _ => format!("blocks.{}", convolutional(leaf)),
        };
        return Some(format!("visual.trunk.stages.{stage}.{place}"));
    }
    let (ours, rest) =
        NAMES.into_iter().find_map(|(theirs, ours)| Some((ours, name.strip_prefix(theirs)?)))?;
    let stem = STEM_PARTS.into_iter().find(|(theirs, _)| rest.contains(theirs));
    Some(match stem {
        Some((theirs, part)) => format!("{ours}{}", rest.replacen(theirs, part, 1)),
        None => format!("{ours}{}", convolutional(rest)),
    })
}

/// The module of an attention block in open_clip and in timm, and the rest of the name.
fn attention_module(leaf: &str) -> Option<([&'static str; 2], &str)> {
    ATTENTION_BLOCK
        .into_iter()
        .find_map(|(theirs, ours, timm)| Some(([ours, timm], leaf.strip_prefix(theirs)?)))
}

/// A name within convolution blocks, in timm's spelling.
fn convolutional(name: &str) -> String {
    let part = |part: &str| PARTS.into_iter().find(|(theirs, _)| *theirs == part).map(|(_, ours)| ours);
    name.split('.').map(|word| part(word).unwrap_or(word)).collect::<Vec<_>>().join(".")
}

/// The image towers in timm's terms: name, pool and image side.
const IMAGE_TOWERS: [(&str, &str, usize); 6] = [
    ("fastvit_mci0", "avg", 256),
    ("fastvit_mci1", "avg", 256),
    ("fastvit_mci2", "avg", 256),
    ("fastvit_mci3", "avg", 256),
    ("fastvit_mci4", "avg", 256),
    (CAUSAL, "token", 224),
];

/// The image tower whose text tower is causal.
const CAUSAL: &str = "vit_base_mci_224";

/// Registered names of Apple's weights.
const REGISTERED: [&str; 2] = ["MobileCLIP-S1", "MobileCLIP-S2"];

/// The note on MobileCLIP-B.
const B_NOTE: &str = "Apple's code pads the images by 1 before the first convolution and has layer norms with an epsilon \
                      of 1e-5, which open_clip's `MobileCLIP-B` has not: its features of these weights are others; \
                      naming the model `MobileCLIP-B` takes it, for a folder that open_clip 3.3.0 loads";

/// A file that lacks more than one in this many of a model's tensors matches no model.
const MOST_LACKING: usize = 5;

/// Head width of the text tower.
const HEAD_WIDTH: usize = 64;

/// The registered model that matches, or the config according to the shapes and Apple's own configs.
fn known_config(
    _: &Checkpoint,
    state_dict: &StateDict,
    tensors: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let shapes = || tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()));
    let registered = fitting(tensors).into_iter().find(|(name, _)| REGISTERED.contains(name));
    let found = match registered {
        Some((name, model)) => Some((Some(name.to_owned()), model)),
        None => {
            let told = IMAGE_TOWERS.into_iter().filter_map(|tower| {
                let config = config_json(state_dict, tower)?;
                let model = ModelConfig::parse(config.to_string().as_bytes()).ok()?;
                let built = architecture::build(&model).ok()?;
                let differences = Differences::between(&built.parameters, shapes());
                let lacking = differences.missing.len() + differences.mismatched.len();
                (lacking <= built.parameters.len() / MOST_LACKING)
                    .then_some((lacking + differences.unused.len(), model))
            });
            // The one that differs least: the plan reports the differences.
            told.min_by_key(|(differences, _)| *differences).map(|(_, model)| (None, model))
        }
    };
    let Some((name, model)) = found else { return Ok(None) };
    let is_b = model.vision.timm.as_ref().is_some_and(|timm| timm.model_name == CAUSAL);
    let preprocess = PreprocessOptions {
        mean: Some([0.0; 3]),
        std: Some([1.0; 3]),
        interpolation: Some(Interpolation::Bilinear),
        resize_mode: Some(ResizeMode::Shortest),
        ..PreprocessOptions::default()
    };
    Ok(Some(KnownConfig {
        config: ConfigFile { model, preprocess },
        name,
        from: "names and shapes, and Apple's configs of such models".to_owned(),
        origins: Origins::default(),
        activation_from: "Apple's code uses only GELU".to_owned(),
        disagreements: Vec::new(),
        text_model_file: None,
        notes: is_b.then(|| B_NOTE.to_owned()).into_iter().collect(),
    }))
}

/// The config of a model with this image tower and the text tower that the shapes show.
fn config_json(state_dict: &StateDict, (timm, pool, side): (&str, &str, usize)) -> Option<Value> {
    let shape = |name: &str| state_dict.get(name).map(|tensor| tensor.shape.as_slice());
    let &[width, embed_dim] = shape("text_encoder.projection_layer")? else { return None };
    let &[vocabulary, _] = shape("text_encoder.embedding_layer.weight")? else { return None };
    let &[1, 1, context, _] = shape(NAMES[2].0)? else { return None };
    let leaves = || {
        let tensors = state_dict.tensors().iter();
        tensors.filter_map(|tensor| {
            let (number, leaf) = tensor.name.strip_prefix(TEXT_BLOCKS)?.split_once('.')?;
            Some((number.parse::<usize>().ok()?, leaf, &tensor.shape))
        })
    };
    // A short file cannot claim a long model.
    let most = state_dict.tensors().len();
    let layers = leaves().map(|(number, ..)| number).max().filter(|highest| *highest < most)? + 1;
    let is_mixer = |leaf: &str| leaf == "token_mixer.mixer.rbr_conv.0.conv.weight";
    let mixers: Vec<usize> =
        leaves().filter(|(_, leaf, _)| is_mixer(leaf)).map(|(number, ..)| number).collect();
    let kernel = leaves().find(|(_, leaf, _)| is_mixer(leaf)).and_then(|(.., shape)| shape.last());
    let is_mlp = |leaf: &str| matches!(leaf, "pre_norm_ffn.1.weight" | "convffn.fc1.weight");
    let mlp_width = leaves().find(|(_, leaf, _)| is_mlp(leaf)).and_then(|(.., shape)| shape.first())?;
    let mut text = json!({
        "context_length": context,
        "vocab_size": vocabulary,
        "width": width,
        "heads": width / HEAD_WIDTH,
        "layers": layers,
        "mlp_ratio": mlp_ratio(width, *mlp_width),
        "no_causal_mask": timm != CAUSAL,
    });
    if let Some(kernel) = kernel {
        text["rep_mixer_cfg"] = json!({ "layers": mixers, "kernel": kernel });
    }
    let mut config = json!({
        "embed_dim": embed_dim,
        "vision_cfg": {
            "timm_model_name": timm,
            "timm_model_pretrained": false,
            "timm_pool": pool,
            "timm_proj": null,
            "timm_drop": 0.0,
            "timm_drop_path": 0.0,
            "image_size": side,
        },
        "text_cfg": text,
        "custom_text": true,
    });
    if timm == CAUSAL {
        config["vision_cfg"]["timm_model_kwargs"] = json!({ "stem_padding": 1, "norm_eps": 1e-5 });
    }
    Some(config)
}
