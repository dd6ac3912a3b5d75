//! What `export` says of ONNX files, and their verification.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use clipway_formats::shown_path;
use clipway_model::artifact::{QuantizationLoss, Report, Stage};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, VerifyError};
use clipway_model::source::{Source, SourceOptions};
use clipway_model::spelling::onnx::{FileContent, OnnxSettings, Profile};
use clipway_model::spelling::{StoredWeights, Target};
use clipway_run::DEFAULT_TEMPLATE;
use clipway_run::clip::Clip;
use clipway_run::load::LoadOptions;
use clipway_run::onnx::{OnnxFolder, OnnxVerification, classifier_of};
use clipway_run::verify::{Inputs, same_texts};

use super::integers::Budget;
use crate::failure::{Failure, chain};
use crate::source;
use crate::text::read_labels;
use crate::ui::Ui;

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

    /// Write the weights to a file beside each graph, even where they would fit into the graph's own file
    #[arg(long)]
    external_data: bool,

    /// Write a graph of both towers with the logits of all pairs too, as transformers' pipelines load it
    #[arg(long)]
    combined: bool,

    /// A file with a label on each line: write a graph from images to the logits of these labels too
    #[arg(long, value_name = "FILE")]
    classifier: Option<PathBuf>,

    /// Prompt of the classifier with {} for the label; several are averaged
    #[arg(long, default_value = DEFAULT_TEMPLATE, requires = "classifier")]
    template: Vec<String>,
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
    /// The settings; an error if a target that was asked for does not have what they ask for.
    pub fn settings(
        &self,
        targets: &[&Target],
        checkpoint: &Arc<Checkpoint>,
        options: &SourceOptions,
        ui: &Ui,
    ) -> Result<OnnxSettings, Failure> {
        let profiles = targets.iter().filter_map(|target| match target.spelling.weights {
            StoredWeights::Graphs(profile) => Some(profile),
            StoredWeights::StateDict(_) => None,
        });
        let profiles: Vec<&Profile> = profiles.collect();
        let refuse = |option: &str, who: &str| {
            Err(Failure::could_not_run("bad-option", format!("`{option}` is for {who}")))
        };
        let settings = OnnxSettings {
            batch: self.batch.map(usize::from),
            normalize: self.normalize.map(|answer| matches!(answer, Answer::Yes)),
            bytes: self.input == PixelKind::Uint8,
            blocks: self.block_outputs,
            external: self.external_data,
            combined: self.combined,
            classifier: None,
            int8: None,
        };
        let asked = settings != OnnxSettings::default() || self.classifier.is_some();
        if asked && profiles.is_empty() {
            let options = "--batch`, `--normalize`, `--input`, `--block-outputs`, `--external-data`, `--combined` and \
                           `--classifier";
            return refuse(options, "`--to onnx`, `onnx-immich` and `onnx-transformers`");
        }
        if self.combined && !profiles.iter().any(|profile| profile.combined.is_some()) {
            return refuse("--combined", "`--to onnx-transformers`");
        }
        let Some(path) = &self.classifier else { return Ok(settings) };
        if !profiles.iter().any(|profile| profile.classifier.is_some()) {
            return refuse("--classifier", "`--to onnx` and `onnx-transformers`");
        }
        let labels = read_labels(path)?;
        if labels.is_empty() {
            let message = format!("`{}` holds no labels", shown_path(path));
            return Err(Failure::could_not_run("missing", message));
        }
        // Labels are read by both towers' model as it is, whatever is written of it.
        let source = source::resolve(checkpoint, &whole(options))?;
        let clip = Clip::load(&source, &source::load_options(ui)?);
        let clip = clip.map_err(|error| source::load_failure(&error))?;
        let classifier = classifier_of(&clip, labels, self.template.clone());
        let classifier = classifier.map_err(|error| Failure::could_not_run(error.code(), chain(&error)))?;
        Ok(OnnxSettings { classifier: Some(classifier), ..settings })
    }
}

/// How a source is resolved as the reference: both towers, nothing rounded or folded.
fn as_it_is(options: &SourceOptions) -> SourceOptions {
    SourceOptions { precision: None, fold: false, tower: None, ..options.clone() }
}

/// The same with the whole vocabulary.
fn whole(options: &SourceOptions) -> SourceOptions {
    SourceOptions { vocabulary: None, ..as_it_is(options) }
}

/// Runs the files that are about to be put in place by a runtime that is not the engine, against the source.
pub fn verified(
    folder: &Path,
    prepared: &Export<'_>,
    (inputs, budget): (&Inputs, Option<&Budget>),
    load: &LoadOptions,
    options: &SourceOptions,
) -> Result<Report, VerifyError> {
    let StoredWeights::Graphs(profile) = prepared.spelling().weights else {
        return Err("it has no graphs".into());
    };
    let source = Source::of(Arc::clone(prepared.source().checkpoint()), &as_it_is(options))?;
    let blocks = prepared.onnx().blocks;
    let verification = OnnxVerification { inputs, load: LoadOptions { blocks, ..load.clone() } };
    let opened = OnnxFolder::open(folder)?;
    let mut report = verification.run(&opened, &source)?;
    if options.vocabulary.is_some() {
        // The graphs are compared with the trimmed tower, and that one with the whole.
        let whole = Source::of(Arc::clone(prepared.source().checkpoint()), &whole(options))?;
        report.add(same_texts([&whole, &source], load, inputs)?);
    }
    if let Some(Budget { options, inputs }) = budget {
        let loss = verification.loss(&opened, &source, inputs)?;
        report.notes.push(cost(&loss));
        if !options.allow(&loss) {
            let cause = format!("the graphs are not within the budget: {}", cost(&loss));
            return Err(cause.into());
        }
    }
    let (config, settings) = (prepared.source().config(), prepared.onnx());
    let files = profile.model_files(prepared.source().tower(), config, prepared.onnx_precision(), settings);
    for file in files {
        let open = || OnnxFolder::open(&folder.join(&file.path));
        match &file.content {
            FileContent::Image | FileContent::Text => {}
            FileContent::Both(_) => {
                let both = verification.run(&open()?, &source)?;
                let named = both.stages.into_iter().filter(|stage| stage.name.ends_with("features"));
                report.add(named.map(|stage| Stage { name: format!("{} of both", stage.name), ..stage }));
            }
            FileContent::Classifier(classifier) => {
                report.add([verification.classifier(&open()?, &source, classifier)?]);
            }
        }
    }
    if report.passed { Ok(report) } else { Err(report.explanation().into()) }
}

/// What int8 costs in the written graphs.
fn cost(loss: &QuantizationLoss) -> String {
    let towers = [("images", loss.image), ("texts", loss.text)];
    let towers = towers.into_iter().filter_map(|(name, tower)| {
        let tower = tower?;
        Some(format!("{:.2e} of {} {name} (at worst {:.2e})", tower.mean, tower.inputs, tower.worst))
    });
    let mut text =
        format!("1 - cosine of the graphs in int8 is on average {}", towers.collect::<Vec<_>>().join(", "));
    let same = [
        ("images keep their best text", loss.same_best_text),
        ("texts their best image", loss.same_best_image),
    ];
    for (what, [same, of]) in same.into_iter().filter_map(|(what, same)| Some((what, same?))) {
        text.push_str(&format!("; {same} of {of} {what}"));
    }
    text
}
