//! `clipway export`: from a checkpoint to a verified folder.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export as Prepared, TokenizerParts, VerifyError, WeightsFormat, WriteOptions};
use clipway_model::mix::Mixed;
use clipway_model::output::StepHook;
use clipway_model::plan::{Precision, Towers};
use clipway_model::source::{Source, SourceOptions};
use clipway_model::spelling::{StoredWeights, Target};
use clipway_run::load::{self, LoadError, LoadOptions};
use clipway_run::verify::{FolderVerification, Report};
use serde_json::{Value, json};

use super::destination::Destination;
use super::export_report::{dry_run, text_of};
use super::integers::{Chosen, IntegerKind, IntegerOptions, Runs};
use super::license;
use super::onnx::{self, OnnxOptions};
use super::{export_targets, export_tokenizer};
use crate::failure::Failure;
use crate::options::{image_size, size};
use crate::progress::StageBars;
use crate::reading::ReadingOptions;
use crate::source::{self, MainSource, SourceArguments, export_failure, load_failure};
use crate::source_name::SourceName;
use crate::ui::Ui;
use crate::verification::InputOptions;
use crate::vocabulary::{VocabularyOptions, VocabularyTexts, check_writable};

/// Dtypes of floating-point weights.
#[derive(Clone, Copy, ValueEnum)]
enum PrecisionName {
    #[value(aliases = ["amp", "amp_bf16", "amp_bfloat16"])]
    Fp32,
    #[value(alias = "pure_fp16")]
    Fp16,
    #[value(alias = "pure_bf16")]
    Bf16,
    /// Weights and the inputs of products, for `--to clipway` and ONNX: see the int8 and int4 options
    Int8,
    /// Weights alone, for ONNX
    Int8Weights,
    /// Weights alone in four bits, for `--to clipway`: see the int8 and int4 options
    Int4,
}

/// Towers of the model.
#[derive(Clone, Copy, ValueEnum)]
enum TowerName {
    Both,
    Image,
    Text,
}

/// Export a source to a folder that open_clip loads, verified against the source
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    pub(super) source: MainSource,

    #[command(flatten)]
    destination: Destination,

    #[command(flatten)]
    options: ExportOptions,
}

impl Export {
    /// The sources, which may be on the Hub.
    pub fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        self.options.source_arguments.sources(&mut self.source.name)
    }

    /// Exports, or reports what an export would do.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let checkpoint = self.options.source_arguments.open(&self.source.name)?;
        self.options.run(&Subject::One(&checkpoint, &self.source.name), &[], &self.destination, ui)
    }
}

/// What is exported.
pub enum Subject<'a> {
    /// A checkpoint, and how it was named.
    One(&'a Arc<Checkpoint>, &'a SourceName),
    /// Several, and how they are mixed.
    Mixed(&'a Mixed),
}

/// What to write, and how
#[derive(Args)]
pub struct ExportOptions {
    /// Targets to write; those of several layouts become folders inside `--out`
    #[arg(long, value_name = "TARGET", value_parser = export_targets::names(), value_delimiter = ',', default_value = "open_clip")]
    to: Vec<String>,

    /// Dtype of the weights [default: same as the source]
    #[arg(long, value_enum)]
    precision: Option<PrecisionName>,

    /// Towers to write
    #[arg(long, value_enum, default_value = "both")]
    tower: TowerName,

    /// Maximum size of a weight file, such as 2GB or 500MB; larger weights are split into shards with an index
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_shard_size: Option<u64>,

    /// Fold FastViT's (MobileCLIP's) training branches and batch norms into single convolutions
    #[arg(long)]
    fold: bool,

    /// Skip verification; the artifact is then marked as not verified
    #[arg(long)]
    no_verify: bool,

    /// New image size, SIDE or HEIGHTxWIDTH; resamples the positional embedding
    #[arg(long, value_name = "PIXELS", value_parser = image_size, conflicts_with = "max_patches")]
    image_size: Option<[usize; 2]>,

    /// New context length in tokens; resamples the positional embedding
    #[arg(long, value_name = "TOKENS")]
    context_length: Option<usize>,

    #[command(flatten)]
    vocabulary: VocabularyOptions,

    #[command(flatten)]
    onnx: OnnxOptions,

    #[command(flatten)]
    integers: IntegerOptions,

    /// License of the weights: an identifier of the Hub such as `mit`, or a name of its own [default: what the source
    /// states]
    #[arg(long, value_name = "NAME", alias = "licence", value_parser = license::parse)]
    license: Option<String>,

    /// Where the text of a license with a name of its own is
    #[arg(long, value_name = "ADDRESS", requires = "license")]
    license_link: Option<String>,

    #[command(flatten)]
    reading: ReadingOptions,

    #[command(flatten)]
    inputs: InputOptions,

    #[command(flatten)]
    pub(super) source_arguments: SourceArguments,
}

impl ExportOptions {
    /// Opens and resolves a source as these options say, with its tensors as stored.
    pub fn resolve(&self, source: &SourceName) -> Result<Source, Failure> {
        let checkpoint = self.source_arguments.open(source)?;
        let options = self.reading.added_to(self.source_arguments.options(Some(source)))?;
        load::resolve(&checkpoint, &options, self.tokenizer_folder()).map_err(|error| load_failure(&error))
    }

    /// The folder of the tokenizer's files, where it is given.
    pub fn tokenizer_folder(&self) -> Option<&Path> {
        self.reading.tokenizer.as_deref()
    }

    /// Exports a checkpoint, or reports what an export would do. Targets of several layouts become folders inside the
    /// output, which must not contain any of `inputs`.
    pub fn run(
        &self,
        subject: &Subject<'_>,
        inputs: &[&Path],
        destination: &Destination,
        ui: &Ui,
    ) -> Result<bool, Failure> {
        let mut documents = Vec::new();
        let mut print = |document: Value, text: String| match ui.json() {
            true => {
                documents.push(document);
                Ok(())
            }
            false => ui.data(&text).map_err(|failure| destination.written(failure)),
        };
        self.export(subject, inputs, destination, &mut print, ui)?;
        let printed = match &documents[..] {
            [] => Ok(()),
            [document] => ui.data_json(document),
            documents => ui.data_json(&documents),
        };
        printed.map(|()| true).map_err(|failure| destination.written(failure))
    }

    /// Exports a checkpoint, or finds what an export would do, and passes on the report of each layout.
    pub fn export(
        &self,
        subject: &Subject<'_>,
        inputs: &[&Path],
        destination: &Destination,
        report: &mut dyn FnMut(Value, String) -> Result<(), Failure>,
        ui: &Ui,
    ) -> Result<(), Failure> {
        let (checkpoint, named, composed) = match subject {
            Subject::One(checkpoint, name) => (*checkpoint, Some(*name), None),
            Subject::Mixed(mixed) => (&mixed.checkpoint, None, Some(Arc::clone(&mixed.composed))),
        };
        let mut options = SourceOptions { composed, ..self.options(named)? };
        let groups = export_targets::groups(&self.to);
        options.one_size = !groups.iter().all(|targets| targets[0].spelling.keeps_proportions());
        let tokenizer = self.reading.tokenizer.as_deref();
        let mut source =
            load::resolve(checkpoint, &options, tokenizer).map_err(|error| load_failure(&error))?;
        let vocabulary = self.vocabulary.read()?;
        if let Some(texts) = &vocabulary {
            let (chosen, note) = texts.choose(&source, tokenizer, ui)?;
            options.vocabulary = Some(Arc::new(chosen));
            source = load::resolve(checkpoint, &options, tokenizer).map_err(|error| load_failure(&error))?;
            source.add_notes([note]);
            check_writable(&source, tokenizer, &self.inputs)?;
        }
        let layouts = groups.iter().map(|targets| targets[0].spelling.layout);
        let tokenizers = layouts
            .map(|layout| export_tokenizer::tokenizer(&mut source, tokenizer, layout, ui))
            .collect::<Result<Vec<_>, _>>()?;
        let is_onnx = |target: &&Target| matches!(target.spelling.weights, StoredWeights::Graphs(_));
        if self.max_shard_size.is_some() && groups.concat().iter().any(is_onnx) {
            let message =
                "`--max-shard-size` splits state dicts, and a graph of ONNX has one file of weights at most";
            return Err(Failure::could_not_run("bad-option", message));
        }
        let onnx = self.onnx.settings(&groups.concat(), checkpoint, &options, ui)?;
        let kind = match self.precision {
            Some(PrecisionName::Int8) => Some(IntegerKind::Int8),
            Some(PrecisionName::Int8Weights) => Some(IntegerKind::Int8Weights),
            Some(PrecisionName::Int4) => Some(IntegerKind::Int4),
            _ => None,
        };
        let integers = self.integers.settings(kind, &groups.concat())?;
        let ranges = kind == Some(IntegerKind::Int8) && groups.concat().iter().any(is_onnx);
        let out = destination.out.as_ref().filter(|_| !destination.dry_run);
        let runs = Runs { verified: out.is_some() && !self.no_verify, ranges };
        let choose = |settings| self.integers.choose(&source, settings, runs, &self.inputs, ui);
        let chosen = integers.map(choose).transpose()?;
        // What one target cannot express keeps all of them from being written.
        let prepared = groups.iter().map(|targets| {
            let prepared = Prepared::prepare(&source, targets[0].spelling);
            let prepared = prepared.map_err(|error| export_failure(&error))?.with_onnx(onnx.clone());
            match &chosen {
                Some(chosen) => chosen.applied(prepared),
                None => Ok(prepared),
            }
        });
        let prepared = prepared.collect::<Result<Vec<_>, Failure>>()?;
        for ((targets, prepared), tokenizer) in groups.iter().zip(&prepared).zip(tokenizers) {
            let (document, text) = match out {
                Some(out) => {
                    let out = match groups.len() {
                        1 => out.clone(),
                        _ => out.join(targets[0].spelling.layout),
                    };
                    let formats = targets.iter().map(|target| target.format).collect();
                    let others = Others { paths: inputs, texts: vocabulary.as_ref() };
                    let place = (out.as_path(), others, destination.force);
                    self.write(place, prepared, formats, tokenizer, (&options, chosen.as_ref()), ui)?
                }
                None => dry_run(prepared, targets.len())?,
            };
            report(document, text)?;
        }
        Ok(())
    }

    /// Whether all targets are written into one folder, as one layout.
    #[cfg(feature = "hub")]
    pub fn has_one_layout(&self) -> bool {
        export_targets::groups(&self.to).len() == 1
    }

    /// The license that was given, and where its text is.
    #[cfg(feature = "hub")]
    pub fn license(&self) -> Option<(&str, Option<&str>)> {
        self.license.as_deref().map(|license| (license, self.license_link.as_deref()))
    }

    /// Writes fp32 where no precision was asked for.
    #[cfg(feature = "hub")]
    pub fn default_to_fp32(&mut self) {
        self.precision.get_or_insert(PrecisionName::Fp32);
    }

    fn options(&self, named: Option<&SourceName>) -> Result<SourceOptions, Failure> {
        Ok(SourceOptions {
            precision: self.precision.and_then(|precision| match precision {
                PrecisionName::Fp32 => Some(Precision::F32),
                PrecisionName::Fp16 => Some(Precision::F16),
                PrecisionName::Bf16 => Some(Precision::BF16),
                PrecisionName::Int8 | PrecisionName::Int8Weights | PrecisionName::Int4 => None,
            }),
            tower: Some(match self.tower {
                TowerName::Both => Towers::Both,
                TowerName::Image => Towers::Image,
                TowerName::Text => Towers::Text,
            }),
            image_size: self.image_size,
            context_length: self.context_length,
            fold: self.fold,
            ..self.reading.added_to(self.source_arguments.options(named))?
        })
    }

    fn write(
        &self,
        (out, others, force): (&Path, Others<'_>, bool),
        prepared: &Prepared<'_>,
        formats: Vec<WeightsFormat>,
        tokenizer: TokenizerParts,
        (options, int8): (&SourceOptions, Option<&Chosen>),
        ui: &Ui,
    ) -> Result<(Value, String), Failure> {
        let checkpoint = prepared.source().checkpoint();
        let cancel = ui.cancel_flag();
        let bars = StageBars::new(ui);
        let mut inputs = self.inputs.read()?;
        if let Some(texts) = others.texts {
            inputs = texts.inputs(inputs, &self.inputs);
        }
        let load = LoadOptions { tokenizer: self.reading.tokenizer.clone(), ..source::load_options(ui)? };
        if !self.no_verify {
            let source = prepared.source();
            let over = |cause| LoadError::Budget { path: source.path().to_owned(), cause };
            let checked = load.budget.check(source.model(), source.tower());
            checked.map_err(|cause| load_failure(&over(cause)))?;
        }
        let verify = |folder: &Path| match prepared.spelling().weights {
            StoredWeights::Graphs(_) => {
                onnx::verified(folder, prepared, (&inputs, int8.and_then(Chosen::budget)), &load, options)
            }
            StoredWeights::StateDict(_) => verified(folder, checkpoint, &inputs, &load, options),
        };
        let report = prepared.write(
            out,
            &WriteOptions {
                formats,
                max_shard_bytes: self.max_shard_size,
                tokenizer,
                license: self.license.clone(),
                license_link: self.license_link.clone(),
                force,
                inputs: self
                    .inputs
                    .paths()
                    .chain(self.tokenizer_folder())
                    .chain(others.paths.iter().copied())
                    .chain(others.texts.and_then(VocabularyTexts::path))
                    .collect(),
                progress: &bars,
                cancel: &cancel,
                verify: if self.no_verify { None } else { Some(&verify) },
                hook: StepHook::default(),
            },
        );
        bars.finish();
        let report = report.map_err(|error| export_failure(&error))?;
        let document = json!({
            "folder": report.folder,
            "source_bytes": report.source_bytes,
            "folder_bytes": report.folder_bytes,
            "ledger": report.ledger,
            "notes": report.artifact.notes,
            "contract": report.artifact.contract,
            "verification": report.artifact.verification,
            "seconds": report.timings,
        });
        license::warn(&report.artifact.contract, ui);
        if let Some(leftover) = &report.leftover {
            ui.warn(&format!("the replaced output could not be removed: {leftover}"));
        }
        Ok((document, text_of(&report)))
    }
}

/// Inputs of an export besides its source.
#[derive(Clone, Copy)]
struct Others<'a> {
    /// Paths that the output must not contain.
    paths: &'a [&'a Path],
    /// The texts that chose the vocabulary.
    texts: Option<&'a VocabularyTexts<'a>>,
}

/// Verifies a folder before it is moved into place. A folder that fails stays out.
fn verified(
    folder: &Path,
    checkpoint: &Arc<Checkpoint>,
    inputs: &clipway_run::verify::Inputs,
    load: &LoadOptions,
    options: &SourceOptions,
) -> Result<Report, VerifyError> {
    let verification = FolderVerification { inputs, load: load.clone(), source: options.clone() };
    let report: Report = verification.run(folder, checkpoint)?;
    if report.passed { Ok(report) } else { Err(report.explanation().into()) }
}
