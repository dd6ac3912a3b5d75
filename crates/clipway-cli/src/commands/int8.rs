//! What `export` says of int8: what is kept, what it may cost, and on what that is measured.

use std::path::PathBuf;

use clap::Args;
use clipway_model::export::Export;
use clipway_model::spelling::Target;
use clipway_run::activation::built_in_pairs;
use clipway_run::quantize::{QuantizeError, QuantizeOptions, quantize};
use clipway_run::verify::Inputs;

use crate::failure::{self, Failure, chain};
use crate::source::{clip_failure, export_failure, load_failure, load_options};
use crate::ui::Ui;
use crate::verification::{InputOptions, given_texts, read_images};

/// Options of `--precision int8`.
#[derive(Args)]
#[command(next_help_heading = "Int8 options")]
pub struct Int8Options {
    /// Largest mean of 1 - cosine of each tower's features; tensors that cost most stay as they are
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

impl Int8Options {
    /// What is asked of the quantization, if int8 was asked for.
    pub fn settings(
        &self,
        is_int8: bool,
        targets: &[&'static Target],
    ) -> Result<Option<QuantizeOptions>, Failure> {
        let refuse = |message: &str, hint: &str| {
            let hint = Some(hint.to_owned());
            Err(Failure { hint, ..Failure::could_not_run("bad-option", message.to_owned()) })
        };
        let Int8Options { max_loss, min_agreement, keep, calibration } = self;
        if !is_int8 {
            let is_asked =
                max_loss.is_some() || min_agreement.is_some() || !keep.is_empty() || calibration.is_some();
            return match is_asked {
                true => refuse(
                    "`--max-loss`, `--min-agreement`, `--keep` and `--calibration` are for int8",
                    "add `--precision int8`",
                ),
                false => Ok(None),
            };
        }
        if let Some(other) = targets.iter().find(|target| !target.spelling.holds_int8()) {
            let message = format!("`--to {}` has no int8", other.name);
            return refuse(&message, "pass `--to clipway`, which clipway runs in int8");
        }
        Ok(Some(QuantizeOptions { keep: keep.clone(), max_loss: *max_loss, min_agreement: *min_agreement }))
    }

    /// Chooses what is in int8.
    pub fn quantized<'a>(
        &self,
        prepared: Export<'a>,
        settings: &QuantizeOptions,
        options: &InputOptions,
        ui: &Ui,
    ) -> Result<Export<'a>, Failure> {
        let inputs = self.inputs(options)?;
        let chosen = quantize(prepared.source(), &load_options(ui)?, &inputs, settings);
        let (names, quantization) = chosen.map_err(|error| quantize_failure(&error))?;
        prepared.quantized(&names, quantization).map_err(|error| export_failure(&error))
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
        QuantizeError::OverBudget { .. } => Some("raise `--max-loss`, or use `--precision bf16` or `fp16`"),
        QuantizeError::AlreadyInt8 { .. } => {
            Some("leave out `--precision int8` to copy it, or quantize the checkpoint it was made of")
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
