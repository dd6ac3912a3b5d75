//! `clipway verify`: an exported folder against its source, or against its own hashes; and which activation fits it.

use std::path::{Path, PathBuf};

use clap::Args;
use clipway_formats::shown_path;
use clipway_model::artifact::{Artifact, HashReport};
use clipway_model::source::Source;
use clipway_run::activation::{Weighed, weigh_activations};
use clipway_run::load::LoadOptions;
use clipway_run::verify::{FolderVerification, resolve_exported};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::{self, Failure};
use crate::source::{self, SourceArguments};
use crate::ui::Ui;
use crate::verification::{InputOptions, table, verify_failure};

/// Prove that an exported folder gives the same embeddings as its source
#[derive(Args)]
pub struct Verify {
    /// The exported folder
    folder: PathBuf,

    /// The source to run beside it; without it the folder's own hashes are checked. Either way GELU and QuickGELU are
    /// run over built-in images with texts, and it is said which fits better and how clearly
    #[arg(long, value_name = "SOURCE")]
    against: Option<PathBuf>,

    /// Compare the outputs of the towers' blocks too
    #[arg(long, requires = "against")]
    blocks: bool,

    /// Check the folder's own hashes and run nothing
    #[arg(long, conflicts_with = "against")]
    hashes_only: bool,

    #[command(flatten)]
    inputs: InputOptions,

    #[command(flatten)]
    source: SourceArguments,
}

impl Verify {
    /// Verifies; true if all is as it must be.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        std::fs::read_dir(&self.folder).map_err(|error| failure::folder(&self.folder, &error))?;
        let found = Artifact::find(&self.folder);
        let hashes = found.and_then(|found| found.map(|_| Artifact::check_hashes(&self.folder)).transpose());
        let hashes = hashes.map_err(|error| source::artifact_failure(&error))?;
        match (&self.against, hashes) {
            (None, None) => {
                let folder = shown_path(&self.folder);
                Err(Failure::could_not_run("missing", format!("`{folder}` has no `clipway.json` to check"))
                    .hint("pass `--against SOURCE` to compare it with its source"))
            }
            (None, Some(hashes)) => self.report(&hashes, ui),
            (Some(_), Some(hashes)) if !hashes.is_right() => self.report(&hashes, ui),
            (Some(against), hashes) => {
                hashes.iter().for_each(|hashes| ui.say(&summary(hashes)));
                self.compare(against, ui)
            }
        }
    }

    /// Runs the source and the folder on the same inputs.
    fn compare(&self, against: &Path, ui: &Ui) -> Result<bool, Failure> {
        let checkpoint = self.source.open(against)?;
        let refuse = |error| verify_failure(&error);
        let inputs = self.inputs.read()?;
        let folder = self.resolved()?;
        let load = LoadOptions { blocks: self.blocks, ..source::load_options(ui)? };
        let verification = FolderVerification { inputs: &inputs, load, source: self.source.options() };
        let report = verification.run_resolved(&folder, &checkpoint).map_err(refuse)?;
        let activation = weighed(&folder, &verification.load)?;
        if ui.json() {
            ui.data_json(&with_activation(&report, Some(&activation))?)?;
        } else {
            ui.data(&format!("{}activation: {}\n", table(&report), activation.summary()))?;
        }
        Ok(report.passed)
    }

    /// Says what the folder's hashes are, and of a folder that is right which activation fits it.
    fn report(&self, hashes: &HashReport, ui: &Ui) -> Result<bool, Failure> {
        let is_weighed = hashes.is_right() && !self.hashes_only;
        // A folder that cannot be opened and run is not right, whatever its hashes.
        let activation = is_weighed.then(|| self.activation(ui)).transpose();
        if ui.json() {
            let activation = activation?;
            ui.data_json(&with_activation(hashes, activation.as_ref())?)?;
        } else {
            let mut text = format!("{}\n", summary(hashes));
            text.extend(hashes.differences.iter().map(|line| format!("{line}\n")));
            ui.data(&text)?;
            if let Some(activation) = activation? {
                ui.data(&format!("activation: {}\n", activation.summary()))?;
            }
        }
        Ok(hashes.is_right())
    }

    /// What images and texts say of the folder's activation.
    fn activation(&self, ui: &Ui) -> Result<Weighed, Failure> {
        weighed(&self.resolved()?, &source::load_options(ui)?)
    }

    /// The folder's model, as its own library reads it.
    fn resolved(&self) -> Result<Source, Failure> {
        resolve_exported(&self.folder).map_err(|error| source::source_failure(&error))
    }
}

fn weighed(folder: &Source, load: &LoadOptions) -> Result<Weighed, Failure> {
    weigh_activations(folder, load).map_err(|error| verify_failure(&error))
}

/// One line on a folder's hashes.
fn summary(hashes: &HashReport) -> String {
    let right = if hashes.is_right() { "as `clipway.json` says" } else { "NOT as `clipway.json` says" };
    format!("{} tensors and {} files are {right}", hashes.tensors, hashes.files)
}

/// A report as JSON, with what was weighed.
fn with_activation(report: &impl Serialize, activation: Option<&Weighed>) -> Result<Value, Failure> {
    let mut value =
        serde_json::to_value(report).map_err(|error| Failure::could_not_run("internal", error))?;
    if let Some(activation) = activation {
        value["activation"] = json!(activation);
    }
    Ok(value)
}
