//! Chooses which tensors of a model are in int8 or int4, within a loss that the user sets.
//!
//! Half of the inputs choose, and the other half, which chose nothing, report. What is measured is what an artifact will
//! compute: the same numbers, quantized as they are read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clipway_formats::{shown, shown_path};
use clipway_model::artifact::{KeptTensor, Quantization, QuantizationLoss, TensorLoss, TowerLoss};
use clipway_model::plan::{Integers, PlannedTensor, Towers};
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
    /// The integers.
    pub to: Integers,
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
    #[error("`{}` is in {found} already", shown_path(path))]
    Already {
        /// The source.
        path: PathBuf,
        /// The narrowest integers in it.
        found: Integers,
    },
    /// A name to keep is none of the model's.
    #[error("`{}` is no tensor that could be in {integers}, and no module of such tensors", shown(name))]
    UnknownName {
        /// The name.
        name: String,
        /// What was asked for.
        integers: Integers,
    },
    /// Every tensor is kept.
    #[error("no tensor is left that could be in {integers}")]
    Nothing {
        /// What was asked for.
        integers: Integers,
    },
    /// There are not two inputs of a kind.
    #[error("expected at least 2 {what}, half to choose and half to report, found {found}")]
    TooFewInputs {
        /// Images or texts.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
    /// No choice is within the budget.
    #[error("no choice of {integers} tensors is within the budget: {}", describe(*integers, all, least))]
    OverBudget {
        /// What was asked for.
        integers: Integers,
        /// What it costs with every tensor in these integers.
        all: Box<QuantizationLoss>,
        /// What it costs with only the one tensor in them that costs least.
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
            QuantizeError::Already { .. } | QuantizeError::Nothing { .. } => "unsupported",
            QuantizeError::UnknownName { .. } | QuantizeError::TooFewInputs { .. } => "missing",
            QuantizeError::OverBudget { .. } => "over-budget",
            QuantizeError::Load(error) => error.code(),
            QuantizeError::Run(error) => error.code(),
        }
    }
}

/// What every tensor in integers costs, and what the cheapest does.
fn describe(integers: Integers, all: &QuantizationLoss, least: &QuantizationLoss) -> String {
    let text = |loss: &QuantizationLoss| {
        let towers = [("image", loss.image), ("text", loss.text)];
        let parts =
            towers.into_iter().filter_map(|(name, tower)| Some(format!("{name} {:.2e}", tower?.mean)));
        parts.collect::<Vec<_>>().join(", ")
    };
    let others = wider(integers).map(|wider| format!(" and all others in {wider}")).unwrap_or_default();
    format!(
        "1 - cosine is on average {} with every tensor in {integers}, and {} with only the cheapest{others}",
        text(all),
        text(least)
    )
}

/// What tensors that cost too much are in instead; `None` where they stay as they are.
fn wider(integers: Integers) -> Option<Integers> {
    match integers {
        Integers::Int4 => Some(Integers::Int8),
        Integers::Int8 => None,
    }
}

/// The tensors of a quantization, by open_clip's names, and their integers.
pub type Chosen = BTreeMap<String, Integers>;

/// Every tensor of a source that can be in integers and is not kept by name. Nothing is read or run, so what that costs is not
/// known, and the budget is not looked at.
///
/// # Errors
/// A source that is in integers already, and names that are none.
pub fn select(source: &Source, options: &QuantizeOptions) -> Result<(Chosen, Quantization), QuantizeError> {
    let selected = options.selected(source)?;
    let names = selected.chosen(0);
    Ok((names, selected.quantization(0)))
}

/// Chooses the tensors of a source that are in integers, and says what they cost.
///
/// # Errors
/// A source that is in integers already, names that are none, too few inputs, a budget that no choice meets, and what cannot
/// be loaded or run.
pub fn quantize(
    source: &Source,
    load: &LoadOptions,
    inputs: &Inputs,
    options: &QuantizeOptions,
) -> Result<(Chosen, Quantization), QuantizeError> {
    let integers = options.to;
    let mut selected = options.selected(source)?;
    let trial = Trial::new(source, load, inputs)?;
    let all = trial.choosing(&selected.chosen(0))?;
    let (mut alone, mut chosen_by, mut count) = (Vec::new(), all.clone(), 0);
    if !options.allow(&all) {
        alone = trial.alone(&selected.taken, integers)?;
        let cost = |candidate: &Candidate| {
            let found = alone.iter().find(|loss| loss.tensor == candidate.name);
            found.map_or(0.0, |loss| loss.mean) / candidate.elements.max(1) as f64
        };
        selected.taken.sort_by(|a, b| cost(b).total_cmp(&cost(a)));
        // The fewest that are kept, of the costliest for their size; at least one tensor is left.
        let (mut low, mut high) = (1, selected.taken.len() - 1);
        let least = trial.choosing(&selected.chosen(high))?;
        if !options.allow(&least) {
            return Err(QuantizeError::OverBudget { integers, all: Box::new(all), least: Box::new(least) });
        }
        chosen_by = least;
        while low < high {
            let middle = low.midpoint(high);
            let loss = trial.choosing(&selected.chosen(middle))?;
            if options.allow(&loss) {
                (high, chosen_by) = (middle, loss);
            } else {
                low = middle + 1;
            }
        }
        count = high;
    }
    let names = selected.chosen(count);
    let quantization = Quantization {
        max_loss: options.max_loss,
        min_agreement: options.min_agreement,
        inputs: Some(inputs.name.clone()),
        chosen_by,
        reported: trial.reporting(&names)?,
        alone,
        ..selected.quantization(count)
    };
    Ok((names, quantization))
}

/// The candidates of a source, by what becomes of them.
struct Selected {
    integers: Integers,
    /// Those that stay as they are by name, and those that have no groups.
    kept: Vec<KeptTensor>,
    /// Those that can be in the integers; at least one.
    taken: Vec<Candidate>,
    /// Those that have no groups, and are in the wider integers.
    without_groups: Chosen,
}

impl Selected {
    /// What is in integers if the first `count` candidates are in the wider ones, or as they are.
    fn chosen(&self, count: usize) -> Chosen {
        let mut chosen = self.without_groups.clone();
        let of = |index| if index < count { wider(self.integers) } else { Some(self.integers) };
        let candidates = self.taken.iter().enumerate();
        chosen.extend(candidates.filter_map(|(index, one)| Some((one.name.clone(), of(index)?))));
        chosen
    }

    /// What an artifact says of that, without what it costs.
    fn quantization(mut self, count: usize) -> Quantization {
        let left = self.taken.split_off(count);
        let wider = wider(self.integers);
        self.kept.extend(self.taken.into_iter().map(|candidate| keep(candidate, "budget", wider)));
        Quantization {
            integers: self.integers,
            tensors: left.len(),
            elements: left.iter().map(|candidate| candidate.elements as u64).sum(),
            kept: self.kept,
            ..Quantization::default()
        }
    }
}

fn keep(candidate: Candidate, why: &str, integers: Option<Integers>) -> KeptTensor {
    KeptTensor { tensor: candidate.name, why: why.to_owned(), integers }
}

/// Every second input: those that choose (0) or those that report (1).
pub fn half_of(inputs: &Inputs, start: usize) -> Inputs {
    Inputs {
        name: inputs.name.clone(),
        images: inputs.images.iter().skip(start).step_by(2).cloned().collect(),
        texts: inputs.texts.iter().skip(start).step_by(2).cloned().collect(),
    }
}

impl QuantizeOptions {
    /// The candidates of a source, unless it is in integers already.
    fn selected(&self, source: &Source) -> Result<Selected, QuantizeError> {
        let integers = self.to;
        if let Some(found) = source.plan().tensors.iter().filter_map(PlannedTensor::integers).max() {
            return Err(QuantizeError::Already { path: source.path().to_owned(), found });
        }
        let mut kept = Vec::new();
        let mut taken = candidates(source.model(), source.tower());
        for name in &self.keep {
            let is_below =
                |found: &str| found.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
            let (own, others): (Vec<_>, Vec<_>) =
                taken.into_iter().partition(|candidate| candidate.name == *name || is_below(&candidate.name));
            if own.is_empty() {
                return Err(QuantizeError::UnknownName { name: name.clone(), integers });
            }
            kept.extend(own.into_iter().map(|candidate| keep(candidate, "asked for", None)));
            taken = others;
        }
        // What has no groups is in the wider integers from the start.
        let (without, taken): (Vec<_>, Vec<_>) =
            taken.into_iter().partition(|candidate| integers == Integers::Int4 && !candidate.takes_int4);
        let without_groups: Chosen =
            without.iter().map(|candidate| (candidate.name.clone(), Integers::Int8)).collect();
        kept.extend(without.into_iter().map(|candidate| keep(candidate, "groups", wider(integers))));
        match taken.is_empty() {
            true => Err(QuantizeError::Nothing { integers }),
            false => Ok(Selected { integers, kept, taken, without_groups }),
        }
    }

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

    /// What some tensors in integers cost, on the inputs that choose.
    fn choosing(&self, names: &Chosen) -> Result<QuantizationLoss, QuantizeError> {
        let (inputs, expected) = &self.halves[0];
        Ok(loss(expected, &self.run(names, inputs, self.source.tower())?))
    }

    /// What they cost on the inputs that report.
    fn reporting(&self, names: &Chosen) -> Result<QuantizationLoss, QuantizeError> {
        let (inputs, expected) = &self.halves[1];
        Ok(loss(expected, &self.run(names, inputs, self.source.tower())?))
    }

    /// What each tensor costs alone, on the first of the inputs that choose.
    fn alone(&self, candidates: &[Candidate], integers: Integers) -> Result<Vec<TensorLoss>, QuantizeError> {
        let (inputs, expected) = &self.halves[0];
        let mut few = inputs.clone();
        few.images.truncate(TRIED);
        few.texts.truncate(TRIED);
        let mut losses = Vec::with_capacity(candidates.len());
        for Candidate { name, tower, .. } in candidates {
            let found = self.run(&Chosen::from([(name.clone(), integers)]), &few, *tower)?;
            let QuantizationLoss { image, text, .. } = loss(expected, &found);
            let mean = image.or(text).map_or(0.0, |tower| tower.mean);
            losses.push(TensorLoss { tensor: name.clone(), tower: *tower, mean });
        }
        Ok(losses)
    }

    fn run(&self, names: &Chosen, inputs: &Inputs, towers: Towers) -> Result<Outputs, QuantizeError> {
        let load = LoadOptions {
            compute: Compute::AsStored,
            blocks: false,
            towers: Some(towers),
            quantized: Some(Arc::new(names.clone())),
            ..self.load.clone()
        };
        Ok(Outputs::compute("in integers", &Clip::load(self.source, &load)?, inputs, false)?)
    }
}

/// What a model in integers costs beside its source. It may have computed the first of the inputs only.
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
