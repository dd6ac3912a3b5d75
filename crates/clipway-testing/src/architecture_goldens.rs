//! Whole-model goldens: what open_clip computes with formula weights.

use clipway_formats::{Dtype, FormatError, SafetensorsFile, TensorFile};
use clipway_model::config::ModelConfig;
use clipway_model::config::text_model::TextModel;
use std::sync::Arc;

/// The golden of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchitectureGolden {
    /// The model.
    pub config: ModelConfig,
    /// Height and width of the images, in pixels; the images are [`crate::formula::image`].
    pub image_size: [usize; 2],
    /// Number of elements that PyTorch counts as parameters.
    pub parameter_count: usize,
    /// The texts, and what the model computes.
    pub outputs: Outputs,
}

/// What a model computes. Features are in the form returned by `encode_image` and `encode_text`.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Token ids of the texts.
    pub tokens: Matrix<i64>,
    /// Features of the images, `[images, embed_dim]`.
    pub image_features: Output,
    /// Features of the texts, `[texts, embed_dim]`.
    pub text_features: Output,
    /// `exp(logit_scale)` times cosine, plus `logit_bias`: `[images, texts]`.
    pub logits_per_image: Output,
}

/// A matrix in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<T> {
    /// Number of rows.
    pub rows: usize,
    /// Length of a row.
    pub columns: usize,
    /// The elements.
    pub elements: Vec<T>,
}

/// One output: computed by PyTorch in f32 and, for small enough models, in f64 as the truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// PyTorch's own f32 result.
    pub single: Matrix<f32>,
    /// The double-precision result.
    pub truth: Option<Matrix<f64>>,
}

/// Why a golden cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The file is not a safetensors file.
    #[error("{0}")]
    File(#[from] FormatError),
    /// The file lacks a part, or a part has an unexpected kind.
    #[error("{part}: expected {expected}, found {found}")]
    Part {
        /// The tensor or metadata key.
        part: String,
        /// What is needed.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// The config in the metadata is wrong.
    #[error("metadata `config`: {0}")]
    Config(FormatError),
}

/// Reads a golden from the bytes of its safetensors file.
///
/// # Errors
/// If the file cannot be read, or lacks one of its parts.
pub fn read_architecture_golden(bytes: Vec<u8>) -> Result<ArchitectureGolden, GoldenError> {
    let file = SafetensorsFile::open(Arc::new(bytes))?;
    let config = metadata(&file, "config")?;
    let image_size = metadata(&file, "image_size")?;
    let mut config = ModelConfig::parse(config.as_bytes()).map_err(GoldenError::Config)?;
    if let Ok(text_model) = metadata(&file, "text_model") {
        match TextModel::parse(text_model.as_bytes()) {
            Ok(Some(model)) => config.set_text_model(model),
            Ok(None) => return Err(part("text_model", "a text model", "another kind")),
            Err(error) => return Err(part("text_model", "a text model", &error.to_string())),
        }
    }
    Ok(ArchitectureGolden {
        config,
        image_size: sides(image_size).ok_or_else(|| part("image_size", "a side or two", image_size))?,
        parameter_count: {
            let count = metadata(&file, "params")?;
            count.parse().map_err(|_| part("params", "an integer", count))?
        },
        outputs: read_outputs(&file)?,
    })
}

/// Reads the texts and outputs of a golden.
///
/// # Errors
/// If one of them is missing or has the wrong kind.
pub(crate) fn read_outputs(file: &SafetensorsFile) -> Result<Outputs, GoldenError> {
    Ok(Outputs {
        tokens: required(file, "tokens", Dtype::I64, i64::from_le_bytes)?,
        image_features: output(file, "image_features")?,
        text_features: output(file, "text_features")?,
        logits_per_image: output(file, "logits_per_image")?,
    })
}

/// Adds the truth to a golden that holds only single precision, from a separate file computed for it with the same
/// config and texts.
///
/// # Errors
/// If the file cannot be read, or belongs to another model or other texts.
pub fn read_architecture_truth(golden: &mut ArchitectureGolden, bytes: Vec<u8>) -> Result<(), GoldenError> {
    let file = SafetensorsFile::open(Arc::new(bytes))?;
    let config = metadata(&file, "config")?;
    if ModelConfig::parse(config.as_bytes()).map_err(GoldenError::Config)? != golden.config {
        return Err(part("config", "the golden's config", config));
    }
    let outputs = &mut golden.outputs;
    if required(&file, "tokens", Dtype::I64, i64::from_le_bytes)? != outputs.tokens {
        return Err(part("tokens", "the golden's texts", "others"));
    }
    for (name, output) in [
        ("image_features_f64", &mut outputs.image_features),
        ("text_features_f64", &mut outputs.text_features),
        ("logits_per_image_f64", &mut outputs.logits_per_image),
    ] {
        output.truth = Some(required(&file, name, Dtype::F64, f64::from_le_bytes)?);
    }
    Ok(())
}

/// Parses one side or `[height, width]`.
fn sides(text: &str) -> Option<[usize; 2]> {
    let one = || serde_json::from_str(text).ok().map(|side: usize| [side, side]);
    serde_json::from_str(text).ok().or_else(one)
}

fn output(file: &SafetensorsFile, name: &str) -> Result<Output, GoldenError> {
    Ok(Output {
        single: required(file, name, Dtype::F32, f32::from_le_bytes)?,
        truth: matrix(file, &format!("{name}_f64"), Dtype::F64, f64::from_le_bytes)?,
    })
}

fn metadata<'f>(file: &'f SafetensorsFile, key: &str) -> Result<&'f str, GoldenError> {
    let found = file.metadata().iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.as_str()).ok_or_else(|| part(key, "a metadata entry", "none"))
}

fn required<T, const SIZE: usize>(
    file: &SafetensorsFile,
    name: &str,
    dtype: Dtype,
    from_bytes: fn([u8; SIZE]) -> T,
) -> Result<Matrix<T>, GoldenError> {
    matrix(file, name, dtype, from_bytes)?.ok_or_else(|| part(name, "a tensor", "none"))
}

fn matrix<T, const SIZE: usize>(
    file: &SafetensorsFile,
    name: &str,
    dtype: Dtype,
    from_bytes: fn([u8; SIZE]) -> T,
) -> Result<Option<Matrix<T>>, GoldenError> {
    let Some(index) = file.tensors().iter().position(|tensor| tensor.name == name) else { return Ok(None) };
    let tensor = &file.tensors()[index];
    let (&[rows, columns], true) = (tensor.shape.as_slice(), tensor.dtype == dtype) else {
        return Err(part(name, "a matrix", &format!("{} {:?}", tensor.dtype, tensor.shape)));
    };
    let mut bytes = Vec::new();
    file.read(index, &mut bytes)?;
    let (chunks, _) = bytes.as_chunks::<SIZE>();
    Ok(Some(Matrix { rows, columns, elements: chunks.iter().map(|chunk| from_bytes(*chunk)).collect() }))
}

fn part(part: &str, expected: &'static str, found: &str) -> GoldenError {
    GoldenError::Part { part: format!("`{part}`"), expected, found: format!("`{found}`") }
}
