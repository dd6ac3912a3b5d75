//! `clipway verify`: an exported folder against its source, or against its own hashes.

use std::path::PathBuf;

use clap::Args;
use clipway_model::artifact::Artifact;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{ExportOptions, prepare};
use clipway_model::plan::Tower;
use clipway_run::activation::{Weighed, weigh_activations};
use clipway_run::load::LoadOptions;
use clipway_run::verify::FolderVerification;
use serde_json::json;

use crate::failure::{self, Failure};
use crate::source::{self, SourceOptions};
use crate::ui::Ui;
use crate::verification::{InputOptions, table, verify_failure};

/// Prove that an exported folder gives the same embeddings as its source
#[derive(Args)]
pub struct Verify {
    /// The exported folder
    folder: PathBuf,

    /// The source to run beside it; without it only the folder's own hashes are checked
    #[arg(long, value_name = "SOURCE")]
    against: Option<PathBuf>,

    /// Compare the outputs of the towers' blocks too
    #[arg(long, requires = "against")]
    blocks: bool,

    #[command(flatten)]
    inputs: InputOptions,

    #[command(flatten)]
    source: SourceOptions,
}

impl Verify {
    /// Verifies; true if all is as it must be.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        std::fs::read_dir(&self.folder).map_err(|error| failure::file(&self.folder, &error))?;
        let hashes_right = match source::artifact_of(&self.folder)? {
            Some(_) => self.hashes(ui)?,
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
        let mut load = LoadOptions::new(source::processor(ui)?);
        load.blocks = self.blocks;
        let inputs = self.inputs.read()?;
        let verification = FolderVerification { inputs: &inputs, load, source: self.source.export_options() };
        let report = verification.run(&self.folder, &checkpoint).map_err(|error| verify_failure(&error))?;
        let activation = self.activation(&verification.load)?;
        if ui.json() {
            let mut value =
                serde_json::to_value(&report).map_err(|error| Failure::could_not_run("internal", error))?;
            value["activation"] = json!(activation);
            ui.data_json(&value)?;
        } else {
            ui.data(&format!("{}activation: {}\n", table(&report), activation.summary()))?;
        }
        Ok(report.passed)
    }

    /// What pictures and texts say of the folder's activation: the source has the same.
    fn activation(&self, load: &LoadOptions) -> Result<Weighed, Failure> {
        let tower = match source::artifact_of(&self.folder)? {
            Some(artifact) => artifact.model.tower().map_err(|error| Failure::no("bad-value", error))?,
            None => Tower::Both,
        };
        let checkpoint =
            Checkpoint::open(&self.folder).map_err(|error| source::checkpoint_failure(&error))?;
        let options = ExportOptions { tower, ..ExportOptions::default() };
        let prepared = prepare(&checkpoint, &options).map_err(|error| source::export_failure(&error))?;
        let load = LoadOptions { towers: tower, blocks: false, ..load.clone() };
        weigh_activations(&prepared, &load).map_err(|error| verify_failure(&error))
    }

    /// Compares the folder with the hashes in its `clipway.json`.
    fn hashes(&self, ui: &Ui) -> Result<bool, Failure> {
        let report =
            Artifact::check_hashes(&self.folder).map_err(|error| source::artifact_failure(&error))?;
        let right = if report.is_right() { "as `clipway.json` says" } else { "NOT as `clipway.json` says" };
        let line = format!("{} tensors and {} files are {right}", report.tensors, report.files);
        // Where nothing comes after it, this is the result.
        let is_result = self.against.is_none() || !report.is_right();
        if !is_result {
            ui.say(&line);
        } else if ui.json() {
            ui.data_json(&report)?;
        } else {
            let lines: String = report.differences.iter().map(|line| format!("{line}\n")).collect();
            ui.data(&format!("{line}\n{lines}"))?;
        }
        Ok(report.is_right())
    }
}
