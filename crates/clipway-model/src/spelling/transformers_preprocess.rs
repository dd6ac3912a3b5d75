//! transformers' `preprocessor_config.json`.

use serde_json::{Value, json};

use super::Spelled;
use crate::config::{
    Backend, ImageProcessor, Interpolation, Normalize, PixelRule, PreprocessConfig, Resample, Resize,
    ResizeMode, ResizeTo,
};
use crate::problems::Problems;

/// The class that every step can be written for.
pub(super) const CLIP_CLASS: &str = "CLIPImageProcessor";

/// The class of SigLIP's models. It neither crops nor keeps proportions.
const SIGLIP_CLASS: &str = "SiglipImageProcessor";

/// The class of a SigLIP model's image processor: SigLIP's own, unless a step is not in its power.
pub(super) fn siglip_class(processor: &ImageProcessor) -> &'static str {
    let squashes = processor.resize.is_none_or(|resize| matches!(resize.to, ResizeTo::Exactly(_)));
    if squashes && processor.crop.is_none() { SIGLIP_CLASS } else { CLIP_CLASS }
}

/// The image processor that prepares images by these settings: the source's own where it has one, else the steps that come
/// nearest to open_clip's.
pub(super) fn processor(config: &PreprocessConfig, problems: &mut Problems) -> ImageProcessor {
    if let PixelRule::Transformers(processor) = &config.rule {
        return processor.clone();
    }
    let [height, _] = config.size;
    let resample = match config.interpolation {
        Interpolation::Bilinear => Resample::Bilinear,
        Interpolation::Bicubic | Interpolation::Random => Resample::Bicubic,
    };
    let crops = config.resize_mode == ResizeMode::Shortest;
    let cause = "the shorter side is padded, which its image processors cannot do";
    problems.unless(config.resize_mode != ResizeMode::Longest, "preprocess_cfg.resize_mode", cause);
    ImageProcessor {
        backend: Backend::Torchvision,
        over_white: true,
        resize: Some(Resize {
            to: if crops { ResizeTo::Shortest(height) } else { ResizeTo::Exactly(config.size) },
            resample,
        }),
        crop: crops.then_some(config.size),
        rescale: Some(1.0 / 255.0),
        normalize: Some(Normalize { mean: config.mean, std: config.std }),
        pad: None,
    }
}

impl Spelled {
    /// The same with an image processor's file, by which the folder's library prepares images.
    pub(super) fn with_processor(mut self, processor: ImageProcessor, class: &str) -> Spelled {
        let document = processor_config(&processor, class);
        self.files.push(("preprocessor_config.json", format!("{document:#}\n").into_bytes()));
        self.rule = PixelRule::Transformers(processor);
        self
    }
}

/// Writes an image processor as it is, step by step: a step that is left out would be the default of the class.
fn processor_config(processor: &ImageProcessor, class: &str) -> Value {
    let sides = |[height, width]: [usize; 2]| json!({ "height": height, "width": width });
    let mut document = json!({
        "image_processor_type": class,
        "do_resize": processor.resize.is_some(),
        "do_center_crop": processor.crop.is_some(),
        "do_rescale": processor.rescale.is_some(),
        "do_normalize": processor.normalize.is_some(),
        "do_convert_rgb": processor.over_white,
        "do_pad": processor.pad.is_some(),
    });
    if let Some(resize) = processor.resize {
        document["resample"] = json!(resize.resample as usize);
        document["size"] = match resize.to {
            ResizeTo::Shortest(side) => json!({ "shortest_edge": side }),
            ResizeTo::ShortestWithin { shortest, longest } => {
                json!({ "shortest_edge": shortest, "longest_edge": longest })
            }
            ResizeTo::Within([height, width]) => json!({ "max_height": height, "max_width": width }),
            ResizeTo::Exactly(both) => sides(both),
            // Only clipway's own folder keeps proportions, and it has no image processor.
            ResizeTo::Patches(_) => Value::Null,
        };
    }
    if let Some(crop) = processor.crop {
        document["crop_size"] = sides(crop);
    }
    if let Some(factor) = processor.rescale {
        document["rescale_factor"] = json!(factor);
    }
    if let Some(normalize) = processor.normalize {
        document["image_mean"] = json!(normalize.mean);
        document["image_std"] = json!(normalize.std);
    }
    if let Some(pad) = processor.pad {
        document["pad_size"] = sides(pad);
    }
    document
}
