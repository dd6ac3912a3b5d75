//! What is known of a model: its files, its config, its preprocessing and tokenizer, its values, its verification.

use std::path::Path;

use clipway_formats::shown;
use clipway_model::artifact::Artifact;
use clipway_model::contract::{Contract, Known, Origin};
use clipway_model::inspect::{Inspection, TensorStatistics};
use clipway_model::source::Source;
use clipway_run::onnx::OnnxFolder;

use super::Point;
use crate::failure::Failure;
use crate::text::{bytes, counted};

/// The command that writes a folder from a source.
fn export(source: &str) -> String {
    format!("clipway export {source} --out DIR")
}

/// The only point of a source that cannot be opened.
pub fn unopened(failure: &Failure) -> Point {
    Point::fail("files", failure.first_line(), failure.hint.clone())
}

/// The points of an opened source: those that headers show, and those that need a config.
/// `given` is the source with its options, as on the command line.
pub fn source(
    given: &str,
    inspection: &Inspection,
    resolved: Result<(&Source, &Contract), &Failure>,
) -> Vec<Point> {
    let mut points = vec![format(given, inspection), training(given, inspection)];
    points.extend(values(given, inspection));
    match resolved {
        Err(failure) => points.push(Point::fail("config", failure.first_line(), failure.hint.clone())),
        Ok((source, contract)) => {
            points.push(config(given, source));
            points.extend(contradictions(source));
            points.extend(contract.image.as_ref().map(|image| {
                let parts = [
                    &image.size.from,
                    &image.mean.from,
                    &image.std.from,
                    &image.interpolation.from,
                    &image.resize_mode.from,
                ];
                known(
                    "preprocessing",
                    &parts,
                    "`--image-mean`, `--image-std`, `--interpolation` and `--resize-mode` set it",
                )
            }));
            points.extend(tokenizer(given, contract));
            points.push(known(
                "activation",
                &[&contract.activation.from],
                &format!("clipway inspect {given} --probe"),
            ));
            points.push(license(given, source, contract));
        }
    }
    points
}

/// Files and layout.
fn format(given: &str, inspection: &Inspection) -> Point {
    let layout = inspection.layout.as_ref().map_or("no known layout", |layout| layout.title);
    let found = format!("{}, {layout}", inspection.format);
    match inspection.format {
        "safetensors" | "npz" | "ONNX" => Point::pass("format", found),
        _ => Point::warn(
            "format",
            format!("{found}: a pickle, from which other programs may run code"),
            export(given),
        ),
    }
}

/// The size, and how much of it is not the model's weights.
fn training(given: &str, inspection: &Inspection) -> Point {
    let files: u64 = inspection.files.iter().map(|(_, size)| size).sum();
    match inspection.left_out_bytes {
        0 => Point::pass("size", format!("{}, nothing beside the weights", bytes(files))),
        rest => Point::warn(
            "size",
            format!(
                "{} of {} are beside the weights (optimizer, averages, other modules)",
                bytes(rest),
                bytes(files)
            ),
            export(given),
        ),
    }
}

/// Names for messages: the first ones, and how many more there are.
fn named<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let first = names.iter().take(3).map(|name| format!("`{}`", shown(name))).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(3) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// The range of the values, if they were read.
fn values(given: &str, inspection: &Inspection) -> Option<Point> {
    let statistics = inspection.statistics.as_ref()?;
    let precision = inspection.weights.as_ref().map_or("unknown", |weights| weights.precision);
    let with = |is: fn(&TensorStatistics) -> bool| {
        let found: Vec<&str> = statistics.iter().filter(|row| is(row)).map(|row| row.name.as_str()).collect();
        (!found.is_empty()).then(|| (found.len(), named(found.into_iter())))
    };
    if let Some((count, names)) = with(|row| row.nan + row.infinite > 0) {
        let found = format!("{} with NaN or infinite values: {names}", counted(count, "tensor"));
        return Some(Point::fail(
            "values",
            found,
            Some("take an earlier checkpoint: this one has diverged".to_owned()),
        ));
    }
    if let Some((count, names)) = with(|row| row.overflow_f16 > 0) {
        let found =
            format!("{precision}, finite; {} beyond the range of fp16: {names}", counted(count, "tensor"));
        let mend = format!("clipway export {given} --precision bf16 --out DIR, or fp32");
        return Some(Point::warn("values", found, mend));
    }
    Some(Point::pass("values", format!("{precision}, finite, within the range of fp16")))
}

/// The config and its origin.
fn config(given: &str, source: &Source) -> Point {
    let found = format!("{} features, from {}", source.config().model.embed_dim, source.origin().shown());
    let is_beside =
        source.checkpoint().config().is_some() || source.layout().name.starts_with("transformers");
    if is_beside || source.artifact().is_some() {
        Point::pass("config", found)
    } else {
        Point::warn("config", format!("{found}: none is beside the weights"), export(given))
    }
}

/// Contradictions between files that are set aside.
fn contradictions(source: &Source) -> Option<Point> {
    let all = source.disagreements();
    let (file, problems) = all.first()?;
    let first = problems.first().map(String::as_str).unwrap_or_default();
    let found = format!("`{file}` contradicts the file that is used: {first}");
    Some(Point::warn("stale files", found, format!("remove `{file}`, or correct it")))
}

/// A point about values that should be stated somewhere: their origin.
fn known(name: &'static str, parts: &[&Origin], mend: &str) -> Point {
    let mut origins: Vec<String> = Vec::new();
    for part in parts {
        let origin = shown_origin(part);
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    let found = origins.join("; ");
    match parts.iter().any(|part| part.is_assumed()) {
        true => Point::warn(name, found, mend),
        false => Point::pass(name, found),
    }
}

/// An origin without the key; of an artifact, where it has the value from.
fn shown_origin(origin: &Origin) -> String {
    match origin {
        Origin::SourceFile { file, .. } => format!("`{}`", shown(file)),
        Origin::Artifact { said } => shown_origin(said),
        origin => origin.to_string(),
    }
}

/// The tokenizer and its origin, if there is a text tower.
fn tokenizer(given: &str, contract: &Contract) -> Option<Point> {
    let text = contract.text.as_ref()?;
    let mend = format!("clipway export {given} --tokenizer FOLDER --out DIR");
    Some(match &text.tokenizer {
        None => Point::fail("tokenizer", "its files are missing", Some(mend)),
        Some(Known { from, .. }) => known("tokenizer", &[from], &mend),
    })
}

/// The license, what it does not permit, and what contradicts it.
fn license(given: &str, source: &Source, contract: &Contract) -> Point {
    let mend = format!("clipway export {given} --license NAME --out DIR");
    let Some(license) = &contract.license else { return Point::warn("license", "none is stated", mend) };
    let found = format!("{} ({})", shown(&license.value), license.from);
    if let Some(contradiction) = source.licenses().notes().into_iter().next() {
        return Point::warn("license", contradiction, mend);
    }
    match contract.license_restriction() {
        Some((_, restriction)) => {
            Point::warn("license", format!("{found}: it {restriction}"), "ask its owner for another license")
        }
        None => Point::pass("license", found),
    }
}

/// Whether a folder is unchanged since it was exported, and whether it was verified then.
pub fn artifact(path: &Path, given: &str, found: Option<&Artifact>, reads_all: bool) -> Vec<Point> {
    let Some(artifact) = found else {
        let found = "there is no `clipway.json`: nothing says so";
        return vec![Point::warn("verified", found, export(given))];
    };
    let mut points = vec![verified(artifact)];
    if reads_all {
        points.push(match Artifact::check_hashes(path) {
            Ok(report) if report.is_right() => Point::pass(
                "unchanged",
                format!(
                    "{} and {} as exported",
                    counted(report.tensors, "tensor"),
                    counted(report.files, "file")
                ),
            ),
            Ok(report) => {
                Point::fail("unchanged", report.differences.join("; "), Some("export it again".to_owned()))
            }
            Err(error) => Point::fail("unchanged", error.to_string(), Some("export it again".to_owned())),
        });
    }
    points
}

/// The verification of an artifact.
fn verified(artifact: &Artifact) -> Point {
    let again = "clipway verify DIR --against SOURCE";
    match &artifact.verification {
        None => Point::warn("verified", "it was exported with `--no-verify`", again),
        Some(report) => {
            let found = format!("{}, by clipway {}", report.summary(), shown(&artifact.tool_version));
            if report.passed {
                Point::pass("verified", found)
            } else {
                Point::fail("verified", found, Some(again.to_owned()))
            }
        }
    }
}

/// The points of a folder of ONNX graphs, beyond those of its artifact.
pub fn graphs(folder: &OnnxFolder) -> Vec<Point> {
    let layout = folder.layout.unwrap_or("no known layout");
    let graphs = folder.graphs.iter().map(|graph| {
        let opset = graph.interface.operator_sets.iter().map(|(_, version)| version.to_string());
        format!("{} (opset {})", graph.precision(), opset.collect::<Vec<_>>().join(", "))
    });
    let found = format!("ONNX, {layout}: {}", graphs.collect::<Vec<_>>().join(", "));
    let contract = match &folder.contract {
        Some(contract) => Point::pass("preprocessing", shown(&contract.from)),
        None => Point::fail(
            "preprocessing",
            "no file says how images and texts are prepared",
            Some("clipway export SOURCE --to onnx --out DIR".to_owned()),
        ),
    };
    vec![Point::pass("format", found), contract]
}
