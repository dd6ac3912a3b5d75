//! transformers' `preprocessor_config.json`.

use serde_json::{Value, json};

use crate::config::{Interpolation, PreprocessConfig, ResizeMode};
use crate::problems::Problems;

/// Writes preprocessing for an image processor of this class.
pub(super) fn preprocessor_config(config: &PreprocessConfig, class: &str, problems: &mut Problems) -> Value {
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
