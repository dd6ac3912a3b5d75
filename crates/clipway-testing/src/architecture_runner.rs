//! Runs the engine on whole-model goldens with formula weights and measures its errors.
//!
//! The error of an output is `max|ours - truth| / max|truth|`. If the golden stores the double-precision truth, the
//! bound is four times PyTorch's own f32 error, or 4e-6 if that is more; otherwise it is 2e-5 relative to PyTorch's
//! f32.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clipway_model::architecture::{self, Model};
use clipway_model::graph::ParameterId;
use clipway_run::encoder::normalize;
use clipway_run::engine::{Elements, Engine, EngineOptions, Processor, WeightError, Weights};

use crate::architecture_goldens::{
    ArchitectureGolden, Output, read_architecture_golden, read_architecture_truth,
};
use crate::formula;

/// Our error may be at most this multiple of PyTorch's own.
const TIMES_PYTORCH: f64 = 4.0;

/// Lower limit of the bound.
const FLOOR: f64 = 4e-6;

/// The bound if no truth is stored.
const BOUND_WITHOUT_TRUTH: f64 = 2e-5;

/// Double-precision results for goldens that lack them and whose PyTorch f32 is off by more than
/// [`BOUND_WITHOUT_TRUTH`]; made by `scripts/make_architecture_truths.py`.
const TRUTHS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/truths");

/// Every requested weight, by formula.
#[derive(Clone, Copy, Debug, Default)]
pub struct FormulaWeights;

impl Weights for FormulaWeights {
    fn read(
        &self,
        name: &str,
        shape: &[usize],
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        let mut values = Vec::new();
        formula::fill(name, shape, &mut values);
        sink(Elements::F32(&values));
        Ok(())
    }
}

/// The outcome of one golden.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchitectureCase {
    /// Name of the model, taken from the file name.
    pub name: String,
    /// The measured errors, or why nothing could be measured.
    pub outcome: Result<Vec<MeasuredError>, String>,
}

impl ArchitectureCase {
    /// Returns whether anything was measured and all of it is within bounds.
    pub fn passed(&self) -> bool {
        match &self.outcome {
            Ok(errors) => !errors.is_empty() && errors.iter().all(MeasuredError::passed),
            Err(_) => false,
        }
    }
}

impl fmt::Display for ArchitectureCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed() { "ok" } else { "failed" };
        write!(f, "{word:<6} {}", self.name)?;
        match &self.outcome {
            Ok(errors) => errors.iter().try_for_each(|error| write!(f, "  {error}")),
            Err(cause) => write!(f, "  {cause}"),
        }
    }
}

/// The error of one output.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredError {
    /// `image_features`, `text_features` or `logits_per_image`.
    pub output: &'static str,
    /// `max|ours - truth| / max|truth|`; NaN if ours contains NaN.
    pub error: f64,
    /// The same error for PyTorch's f32, if the truth is stored.
    pub pytorch: Option<f64>,
    /// Upper limit of `error`.
    pub bound: f64,
}

impl MeasuredError {
    /// Returns whether the error is within its bound; NaN is not.
    pub fn passed(&self) -> bool {
        self.error <= self.bound
    }

    pub(crate) fn measure(
        output: &'static str,
        ours: &[f32],
        golden: &Output,
    ) -> Result<MeasuredError, String> {
        let single: Vec<f64> = golden.single.elements.iter().map(|value| f64::from(*value)).collect();
        if ours.len() != single.len() || ours.is_empty() {
            return Err(format!("{output}: expected {} values, found {}", single.len(), ours.len()));
        }
        let ours: Vec<f64> = ours.iter().map(|value| f64::from(*value)).collect();
        Ok(match &golden.truth {
            Some(truth) => {
                let pytorch = relative_error(&single, &truth.elements);
                let bound = (TIMES_PYTORCH * pytorch).max(FLOOR);
                let error = relative_error(&ours, &truth.elements);
                MeasuredError { output, error, pytorch: Some(pytorch), bound }
            }
            None => {
                let error = relative_error(&ours, &single);
                MeasuredError { output, error, pytorch: None, bound: BOUND_WITHOUT_TRUTH }
            }
        })
    }
}

impl fmt::Display for MeasuredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.2e} (at most {:.2e}", self.output, self.error, self.bound)?;
        match self.pytorch {
            Some(pytorch) => write!(f, ", PyTorch {pytorch:.2e})"),
            None => f.write_str(", against PyTorch's f32)"),
        }
    }
}

/// Why goldens cannot be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ArchitectureRunError {
    /// The folder cannot be read.
    #[error("`{path}`: {source}")]
    Read {
        /// The folder.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// There are no goldens, or none were chosen: comparing nothing is a failure.
    #[error("`{path}`: no `NAME.safetensors` that was asked for is there")]
    Empty {
        /// The folder.
        path: String,
    },
}

/// Lists the goldens of a folder, `NAME.safetensors`, by name.
///
/// # Errors
/// If the folder cannot be read, or holds no golden that `chosen` accepts.
pub fn list(
    folder: &Path,
    chosen: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, PathBuf)>, ArchitectureRunError> {
    let wrong =
        |source: std::io::Error| ArchitectureRunError::Read { path: folder.display().to_string(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".safetensors"));
        if let Some(name) = name.filter(|name| chosen(name)) {
            found.push((name.to_owned(), path.clone()));
        }
    }
    if found.is_empty() {
        return Err(ArchitectureRunError::Empty { path: folder.display().to_string() });
    }
    found.sort();
    Ok(found)
}

/// Runs every golden of a folder whose name `chosen` accepts.
///
/// # Errors
/// If the folder cannot be read or nothing in it is chosen. A golden that cannot be read, or that has an unsupported
/// architecture, is a failed case.
pub fn run_architecture_goldens(
    folder: &Path,
    chosen: &dyn Fn(&str) -> bool,
    processor: &Processor,
) -> Result<Vec<ArchitectureCase>, ArchitectureRunError> {
    let files = list(folder, chosen)?;
    Ok(files.into_iter().map(|(name, path)| run_architecture_golden(name, &path, processor)).collect())
}

/// Runs one golden.
pub fn run_architecture_golden(name: String, path: &Path, processor: &Processor) -> ArchitectureCase {
    let outcome = read_golden(&name, path).and_then(|golden| measure(&golden, processor));
    ArchitectureCase { name, outcome }
}

/// Reads a golden, along with its separate truth file if it has one.
pub(crate) fn read_golden(name: &str, path: &Path) -> Result<ArchitectureGolden, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let mut golden = read_architecture_golden(bytes).map_err(|error| error.to_string())?;
    let truth = Path::new(TRUTHS).join(format!("{name}.safetensors"));
    if golden.outputs.text_features.truth.is_none() && truth.is_file() {
        let bytes = fs::read(truth).map_err(|error| error.to_string())?;
        read_architecture_truth(&mut golden, bytes).map_err(|error| error.to_string())?;
    }
    Ok(golden)
}

fn measure(golden: &ArchitectureGolden, processor: &Processor) -> Result<Vec<MeasuredError>, String> {
    let model = architecture::build(&golden.config).map_err(|error| error.to_string())?;
    if model.parameters.trained_elements() != golden.parameter_count {
        let (expected, found) = (golden.parameter_count, model.parameters.trained_elements());
        return Err(format!("expected {expected} parameters, found {found}"));
    }
    let compile = |tower| {
        let options = EngineOptions::default();
        Engine::compile(tower, &model.parameters, &FormulaWeights, processor, options)
            .map_err(|error| error.to_string())
    };
    let outputs = &golden.outputs;
    let mut images = Vec::new();
    for sample in 0..outputs.image_features.single.rows {
        let mut image = Vec::new();
        formula::image(sample, golden.image_size, &mut image);
        images.extend(image);
    }
    let mut image = compile(&model.image)?.run_pixels(&images).map_err(|error| error.to_string())?;
    let tokens = &outputs.tokens;
    let text = compile(&model.text)?.run_tokens(&tokens.elements, tokens.columns);
    let mut text = text.map_err(|error| error.to_string())?;
    let measure = |image: &[f32], text: &[f32]| -> Result<Vec<MeasuredError>, String> {
        Ok(vec![
            MeasuredError::measure("image_features", image, &outputs.image_features)?,
            MeasuredError::measure("text_features", text, &outputs.text_features)?,
        ])
    };
    let mut errors = measure(&image, &text)?;
    normalize(&mut image, model.embed_dim);
    normalize(&mut text, model.embed_dim);
    let scale = scalar(&model, model.logit_scale).exp();
    let bias = model.logit_bias.map_or(0.0, |id| scalar(&model, id));
    let logits = logits([&image, &text], model.embed_dim, scale, bias);
    errors.push(MeasuredError::measure("logits_per_image", &logits, &outputs.logits_per_image)?);
    Ok(errors)
}

/// Returns a scalar parameter, by formula.
fn scalar(model: &Model, id: ParameterId) -> f32 {
    let parameter = model.parameters.get(id);
    let mut value = Vec::new();
    formula::fill(&parameter.name, &parameter.shape, &mut value);
    value.first().copied().unwrap_or(0.0)
}

/// Returns `scale · image · text + bias` of normalized features of this width, `[images, texts]`.
pub(crate) fn logits([images, texts]: [&[f32]; 2], width: usize, scale: f32, bias: f32) -> Vec<f32> {
    let mut logits = Vec::new();
    for image in images.chunks_exact(width) {
        for text in texts.chunks_exact(width) {
            let cosine: f64 = image.iter().zip(text).map(|(i, t)| f64::from(*i) * f64::from(*t)).sum();
            logits.push((f64::from(scale) * cosine + f64::from(bias)) as f32);
        }
    }
    logits
}

/// Returns `max|ours - truth| / max|truth|`, or NaN if any value is NaN.
fn relative_error(ours: &[f64], truth: &[f64]) -> f64 {
    let largest = truth.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let worst = ours.iter().zip(truth).fold(0.0, |worst: f64, (ours, truth)| {
        let difference = (ours - truth).abs();
        if difference.is_nan() || difference > worst { difference } else { worst }
    });
    if worst == 0.0 { 0.0 } else { worst / largest }
}
