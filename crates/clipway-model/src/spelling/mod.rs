//! What an export can be written as: names and files.
//!
//! A target is one file here and one line in [`TARGETS`].

mod clipway;
mod definition;
pub mod onnx;
mod onnx_targets;
mod open_clip;
mod openai;
mod transformers;
mod transformers_clip;
mod transformers_siglip;
mod transformers_preprocess;

pub(crate) use definition::{OWN, Spelled, Subject};
pub use definition::{SpellError, Spelling, StoredWeights, WeightsFormat};

/// A target of an export.
#[derive(Debug)]
pub struct Target {
    /// Name on the command line and in JSON.
    pub name: &'static str,
    /// Description for people.
    pub about: &'static str,
    /// Its names and files. Targets with the same spelling can be written together.
    pub spelling: &'static Spelling,
    /// Format of the weights.
    pub format: WeightsFormat,
}

/// Every target, the default first.
pub static TARGETS: [Target; 8] = [
    Target {
        name: "open_clip",
        about: "Folder for open_clip, with safetensors",
        spelling: &open_clip::SPELLING,
        format: WeightsFormat::Safetensors,
    },
    Target {
        name: "pytorch",
        about: "Folder for open_clip, with a PyTorch file (.bin)",
        spelling: &open_clip::SPELLING,
        format: WeightsFormat::Pytorch,
    },
    Target {
        name: "transformers",
        about: "Folder for transformers' CLIPModel or SiglipModel",
        spelling: &transformers::SPELLING,
        format: WeightsFormat::Safetensors,
    },
    Target {
        name: "openai",
        about: "State dict for OpenAI's code (.pt)",
        spelling: &openai::SPELLING,
        format: WeightsFormat::Pytorch,
    },
    Target {
        name: "clipway",
        about: "clipway's folder with safetensors, which may be in int8 or int4",
        spelling: &clipway::SPELLING,
        format: WeightsFormat::Safetensors,
    },
    Target {
        name: "onnx",
        about: "ONNX files of both towers, which open_clip_inference loads too",
        spelling: &onnx_targets::OWN_SPELLING,
        format: WeightsFormat::Onnx,
    },
    Target {
        name: "onnx-immich",
        about: "ONNX files as immich's folder of a model",
        spelling: &onnx_targets::IMMICH_SPELLING,
        format: WeightsFormat::Onnx,
    },
    Target {
        name: "onnx-transformers",
        about: "ONNX files as transformers.js, optimum and fastembed load them",
        spelling: &onnx_targets::TRANSFORMERS_SPELLING,
        format: WeightsFormat::Onnx,
    },
];

impl Target {
    /// The target with a name.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

impl Default for &'static Spelling {
    fn default() -> &'static Spelling {
        TARGETS[0].spelling
    }
}
