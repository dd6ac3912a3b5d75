//! Images on the command line: read and decoded in parallel, encoded in batches.

use std::path::{Path, PathBuf};

use clap::Args;
use clipway_formats::shown_path;
use clipway_model::input;
use clipway_run::clip::Clip;
use clipway_run::image::{DecodeLimits, ImageError, preprocess};
use rayon::prelude::*;

use crate::failure::{self, Failure};
use crate::hints;
use crate::source::clip_failure;
use crate::ui::Ui;

/// Maximum number of images in one pass through the image tower.
const PASS: usize = 32;

/// Maximum bytes of pixels in one pass, unless a single image has more.
const PASS_BYTES: usize = 256 << 20;

/// How images are read.
#[derive(Args)]
pub struct ImageOptions {
    /// Largest image to decode, in pixels
    #[arg(long, value_name = "N", default_value_t = DecodeLimits::default().max_pixels)]
    pub max_pixels: u64,

    /// Rotate images by their EXIF orientation; open_clip does not
    #[arg(long)]
    pub apply_orientation: bool,
}

/// An image from the command line.
pub struct Image {
    /// Its path, as given.
    pub file: String,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// Images, and the features of the readable ones.
#[derive(Default)]
pub struct Decoded {
    /// Whether they were rotated by their EXIF orientation.
    pub apply_orientation: bool,
    /// All images, in the given order.
    pub images: Vec<Image>,
    /// Features of the images without an error, `[images, width]`.
    pub features: Vec<f32>,
}

impl Decoded {
    /// Files of the images that have features, in order.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.images.iter().filter(|image| image.error.is_none()).map(|image| image.file.as_str())
    }

    /// Whether every image could be read.
    pub fn is_whole(&self) -> bool {
        self.images.iter().all(|image| image.error.is_none())
    }
}

impl ImageOptions {
    /// Which images are decoded.
    pub fn limits(&self) -> DecodeLimits {
        DecodeLimits { max_pixels: self.max_pixels }
    }

    /// Encodes images. An unreadable one gives a warning, and the rest are still encoded.
    pub fn encode(&self, paths: &[PathBuf], clip: &Clip, ui: &Ui) -> Result<Decoded, Failure> {
        let limits = self.limits();
        let bar = ui.progress(paths.len() as u64, "images", false);
        let mut decoded = Decoded { apply_orientation: self.apply_orientation, ..Decoded::default() };
        let together = (PASS_BYTES / (4 * clip.pixel_values())).clamp(1, PASS);
        for pass in paths.chunks(together) {
            let read: Vec<Result<Vec<f32>, String>> = pass
                .par_iter()
                .map(|path| {
                    let bytes = input::read(path, input::Kind::Image)
                        .map_err(|error| failure::input(&error).coded())?;
                    let mut pixels = vec![0.0; clip.pixel_values()];
                    preprocess(&bytes, clip.preprocess(), &limits, &mut pixels)
                        .map_err(|error| unreadable(path, &error))?;
                    Ok(pixels)
                })
                .collect();
            let mut pixels = Vec::with_capacity(read.len() * clip.pixel_values());
            let mut sound = Vec::with_capacity(read.len());
            for (path, read) in pass.iter().zip(read) {
                let error = read.map(|one| pixels.extend(one)).err();
                sound.extend(error.is_none().then_some(path));
                decoded.images.push(Image { file: path.to_string_lossy().into_owned(), error });
            }
            let named = |index: usize| format!("`{}`", shown_path(sound[index]));
            let features = clip.encode_pixels(&pixels).map_err(|error| clip_failure(&error.naming(named)))?;
            decoded.features.extend(features);
            bar.inc(pass.len() as u64);
        }
        bar.finish_and_clear();
        decoded.images.iter().filter_map(|image| image.error.as_ref()).for_each(|error| ui.warn(error));
        Ok(decoded)
    }
}

/// Says why an image could not be read, with the code of the cause and a hint.
fn unreadable(path: &Path, error: &ImageError) -> String {
    let hint = hints::of_image(error).map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("`{}`: {} [{}]{hint}", shown_path(path), failure::chain(error), error.code())
}
