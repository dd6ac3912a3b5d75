//! transformers' `preprocessor_config.json`.

use serde_json::{Value, json};

use crate::config::{ImageProcessor, Interpolation, PixelRule, PreprocessConfig, ResizeMode, ResizeTo};
use crate::problems::Problems;

/// Writes preprocessing for an image processor of this class.
pub(super) fn preprocessor_config(config: &PreprocessConfig, class: &str, problems: &mut Problems) -> Value {
    if let PixelRule::Transformers(processor) = &config.rule {
        return processor_config(processor, class);
    }
    let [height, width] = config.size;
    let both = json!({ "height": height, "width": width });
    // PIL's numbers.
    let resample = match config.interpolation {
        Interpolation::Bilinear => 2,
        Interpolation::Bicubic | Interpolation::Random => 3,
    };
    let crops = config.resize_mode == ResizeMode::Shortest;
    let size = if crops && class == "CLIPImageProcessor" {
        json!({ "shortest_edge": height })
    } else {
        both.clone()
    };
    let cause = "the longer side fits and the shorter is filled up, which its image processors do not do";
    problems.unless(config.resize_mode != ResizeMode::Longest, "preprocess_cfg.resize_mode", cause);
    let mut document = json!({
        "image_processor_type": class,
        "do_resize": true,
        "size": size,
        "resample": resample,
        "do_center_crop": crops,
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": config.mean,
        "image_std": config.std,
        "do_convert_rgb": true,
    });
    if crops {
        document["crop_size"] = both;
    }
    document
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
