//! Classes of transformers' image processors, with their defaults.

use crate::config::{Backend, ImageProcessor, Normalize, Resample, Resize, ResizeTo};

/// A class of image processors whose steps are resizing, cropping, rescaling and normalizing.
#[derive(Debug)]
pub(super) struct Class {
    /// Its name, without the `Fast` or `Pil` of a backend.
    pub(super) name: &'static str,
    resample: Resample,
    mean: [f64; 3],
    std: [f64; 3],
    to: ResizeTo,
    crop: Option<[usize; 2]>,
    /// Whether a single number as `size` means both sides; otherwise it means the shorter one.
    pub(super) square: bool,
    /// Whether images are converted to RGB.
    pub(super) convert_rgb: bool,
    /// Whether images keep their proportions, within a number of patches. The class is read at the size of square images.
    pub(super) keeps_proportions: bool,
}

/// The processor of `CLIPModel`.
pub(super) static CLIP: Class = CLIP_DEFAULTS;

/// The processor of `SiglipModel`.
pub(super) static SIGLIP: Class = SIGLIP_DEFAULTS;

const CLIP_DEFAULTS: Class = Class {
    name: "CLIPImageProcessor",
    resample: Resample::Bicubic,
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
    to: ResizeTo::Shortest(224),
    crop: Some([224; 2]),
    square: false,
    convert_rgb: true,
    keeps_proportions: false,
};

const SIGLIP_DEFAULTS: Class = Class {
    name: "SiglipImageProcessor",
    mean: [0.5; 3],
    std: [0.5; 3],
    to: ResizeTo::Exactly([224; 2]),
    crop: None,
    ..CLIP_DEFAULTS
};

/// The processor of `Siglip2Model`.
pub(super) static SIGLIP2: Class = Class {
    name: "Siglip2ImageProcessor",
    resample: Resample::Bilinear,
    convert_rgb: false,
    keeps_proportions: true,
    ..SIGLIP_DEFAULTS
};

const VIT_DEFAULTS: Class = Class {
    name: "ViTImageProcessor",
    resample: Resample::Bilinear,
    square: true,
    convert_rgb: false,
    ..SIGLIP_DEFAULTS
};

static OTHERS: [Class; 5] = [
    Class { name: "ChineseCLIPImageProcessor", ..CLIP_DEFAULTS },
    Class { name: "BitImageProcessor", ..CLIP_DEFAULTS },
    Class {
        name: "BlipImageProcessor",
        to: ResizeTo::Exactly([384; 2]),
        crop: None,
        square: true,
        ..CLIP_DEFAULTS
    },
    VIT_DEFAULTS,
    Class {
        name: "DeiTImageProcessor",
        resample: Resample::Bicubic,
        to: ResizeTo::Exactly([256; 2]),
        crop: Some([224; 2]),
        ..VIT_DEFAULTS
    },
];

impl Class {
    fn all() -> impl Iterator<Item = &'static Class> {
        [&CLIP, &SIGLIP, &SIGLIP2].into_iter().chain(&OTHERS)
    }

    /// Every name, for people.
    pub(super) fn names() -> String {
        let names: Vec<String> = Class::all().map(|class| format!("`{}`", class.name)).collect();
        names.join(", ")
    }

    /// The class with a name. `CLIPImageProcessorFast` and `CLIPImageProcessorPil` name the same processor:
    /// transformers chooses the backend by what is installed.
    pub(super) fn named(name: &str) -> Option<&'static Class> {
        let base = name.strip_suffix("Fast").or_else(|| name.strip_suffix("Pil")).unwrap_or(name);
        Class::all().find(|class| class.name == base)
    }

    /// The class's defaults.
    pub(super) fn defaults(&self) -> Defaults {
        Defaults {
            resize: Resize { to: self.to, resample: self.resample },
            crop: self.crop,
            normalize: Normalize { mean: self.mean, std: self.std },
        }
    }

    /// The defaults, as a processor.
    pub(super) fn processor(&self) -> ImageProcessor {
        let Defaults { resize, crop, normalize } = self.defaults();
        ImageProcessor {
            backend: Backend::Torchvision,
            over_white: self.convert_rgb,
            resize: Some(resize),
            crop,
            rescale: Some(1.0 / 255.0),
            normalize: Some(normalize),
            pad: None,
        }
    }
}

/// A class's defaults; every class rescales by 1/255.
pub(super) struct Defaults {
    pub(super) resize: Resize,
    pub(super) crop: Option<[usize; 2]>,
    pub(super) normalize: Normalize,
}
