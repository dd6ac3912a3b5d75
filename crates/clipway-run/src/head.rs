//! Zero-shot heads: a classifier's class embeddings in a safetensors file, with labels, templates and temperature, and
//! features of built-in images by which the image tower that it belongs to is recognized.

use std::io::{self, Write};
use std::sync::Arc;

use clipway_formats::{
    Code, Dtype, FormatError, Place, ReadAt, SafetensorsFile, TensorFile, TensorInfo, write_safetensors,
};

use crate::clip::{Clip, ClipError};
use crate::verify::{Inputs, cosine};
use crate::zero_shot::Classifier;

const CLASSES: &str = "classes";
const PROBE: &str = "probe";
const SCALE: &str = "logit_scale";
const BIAS: &str = "logit_bias";

/// Smallest cosine between the probes of one model, whatever its precision.
const LEAST_COSINE: f64 = 0.99;

/// Why a head cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The file is malformed, or no head.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The head of another model.
    #[error("it is the head of another model: features of built-in images have a cosine of {cosine:.3}")]
    OtherModel {
        /// The smallest cosine of the features of a built-in image.
        cosine: f64,
    },
    /// The model cannot encode the built-in images.
    #[error(transparent)]
    Clip(#[from] ClipError),
    /// The file cannot be written.
    #[error("writing failed")]
    Write(#[source] io::Error),
}

impl HeadError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            HeadError::Format(error) => error.code.name(),
            HeadError::OtherModel { .. } => "mismatch",
            HeadError::Clip(error) => error.code(),
            HeadError::Write(_) => "write",
        }
    }
}

/// A classifier with its words.
#[derive(Clone, Debug)]
pub struct Head {
    /// Class embeddings and temperature.
    pub classifier: Classifier,
    /// The labels.
    pub labels: Vec<String>,
    /// The templates that were averaged.
    pub templates: Vec<String>,
}

impl Head {
    /// Writes the head for a model's image tower.
    ///
    /// # Errors
    /// A model without an image tower, and a write that fails.
    pub fn write(&self, out: &mut impl Write, clip: &Clip) -> Result<(), HeadError> {
        let probe = probe(clip)?;
        let (width, classes) = (clip.embed_dim(), self.classifier.classes());
        let (scale, bias) = ([clip.logit_scale()], clip.logit_bias().map(|bias| [bias]));
        let mut tensors: Vec<(&str, Vec<usize>, &[f32])> = vec![
            (CLASSES, vec![self.labels.len(), width], classes),
            (PROBE, vec![probe.len() / width, width], &probe),
            (SCALE, vec![1], &scale),
        ];
        tensors.extend(bias.as_ref().map(|bias| (BIAS, vec![1], &bias[..])));
        let info = |(name, shape, _): &(&str, Vec<usize>, &[f32])| TensorInfo {
            name: (*name).to_owned(),
            dtype: Dtype::F32,
            shape: shape.clone(),
        };
        let infos: Vec<TensorInfo> = tensors.iter().map(info).collect();
        let words = |words: &[String]| serde_json::json!(words).to_string();
        let metadata =
            [("labels", &self.labels), ("templates", &self.templates)].map(|(k, v)| (k.to_owned(), words(v)));
        write_safetensors(out, &infos, &metadata, |index| {
            Ok(tensors[index].2.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
        })
        .map_err(HeadError::Write)
    }

    /// Reads a head for a model.
    ///
    /// # Errors
    /// A file that is no head, or the head of another model.
    pub fn read(source: Arc<dyn ReadAt>, clip: &Clip) -> Result<Head, HeadError> {
        let file = SafetensorsFile::open(source)?;
        let stored = Stored { file: &file };
        let width = clip.embed_dim();
        let labels = stored.words("labels")?;
        let templates = stored.words("templates")?;
        let classes = stored.values(CLASSES, &[labels.len(), width])?;
        let scale = stored.values(SCALE, &[1])?;
        let bias = match file.tensors().iter().any(|tensor| tensor.name == BIAS) {
            true => Some(stored.values(BIAS, &[1])?[0]),
            false => None,
        };
        let ours = probe(clip)?;
        let probe = stored.values(PROBE, &[ours.len() / width, width])?;
        let rows = ours.chunks_exact(width).zip(probe.chunks_exact(width));
        let cosine = rows.map(|(a, b)| cosine(a, b)).fold(f64::INFINITY, f64::min);
        if cosine < LEAST_COSINE {
            return Err(HeadError::OtherModel { cosine });
        }
        Ok(Head { classifier: Classifier::of_classes(classes, width, scale[0], bias), labels, templates })
    }
}

/// Features of the built-in images, `[images, width]`.
fn probe(clip: &Clip) -> Result<Vec<f32>, ClipError> {
    let mut pixels = Vec::new();
    for (name, image) in &Inputs::built_in().images {
        pixels.extend(clip.pixels(name, image)?);
    }
    clip.encode_pixels(&pixels)
}

/// A file that may be a head.
struct Stored<'a> {
    file: &'a SafetensorsFile,
}

impl Stored<'_> {
    fn words(&self, key: &str) -> Result<Vec<String>, FormatError> {
        let missing = || FormatError::new(Code::Missing, Place::File, format!("no `{key}` in the metadata"));
        let (_, text) = self.file.metadata().iter().find(|(name, _)| name == key).ok_or_else(missing)?;
        let words: Result<Vec<String>, _> = serde_json::from_str(text);
        let words = words
            .map_err(|error| FormatError::new(Code::Malformed, Place::File, format!("`{key}`: {error}")))?;
        if words.is_empty() { Err(missing()) } else { Ok(words) }
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, FormatError> {
        let refuse = |code, cause: String| FormatError::new(code, Place::Tensor(name.to_owned()), cause);
        let index = self.file.tensors().iter().position(|tensor| tensor.name == name);
        let index = index.ok_or_else(|| refuse(Code::Missing, "it is missing".to_owned()))?;
        let info = &self.file.tensors()[index];
        if info.dtype != Dtype::F32 || shape != info.shape {
            let cause = format!("expected F32 {:?}, found {} {:?}", shape, info.dtype, info.shape);
            return Err(refuse(Code::BadValue, cause));
        }
        let mut bytes = Vec::new();
        self.file.read(index, &mut bytes)?;
        let values: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(refuse(Code::BadValue, "it holds NaN or infinity".to_owned())),
        }
    }
}
