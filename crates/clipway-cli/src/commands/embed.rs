//! `clipway embed`: features of images and texts.

use std::path::{Path, PathBuf};

use clap::Args;
use clipway_formats::{Dtype, TensorInfo, write_safetensors};
use clipway_model::output::{OutputError, OutputOptions, Staging, TargetKind, check_apart};
use clipway_model::plan::Towers;
use clipway_run::encoder::normalize;
use serde::Serialize;

use crate::failure::{Failure, chain};
use crate::images::{Decoded, ImageOptions};
use crate::options::RunArguments;
use crate::reading::ReadingOptions;
use crate::source::{self, SourceArguments};
use crate::text::read_texts;
use crate::texts::encode_texts;
use crate::ui::Ui;

/// Compute the features of images and texts
#[derive(Args)]
pub struct Embed {
    /// An exported folder, or any source with its config
    model_folder: PathBuf,

    /// Image files
    #[arg(required_unless_present_any = ["text", "texts_file"])]
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

    /// Write `image_features` and `text_features` to this safetensors file instead of printing JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replace an existing file
    #[arg(long, requires = "out")]
    force: bool,

    #[command(flatten)]
    image_options: ImageOptions,

    #[command(flatten)]
    reading: ReadingOptions,

    #[command(flatten)]
    run: RunArguments,

    #[command(flatten)]
    source: SourceArguments,
}

/// Features of one image or text, as JSON.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// Whether the image was rotated by its EXIF orientation; omitted if orientation was ignored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    apply_orientation: bool,
    features: &'a [f32],
}

impl Embed {
    /// Computes features. An unreadable image is reported, and the rest are still computed.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let staging = self.staging()?;
        let mut texts = self.text.clone();
        if let Some(path) = &self.texts_file {
            texts.extend(read_texts(path)?);
        }
        let towers = match (self.images.is_empty(), texts.is_empty()) {
            (false, true) => Towers::Image,
            (true, _) => Towers::Text,
            (false, false) => Towers::Both,
        };
        let clip = source::load_to_run(
            &self.model_folder,
            &self.source,
            &self.reading,
            towers,
            &self.run,
            self.image_options.apply_orientation,
            ui,
        )?;
        let mut images = self.image_options.encode(&self.images, &clip, ui)?;
        let mut text_features = encode_texts(&texts, &clip, "texts", ui)?;
        if self.normalize {
            for features in [&mut images.features, &mut text_features] {
                normalize(features, clip.embed_dim());
            }
        }
        match staging {
            // If no input could be read, no file is written.
            Some(_) if images.features.is_empty() && text_features.is_empty() => {}
            Some(staging) => write(staging, &images, (&texts, &text_features), clip.embed_dim(), ui)?,
            None => print(&images, &texts, &text_features, clip.embed_dim(), ui)?,
        }
        Ok(images.is_whole())
    }

    /// Opens the output file. An existing file, or one of the inputs, is refused before anything is computed.
    fn staging(&self) -> Result<Option<Staging>, Failure> {
        let Some(out) = &self.out else { return Ok(None) };
        let given = self.images.iter().chain(&self.texts_file).chain([&self.model_folder]);
        let inputs: Vec<&Path> = given.map(PathBuf::as_path).filter(|path| path.exists()).collect();
        let options = OutputOptions { kind: TargetKind::File, force: self.force, ..OutputOptions::default() };
        let staging = check_apart(out, &inputs).and_then(|()| Staging::create(out, options));
        staging.map(Some).map_err(|error| {
            let failure = Failure::could_not_run(error.code(), chain(&error));
            match error {
                OutputError::Exists { .. } => failure.hint("pass `--force` to replace it"),
                _ => failure,
            }
        })
    }
}

/// Most bytes of texts in the metadata: readers of safetensors refuse long headers.
const METADATA_BYTES: usize = 16 << 20;

/// Writes the features of the images and texts that were given, with their names in the metadata.
fn write(
    staging: Staging,
    images: &Decoded,
    (texts, text_features): (&[String], &[f32]),
    width: usize,
    ui: &Ui,
) -> Result<(), Failure> {
    let failure = |error: &dyn std::error::Error| Failure::could_not_run("write", chain(error));
    let all = [("image_features", images.features.as_slice()), ("text_features", text_features)];
    let present: Vec<(&str, &[f32])> = all.into_iter().filter(|(_, values)| !values.is_empty()).collect();
    let info = |(name, values): &(&str, &[f32])| TensorInfo {
        name: (*name).to_owned(),
        dtype: Dtype::F32,
        shape: vec![values.len() / width, width],
    };
    let infos: Vec<TensorInfo> = present.iter().map(info).collect();
    let names =
        serde_json::to_string(&images.files().collect::<Vec<&str>>()).map_err(|error| failure(&error))?;
    let orientation = ("apply_orientation".to_owned(), images.apply_orientation.to_string());
    let mut metadata = vec![("files".to_owned(), names), orientation];
    let words = serde_json::to_string(texts).map_err(|error| failure(&error))?;
    if words.len() > METADATA_BYTES {
        ui.warn(
            "the texts are too long for the file's metadata, and are left out there: rows are in their order",
        );
    } else if !texts.is_empty() {
        metadata.push(("texts".to_owned(), words));
    }
    let file = staging.single_file().map_err(|error| failure(&error))?;
    write_safetensors(&mut &*file, &infos, &metadata, |index| {
        Ok(present[index].1.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    })
    .map_err(|error| failure(&error))?;
    staging.commit().map_err(|error| failure(&error))?;
    Ok(())
}

fn print(
    images: &Decoded,
    texts: &[String],
    text_features: &[f32],
    width: usize,
    ui: &Ui,
) -> Result<(), Failure> {
    let files = images.files().zip(images.features.chunks_exact(width));
    let image_rows = files.map(|(file, features)| Row {
        file: Some(file),
        text: None,
        apply_orientation: images.apply_orientation,
        features,
    });
    let words = texts.iter().zip(text_features.chunks_exact(width));
    let words = words.map(|(text, features)| Row {
        file: None,
        text: Some(text),
        apply_orientation: false,
        features,
    });
    let rows: Vec<Row<'_>> = image_rows.chain(words).collect();
    ui.data_json(&rows)
}
