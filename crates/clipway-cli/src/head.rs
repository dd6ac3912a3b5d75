//! Zero-shot heads: a classifier's class embeddings in a safetensors file, with labels, templates and temperature, and
//! features of built-in images by which the image tower that it belongs to is recognized.

use std::path::Path;
use std::sync::Arc;

use clipway_formats::{
    Code, Dtype, FormatError, Place, SafetensorsFile, TensorFile, TensorInfo, shown_path, write_safetensors,
};
use clipway_model::input;
use clipway_model::output::Staging;
use clipway_run::clip::Clip;
use clipway_run::verify::{Inputs, cosine};
use clipway_run::zero_shot::Classifier;

use crate::failure::{self, Failure, chain};
use crate::output;
use crate::source::clip_failure;

const CLASSES: &str = "classes";
const PROBE: &str = "probe";
const SCALE: &str = "logit_scale";
const BIAS: &str = "logit_bias";

/// Smallest cosine between the probes of one model, whatever its precision.
const LEAST_COSINE: f64 = 0.99;

/// A classifier with its words.
pub struct Head {
    /// Class embeddings and temperature.
    pub classifier: Classifier,
    /// The labels.
    pub labels: Vec<String>,
    /// The templates that were averaged.
    pub templates: Vec<String>,
}

impl Head {
    /// Writes the head for a model's image tower and puts it into place.
    pub fn write(&self, staging: Staging, clip: &Clip) -> Result<(), Failure> {
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
        output::put(staging, |mut file| {
            write_safetensors(&mut file, &infos, &metadata, |index| {
                Ok(tensors[index].2.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
            })
        })
    }

    /// Reads a head for a model.
    ///
    /// # Errors
    /// A file that is no head, or the head of another model.
    pub fn read(path: &Path, clip: &Clip) -> Result<Head, Failure> {
        let source = input::open(path, input::Kind::Weights).map_err(|error| failure::input(&error))?;
        let refuse = |error: FormatError| {
            Failure::no(error.code.name(), format!("`{}`: {}", shown_path(path), chain(&error)))
        };
        let file = SafetensorsFile::open(Arc::new(source)).map_err(refuse)?;
        let stored = Stored { file: &file };
        let width = clip.embed_dim();
        let labels = stored.words("labels").map_err(refuse)?;
        let templates = stored.words("templates").map_err(refuse)?;
        let classes = stored.values(CLASSES, &[labels.len(), width]).map_err(refuse)?;
        let scale = stored.values(SCALE, &[1]).map_err(refuse)?;
        let bias = match file.tensors().iter().any(|tensor| tensor.name == BIAS) {
            true => Some(stored.values(BIAS, &[1]).map_err(refuse)?[0]),
            false => None,
        };
        let ours = probe(clip)?;
        let probe = stored.values(PROBE, &[ours.len() / width, width]).map_err(refuse)?;
        let rows = ours.chunks_exact(width).zip(probe.chunks_exact(width));
        let least = rows.map(|(a, b)| cosine(a, b)).fold(f64::INFINITY, f64::min);
        if least < LEAST_COSINE {
            let path = shown_path(path);
            let message = format!(
                "`{path}` is the head of another model: features of built-in images have a cosine of {least:.3}"
            );
            return Err(Failure::no("mismatch", message)
                .hint("write the head of this model with `--labels … --save-head FILE`"));
        }
        Ok(Head { classifier: Classifier::of_classes(classes, width, scale[0], bias), labels, templates })
    }
}

/// Features of the built-in images, `[images, width]`.
fn probe(clip: &Clip) -> Result<Vec<f32>, Failure> {
    let mut pixels = Vec::new();
    for (name, image) in &Inputs::built_in().images {
        pixels.extend(clip.pixels(name, image).map_err(|error| clip_failure(&error))?);
    }
    clip.encode_pixels(&pixels).map_err(|error| clip_failure(&error))
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
