//! Preprocessing of transformers' `CLIPImageProcessor`, from `preprocessor_config.json`.

use clipway_formats::JsonCursor;

use super::hf_config::parse;
use super::{Contradictions, LayoutError};
use crate::checkpoint::Checkpoint;
use crate::config::section::Section;
use crate::config::{Interpolation, PreprocessConfig, PreprocessOptions, ResizeMode, limits};
use crate::problems::Problems;

/// Files that hold it, the newer last.
const FILES: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];

/// Key of the newer file that holds the object.
const IMAGE_PROCESSOR: &str = "image_processor";

const KEYS: [&str; 21] = [
    "crop_size",
    "data_format",
    "default_to_square",
    "do_center_crop",
    "do_convert_rgb",
    "do_normalize",
    "do_rescale",
    "do_resize",
    "feature_extractor_type",
    "image_mean",
    "image_processor_type",
    "image_std",
    "processor_class",
    "resample",
    "rescale_factor",
    "size",
    "device",
    "disable_grouping",
    "input_data_format",
    "return_tensors",
    "image_seq_length",
];

/// PIL's numbers of interpolations that open_clip has.
const RESAMPLES: [(usize, Interpolation); 2] = [(2, Interpolation::Bilinear), (3, Interpolation::Bicubic)];

/// Reads the preprocessing of a folder for a tower of this image size; the model's own with a note where the folder
/// says none. What is wrong with it is added to what was found.
pub(super) fn read(
    checkpoint: &Checkpoint,
    image_size: [usize; 2],
    own: PreprocessOptions,
    found: &mut Contradictions,
) -> Result<(PreprocessOptions, Option<String>), LayoutError> {
    for file in FILES {
        let Some(bytes) = checkpoint.read_beside(file)? else { continue };
        let document = parse(file, &bytes)?;
        let root = document.root();
        let malformed = |cause| LayoutError::Malformed { file, cause };
        let nested = root.get(IMAGE_PROCESSOR).map_err(malformed)?;
        if nested.is_none() && file != FILES[0] {
            continue;
        }
        let mut problems = Problems::default();
        let options = options(nested.unwrap_or(root), image_size, &own, &mut problems);
        found.add(file, problems);
        return Ok((options, None));
    }
    let whose = if own == PreprocessOptions::default() { "OpenAI's" } else { "SigLIP's" };
    let note = format!("no `{}` is beside the weights; {whose} preprocessing was taken", FILES[0]);
    Ok((own, Some(note)))
}

fn options(
    at: JsonCursor<'_>,
    image_size: [usize; 2],
    own: &PreprocessOptions,
    problems: &mut Problems,
) -> PreprocessOptions {
    let section = Section::new(Some(at), &KEYS, problems);
    let defaults = PreprocessConfig::new(image_size).merged(own);
    for (key, why) in [
        ("do_resize", "open_clip resizes every picture"),
        ("do_rescale", "open_clip takes values from 0 to 1"),
        ("do_convert_rgb", "open_clip takes every picture as RGB"),
    ] {
        if !section.boolean(key, true, problems) {
            problems.add(&section, key, format!("false; {why}"));
        }
    }
    let factor = section.number("rescale_factor", 1.0 / 255.0, 0.0..=1.0, problems);
    if (factor * 255.0 - 1.0).abs() > 1e-6 {
        problems.add(&section, "rescale_factor", format!("{factor}; open_clip's is 1/255"));
    }
    let number = section.integer("resample", 3, 0..=5, problems);
    let interpolation = RESAMPLES.into_iter().find(|(resample, _)| *resample == number);
    if interpolation.is_none() {
        problems.add(&section, "resample", format!("{number}; open_clip has bilinear, 2, and bicubic, 3"));
    }
    // SigLIP's processor does not cut, and knows no such key.
    let crops = section.boolean("do_center_crop", own.resize_mode != Some(ResizeMode::Squash), problems);
    if crops {
        let crop = size(&section, "crop_size", problems);
        if crop.is_some_and(|crop| crop.sides() != image_size) {
            problems.add(&section, "crop_size", format!("it is not the tower's, {image_size:?}"));
        }
    }
    let resize_mode = match size(&section, "size", problems) {
        None => defaults.resize_mode,
        Some(Size::Shortest(side)) => {
            if !crops || [side; 2] != image_size {
                let cause = format!(
                    "a shortest edge of {side} pixels; open_clip resizes it to the tower's {image_size:?} and crops"
                );
                problems.add(&section, "size", cause);
            }
            ResizeMode::Shortest
        }
        Some(Size::Both(sides)) => {
            if sides != image_size {
                problems.add(&section, "size", format!("{sides:?}, but the tower's is {image_size:?}"));
            }
            ResizeMode::Squash
        }
    };
    let normalizes = section.boolean("do_normalize", true, problems);
    let mean = section.channels("image_mean", defaults.mean, problems);
    let std = section.channels("image_std", defaults.std, problems);
    PreprocessOptions {
        size: None,
        mean: Some(if normalizes { mean } else { [0.0; 3] }),
        std: Some(if normalizes { std } else { [1.0; 3] }),
        interpolation: interpolation.map(|(_, interpolation)| interpolation),
        resize_mode: Some(resize_mode),
        fill_color: None,
    }
}

/// A size as transformers writes it.
#[derive(Clone, Copy)]
enum Size {
    /// The shorter side; an integer alone means this as `size`, and a square as `crop_size`.
    Shortest(usize),
    /// Height and width.
    Both([usize; 2]),
}

impl Size {
    fn sides(self) -> [usize; 2] {
        match self {
            Size::Shortest(side) => [side; 2],
            Size::Both(sides) => sides,
        }
    }
}

fn size(section: &Section<'_>, key: &str, problems: &mut Problems) -> Option<Size> {
    let value = section.value(key)?;
    if let Ok(side) = value.integer(1, limits::IMAGE_SIDE) {
        return Some(Size::Shortest(side));
    }
    let inner = Section::new(Some(value), &["shortest_edge", "height", "width"], problems);
    let mut side =
        |key: &str| inner.value(key).map(|_| inner.integer(key, 1, 1..=limits::IMAGE_SIDE, problems));
    match (side("shortest_edge"), side("height"), side("width")) {
        (Some(side), None, None) => Some(Size::Shortest(side)),
        (None, Some(height), Some(width)) => Some(Size::Both([height, width])),
        _ => {
            problems.add(section, key, "expected `shortest_edge`, or `height` and `width`");
            None
        }
    }
}
