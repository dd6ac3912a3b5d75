//! Comparison with stored outputs of open_clip, for any folder with the structure of the goldens.

use std::path::Path;

use clap::ValueEnum;
use clipway_run::engine::{InstructionSet, Processor};
use clipway_testing::architecture_runner::{self, ArchitectureCase, MeasuredError, run_architecture_golden};
use clipway_testing::layout_goldens;
use clipway_testing::manifests::{self as manifest_files, ManifestOutcome};
use clipway_testing::onnx_runner::run_onnx_golden;
use clipway_testing::preprocess_goldens::check_preprocess_goldens;
use clipway_testing::processor_goldens::check_processor_goldens;
use clipway_testing::token_goldens::run_token_goldens;
use regex::Regex;

use crate::outcome::{Outcome, tell};

/// Problems of one case that are reported.
const MOST_PROBLEMS: usize = 3;

/// Contents of a folder of goldens.
#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    /// Features of whole models with weights by formula
    Architectures,
    /// Images after open_clip's evaluation transform
    Preprocess,
    /// Pixels of transformers folders, as computed by transformers
    Processors,
    /// Token ids
    Tokens,
    /// Features of checkpoints in other projects' layouts
    Layouts,
    /// Features of whole models with weights by formula, written as ONNX and run by rten
    Onnx,
}

/// Runs every case of a folder that `only` chooses.
pub fn run(
    kind: Kind,
    folder: &Path,
    only: Option<&Regex>,
    isa: Option<&str>,
    keep: Option<&Path>,
) -> Result<bool, String> {
    let chosen = |name: &str| only.is_none_or(|only| only.is_match(name));
    match kind {
        Kind::Architectures => {
            let processor = processor(isa)?;
            let cases = architecture_runner::list(folder, &chosen).map_err(|error| error.to_string())?;
            Ok(tell(
                cases
                    .into_iter()
                    .map(|(name, path)| outcome(run_architecture_golden(name, &path, &processor))),
            ))
        }
        Kind::Onnx => {
            let cases = architecture_runner::list(folder, &chosen).map_err(|error| error.to_string())?;
            Ok(tell(cases.into_iter().map(|(name, path)| outcome(run_onnx_golden(name, &path, keep)))))
        }
        Kind::Preprocess => {
            let cases = check_preprocess_goldens(folder).map_err(|error| error.to_string())?;
            Ok(tell(cases.into_iter().filter(|case| chosen(&case.name)).map(|case| {
                let difference =
                    format!("largest difference {}, {:.3} % of values", case.largest, 100.0 * case.share);
                let detail = [difference, case.reason].into_iter().filter(|part| !part.is_empty());
                Outcome {
                    name: case.name,
                    passed: case.passed,
                    detail: detail.collect::<Vec<_>>().join("; "),
                }
            })))
        }
        Kind::Processors => {
            let cases = check_processor_goldens(folder, &folder.join("images"))?;
            Ok(tell(cases.into_iter().filter(|case| chosen(&case.name)).map(|case| {
                let counts = format!("{} images compared, {} refused", case.compared, case.refused);
                let wrong = case.problems.len();
                let problems = case.problems.iter().take(MOST_PROBLEMS).cloned();
                let detail: Vec<String> =
                    [format!("{counts}, {wrong} wrong")].into_iter().chain(problems).collect();
                Outcome { passed: case.passed(), detail: detail.join("; "), name: case.name }
            })))
        }
        Kind::Layouts => {
            let processor = processor(isa)?;
            let goldens = layout_goldens::list(folder).map_err(|error| error.to_string())?;
            Ok(tell(goldens.iter().filter(|golden| chosen(&golden.name)).map(|golden| {
                let case = layout_goldens::run_layout_golden(golden, &processor);
                let (name, passed, layout) = (case.name.clone(), case.passed(), case.layout);
                let measured = match case.outcome {
                    Ok(errors) => errors.iter().map(MeasuredError::to_string).collect::<Vec<_>>().join(", "),
                    Err(cause) => cause,
                };
                Outcome { name, passed, detail: format!("{}: {measured}", layout.unwrap_or("no layout")) }
            })))
        }
        Kind::Tokens => {
            let cases = run_token_goldens(folder).map_err(|error| error.to_string())?;
            Ok(tell(cases.into_iter().filter(|case| chosen(&case.name)).map(|case| {
                let detail =
                    format!("{} of {} texts differ {}", case.mismatches.len(), case.texts, case.reason);
                Outcome { name: case.name, passed: case.passed, detail: detail.trim_end().to_owned() }
            })))
        }
    }
}

/// The outcome of a whole model.
fn outcome(case: ArchitectureCase) -> Outcome {
    let passed = case.passed();
    let detail = match case.outcome {
        Ok(errors) => errors.iter().map(MeasuredError::to_string).collect::<Vec<_>>().join(", "),
        Err(cause) => cause,
    };
    Outcome { name: case.name, passed, detail }
}

/// Compares every architecture's parameters with the manifests of a folder.
pub fn manifests(folder: &Path, only: Option<&Regex>) -> Result<bool, String> {
    let files = manifest_files::list(folder).map_err(|error| error.to_string())?;
    let chosen = files.into_iter().filter(|(name, _)| only.is_none_or(|only| only.is_match(name)));
    Ok(tell(chosen.map(|(name, path)| match manifest_files::check(&name, &path) {
        Ok(case) => {
            let (passed, detail) = match case.outcome {
                ManifestOutcome::Equal { tensors } => {
                    (true, format!("{tensors} tensors, names, shapes and order"))
                }
                ManifestOutcome::Different(difference) => (false, difference),
                ManifestOutcome::Unsupported(what) => (false, what),
            };
            Outcome { name, passed, detail }
        }
        Err(error) => Outcome { name, passed: false, detail: error.to_string() },
    })))
}

/// The processor with the instruction set that was asked for, or the best.
fn processor(isa: Option<&str>) -> Result<Processor, String> {
    let available = InstructionSet::available();
    let set = match isa {
        None => available[0],
        Some(name) => {
            *available.iter().find(|set| set.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
                let names: Vec<&str> = available.iter().map(|set| set.name()).collect();
                format!("this processor has no `{name}`; it has {}", names.join(", "))
            })?
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Processor::new(set, threads).map_err(|error| error.to_string())
}
