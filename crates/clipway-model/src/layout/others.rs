//! Models of transformers that share names with supported ones: their folder's `config.json` says what they are.

use clipway_formats::shown;
use serde_json::Value;

use super::hf_config::CONFIG;
use super::{Layout, LayoutError};
use crate::checkpoint::{Checkpoint, CheckpointError};

/// What makes a model impossible to convert, and the next step where there is one.
struct Other {
    /// Values of `model_type`.
    kinds: &'static [&'static str],
    /// The model, for people.
    title: &'static str,
    /// The reason.
    why: &'static str,
}

/// Every known kind that is refused.
const OTHERS: [Other; 24] = [
    Other {
        kinds: &["clipseg", "clipseg_vision_model", "clipseg_text_model"],
        title: "CLIPSeg",
        why: "it is a CLIP with a segmentation decoder, whose outputs open_clip does not support",
    },
    Other {
        kinds: &["owlvit", "owlvit_vision_model", "owlvit_text_model"],
        title: "OWL-ViT",
        why: "it is a CLIP for object detection with one vector per patch, which open_clip does not support",
    },
    Other {
        kinds: &["owlv2", "owlv2_vision_model", "owlv2_text_model"],
        title: "OWLv2",
        why: "it is a CLIP for object detection with one vector per patch, which open_clip does not support",
    },
    Other {
        kinds: &["xclip", "xclip_vision_model", "xclip_text_model"],
        title: "XCLIP",
        why: "its image tower passes messages between video frames, which open_clip does not support",
    },
    Other {
        kinds: &["altclip", "altclip_vision_model", "altclip_text_model"],
        title: "AltCLIP",
        why: "its text tower is XLM-RoBERTa with a linear layer and a layer norm, which open_clip does not support",
    },
    Other {
        kinds: &["aimv2", "aimv2_vision_model", "aimv2_text_model"],
        title: "AIMv2",
        why: "its text tower has gated layers and root-mean-square norms, which open_clip does not support",
    },
    Other {
        kinds: &["blip", "blip_vision_model", "blip_text_model", "blip-2", "instructblip"],
        title: "BLIP",
        why: "its towers attend to each other, which open_clip does not support",
    },
    Other {
        kinds: &["align", "align_vision_model", "align_text_model"],
        title: "ALIGN",
        why: "its image tower is an EfficientNet, which open_clip does not support",
    },
    Other {
        kinds: &["groupvit", "groupvit_vision_model", "groupvit_text_model"],
        title: "GroupViT",
        why: "its image tower groups patches stage by stage, which open_clip does not support",
    },
    Other {
        kinds: &["flava"],
        title: "FLAVA",
        why: "it has a third tower, which open_clip does not support",
    },
    Other {
        kinds: &["clap", "clap_audio_model", "clap_text_model"],
        title: "CLAP",
        why: "it compares audio and texts; only images and texts are supported",
    },
    Other {
        kinds: &["bridgetower"],
        title: "BridgeTower",
        why: "its towers attend to each other, which open_clip does not support",
    },
    Other { kinds: &["tipsv2"], title: "TIPSv2", why: "its towers are not supported" },
    Other {
        kinds: &["mlcd", "mlcd_vision_model"],
        title: "MLCD",
        why: "its image tower has rotary positions, which open_clip's does not have",
    },
    Other {
        kinds: &["jina_clip", "jina_clip_v2"],
        title: "Jina CLIP",
        why: "its text tower has rotary positions and adapters, which are not supported",
    },
    Other {
        kinds: &["fg-clip", "fgclip", "fgclip2"],
        title: "FG-CLIP",
        why: "its further heads are not supported; of the first version, a folder whose `model_type` is `clip`, and \
              whose further heads are ignored, is its CLIP",
    },
    Other {
        kinds: &["distilbert"],
        title: "DistilBERT",
        why: "it is a text model alone, of a kind that is not supported as a text tower",
    },
    Other {
        kinds: &["bert", "roberta", "xlm-roberta", "mpnet", "modernbert", "t5", "mt5"],
        title: "a text model alone",
        why: "it has no projection to the features of images; with an open_clip model's own weights it is found by its \
              name in the config",
    },
    Other {
        kinds: &["M-CLIP", "m-clip"],
        title: "Multilingual-CLIP",
        why: "it is a text model alone, whose projection has a bias that no config of open_clip has",
    },
    Other {
        kinds: &["vit", "dinov2", "dinov2_with_registers", "dinov3_vit", "swin", "convnext", "convnextv2"],
        title: "an image model alone",
        why: "it was not trained together with texts",
    },
    Other {
        kinds: &["llava", "llava_next", "llava_onevision", "idefics2", "idefics3", "paligemma", "smolvlm"],
        title: "a language model that sees images",
        why: "it writes texts; save its image tower alone, such as with `model.vision_tower.save_pretrained`",
    },
    Other {
        kinds: &["stable_diffusion", "unet", "wan", "flux"],
        title: "a model that makes images",
        why: "its folder `text_encoder` is its CLIP",
    },
    Other {
        kinds: &["imagebind", "languagebind"],
        title: "ImageBind or LanguageBind",
        why: "it has towers of other modalities, which open_clip does not support",
    },
    Other {
        kinds: &["nomic_bert", "nomic-bert", "nomic_vision"],
        title: "a model of Nomic",
        why: "its towers have rotary positions and gated layers of their own, which are not supported",
    },
];

/// Kinds that are supported, by some of their names; anything else is another model.
const SUPPORTED: [&str; 16] = [
    "clip",
    "clip_vision_model",
    "clip_text_model",
    "metaclip_2",
    "metaclip_2_vision_model",
    "metaclip_2_text_model",
    "siglip",
    "siglip_vision_model",
    "siglip_text_model",
    "siglip2",
    "siglip2_vision_model",
    "siglip2_text_model",
    "chinese_clip",
    "chinese_clip_vision_model",
    "chinese_clip_text_model",
    "vision-text-dual-encoder",
];

/// Whether a `model_type` is that of a supported model of transformers.
pub(crate) fn is_supported(kind: &str) -> bool {
    SUPPORTED.contains(&kind)
}

/// Why a folder of transformers cannot be converted, where its `config.json` says that it is another model than its names
/// show. A layout of another project has no such file, or it is the text model's.
pub(crate) fn other_kind(
    checkpoint: &Checkpoint,
    layout: Option<&Layout>,
) -> Result<Option<LayoutError>, CheckpointError> {
    let decides = layout.is_none_or(|layout| !layout.is_converted() || layout.is_of_transformers());
    if !decides || checkpoint.config().is_some() {
        return Ok(None);
    }
    let Some(bytes) = checkpoint.read_beside(CONFIG)? else { return Ok(None) };
    // A file that cannot be read is reported by whoever needs it.
    let Ok(document) = serde_json::from_slice::<Value>(&bytes) else { return Ok(None) };
    let Some(kind) = document["model_type"].as_str() else {
        let architecture = document["architecture"].as_str().filter(|_| document["num_classes"].is_u64());
        return Ok(architecture.map(|name| LayoutError::ImageModel { architecture: shown(name) }));
    };
    if let Some(other) = OTHERS.iter().find(|other| other.kinds.contains(&kind)) {
        return Ok(Some(LayoutError::Refused { title: other.title, why: other.why }));
    }
    if is_supported(kind) || layout.is_some_and(Layout::is_converted) {
        return Ok(None);
    }
    let class = document["architectures"][0].as_str().map(shown);
    Ok(Some(LayoutError::OtherKind { kind: shown(kind), class }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_listed_once() {
        let mut all: Vec<&str> =
            OTHERS.iter().flat_map(|other| other.kinds).copied().chain(SUPPORTED).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
