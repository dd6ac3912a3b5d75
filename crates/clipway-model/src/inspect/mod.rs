//! Describes a checkpoint as data: format, writer, layout, tensors, training state, matching models.

mod statistics;

pub use statistics::TensorStatistics;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use clipway_formats::{Dtype, FormatError, TensorInfo};
use serde::Serialize;

use crate::checkpoint::{Checkpoint, FactValue, SourceGlobal, Writer};
use crate::export::Progress;
use crate::identify::{Identification, identify};
use crate::layout::{KnownConfig, Layout};
use crate::license::{LicenseSummary, Licenses};
use crate::registry;
use crate::source::select;
use crate::state_dict::{Selection, StateDict, Weights};

/// What to inspect.
#[derive(Clone, Debug, Default)]
pub struct InspectOptions {
    /// Which tensors are the model's.
    pub selection: Selection,
    /// Whether to list every tensor.
    pub tensors: bool,
    /// Whether to read every weight for statistics.
    pub statistics: bool,
}

/// Description of a checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Name of the file or folder.
    pub name: String,
    /// Format of the files.
    pub format: &'static str,
    /// The files, with their sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// Who wrote them.
    pub writer: Writer,
    /// Single values beside the tensors.
    pub facts: Vec<(String, FactValue)>,
    /// Classes and functions named by the pickle; none is ever called.
    pub globals: Vec<SourceGlobal>,
    /// The model's weights, if they can be found.
    pub weights: Option<WeightsSummary>,
    /// Tensors beside the weights.
    pub left_out: Vec<LeftOutSummary>,
    /// Bytes of everything beside the weights.
    pub left_out_bytes: u64,
    /// The layout, if known.
    pub layout: Option<LayoutSummary>,
    /// The license, if anything states one.
    pub license: Option<LicenseSummary>,
    /// The config beside the weights, if there is one.
    pub has_config: bool,
    /// The models that match.
    pub models: ModelsSummary,
    /// The activation of open_clip's own towers.
    pub activation: ActivationSummary,
    /// Anything that is not as it should be.
    pub problems: Vec<String>,
    /// Every tensor of the weights, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Vec<TensorSummary>>,
    /// Statistics of every tensor of the weights, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Vec<TensorStatistics>>,
}

/// The model's weights.
#[derive(Clone, Debug, Serialize)]
pub struct WeightsSummary {
    /// `raw` or `ema`.
    pub choice: &'static str,
    /// Whether the checkpoint has both.
    pub has_both: bool,
    /// Dictionaries and prefixes in front of the names.
    pub path: Vec<String>,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of elements.
    pub elements: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// `fp32`, `fp16`, `bf16`, another dtype's name, or `mixed`.
    pub precision: &'static str,
    /// Totals by dtype.
    pub dtypes: Vec<DtypeSummary>,
}

/// Tensors of one dtype.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DtypeSummary {
    /// Name of the dtype.
    pub dtype: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Size in bytes.
    pub bytes: u64,
}

/// Tensors beside the weights, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOutSummary {
    /// What they are.
    pub kind: &'static str,
    /// Where they are.
    pub path: String,
    /// Number of tensors.
    pub tensors: usize,
    /// Size in bytes.
    pub bytes: u64,
}

/// A layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayoutSummary {
    /// Short name.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
}

/// The models that match names and shapes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelsSummary {
    /// Registered names that match.
    pub exact: Vec<&'static str>,
    /// Registered names that match at another image size or context length.
    pub near: Vec<&'static str>,
    /// If no registered name matches: the config inferred from the shapes, as JSON.
    pub reconstructed: Option<String>,
    /// Its fields that shapes do not determine: path, assumed value and reason.
    pub assumed: Vec<(&'static str, String, &'static str)>,
    /// If no registered name matches and no config can be inferred: the names that differ least, with the number of
    /// differing tensors.
    pub closest: Vec<(&'static str, usize)>,
    /// The config stated by the layout.
    pub told: Option<ToldConfig>,
    /// Whether training branches are folded into one convolution.
    pub folded: bool,
}

/// A config stated by a layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldConfig {
    /// The config, as JSON text.
    pub config: String,
    /// Its origin.
    pub from: String,
}

/// What is known about the activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActivationSummary {
    /// `QuickGELU` or `GELU`, if known.
    pub known: Option<&'static str>,
    /// The origin, or the reason why it is unknown.
    pub why: String,
}

/// Name, dtype and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorSummary {
    /// Name among the weights.
    pub name: String,
    /// Name of the dtype.
    pub dtype: &'static str,
    /// Shape.
    pub shape: Vec<usize>,
    /// Size in bytes.
    pub bytes: u64,
}

/// Inspects a checkpoint. Weights are read only for statistics, with `progress` and `cancel`.
///
/// # Errors
/// A weight that cannot be read. If `cancel` becomes true, the result is `Ok(None)`.
pub fn inspect(
    checkpoint: &Checkpoint,
    options: &InspectOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Option<Inspection>, FormatError> {
    let mut problems = Vec::new();
    let selected = select(checkpoint, &options.selection);
    let weights = selected.map_err(|error| problems.push(error.to_string())).ok().map(|(weights, _)| weights);
    let all = StateDict::of_file(std::sync::Arc::clone(checkpoint.tensors()));
    let state_dict = weights.as_ref().map_or(&all, |weights| &weights.state_dict);
    let layout = weights.as_ref().and_then(|weights| Layout::recognize(&weights.state_dict));
    if weights.is_some() && layout.is_none() {
        problems.push("the tensor names match no known layout".to_owned());
    }
    if let Some(layout) = layout {
        match layout.check_numbers(state_dict) {
            Ok(numbers) => problems.extend(numbers.lines()),
            Err(error) => problems.push(error.to_string()),
        }
    }
    let converted = layout.map(|layout| layout.convert(state_dict));
    let converted =
        converted.and_then(|result| result.map_err(|error| problems.push(error.to_string())).ok());
    let infos = converted.map(|converted| converted.infos());
    let identification = infos
        .as_ref()
        .map(|infos| identify(infos.iter().map(|info| (info.name.as_str(), info.shape.as_slice()))));
    let told = layout.zip(infos.as_ref()).and_then(|(layout, infos)| {
        let told = layout.known_config(checkpoint, state_dict, infos);
        told.map_err(|error| problems.push(error.to_string())).ok().flatten()
    });
    let statistics = match options.statistics {
        true => match statistics::of(state_dict, progress, cancel)? {
            Some(statistics) => Some(statistics),
            None => return Ok(None),
        },
        false => None,
    };
    let left_out: Vec<LeftOutSummary> = weights.iter().flat_map(left_out_of).collect();
    Ok(Some(Inspection {
        name: file_name(checkpoint.path()),
        format: checkpoint.format().name(),
        files: checkpoint
            .sources()
            .iter()
            .map(|source| (file_name(source.path()), size_of(source)))
            .collect(),
        writer: checkpoint.writer(),
        facts: checkpoint.facts(),
        globals: checkpoint.globals(),
        left_out_bytes: left_out.iter().map(|part| part.bytes).sum(),
        left_out,
        layout: layout.map(|layout| LayoutSummary { name: layout.name, title: layout.title }),
        license: Licenses::of(checkpoint, checkpoint.artifact()).summary(),
        has_config: checkpoint.config().is_some(),
        activation: activation_of(checkpoint, told.as_ref(), identification.as_ref()),
        models: identification.map(|found| models_of(found, told.as_ref())).unwrap_or_default(),
        tensors: options.tensors.then(|| state_dict.tensors().iter().map(summary_of).collect()),
        weights: weights.as_ref().map(weights_of),
        problems,
        statistics,
    }))
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn size_of(source: &crate::checkpoint::FileSource) -> u64 {
    clipway_formats::ReadAt::size(source)
}

fn weights_of(weights: &Weights) -> WeightsSummary {
    let tensors = weights.state_dict.tensors();
    let mut sums: BTreeMap<Dtype, (usize, u64)> = BTreeMap::new();
    for tensor in tensors {
        let (count, bytes) = sums.entry(tensor.dtype).or_default();
        *count += 1;
        *bytes += tensor.bytes() as u64;
    }
    let floats: Vec<Dtype> = sums.keys().copied().filter(|dtype| dtype.is_float()).collect();
    let precision = match floats[..] {
        [Dtype::F32] => "fp32",
        [Dtype::F16] => "fp16",
        [Dtype::BF16] => "bf16",
        [other] => other.name(),
        [] => "none",
        _ => "mixed",
    };
    let dtypes = sums.into_iter();
    WeightsSummary {
        choice: weights.choice.name(),
        has_both: weights.has_both,
        path: weights.path.clone(),
        tensors: tensors.len(),
        elements: tensors.iter().map(|tensor| tensor.elements() as u64).sum(),
        bytes: weights.state_dict.bytes(),
        precision,
        dtypes: dtypes
            .map(|(d, (tensors, bytes))| DtypeSummary { dtype: d.name(), tensors, bytes })
            .collect(),
    }
}

/// Tensors beside the weights, by kind and place.
fn left_out_of(weights: &Weights) -> Vec<LeftOutSummary> {
    let summary = |part: &crate::state_dict::LeftOut| LeftOutSummary {
        kind: part.kind.name(),
        path: clipway_formats::shown(&part.path),
        tensors: part.tensors.len(),
        bytes: part.bytes,
    };
    weights.left_out.iter().map(summary).collect()
}

fn models_of(identification: Identification, told: Option<&KnownConfig>) -> ModelsSummary {
    if let Some(told) = told {
        return ModelsSummary {
            exact: identification.exact.iter().map(|fit| fit.name).collect(),
            told: Some(ToldConfig { config: told.config.model.to_json(), from: told.from.clone() }),
            ..ModelsSummary::default()
        };
    }
    let reconstruction = identification.reconstruction;
    let assumed = reconstruction.iter().flat_map(|reconstruction| &reconstruction.assumed);
    ModelsSummary {
        exact: identification.exact.iter().map(|fit| fit.name).collect(),
        near: identification.near.iter().map(|fit| fit.name).collect(),
        assumed: assumed.map(|one| (one.field, one.value.clone(), one.why)).collect(),
        reconstructed: reconstruction.as_ref().map(|reconstruction| reconstruction.config.to_json()),
        closest: identification.closest.iter().map(|fit| (fit.name, fit.differences)).collect(),
        told: None,
        folded: identification.folded,
    }
}

fn activation_of(
    checkpoint: &Checkpoint,
    told: Option<&KnownConfig>,
    identification: Option<&Identification>,
) -> ActivationSummary {
    let name = |quick_gelu| if quick_gelu { "QuickGELU" } else { "GELU" };
    if let Some((_, config)) = checkpoint.config() {
        let why = if config.model.states_quick_gelu() {
            "stated by the config beside the weights"
        } else {
            "open_clip's default: the config beside the weights states none"
        };
        return ActivationSummary { known: Some(name(config.model.quick_gelu)), why: why.to_owned() };
    }
    if let Some(told) = told {
        let known = Some(name(told.config.model.quick_gelu));
        return ActivationSummary { known, why: told.activation_from.clone() };
    }
    let fits = identification.map(|identification| identification.exact.as_slice()).unwrap_or_default();
    let why = match fits {
        [only] => match registry::model(only.name) {
            Ok(config) => {
                format!(
                    "no shape shows it; the only matching registered model uses {}",
                    name(config.quick_gelu)
                )
            }
            Err(unknown) => unknown.to_string(),
        },
        _ => "no shape shows it".to_owned(),
    };
    ActivationSummary { known: None, why }
}

fn summary_of(info: &TensorInfo) -> TensorSummary {
    TensorSummary {
        name: info.name.clone(),
        dtype: info.dtype.name(),
        shape: info.shape.clone(),
        bytes: info.bytes() as u64,
    }
}
