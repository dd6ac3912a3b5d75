//! `clipway embed`: features of images and texts.

use std::path::{Path, PathBuf};

use clap::Args;
use clipway_model::output::Staging;
use clipway_model::plan::Towers;
use clipway_run::encoder::normalize;

use crate::collect;
use crate::failure::Failure;
use crate::features::{Features, Format, Row};
use crate::output;
use crate::running::ModelArguments;
use crate::source_name::SourceName;
use crate::text::read_texts;
use crate::texts::encode_texts;
use crate::ui::Ui;

/// Compute the features of images and texts
#[derive(Args)]
pub struct Embed {
    /// An exported folder, or any source with its config; with `--pretrained`, images only
    #[arg(required_unless_present = "pretrained", default_value = "", hide_default_value = true)]
    model_folder: SourceName,

    /// Image files, folders and patterns; a folder stands for the images below it
    #[arg(required_unless_present_any = ["text", "texts_file", "pretrained"])]
    images: Vec<PathBuf>,

    /// Text to embed; may be repeated
    #[arg(long)]
    text: Vec<String>,

    /// A file with one text per line; an empty line is an empty text
    #[arg(long, value_name = "FILE")]
    texts_file: Option<PathBuf>,

    /// Scale every feature vector to length 1
    #[arg(long)]
    normalize: bool,

    /// Write the features to this file instead of printing JSON. By the end of its name: `.safetensors`
    /// (`image_features` and `text_features`, with the inputs in the metadata), `.npy` (images or texts; row n is input
    /// n), `.jsonl` (one line per input) or `.parquet` (one row per input)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replace an existing file
    #[arg(long, requires = "out")]
    force: bool,

    #[command(flatten)]
    model: ModelArguments,
}

impl Embed {
    /// The sources, which may be on the Hub. Where `--pretrained` names the model, the first path is an image.
    pub fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        self.model.source.name_before(&mut self.model_folder, &mut self.images)?;
        if self.images.is_empty() && self.text.is_empty() && self.texts_file.is_none() {
            return Err(Failure::could_not_run("bad-option", "there are no images and no texts"));
        }
        Ok(self.model.source.with_base(&mut self.model_folder))
    }

    /// Computes features. An unreadable image is reported, and the rest are still computed.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let images = collect::images(&self.images, ui)?;
        let output = self.output(&images)?;
        let mut texts = self.text.clone();
        if let Some(path) = &self.texts_file {
            texts.extend(read_texts(path)?);
        }
        if output.as_ref().is_some_and(|(format, _)| *format == Format::Npy)
            && !images.is_empty()
            && !texts.is_empty()
        {
            let failure =
                Failure::could_not_run("bad-option", "an `.npy` file holds one array, of images or of texts");
            return Err(
                failure.hint("write two files, or one that ends in `.safetensors`, `.jsonl` or `.parquet`")
            );
        }
        let towers = match (images.is_empty(), texts.is_empty()) {
            (false, true) => Towers::Image,
            (true, _) => Towers::Text,
            (false, false) => Towers::Both,
        };
        let (clip, _) = self.model.load(&self.model_folder, towers, ui)?;
        let mut decoded = self.model.images.encode(&images, &clip, ui)?;
        let mut text_features = encode_texts(&texts, &clip, "texts", ui)?;
        if self.normalize {
            for features in [&mut decoded.features, &mut text_features] {
                normalize(features, clip.embed_dim());
            }
        }
        let features = Features {
            images: &decoded,
            texts: &texts,
            text_features: &text_features,
            width: clip.embed_dim(),
        };
        match output {
            // If no input could be read, no file is written.
            Some(_) if decoded.features.is_empty() && text_features.is_empty() => {}
            Some((format, staging)) => features.write(format, staging, ui)?,
            None => ui.data_json(&features.rows().filter(Row::has_features).collect::<Vec<_>>())?,
        }
        Ok(decoded.is_whole())
    }

    /// Opens the output file. An existing file, or one of the inputs, is refused before anything is computed.
    fn output(&self, images: &[PathBuf]) -> Result<Option<(Format, Staging)>, Failure> {
        let Some(out) = &self.out else { return Ok(None) };
        let format = Format::of(out)?;
        let given = images.iter().chain(&self.texts_file);
        let given = given.map(PathBuf::as_path).chain([&*self.model_folder]);
        let inputs: Vec<&Path> = given.collect();
        Ok(Some((format, output::file(out, self.force, &inputs)?)))
    }
}
