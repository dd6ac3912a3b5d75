//! Pictures on the command line: read, decoded side by side and encoded in batches.

use std::path::PathBuf;

use clap::Args;
use clipway_run::clip::Clip;
use clipway_run::image::{DecodeLimits, preprocess};
use rayon::prelude::*;

use crate::failure::{self, Failure};
use crate::source::clip_failure;
use crate::ui::Ui;

/// Pictures of one pass through the image tower.
const PASS: usize = 32;

/// How pictures are read.
#[derive(Args)]
pub struct PictureOptions {
    /// Largest picture that is decoded, in pixels
    #[arg(long, value_name = "N", default_value_t = DecodeLimits::default().max_pixels)]
    pub max_pixels: u64,

    /// Turn pictures as their EXIF orientation says; open_clip does not
    #[arg(long)]
    pub apply_orientation: bool,
}

/// Features of the pictures that could be read, and what was wrong with the others.
#[derive(Default)]
pub struct Decoded {
    /// The pictures that could be read.
    pub files: Vec<String>,
    /// Their features, `[pictures, width]`.
    pub features: Vec<f32>,
    /// The others, with the reason.
    pub errors: Vec<(String, String)>,
}

impl PictureOptions {
    /// Encodes pictures; one that cannot be read is warned of, and the others go on.
    pub fn encode(&self, paths: &[PathBuf], clip: &Clip, ui: &Ui) -> Result<Decoded, Failure> {
        let limits = DecodeLimits { max_pixels: self.max_pixels };
        let bar = ui.progress(paths.len() as u64, "pictures", false);
        let mut decoded = Decoded::default();
        for pass in paths.chunks(PASS) {
            let read: Vec<Result<Vec<f32>, String>> = pass
                .par_iter()
                .map(|path| {
                    let bytes = std::fs::read(path).map_err(|error| failure::file(path, &error).message)?;
                    let mut pixels = vec![0.0; clip.pixel_values()];
                    preprocess(&bytes, clip.preprocess(), &limits, &mut pixels)
                        .map_err(|error| format!("`{}`: {}", path.display(), failure::chain(&error)))?;
                    Ok(pixels)
                })
                .collect();
            let mut pixels = Vec::with_capacity(read.len() * clip.pixel_values());
            for (path, read) in pass.iter().zip(read) {
                let file = path.display().to_string();
                match read {
                    Ok(one) => {
                        pixels.extend(one);
                        decoded.files.push(file);
                    }
                    Err(error) => decoded.errors.push((file, error)),
                }
            }
            decoded.features.extend(clip.encode_pixels(&pixels).map_err(|error| clip_failure(&error))?);
            bar.inc(pass.len() as u64);
        }
        bar.finish_and_clear();
        for (_, error) in &decoded.errors {
            ui.warn(error);
        }
        Ok(decoded)
    }
}
