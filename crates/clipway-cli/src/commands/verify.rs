//! `clipway verify`: checks an exported folder against its source or its own hashes, and on request reports which
//! activation fits it.

use std::sync::Arc;

use clap::Args;
use clipway_formats::shown_path;
use clipway_model::artifact::{Artifact, HashReport};
use clipway_model::plan::Towers;
use clipway_model::source::{Source, Vocabulary};
use clipway_run::activation::{Weighed, weigh_activations};
use clipway_run::load::LoadOptions;
use clipway_run::onnx::{OnnxFolder, OnnxVerification};
use clipway_run::verify::{FolderVerification, resolve_exported, vocabulary_in};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::{self, Failure};
use crate::source::{self, SourceArguments};
use crate::source_name::SourceName;
use crate::ui::Ui;
use crate::verification::{InputOptions, table, verify_failure};

/// Verify that an exported folder gives the same embeddings as its source
#[derive(Args)]
pub struct Verify {
    /// The exported folder
    folder: SourceName,

    /// Source to compare with; without it, the folder's own hashes are checked
    #[arg(long, value_name = "SOURCE")]
    against: Option<SourceName>,

    /// Also compare the outputs of each block of the towers
    #[arg(long)]
    blocks: bool,

    /// Check the folder's own hashes without running the model
    #[arg(long, conflicts_with_all = ["against", "pretrained"])]
    hashes_only: bool,

    /// Also run GELU and QuickGELU on 200 built-in images and texts, and report which fits better
    #[arg(long, conflicts_with = "hashes_only")]
    probe: bool,

    #[command(flatten)]
    inputs: InputOptions,

    #[command(flatten)]
    source: SourceArguments,
}

impl Verify {
    /// The folder and its source, which may be on the Hub.
    pub fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        let mut against = self.against.take().unwrap_or_default();
        self.source.name(&mut against)?;
        self.against = Some(against).filter(|against| !against.is_empty());
        if self.blocks && self.against.is_none() {
            let failure = Failure::could_not_run("bad-option", "`--blocks` needs a source to compare with");
            return Err(failure.hint("pass `--against SOURCE`"));
        }
        let mut sources = self.source.with_base(&mut self.folder);
        sources.extend(&mut self.against);
        Ok(sources)
    }

    /// Verifies; true if everything is right.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        if let (Some(folder), Some(against)) =
            (source::graphs(&self.folder, self.source.backend)?, &self.against)
        {
            return self.compare_graphs(&folder, against, ui);
        }
        std::fs::read_dir(&*self.folder).map_err(|error| failure::folder(&self.folder, &error))?;
        let found = Artifact::find(&self.folder);
        let spinner = ui.spinner("checking hashes");
        let hashes = found.and_then(|found| found.map(|_| Artifact::check_hashes(&self.folder)).transpose());
        spinner.finish_and_clear();
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

    /// Runs the source by the engine and graphs of ONNX by another runtime, on the same inputs.
    fn compare_graphs(&self, folder: &OnnxFolder, against: &SourceName, ui: &Ui) -> Result<bool, Failure> {
        if self.folder.is_dir()
            && Artifact::find(&self.folder).map_err(|error| source::artifact_failure(&error))?.is_some()
        {
            let hashes = Artifact::check_hashes(&self.folder);
            let hashes = hashes.map_err(|error| source::artifact_failure(&error))?;
            if !hashes.is_right() {
                return self.report_hashes(&hashes, None, ui);
            }
            ui.say(&summary(&hashes));
        }
        if folder.is_classifier() {
            let path = shown_path(&self.folder);
            let message = format!("`{path}` is a classifier, which has logits and no features");
            return Err(Failure::could_not_run("unsupported", message)
                .hint("pass its folder: the classifier is compared beside the towers"));
        }
        let checkpoint = self.source.open(against)?;
        let model = folder.contract.as_ref().map(|contract| &contract.config.model);
        let mut options = self.source.options(Some(against));
        if let Some(model) = model {
            options.image_size = Some(model.vision.image_size);
            options.context_length = Some(model.text.context_length);
        }
        let mut reference = source::resolve(&checkpoint, &options)?;
        if let Some(vocabulary) = trimmed_vocabulary(folder, &reference)? {
            options.vocabulary = Some(Arc::new(vocabulary));
            reference = source::resolve(&checkpoint, &options)?;
        }
        let inputs = self.inputs.read()?;
        let load = LoadOptions { blocks: self.blocks, ..source::load_options(ui)? };
        let verification = OnnxVerification { inputs: &inputs, load };
        let refuse = |error| source::onnx_failure(&error);
        let mut report = verification.run(folder, &reference).map_err(refuse)?;
        report.add(verification.classifiers(folder, &reference).map_err(refuse)?);
        if ui.json() {
            ui.data_json(&report)?
        } else {
            ui.data(&table(&report))?
        }
        Ok(report.passed)
    }

    /// Runs the source and the folder on the same inputs.
    fn compare(&self, against: &SourceName, ui: &Ui) -> Result<bool, Failure> {
        let checkpoint = self.source.open(against)?;
        let refuse = |error| verify_failure(&error);
        let inputs = self.inputs.read()?;
        let folder = self.resolved()?;
        let load = LoadOptions { blocks: self.blocks, ..source::load_options(ui)? };
        let options = self.source.options(Some(against));
        let verification = FolderVerification { inputs: &inputs, load, source: options };
        let spinner = ui.spinner("running both sides");
        let report = verification.run_resolved(&folder, &checkpoint);
        spinner.finish_and_clear();
        let report = report.map_err(refuse)?;
        let weighed = self.probe.then(|| weighed(&folder, &verification.load)).transpose()?;
        if ui.json() {
            ui.data_json(&with_activation(&report, weighed.as_ref())?)?;
        } else {
            let line = weighed.map(|weighed| format!("activation: {}\n", weighed.summary()));
            ui.data(&(table(&report) + &line.unwrap_or_default()))?;
        }
        Ok(report.passed)
    }

    /// Reports on the folder's hashes and, on request and if they are right, on the activation that fits it.
    fn report(&self, hashes: &HashReport, ui: &Ui) -> Result<bool, Failure> {
        let is_opened = hashes.is_right() && !self.hashes_only && !OnnxFolder::is_at(&self.folder);
        // A folder that cannot be opened is wrong, whatever its hashes.
        let weighed = match is_opened.then(|| self.resolved()) {
            Some(Ok(folder)) if self.probe => Some(weighed(&folder, &source::load_options(ui)?)),
            Some(Err(error)) => Some(Err(error)),
            _ => None,
        };
        self.report_hashes(hashes, weighed, ui)
    }

    /// Prints a check of hashes, with the activation where it was weighed.
    fn report_hashes(
        &self,
        hashes: &HashReport,
        activation: Option<Result<Weighed, Failure>>,
        ui: &Ui,
    ) -> Result<bool, Failure> {
        let activation = activation.transpose();
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

    /// The folder's model, as its target's own library reads it.
    fn resolved(&self) -> Result<Source, Failure> {
        resolve_exported(&self.folder).map_err(|error| source::source_failure(&error))
    }
}

/// The vocabulary of graphs that have fewer tokens than their source.
fn trimmed_vocabulary(folder: &OnnxFolder, source: &Source) -> Result<Option<Vocabulary>, Failure> {
    let contract = folder.contract.as_ref().filter(|_| source.tower() != Towers::Image);
    let tokenizer = contract.map(|contract| contract.folder_tokenizer()).transpose();
    let Some(tokenizer) = tokenizer.map_err(|error| source::onnx_failure(&error))?.flatten() else {
        return Ok(None);
    };
    vocabulary_in(source, None, &tokenizer).map_err(|error| source::load_failure(&error))
}

fn weighed(folder: &Source, load: &LoadOptions) -> Result<Weighed, Failure> {
    weigh_activations(folder, load).map_err(|error| verify_failure(&error))
}

/// A one-line summary of the folder's hashes.
fn summary(hashes: &HashReport) -> String {
    let right = if hashes.is_right() { "match `clipway.json`" } else { "do NOT match `clipway.json`" };
    format!("{} tensors and {} files {right}", hashes.tensors, hashes.files)
}

/// A report as JSON, with the activation probe.
fn with_activation(report: &impl Serialize, activation: Option<&Weighed>) -> Result<Value, Failure> {
    let mut value =
        serde_json::to_value(report).map_err(|error| Failure::could_not_run("internal", error))?;
    if let Some(activation) = activation {
        value["activation"] = json!(activation);
    }
    Ok(value)
}
