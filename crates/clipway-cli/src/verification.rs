//! What `verify` and `export` share: verification inputs, and reports for people.

use std::path::{Path, PathBuf};

use clap::Args;
use clipway_formats::shown_path;
use clipway_model::input;
use clipway_run::image::{DecodeLimits, Image, decode};
use clipway_run::space::SpaceError;
use clipway_run::verify::{Inputs, Report, VerifyError};

use crate::failure::{self, Failure, chain};
use crate::source::{clip_failure, load_failure, onnx_failure, source_failure};
use crate::text::read_texts;

/// What to run a verification on.
#[derive(Args)]
pub struct InputOptions {
    /// A folder of images to verify with instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// A file with one text per line to verify with instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    pub texts: Option<PathBuf>,
}

impl InputOptions {
    /// The given paths; standard input has none.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let texts = self.texts.as_deref().filter(|path| *path != Path::new(input::STDIN));
        self.images.as_deref().into_iter().chain(texts)
    }

    /// Reads the inputs; the built-in ones stand in for what was not given.
    pub fn read(&self) -> Result<Inputs, Failure> {
        let mut inputs = Inputs::built_in();
        let mut names = Vec::new();
        if let Some(folder) = &self.images {
            inputs.images = read_images(folder)?;
            names.push("the given images");
        } else {
            names.push(Inputs::BUILT_IN_IMAGES);
        }
        if let Some(path) = &self.texts {
            inputs.texts = given_texts(path)?;
            names.push("the given texts");
        } else {
            names.push(Inputs::BUILT_IN_TEXTS);
        }
        inputs.name = names.join(" and ");
        Ok(inputs)
    }
}

/// Decodes every file of a folder, by name.
pub fn read_images(folder: &Path) -> Result<Vec<(String, Image)>, Failure> {
    let read = |path: PathBuf| {
        let bytes = input::read(&path, input::Kind::Image).map_err(|error| failure::input(&error))?;
        let image = decode(&bytes, &DecodeLimits::default()).map_err(|error| {
            Failure::no(error.code(), format!("`{}`: {}", shown_path(&path), chain(&error)))
        })?;
        Ok((path.to_string_lossy().into_owned(), image))
    };
    images(folder)?.into_iter().map(read).collect()
}

/// The texts of a file, of which one is not blank.
pub fn given_texts(path: &Path) -> Result<Vec<String>, Failure> {
    let texts = read_texts(path)?;
    if texts.iter().all(|text| text.trim().is_empty()) {
        return Err(Failure::could_not_run("missing", format!("`{}` contains no texts", shown_path(path))));
    }
    Ok(texts)
}

/// The files of a folder, sorted by name, without hidden ones.
fn images(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| failure::folder(folder, &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failure::folder(folder, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !path.is_dir() && !hidden {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(Failure::could_not_run(
            "missing",
            format!("`{}` contains no images", shown_path(folder)),
        ));
    }
    paths.sort();
    Ok(paths)
}

/// Failure, with its exit status, for a verification that could not run.
pub fn verify_failure(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Source(error) => source_failure(error),
        VerifyError::Load(error) => load_failure(error),
        VerifyError::Run(error) => clip_failure(error),
        _ => Failure::no(error.code(), chain(error)),
    }
}

/// Failure, with its exit status, for a space that cannot be stated.
pub fn space_failure(error: &SpaceError) -> Failure {
    match error {
        SpaceError::Source(error) => source_failure(error),
        SpaceError::Load(error) => load_failure(error),
        SpaceError::Graphs(error) => onnx_failure(error),
        _ => Failure::no(error.code(), chain(error)),
    }
}

/// A report as a table for people, with the verdict.
pub fn table(report: &Report) -> String {
    let mut text = stages(report);
    // The explanation of a failure has them too.
    for note in report.notes.iter().filter(|_| report.passed) {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push_str(&report.explanation());
    text.push('\n');
    text
}

/// The stages of a report as a table for people, with its rankings.
pub fn stages(report: &Report) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["stage", "result", "values", "worst", "relative", "at", "cosine", "tolerance"]);
    for stage in &report.stages {
        let tolerance = &stage.tolerance;
        table.add_row([
            stage.name.clone(),
            if stage.passed { "passed".to_owned() } else { "FAILED".to_owned() },
            stage.compared.to_string(),
            format!("{:.2e}", stage.worst),
            format!("{:.2e}", stage.worst_relative),
            format!("{:?}", stage.worst_at),
            stage.cosine.map_or_else(String::new, |cosine| format!("{cosine:.7}")),
            format!("{} ({:.0e})", tolerance.name, tolerance.relative),
        ]);
    }
    let mut text = format!("{table}\n");
    let rankings = [("text of an image", report.same_best_text), ("image of a text", report.same_best_image)];
    for (what, [agree, of]) in rankings.into_iter().filter_map(|(what, count)| Some((what, count?))) {
        text.push_str(&format!("best {what}: the same in {agree} of {of}\n"));
    }
    let sensitivity = [("image", report.image_sensitivity), ("text", report.text_sensitivity)];
    for (what, spread) in sensitivity.into_iter().filter_map(|(what, spread)| Some((what, spread?))) {
        text.push_str(&format!(
            "{what} features of different inputs differ by 1 - cosine up to {spread:.3}\n"
        ));
    }
    text
}
