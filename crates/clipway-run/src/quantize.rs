//! Chooses which tensors of a model are in int8, within a loss that the user sets.
//!
//! Half of the inputs choose, and the other half, which chose nothing, report. What is measured is what an artifact will
//! compute: the same numbers, quantized as they are read.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use clipway_formats::{shown, shown_path};
use clipway_model::artifact::{KeptTensor, Quantization, QuantizationLoss, TensorLoss, TowerLoss};
use clipway_model::plan::Towers;
use clipway_model::quantize::{Candidate, candidates};
use clipway_model::source::Source;

use crate::clip::{Clip, ClipError};
use crate::engine::Compute;
use crate::load::{LoadError, LoadOptions};
use crate::verify::{Inputs, Outputs, Rows, cosine, highest};

/// Inputs on which each tensor is tried alone.
const TRIED: usize = 16;

/// What is asked of a quantization.
#[derive(Clone, Debug, Default)]
pub struct QuantizeOptions {
    /// Tensors, or modules with all of their tensors, that stay as they are.
    pub keep: Vec<String>,
    /// Largest mean of 1 minus cosine of each tower's features.
    pub max_loss: Option<f64>,
    /// Smallest share of images, and of texts, whose best match stays the same.
    pub min_agreement: Option<f64>,
}

/// A model cannot be quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// It is quantized already.
    #[error("`{}` is in int8 already", shown_path(path))]
    AlreadyInt8 {
        /// The source.
        path: PathBuf,
    },
    /// A name to keep is none of the model's.
    #[error("`{}` is no tensor that could be in int8, and no module of such tensors", shown(name))]
    UnknownName {
        /// The name.
        name: String,
    },
    /// Every tensor is kept.
    #[error("no tensor is left that could be in int8")]
    Nothing,
    /// There are not two inputs of a kind.
    #[error("expected at least 2 {what}, half to choose and half to report, found {found}")]
    TooFewInputs {
        /// Images or texts.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
    /// No choice is within the budget.
    #[error("no choice of int8 tensors is within the budget: {}", describe(all, least))]
    OverBudget {
        /// What it costs with every tensor in int8.
        all: Box<QuantizationLoss>,
        /// What it costs with the one tensor in int8 that costs least.
        least: Box<QuantizationLoss>,
    },
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model refuses the inputs.
    #[error(transparent)]
    Run(#[from] ClipError),
}

impl QuantizeError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            QuantizeError::AlreadyInt8 { .. } | QuantizeError::Nothing => "unsupported",
            QuantizeError::UnknownName { .. } | QuantizeError::TooFewInputs { .. } => "missing",
            QuantizeError::OverBudget { .. } => "over-budget",
            QuantizeError::Load(error) => error.code(),
            QuantizeError::Run(error) => error.code(),
        }
    }
}

/// What every tensor in int8 costs, and what the cheapest does.
fn describe(all: &QuantizationLoss, least: &QuantizationLoss) -> String {
    let text = |loss: &QuantizationLoss| {
        let towers = [("image", loss.image), ("text", loss.text)];
        let parts =
            towers.into_iter().filter_map(|(name, tower)| Some(format!("{name} {:.2e}", tower?.mean)));
        parts.collect::<Vec<_>>().join(", ")
    };
    format!(
        "1 - cosine is on average {} with every tensor in int8, and {} with only the cheapest",
        text(all),
        text(least)
    )
}

/// Chooses the tensors of a source that are in int8, and says what they cost.
///
/// # Errors
/// A source that is in int8 already, names that are none, too few inputs, a budget that no choice meets, and what cannot be
/// loaded or run.
pub fn quantize(
    source: &Source,
    load: &LoadOptions,
    inputs: &Inputs,
    options: &QuantizeOptions,
) -> Result<(BTreeSet<String>, Quantization), QuantizeError> {
    if source.plan().tensors.iter().any(|planned| planned.is_int8()) {
        return Err(QuantizeError::AlreadyInt8 { path: source.path().to_owned() });
    }
    let mut kept = Vec::new();
    let mut taken = candidates(source.model(), source.tower());
    for name in &options.keep {
        let is_below =
            |found: &str| found.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        let (own, others): (Vec<_>, Vec<_>) =
            taken.into_iter().partition(|candidate| candidate.name == *name || is_below(&candidate.name));
        if own.is_empty() {
            return Err(QuantizeError::UnknownName { name: name.clone() });
        }
        let keep = |candidate: Candidate| KeptTensor { tensor: candidate.name, why: "asked for".to_owned() };
        kept.extend(own.into_iter().map(keep));
        taken = others;
    }
    if taken.is_empty() {
        return Err(QuantizeError::Nothing);
    }
    let trial = Trial::new(source, load, inputs)?;
    let all = trial.choosing(&names(&taken))?;
    let mut alone = Vec::new();
    let mut chosen_by = all.clone();
    if !options.allow(&all) {
        alone = trial.alone(&taken)?;
        let cost = |candidate: &Candidate| {
            let found = alone.iter().find(|loss| loss.tensor == candidate.name);
            found.map_or(0.0, |loss| loss.mean) / candidate.elements.max(1) as f64
        };
        taken.sort_by(|a, b| cost(b).total_cmp(&cost(a)));
        // The fewest that are kept, of the costliest for their size; at least one tensor is left.
        let (mut low, mut high) = (1, taken.len() - 1);
        let least = trial.choosing(&names(&taken[high..]))?;
        if !options.allow(&least) {
            return Err(QuantizeError::OverBudget { all: Box::new(all), least: Box::new(least) });
        }
        chosen_by = least;
        while low < high {
            let middle = low.midpoint(high);
            let loss = trial.choosing(&names(&taken[middle..]))?;
            if options.allow(&loss) {
                (high, chosen_by) = (middle, loss);
            } else {
                low = middle + 1;
            }
        }
        let keep = |candidate: Candidate| KeptTensor { tensor: candidate.name, why: "budget".to_owned() };
        kept.extend(taken.drain(..high).map(keep));
    }
    let names = names(&taken);
    let quantization = Quantization {
        tensors: names.len(),
        elements: taken.iter().map(|candidate| candidate.elements as u64).sum(),
        kept,
        max_loss: options.max_loss,
        min_agreement: options.min_agreement,
        inputs: inputs.name.clone(),
        chosen_by,
        reported: trial.reporting(&names)?,
        alone,
    };
    Ok((names, quantization))
}

/// Every second input: those that choose (0) or those that report (1).
pub fn half_of(inputs: &Inputs, start: usize) -> Inputs {
    Inputs {
        name: inputs.name.clone(),
        images: inputs.images.iter().skip(start).step_by(2).cloned().collect(),
        texts: inputs.texts.iter().skip(start).step_by(2).cloned().collect(),
    }
}

fn names(candidates: &[Candidate]) -> BTreeSet<String> {
    candidates.iter().map(|candidate| candidate.name.clone()).collect()
}

impl QuantizeOptions {
    /// Whether a loss is within the budget.
    pub fn allow(&self, loss: &QuantizationLoss) -> bool {
        let means = [loss.image, loss.text].into_iter().flatten().map(|tower| tower.mean);
        let shares = [loss.same_best_text, loss.same_best_image].into_iter().flatten();
        let is_near = |mean: f64| self.max_loss.is_none_or(|most| mean <= most);
        let agrees =
            |[same, of]: [usize; 2]| self.min_agreement.is_none_or(|least| same as f64 >= least * of as f64);
        means.into_iter().all(is_near) && shares.into_iter().all(agrees)
    }
}

/// A source with what it computes of both halves of the inputs.
struct Trial<'a> {
    source: &'a Source,
    load: &'a LoadOptions,
    /// Inputs that choose and inputs that report, each with what the source computes.
    halves: [(Inputs, Outputs); 2],
}

impl<'a> Trial<'a> {
    fn new(source: &'a Source, load: &'a LoadOptions, inputs: &Inputs) -> Result<Trial<'a>, QuantizeError> {
        let counts = [
            ("images", inputs.images.len(), source.tower() != Towers::Text),
            ("texts", inputs.texts.len(), source.tower() != Towers::Image),
        ];
        if let Some((what, found, _)) = counts.into_iter().find(|(_, count, is_run)| *is_run && *count < 2) {
            return Err(QuantizeError::TooFewInputs { what, found });
        }
        let clip =
            Clip::load(source, &LoadOptions { compute: Compute::AsStored, blocks: false, ..load.clone() })?;
        let half = |start: usize| -> Result<(Inputs, Outputs), QuantizeError> {
            let half = half_of(inputs, start);
            let outputs = Outputs::compute("the source", &clip, &half, false)?;
            Ok((half, outputs))
        };
        let halves = [half(0)?, half(1)?];
        Ok(Trial { source, load, halves })
    }

    /// What some tensors in int8 cost, on the inputs that choose.
    fn choosing(&self, names: &BTreeSet<String>) -> Result<QuantizationLoss, QuantizeError> {
        let (inputs, expected) = &self.halves[0];
        Ok(loss(expected, &self.run(names, inputs, self.source.tower())?))
    }

    /// What they cost on the inputs that report.
    fn reporting(&self, names: &BTreeSet<String>) -> Result<QuantizationLoss, QuantizeError> {
        let (inputs, expected) = &self.halves[1];
        Ok(loss(expected, &self.run(names, inputs, self.source.tower())?))
    }

    /// What each tensor costs alone, on the first of the inputs that choose.
    fn alone(&self, candidates: &[Candidate]) -> Result<Vec<TensorLoss>, QuantizeError> {
        let (inputs, expected) = &self.halves[0];
        let mut few = inputs.clone();
        few.images.truncate(TRIED);
        few.texts.truncate(TRIED);
        let mut losses = Vec::with_capacity(candidates.len());
        for Candidate { name, tower, .. } in candidates {
            let found = self.run(&BTreeSet::from([name.clone()]), &few, *tower)?;
            let QuantizationLoss { image, text, .. } = loss(expected, &found);
            let mean = image.or(text).map_or(0.0, |tower| tower.mean);
            losses.push(TensorLoss { tensor: name.clone(), tower: *tower, mean });
        }
        Ok(losses)
    }

    fn run(
        &self,
        names: &BTreeSet<String>,
        inputs: &Inputs,
        towers: Towers,
    ) -> Result<Outputs, QuantizeError> {
        let load = LoadOptions {
            compute: Compute::AsStored,
            blocks: false,
            towers: Some(towers),
            quantized: Some(Arc::new(names.clone())),
            ..self.load.clone()
        };
        Ok(Outputs::compute("in int8", &Clip::load(self.source, &load)?, inputs, false)?)
    }
}

/// What a model in int8 costs beside its source. It may have computed the first of the inputs only.
pub fn loss(expected: &Outputs, found: &Outputs) -> QuantizationLoss {
    let tower = |expected: &Option<Rows>, found: &Option<Rows>| -> Option<TowerLoss> {
        let (expected, found) = (expected.as_ref()?, found.as_ref()?);
        let rows = expected.values.chunks_exact(expected.width).zip(found.values.chunks_exact(found.width));
        let losses: Vec<f64> = rows.map(|(expected, found)| 1.0 - cosine(expected, found)).collect();
        let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        Some(TowerLoss { inputs: losses.len(), mean, worst: losses.into_iter().fold(0.0, f64::max) })
    };
    let logits = expected.logits.as_ref().zip(found.logits.as_ref());
    let logits = logits.filter(|(expected, found)| expected.values.len() == found.values.len());
    let same = |transposed: bool| {
        logits.map(|(expected, found)| {
            let best = |rows: &Rows| -> Vec<Option<usize>> {
                let rows = if transposed { rows.transposed() } else { rows.clone() };
                rows.values.chunks_exact(rows.width).map(highest).collect()
            };
            let (expected, found) = (best(expected), best(found));
            [expected.iter().zip(&found).filter(|(a, b)| a == b).count(), expected.len()]
        })
    };
    QuantizationLoss {
        image: tower(&expected.image_features, &found.image_features),
        text: tower(&expected.text_features, &found.text_features),
        same_best_text: same(false),
        same_best_image: same(true),
    }
}
