//! What `export` says of ONNX files, and their verification.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use clipway_model::artifact::Report;
use clipway_model::export::{Export, VerifyError};
use clipway_model::plan::Precision;
use clipway_model::source::{Source, SourceOptions};
use clipway_model::spelling::Target;
use clipway_model::spelling::onnx::{OnnxPrecision, OnnxSettings};
use clipway_run::load::LoadOptions;
use clipway_run::onnx::OnnxVerification;
use clipway_run::verify::Inputs;

use crate::failure::Failure;

/// Options of ONNX files.
#[derive(Args)]
#[command(next_help_heading = "ONNX options")]
pub struct OnnxOptions {
    /// Fixed number of samples, for runtimes that need one (CoreML, QNN, RKNN) [default: free]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,

    /// Whether features have the length 1 [default: as the program that loads the folder expects it]
    #[arg(long, value_enum, value_name = "YES|NO")]
    normalize: Option<Answer>,

    /// What images are: normalized pixels, or bytes that the graph normalizes
    #[arg(long, value_enum, default_value = "float32")]
    input: PixelKind,

    /// Make the output of each block an output of the graph, for debugging
    #[arg(long)]
    block_outputs: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Answer {
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PixelKind {
    /// Normalized pixels, [batch, 3, height, width]
    Float32,
    /// Bytes, [batch, height, width, 3]
    Uint8,
}

impl OnnxOptions {
    /// The settings; an error if there are any and no target has graphs.
    pub fn settings(&self, targets: &[&Target]) -> Result<OnnxSettings, Failure> {
        let settings = OnnxSettings {
            batch: self.batch.map(usize::from),
            normalize: self.normalize.map(|answer| matches!(answer, Answer::Yes)),
            bytes: self.input == PixelKind::Uint8,
            blocks: self.block_outputs,
        };
        if settings == OnnxSettings::default() || targets.iter().any(|target| target.spelling.onnx.is_some())
        {
            return Ok(settings);
        }
        let cause = "`--batch`, `--normalize`, `--input` and `--block-outputs` are for `--to onnx`, `onnx-immich` and \
                     `onnx-transformers`";
        Err(Failure::could_not_run("bad-option", cause.to_owned()))
    }
}

/// Runs the files that are about to be put in place by a runtime that is not the engine, against the source.
pub fn verified(
    folder: &Path,
    prepared: &Export<'_>,
    inputs: &Inputs,
    load: &LoadOptions,
    options: &SourceOptions,
) -> Result<Report, VerifyError> {
    let profile = prepared.spelling().onnx.ok_or("it has no graphs")?;
    // The source is the reference as it is.
    let options = SourceOptions { precision: None, fold: false, ..options.clone() };
    let source = Source::of(Arc::clone(prepared.source().checkpoint()), &options)?;
    let verification = OnnxVerification {
        profile,
        settings: prepared.onnx(),
        precision: match prepared.source().precision() {
            Some(Precision::F16) => OnnxPrecision::F16,
            _ => OnnxPrecision::F32,
        },
        inputs,
        load: load.clone(),
    };
    let report = verification.run(folder, &source)?;
    if report.passed { Ok(report) } else { Err(report.explanation().into()) }
}
