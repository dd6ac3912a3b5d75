//! Runs checkpoints in other projects' layouts against stored outputs, from opening to features.
//!
//! A folder holds sources, each with a `NAME.expected.safetensors`. The sources of `NAME` are `NAME.pt`,
//! `NAME_state_dict.pt`, `NAME.npz` or a folder `NAME`. A safetensors file without a source, but with a `state_dict` in
//! its metadata, is a golden with formula weights under the names listed there. Folders are searched recursively.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{Dtype, FileFormat, FormatError, SafetensorsFile, TensorFile, TensorInfo};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::layout::Layout;
use clipway_model::plan::Precision;
use clipway_model::source::{Source, SourceOptions};
use clipway_model::state_dict::Weights;
use clipway_run::clip::Clip;
use clipway_run::encoder::normalize;
use clipway_run::engine::Processor;
use clipway_run::load::LoadOptions;

use crate::architecture_goldens::{Outputs, read_outputs};
use crate::architecture_runner::{MeasuredError, logits};
use crate::formula;

/// File name suffix of stored outputs.
const EXPECTED: &str = ".expected.safetensors";

/// File name suffix of a state dict that accompanies a file with the model's code.
const STATE_DICT: &str = "_state_dict";

/// A source and its expected outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutGolden {
    /// Path of the source in the folder.
    pub name: String,
    /// The source; `None` if the weights are by formula.
    pub source: Option<PathBuf>,
    /// The stored outputs; `None` if the source has none, which fails.
    pub expected: Option<PathBuf>,
}

/// The outcome of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutCase {
    /// Path of the source in the folder.
    pub name: String,
    /// Name of its layout, if it was recognized.
    pub layout: Option<&'static str>,
    /// The measured errors, or why nothing could be measured.
    pub outcome: Result<Vec<MeasuredError>, String>,
}

impl LayoutCase {
    /// Returns whether anything was measured and all of it is within bounds.
    pub fn passed(&self) -> bool {
        let right =
            |errors: &Vec<MeasuredError>| !errors.is_empty() && errors.iter().all(MeasuredError::passed);
        self.outcome.as_ref().is_ok_and(right)
    }
}

/// Lists the sources below a folder by name, including those without stored outputs.
///
/// # Errors
/// If a folder cannot be read, or holds no source.
pub fn list(folder: &Path) -> Result<Vec<LayoutGolden>, std::io::Error> {
    let mut found = Vec::new();
    collect(folder, folder, &mut found)?;
    if found.is_empty() {
        let cause = format!("`{}` holds no source with `NAME{EXPECTED}`", folder.display());
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, cause));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<LayoutGolden>) -> Result<(), std::io::Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    let name_of = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let mut used = Vec::new();
    for path in &paths {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        if file_name.ends_with(EXPECTED) || file_name.ends_with(".json") {
            continue;
        }
        let stem = if path.is_dir() {
            &file_name
        } else {
            file_name.rsplit_once('.').map_or(&*file_name, |(s, _)| s)
        };
        let expected = [Some(stem), stem.strip_suffix(STATE_DICT)]
            .into_iter()
            .flatten()
            .map(|stem| folder.join(format!("{stem}{EXPECTED}")))
            .find(|expected| paths.contains(expected));
        used.extend(expected.clone());
        let is_safetensors = path.extension().is_some_and(|extension| extension == "safetensors");
        match expected {
            None if path.is_dir() && !has_weights(path) => collect(root, path, found)?,
            None if is_safetensors => {
                found.push(LayoutGolden { name: name_of(path), source: None, expected: Some(path.clone()) });
            }
            expected => {
                found.push(LayoutGolden { name: name_of(path), source: Some(path.clone()), expected });
            }
        }
    }
    let without_source =
        paths.iter().filter(|path| path.to_string_lossy().ends_with(EXPECTED) && !used.contains(path));
    found.extend(without_source.map(|path| LayoutGolden {
        name: name_of(path),
        source: None,
        expected: Some(path.clone()),
    }));
    Ok(())
}

/// Returns whether a folder is itself a source instead of a folder of sources.
fn has_weights(folder: &Path) -> bool {
    folder.join("config.json").is_file()
}

/// Runs one golden: recognizes the layout, converts it by plan, runs both towers and compares.
pub fn run_layout_golden(golden: &LayoutGolden, processor: &Processor) -> LayoutCase {
    let mut layout = None;
    let outcome = measure(golden, processor, &mut layout);
    LayoutCase { name: golden.name.clone(), layout, outcome }
}

fn measure(
    golden: &LayoutGolden,
    processor: &Processor,
    layout: &mut Option<&'static str>,
) -> Result<Vec<MeasuredError>, String> {
    let Some(expected) = &golden.expected else {
        return Err(format!("there is no `NAME{EXPECTED}` for it: nothing to compare with"));
    };
    let file = fs::read(expected).map_err(|error| error.to_string())?;
    let file = SafetensorsFile::open(Arc::new(file)).map_err(|error| error.to_string())?;
    let expected = read_outputs(&file).map_err(|error| error.to_string())?;
    let checkpoint = match &golden.source {
        Some(source) => Checkpoint::open(source).map_err(|error| error.to_string())?,
        None => Checkpoint::of_tensors(golden.name.as_str(), Arc::new(FormulaFile::of(&file)?)),
    };
    let weights = checkpoint.weights(None).map_err(|error| error.to_string())?;
    *layout = Layout::recognize(&weights.state_dict).map(|layout| layout.name);
    let options = SourceOptions { precision: rounding(&weights), ..SourceOptions::default() };
    let prepared = Source::of(checkpoint, &options).map_err(|error| error.to_string())?;
    let image_size = prepared.config().model.vision.image_size;
    let clip =
        Clip::load(&prepared, &LoadOptions::new(processor.clone())).map_err(|error| error.to_string())?;
    compare(&clip, image_size, &expected)
}

/// Returns the precision to round the weights to first. The outputs of fp16 sources come from weights that were all
/// rounded to fp16, but a source may hold some wider ones: archives of OpenAI's ResNets keep running means and
/// variances in fp32. open_clip takes those as they are, and so does an export.
fn rounding(weights: &Weights) -> Option<Precision> {
    let is_half = |tensor: &TensorInfo| tensor.dtype == Dtype::F16;
    weights.state_dict.tensors().iter().any(is_half).then_some(Precision::F16)
}

/// Runs both towers on the stored tokens and on formula images.
fn compare(clip: &Clip, image_size: [usize; 2], expected: &Outputs) -> Result<Vec<MeasuredError>, String> {
    let mut images = Vec::new();
    for sample in 0..expected.image_features.single.rows {
        let mut image = Vec::new();
        formula::image(sample, image_size, &mut image);
        images.extend(image);
    }
    let mut image = clip.encode_pixels(&images).map_err(|error| error.to_string())?;
    let mut text = clip.encode_tokens(&expected.tokens.elements).map_err(|error| error.to_string())?;
    let mut errors = vec![
        MeasuredError::measure("image_features", &image, &expected.image_features)?,
        MeasuredError::measure("text_features", &text, &expected.text_features)?,
    ];
    let width = clip.embed_dim();
    normalize(&mut image, width);
    normalize(&mut text, width);
    let logits = logits([&image, &text], width, clip.logit_scale(), clip.logit_bias().unwrap_or(0.0));
    errors.push(MeasuredError::measure("logits_per_image", &logits, &expected.logits_per_image)?);
    Ok(errors)
}

/// The tensors listed in a golden's metadata, with formula values.
#[derive(Debug)]
struct FormulaFile {
    tensors: Vec<TensorInfo>,
}

impl FormulaFile {
    fn of(golden: &SafetensorsFile) -> Result<FormulaFile, String> {
        let metadata = golden.metadata().iter().find(|(key, _)| key == "state_dict");
        let Some((_, list)) = metadata else {
            return Err("it has no source, and no `state_dict` in its metadata".to_owned());
        };
        let list: Vec<(String, String, Vec<usize>)> =
            serde_json::from_str(list).map_err(|error| format!("metadata `state_dict`: {error}"))?;
        let info = |(name, dtype, shape): (String, String, Vec<usize>)| match dtype.as_str() {
            "float32" => Ok(TensorInfo { name, dtype: Dtype::F32, shape }),
            "int64" => Ok(TensorInfo { name, dtype: Dtype::I64, shape }),
            _ => Err(format!("metadata `state_dict`: `{name}` is {dtype}; expected float32 or int64")),
        };
        Ok(FormulaFile { tensors: list.into_iter().map(info).collect::<Result<_, _>>()? })
    }
}

impl TensorFile for FormulaFile {
    fn format(&self) -> FileFormat {
        FileFormat::Safetensors
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let TensorInfo { name, dtype, shape } = &self.tensors[index];
        let mut values = Vec::new();
        if *dtype == Dtype::F32 {
            formula::fill(name, shape, &mut values);
        }
        out.clear();
        out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        // Batch counters are zero.
        out.resize(self.tensors[index].bytes(), 0);
        Ok(())
    }
}
