//! Image models of timm and torchvision alone, which are recognized by name and refused.

use super::{Conversion, Layout, has_prefix};
use crate::state_dict::StateDict;

/// A convolutional network, a Swin or another classifier of images.
pub(super) static CLASSIFIER: Layout = Layout {
    name: "image_model",
    title: "an image model of timm or torchvision alone",
    recognizes: |tensors| {
        let has_both =
            |[first, second]: &[&str; 2]| has_prefix(tensors, first) && has_prefix(tensors, second);
        PARTS.iter().any(has_both) && !is_of_two_towers(tensors)
    },
    conversion: Conversion::Refused(
        "no text tower and no name of a CLIP is with it; if it is a CLIP's image tower, put `visual.trunk.` before its \
         names, and name the model",
    ),
    known_config: None,
    check_numbers: None,
};

/// Beginnings of names that a family has both of: ResNets, networks in stages (ConvNeXt, FastViT, RegNet …), MLP-Mixers,
/// EfficientNets and MobileNets, torchvision's, Swins, and others.
const PARTS: [[&str; 2]; 13] = [
    ["conv1.", "layer1.0."],
    ["stem", "stages."],
    ["stem.", "s1."],
    ["stem.", "blocks."],
    ["conv_stem.", "blocks."],
    ["features.", "classifier."],
    ["features.", "head."],
    ["patch_embed.", "layers.0.blocks."],
    ["patch_embed.", "blocks.0."],
    ["patch_embed.", "stages."],
    ["patch_embed.", "levels."],
    ["levels.0.", "head."],
    ["conv_proj.", "encoder.layers."],
];

/// Parts of names of text towers, and of CLIP's own ResNet.
const NOT_ALONE: [&str; 6] =
    ["text", "token_embedding", "word_embeddings", "logit_scale", "attnpool.", "lm_head."];

/// Whether a text tower, or a part of CLIP, is among the tensors.
fn is_of_two_towers(tensors: &StateDict) -> bool {
    tensors.tensors().iter().any(|tensor| NOT_ALONE.iter().any(|part| tensor.name.contains(part)))
}
