//! Files of features: safetensors, NumPy's `.npy`, lines of JSON and Parquet.

use std::io::{BufWriter, Write};
use std::path::Path;

use clipway_formats::{
    Dtype, NpyValues, ParquetRow, TensorInfo, npy_header, shown_path, write_parquet, write_safetensors,
};
use clipway_model::output::Staging;
use serde::Serialize;

use crate::failure::Failure;
use crate::images::Decoded;
use crate::output;
use crate::ui::Ui;

/// Kinds of files, by the ends of their names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `image_features` and `text_features`, with the names of the inputs in the metadata.
    Safetensors,
    /// One array of the features of images or of texts; row `n` is input `n`.
    Npy,
    /// A line for each input, with its name and its features or why it could not be read.
    JsonLines,
    /// The same as a table.
    Parquet,
}

impl Format {
    /// The format of a file, by its name.
    ///
    /// # Errors
    /// A name with another end.
    pub fn of(path: &Path) -> Result<Format, Failure> {
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        match end.to_ascii_lowercase().as_str() {
            "safetensors" => Ok(Format::Safetensors),
            "npy" => Ok(Format::Npy),
            "jsonl" => Ok(Format::JsonLines),
            "parquet" => Ok(Format::Parquet),
            _ => {
                let message = format!("`{}`: unknown kind of file for features", shown_path(path));
                Err(Failure::could_not_run("bad-option", message)
                    .hint("use a name that ends in `.safetensors`, `.npy`, `.jsonl` or `.parquet`"))
            }
        }
    }
}

/// Features of inputs, row by row.
pub struct Features<'a> {
    /// Images, the unreadable ones included, and the features of the readable ones.
    pub images: &'a Decoded,
    /// Texts.
    pub texts: &'a [String],
    /// Features of the texts, `[texts, width]`.
    pub text_features: &'a [f32],
    /// Values of a row.
    pub width: usize,
}

/// One input, as JSON.
#[derive(Serialize)]
pub struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// Whether the image was rotated by its EXIF orientation; omitted if orientation was ignored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    apply_orientation: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<&'a [f32]>,
}

impl<'a> Row<'a> {
    /// A file with its features.
    #[cfg(feature = "search")]
    pub fn of_file(file: &'a str, features: &'a [f32]) -> Row<'a> {
        Row { file: Some(file), text: None, apply_orientation: false, error: None, features: Some(features) }
    }

    /// Whether the input could be read.
    pub fn has_features(&self) -> bool {
        self.features.is_some()
    }
}

impl<'a> Features<'a> {
    /// A row for every input, images first.
    pub fn rows(&self) -> impl Iterator<Item = Row<'a>> {
        let Features { images, texts, text_features, width } = *self;
        let mut features = images.features.chunks_exact(width);
        let images = images.images.iter().map(move |image| Row {
            file: Some(&image.file),
            text: None,
            apply_orientation: images.apply_orientation,
            error: image.error.as_deref(),
            features: if image.error.is_none() { features.next() } else { None },
        });
        let texts = texts.iter().zip(text_features.chunks_exact(width)).map(|(text, features)| Row {
            file: None,
            text: Some(text),
            apply_orientation: false,
            error: None,
            features: Some(features),
        });
        images.chain(texts)
    }

    /// Writes a file and puts it into place.
    ///
    /// # Errors
    /// A write that fails, and an unreadable image where rows have no names: each row after it would be another's.
    pub fn write(&self, format: Format, staging: Staging, ui: &Ui) -> Result<(), Failure> {
        if format == Format::Npy && !self.images.is_whole() {
            return Err(Failure::no(
                "io",
                "an image could not be read, and rows of an `.npy` file have no names",
            )
            .hint("leave the image out, or write `.safetensors`, `.jsonl` or `.parquet`"));
        }
        output::put(staging, |mut file| match format {
            Format::Safetensors => self.safetensors(&mut file, ui),
            Format::Npy => self.npy(&mut file),
            Format::JsonLines => self.json_lines(&mut file),
            Format::Parquet => self.parquet(&mut file),
        })
    }

    fn safetensors(&self, out: &mut impl Write, ui: &Ui) -> std::io::Result<()> {
        let all =
            [("image_features", self.images.features.as_slice()), ("text_features", self.text_features)];
        let present: Vec<(&str, &[f32])> = all.into_iter().filter(|(_, values)| !values.is_empty()).collect();
        let info = |(name, values): &(&str, &[f32])| TensorInfo {
            name: (*name).to_owned(),
            dtype: Dtype::F32,
            shape: vec![values.len() / self.width, self.width],
        };
        let infos: Vec<TensorInfo> = present.iter().map(info).collect();
        let files: Vec<&str> = self.images.files().collect();
        let orientation = ("apply_orientation".to_owned(), self.images.apply_orientation.to_string());
        let mut metadata = vec![("files".to_owned(), serde_json::json!(files).to_string()), orientation];
        let texts = serde_json::json!(self.texts).to_string();
        if texts.len() > METADATA_BYTES {
            ui.warn(
                "the texts are too long for the file's metadata, and are left out there: rows are in their order",
            );
        } else if !self.texts.is_empty() {
            metadata.push(("texts".to_owned(), texts));
        }
        write_safetensors(out, &infos, &metadata, |index| {
            Ok(present[index].1.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
        })
    }

    fn npy(&self, out: &mut impl Write) -> std::io::Result<()> {
        let values: &[f32] =
            if self.images.features.is_empty() { self.text_features } else { &self.images.features };
        let mut out = BufWriter::new(out);
        out.write_all(&npy_header(NpyValues::F32, (values.len() / self.width) as u64, self.width))?;
        for value in values {
            out.write_all(&value.to_le_bytes())?;
        }
        out.flush()
    }

    /// A row for each input, with the columns of the lines of JSON.
    fn parquet(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut out = BufWriter::new(out);
        let rows = self
            .rows()
            .map(|row| ParquetRow { texts: vec![row.file, row.text, row.error], features: row.features });
        write_parquet(&mut out, &PARQUET_COLUMNS, rows)?;
        out.flush()
    }

    fn json_lines(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut out = BufWriter::new(out);
        for row in self.rows() {
            serde_json::to_writer(&mut out, &row)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

/// Columns of texts in a table of features.
pub const PARQUET_COLUMNS: [&str; 3] = ["file", "text", "error"];

/// Most bytes of texts in the metadata: readers of safetensors refuse long headers.
const METADATA_BYTES: usize = 16 << 20;
