//! `clipway verify`: an exported folder against its source, or against its own hashes.

use std::path::PathBuf;

use clap::Args;
use clipway_model::artifact::{Artifact, ArtifactModel};
use clipway_run::activation::{Weighed, weigh_activations};
use clipway_run::load::LoadOptions;
use clipway_run::verify::{ExportedFolder, FolderVerification};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::{self, Failure};
use crate::source::{self, SourceOptions};
use crate::ui::Ui;
use crate::verification::{InputOptions, table, verify_failure};

/// Prove that an exported folder gives the same embeddings as its source
#[derive(Args)]
pub struct Verify {
    /// The exported folder
    folder: PathBuf,

    /// The source to run beside it; without it the folder's own hashes are checked, and nothing is run but `--probe`
    #[arg(long, value_name = "SOURCE")]
    against: Option<PathBuf>,

    /// Compare the outputs of the towers' blocks too
    #[arg(long, requires = "against")]
    blocks: bool,

    /// Run GELU and QuickGELU over built-in pictures with texts, and say which fits better and how clearly; with
    /// `--against` this is always done
    #[arg(long)]
    probe: bool,

    #[command(flatten)]
    inputs: InputOptions,

    #[command(flatten)]
    source: SourceOptions,
}

impl Verify {
    /// Verifies; true if all is as it must be.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        std::fs::read_dir(&self.folder).map_err(|error| failure::file(&self.folder, &error))?;
        let hashes_right =
            match Artifact::find(&self.folder).map_err(|error| source::artifact_failure(&error))? {
                Some(artifact) => self.hashes(&artifact, ui)?,
                None if self.against.is_none() => {
                    let folder = self.folder.display();
                    return Err(Failure::could_not_run(
                        "missing",
                        format!("`{folder}` has no `clipway.json` to check"),
                    )
                    .hint("pass `--against SOURCE` to compare it with its source"));
                }
                None => true,
            };
        let Some(against) = &self.against else { return Ok(hashes_right) };
        if !hashes_right {
            return Ok(false);
        }
        let checkpoint = self.source.open(against)?;
        let refuse = |error| verify_failure(&error);
        let inputs = self.inputs.read()?;
        let folder = ExportedFolder::open(&self.folder).map_err(refuse)?;
        let prepared = folder.prepare().map_err(refuse)?;
        let mut load = LoadOptions::new(source::processor(ui)?);
        (load.blocks, load.towers) = (self.blocks, folder.tower());
        let verification = FolderVerification { inputs: &inputs, load, source: self.source.export_options() };
        let report = verification.run_prepared(&prepared, folder.tower(), &checkpoint).map_err(refuse)?;
        let activation = weigh_activations(&prepared, &verification.load).map_err(refuse)?;
        if ui.json() {
            ui.data_json(&with_activation(&report, Some(&activation))?)?;
        } else {
            ui.data(&format!("{}activation: {}\n", table(&report), activation.summary()))?;
        }
        Ok(report.passed)
    }

    /// What pictures and texts say of the folder's activation.
    fn activation(&self, ui: &Ui) -> Result<Weighed, Failure> {
        let refuse = |error| verify_failure(&error);
        let folder = ExportedFolder::open(&self.folder).map_err(refuse)?;
        let load = LoadOptions { towers: folder.tower(), ..LoadOptions::new(source::processor(ui)?) };
        weigh_activations(&folder.prepare().map_err(refuse)?, &load).map_err(refuse)
    }

    /// Compares the folder with the hashes in its `clipway.json`.
    fn hashes(&self, artifact: &Artifact, ui: &Ui) -> Result<bool, Failure> {
        let report =
            Artifact::check_hashes(&self.folder).map_err(|error| source::artifact_failure(&error))?;
        let right = if report.is_right() { "as `clipway.json` says" } else { "NOT as `clipway.json` says" };
        let line = format!("{} tensors and {} files are {right}", report.tensors, report.files);
        // Where nothing comes after it, this is the result.
        let is_result = self.against.is_none() || !report.is_right();
        let probes = self.probe && is_result && report.is_right();
        let activation = probes.then(|| self.activation(ui)).transpose()?;
        if !is_result {
            ui.say(&line);
        } else if ui.json() {
            ui.data_json(&with_activation(&report, activation.as_ref())?)?;
        } else {
            let mut text = format!("{line}\n");
            text.extend(report.differences.iter().map(|line| format!("{line}\n")));
            text.extend(activation.iter().map(|told| format!("activation: {}\n", told.summary())));
            ui.data(&text)?;
            if activation.is_none() && report.is_right() {
                let ArtifactModel { quick_gelu, activation_from, .. } = &artifact.model;
                let name = if *quick_gelu { "QuickGELU" } else { "GELU" };
                ui.say(&format!("activation: {name} ({activation_from}); `--probe` weighs it"));
            }
        }
        Ok(report.is_right())
    }
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
