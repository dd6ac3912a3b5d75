//! What `export` says of int8 and int4: what is kept, what it may cost, and on what that is measured.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clipway_model::artifact::Quantization;
use clipway_model::export::Export;
use clipway_model::plan::Integers;
use clipway_model::source::Source;
use clipway_model::spelling::Target;
use clipway_model::spelling::onnx::{Int8, Ranges};
use clipway_run::activation::built_in_pairs;
use clipway_run::calibrate::{CalibrateError, calibrate};
use clipway_run::quantize::{self, QuantizeError, QuantizeOptions, half_of, quantize, select};
use clipway_run::verify::Inputs;

use crate::failure::{self, Failure, chain};
use crate::source::{clip_failure, export_failure, load_failure, load_options};
use crate::ui::Ui;
use crate::verification::{InputOptions, given_texts, read_images};

/// What integers are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum IntegerKind {
    /// Weights and the inputs of products in int8.
    Int8,
    /// Weights alone in int8.
    Int8Weights,
    /// Weights alone in int4.
    Int4,
}

impl IntegerKind {
    fn name(self) -> &'static str {
        match self {
            IntegerKind::Int8 => "int8",
            IntegerKind::Int8Weights => "int8-weights",
            IntegerKind::Int4 => "int4",
        }
    }

    /// What weights are rounded to.
    fn integers(self) -> Integers {
        match self {
            IntegerKind::Int8 | IntegerKind::Int8Weights => Integers::Int8,
            IntegerKind::Int4 => Integers::Int4,
        }
    }
}

/// What is in integers, for targets of either kind.
pub struct Chosen {
    tensors: quantize::Chosen,
    quantization: Quantization,
    ranges: Option<Arc<Ranges>>,
    /// What it may cost, and the inputs that report it: those that did not choose; `None` where nothing is measured.
    budget: Option<Budget>,
}

/// Why a model is run before it is written.
#[derive(Clone, Copy)]
pub struct Runs {
    /// It is run anyway, to be verified.
    pub verified: bool,
    /// Graphs need the ranges of values.
    pub ranges: bool,
}

/// What integers may cost, and the inputs that it is measured on.
pub struct Budget {
    pub options: QuantizeOptions,
    pub inputs: Inputs,
}

/// Options of `--precision int8` and `int4`.
#[derive(Args)]
#[command(next_help_heading = "Int8 and int4 options")]
pub struct IntegerOptions {
    /// Largest mean of 1 - cosine of each tower's features; those that cost most stay as they are, or int8 for int4
    #[arg(long, value_name = "LOSS", value_parser = share)]
    max_loss: Option<f64>,

    /// Smallest share of images, and of texts, whose best match must stay the same
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_agreement: Option<f64>,

    /// A tensor, or a module with all of its tensors, that stays as it is
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    keep: Vec<String>,

    /// A folder of images to measure the loss on; `--texts` gives the texts [default: 200 built-in images and texts]
    #[arg(long, value_name = "DIR")]
    calibration: Option<PathBuf>,
}

impl IntegerOptions {
    /// What is asked of the quantization, if integers were asked for.
    pub fn settings(
        &self,
        kind: Option<IntegerKind>,
        targets: &[&'static Target],
    ) -> Result<Option<QuantizeOptions>, Failure> {
        let refuse = |message: &str, hint: &str| {
            let hint = Some(hint.to_owned());
            Err(Failure { hint, ..Failure::could_not_run("bad-option", message.to_owned()) })
        };
        let IntegerOptions { max_loss, min_agreement, keep, calibration } = self;
        let Some(kind) = kind else {
            let is_asked =
                max_loss.is_some() || min_agreement.is_some() || !keep.is_empty() || calibration.is_some();
            return match is_asked {
                true => refuse(
                    "`--max-loss`, `--min-agreement`, `--keep` and `--calibration` are for int8 and int4",
                    "add `--precision int8` or `int4`",
                ),
                false => Ok(None),
            };
        };
        let holds = |target: &&&Target| match kind {
            IntegerKind::Int8 => target.spelling.holds_integers() || target.spelling.has_graphs(),
            IntegerKind::Int8Weights => target.spelling.has_graphs(),
            IntegerKind::Int4 => target.spelling.holds_integers(),
        };
        if let Some(other) = targets.iter().find(|target| !holds(target)) {
            let message = format!("`--to {}` has no {}", other.name, kind.name());
            let hint = match kind {
                IntegerKind::Int8 => "pass `--to clipway`, which clipway runs in int8, or an ONNX target",
                IntegerKind::Int8Weights => "pass `--to onnx`, `onnx-immich` or `onnx-transformers`",
                IntegerKind::Int4 => "pass `--to clipway`, which clipway widens when it loads it",
            };
            return refuse(&message, hint);
        }
        let (to, keep) = (kind.integers(), keep.clone());
        Ok(Some(QuantizeOptions { to, keep, max_loss: *max_loss, min_agreement: *min_agreement }))
    }

    /// Chooses what is in integers, and finds the ranges that graphs need. The model is run only if there is a reason to: it
    /// is run anyway, or the options ask for what only a run can show.
    pub fn choose(
        &self,
        source: &Source,
        settings: QuantizeOptions,
        runs: Runs,
        options: &InputOptions,
        ui: &Ui,
    ) -> Result<Chosen, Failure> {
        let is_asked = self.max_loss.is_some() || self.min_agreement.is_some() || self.calibration.is_some();
        if !(runs.verified || runs.ranges || is_asked) {
            let selected = select(source, &settings);
            let (tensors, quantization) = selected.map_err(|error| quantize_failure(&error))?;
            return Ok(Chosen { tensors, quantization, ranges: None, budget: None });
        }
        let (inputs, load) = (self.inputs(options)?, load_options(ui)?);
        let chosen = quantize(source, &load, &inputs, &settings);
        let (tensors, quantization) = chosen.map_err(|error| quantize_failure(&error))?;
        let ranges = runs.ranges.then(|| calibrate(source, &load, &half_of(&inputs, 0))).transpose();
        let ranges = ranges.map_err(|error| match error {
            CalibrateError::Load(error) => load_failure(&error),
            CalibrateError::Run(error) => clip_failure(&error),
            error => Failure::no(error.code(), chain(&error)),
        })?;
        let budget = Budget { options: settings, inputs: half_of(&inputs, 1) };
        Ok(Chosen { tensors, quantization, ranges: ranges.map(Arc::new), budget: Some(budget) })
    }

    fn inputs(&self, options: &InputOptions) -> Result<Inputs, Failure> {
        let mut inputs = built_in_pairs().map_err(|error| clip_failure(&error))?;
        let mut names = ["built-in images", "built-in texts"];
        if let Some(folder) = &self.calibration {
            inputs.images = read_images(folder)?;
            names[0] = "the given images";
        }
        if let Some(path) = &options.texts {
            inputs.texts = given_texts(path)?;
            names[1] = "the given texts";
        }
        inputs.name = names.join(" and ");
        Ok(inputs)
    }
}

impl Chosen {
    /// What graphs in int8 are held to, where it was measured.
    pub fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }

    /// An export with this in integers.
    pub fn applied<'a>(&self, prepared: Export<'a>) -> Result<Export<'a>, Failure> {
        let quantization = self.quantization.clone();
        if prepared.spelling().has_graphs() {
            // Graphs are asked for int8 alone.
            let names = Arc::new(self.tensors.keys().cloned().collect());
            let int8 = Int8 { names, ranges: self.ranges.clone() };
            return Ok(prepared.with_int8_graphs(int8, quantization));
        }
        prepared.quantized(&self.tensors, quantization).map_err(|error| export_failure(&error))
    }
}

fn quantize_failure(error: &QuantizeError) -> Failure {
    match error {
        QuantizeError::Load(error) => load_failure(error),
        QuantizeError::Run(error) => clip_failure(error),
        error => Failure {
            exit_code: failure::exit_of(error.code()),
            hint: hint(error).map(str::to_owned),
            ..Failure::no(error.code(), chain(error))
        },
    }
}

fn hint(error: &QuantizeError) -> Option<&'static str> {
    match error {
        QuantizeError::OverBudget { integers: Integers::Int8, .. } => {
            Some("raise `--max-loss`, or use `--precision bf16` or `fp16`")
        }
        QuantizeError::OverBudget { integers: Integers::Int4, .. } => {
            Some("raise `--max-loss`, or use `--precision int8`")
        }
        QuantizeError::Already { .. } => {
            Some("leave out `--precision` to copy it, or quantize the checkpoint it was made of")
        }
        QuantizeError::UnknownName { .. } => Some("`clipway inspect SOURCE --tensors` lists the names"),
        _ => None,
    }
}

/// A number above 0 and at most 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("expected a number above 0 and at most 1".to_owned()),
    }
}
