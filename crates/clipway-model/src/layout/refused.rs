//! Layouts that are recognized by name, and refused with the reason.

use super::{Conversion, Layout, has_prefix};
use crate::state_dict::StateDict;

/// Defines a refused layout.
macro_rules! refused {
    ($(#[$about:meta])* $place:ident, $name:literal, $title:literal, $recognizes:expr, $why:literal) => {
        $(#[$about])*
        pub(super) static $place: Layout = Layout {
            name: $name,
            title: $title,
            recognizes: $recognizes,
            conversion: Conversion::Refused($why),
            known_config: None,
            check_numbers: None,
        };
    };
}

refused!(
    /// transformers' `XCLIPModel`.
    X_CLIP,
    "transformers_xclip",
    "Hugging Face transformers XCLIPModel",
    |tensors| has_prefix(tensors, "prompts_generator.") || has_prefix(tensors, "mit."),
    "its image tower passes messages between video frames, which open_clip does not support"
);

refused!(
    /// transformers' `CLIPSegModel`.
    CLIP_SEG,
    "transformers_clipseg",
    "Hugging Face transformers CLIPSeg",
    |tensors| has_prefix(tensors, "clip.vision_model.") || has_prefix(tensors, "clip.text_model."),
    "it is a CLIP with a segmentation decoder, whose outputs open_clip does not support"
);

refused!(
    /// transformers' `OwlViTModel` and `Owlv2Model`.
    OWL_VIT,
    "transformers_owlvit",
    "Hugging Face transformers OWL-ViT",
    |tensors| {
        ["owlvit.", "owlv2.", "class_head.dense0.", "box_head.dense0."]
            .into_iter()
            .any(|prefix| has_prefix(tensors, prefix))
    },
    "it is a CLIP for object detection with one vector per patch, which open_clip does not support"
);

refused!(
    /// transformers' `AltCLIPModel`.
    ALT_CLIP,
    "transformers_altclip",
    "Hugging Face transformers AltCLIPModel",
    |tensors| has_prefix(tensors, "text_model.roberta."),
    "its text tower is XLM-RoBERTa with a linear layer and a layer norm, which open_clip does not support"
);

refused!(
    /// transformers' `BlipModel`, which shares names with Chinese-CLIP.
    BLIP,
    "transformers_blip",
    "Hugging Face transformers BLIP",
    |tensors| {
        ["vision_model.encoder.layers.0.self_attn.qkv.", "text_decoder.bert.", "qformer.", "itm_head."]
            .into_iter()
            .any(|prefix| has_prefix(tensors, prefix))
    },
    "its towers attend to each other, which open_clip does not support"
);

refused!(
    /// transformers' `AlignModel`, which shares names with Chinese-CLIP.
    ALIGN,
    "transformers_align",
    "Hugging Face transformers AlignModel",
    |tensors| has_prefix(tensors, "vision_model.embeddings.convolution."),
    "its image tower is an EfficientNet and its text tower BERT, with names that differ from open_clip's"
);

refused!(
    /// transformers' `GroupViTModel`.
    GROUP_VIT,
    "transformers_groupvit",
    "Hugging Face transformers GroupViTModel",
    |tensors| has_prefix(tensors, "vision_model.encoder.stages."),
    "its image tower groups patches stage by stage, which open_clip does not support"
);

refused!(
    /// transformers' `VisionTextDualEncoderModel` whose image tower is not CLIP's.
    DUAL,
    "transformers_dual_other",
    "Hugging Face transformers VisionTextDualEncoderModel whose image tower is not CLIP's",
    |tensors| is_bert(tensors) && has_prefix(tensors, "vision_model."),
    "its image features go through a pooler, which no config of open_clip has"
);

refused!(
    /// transformers' `FlavaModel`.
    FLAVA,
    "transformers_flava",
    "Hugging Face transformers FlavaModel",
    |tensors| has_prefix(tensors, "multimodal_model."),
    "it has a third tower, which open_clip does not support"
);

refused!(
    /// CLAP: transformers' `ClapModel`, LAION's own code, and open_clip's main branch.
    CLAP,
    "clap",
    "CLAP",
    |tensors| {
        let is_open_clips = has_prefix(tensors, "audio.") && has_prefix(tensors, "text.");
        is_open_clips || ["audio_model.", "audio_branch."].into_iter().any(|prefix| has_prefix(tensors, prefix))
    },
    "it compares sound and texts; only images and texts are supported"
);

refused!(
    /// GenLIP and GenLAP of open_clip's main branch.
    GENERATIVE,
    "open_clip_generative",
    "GenLIP or GenLAP of open_clip's main branch",
    |tensors| {
        let has_words = ["lm_head.weight", "text_embed.weight"].iter().all(|name| tensors.find(name).is_some());
        has_words && has_prefix(tensors, "trunk.layers.")
    },
    "it writes texts, which is not supported"
);

refused!(
    /// transformers' classifiers of images: `CLIPForImageClassification` and its relatives.
    CLASSIFIER,
    "transformers_classifier",
    "a classifier of images of Hugging Face transformers (CLIP's or SigLIP's `…ForImageClassification`)",
    |tensors| {
        tensors.find("classifier.weight").is_some()
            && has_prefix(tensors, "vision_model.")
            && !has_prefix(tensors, "text_model.")
            && tensors.find("visual_projection.weight").is_none()
    },
    "it classifies the mean of the patches, which is no vector that a text is compared with; without its classifier, \
     its image tower is one"
);

refused!(
    /// timm's vision transformer, with the names that timm itself gives.
    TIMM_ALONE,
    "timm",
    "a timm image model alone",
    |tensors| tensors.find("patch_embed.proj.weight").is_some() && has_prefix(tensors, "blocks.0."),
    "no text tower and no name of a CLIP is with it; if it is a CLIP's image tower, put `visual.trunk.` before its \
     names, and name the model"
);

refused!(
    /// Meta's SLIP: CLIP with a timm ViT.
    SLIP,
    "slip",
    "SLIP",
    |tensors| is_timm(tensors) && tensors.find("image_projection").is_some(),
    "its image tower is a timm ViT with a projection beside it; rename `visual.…` to `visual.trunk.…` and \
     `image_projection`, transposed, to `visual.proj.weight`, and name the model"
);

refused!(
    /// An image tower with timm's names, under open_clip's name for its own.
    TIMM,
    "timm_visual",
    "a timm image tower under `visual.`",
    is_timm,
    "open_clip's names for it are `visual.trunk.…`; rename its tensors, and name the model"
);

refused!(
    /// The DistilBERT of a multilingual student of CLIP.
    DISTIL_BERT,
    "distilbert",
    "DistilBERT",
    |tensors| ends(tensors, "transformer.layer.0.attention.q_lin.weight"),
    "it is a text model alone, of a kind that is not supported as a text tower"
);

refused!(
    /// Multilingual-CLIP's text model and its projection.
    M_CLIP,
    "m_clip",
    "Multilingual-CLIP",
    |tensors| {
        tensors.find("LinearTransformation.weight").is_some() && has_prefix(tensors, "transformer.")
    },
    "it is a text model alone, whose projection has a bias that no config of open_clip has"
);

refused!(
    /// A BERT, RoBERTa or XLM-RoBERTa alone.
    BERT,
    "bert",
    "a BERT or RoBERTa alone",
    |tensors| {
        let has_blocks = ends(tensors, "encoder.layer.0.attention.self.query.weight");
        has_blocks && !["visual.", "text.", "vision_model.", "text_model."].into_iter().any(|p| has_prefix(tensors, p))
    },
    "it is a text model without a tower for images; a supported model has both, or its text tower's projection"
);

refused!(
    /// DeCLIP and its relatives.
    DE_CLIP,
    "declip",
    "DeCLIP",
    |tensors| has_prefix(tensors, "encode_text.") && has_prefix(tensors, "visual."),
    "its text tower is under `encode_text.`; rename `encode_text.…` to `…` without it, and name the model"
);

refused!(
    /// transformers' `Aimv2Model`.
    AIM_V2,
    "transformers_aimv2",
    "Hugging Face transformers AIMv2",
    |tensors| ends(tensors, "embeddings.rms_norm.weight") || ends(tensors, "embeddings.patch_embed.weight"),
    "its towers have gated layers and root-mean-square norms, which open_clip does not support"
);

refused!(
    /// BLIP in the names of its own code.
    BLIP_OWN,
    "blip",
    "BLIP with the names of its own code",
    |tensors| has_prefix(tensors, "visual_encoder.blocks.") && has_prefix(tensors, "text_"),
    "its towers attend to each other, which open_clip does not support"
);

refused!(
    /// A single tower of a transformers model, or another model with names like CLIP's.
    OTHER_TRANSFORMERS,
    "transformers_other",
    "a Hugging Face transformers model that is not CLIPModel",
    |tensors| ["vision_model.", "text_model."].into_iter().any(|prefix| has_prefix(tensors, prefix)),
    "only CLIPModel and SiglipModel with both towers and their projections are supported"
);

/// Whether any tensor's name ends with this.
fn ends(tensors: &StateDict, end: &str) -> bool {
    tensors.tensors().iter().any(|tensor| {
        let rest = tensor.name.strip_suffix(end);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// Whether the text tower has BERT's names.
fn is_bert(tensors: &StateDict) -> bool {
    has_prefix(tensors, "text_model.encoder.layer.")
        || has_prefix(tensors, "text_model.embeddings.word_embeddings.")
}

/// Whether the image tower has timm's names for a ViT.
fn is_timm(tensors: &StateDict) -> bool {
    has_prefix(tensors, "visual.blocks.") && has_prefix(tensors, "visual.patch_embed.")
}
