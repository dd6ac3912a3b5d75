//! Options for what a source's files may leave out: preprocessing and tokenizer.

use std::path::PathBuf;

use clap::Args;
use clipway_model::config::{Interpolation, PreprocessOptions, ResizeMode};
use clipway_model::source::SourceOptions;

use crate::failure::Failure;

/// Preprocessing and tokenizer of a source.
#[derive(Args, Default)]
pub struct ReadingOptions {
    /// Per-channel mean for preprocessing
    #[arg(long, value_names = ["R", "G", "B"], num_args = 3, allow_negative_numbers = true)]
    image_mean: Option<Vec<f64>>,

    /// Per-channel standard deviation for preprocessing
    #[arg(long, value_names = ["R", "G", "B"], num_args = 3)]
    image_std: Option<Vec<f64>>,

    /// Interpolation for preprocessing
    #[arg(long, visible_alias = "image-interpolation", value_parser = ["bicubic", "bilinear", "random"])]
    interpolation: Option<String>,

    /// Resize mode for preprocessing
    #[arg(long, visible_alias = "image-resize-mode", value_parser = ["shortest", "longest", "squash"])]
    resize_mode: Option<String>,

    /// Keep the proportions of images, in at most this many patches; for NaFlex towers
    #[arg(long, value_name = "N")]
    max_patches: Option<usize>,

    /// Folder with the tokenizer files [default: the source's folder]
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
}

impl ReadingOptions {
    /// Adds what was given to the options of a source.
    pub fn added_to(&self, options: SourceOptions) -> Result<SourceOptions, Failure> {
        Ok(SourceOptions { preprocess: self.preprocess()?, max_patches: self.max_patches, ..options })
    }

    /// The preprocessing that was given.
    fn preprocess(&self) -> Result<PreprocessOptions, Failure> {
        let three =
            |values: &Option<Vec<f64>>| values.as_ref().and_then(|v| <[f64; 3]>::try_from(v.clone()).ok());
        let bad = |option: &str, expected: &str, found: &f64| {
            Failure::could_not_run("bad-option", format!("`{option}`: expected {expected}, found {found}"))
        };
        if let Some(found) =
            self.image_std.iter().flatten().find(|value| !(**value > 0.0 && value.is_finite()))
        {
            return Err(bad("--image-std", "positive numbers", found));
        }
        if let Some(found) = self.image_mean.iter().flatten().find(|value| !value.is_finite()) {
            return Err(bad("--image-mean", "numbers", found));
        }
        Ok(PreprocessOptions {
            mean: three(&self.image_mean),
            std: three(&self.image_std),
            interpolation: self.interpolation.as_deref().and_then(Interpolation::from_name),
            resize_mode: self.resize_mode.as_deref().and_then(ResizeMode::from_name),
            ..PreprocessOptions::default()
        })
    }
}
