//! The folder: weights, config, tokenizer, card and contract, moved into place only when everything is right.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clipway_formats::FileFormat;
use serde::Serialize;

use super::card::{Usage, model_card};
use super::jobs::{Progress, Run, Stage};
use super::onnx::OnnxJob;
use super::weights::Job;
use super::writer::{Writer, WrittenFiles};
use super::{Export, ExportError, VerifyError};
use crate::artifact::{
    ARTIFACT_NAME, ARTIFACT_VERSION, Artifact, ArtifactModel, ArtifactSource, FileHash, PlanRecord, Report,
    TensorHash,
};
use crate::contract::TokenizerRules;
use crate::input;
use crate::license::{CARD_NAME, Licenses};
use crate::output::{
    OutputError, OutputOptions, StagedFile, Staging, StepHook, TargetKind, check_apart,
    check_not_in_artifact, check_outside,
};
use crate::plan::{Ledger, Precision, Towers};
use crate::source::ConfigOrigin;
use crate::spelling::{StoredWeights, WeightsFormat};

/// Verifies a folder before it is moved into place, and returns the report to store in it.
pub type Verify<'a> = dyn Fn(&Path) -> Result<Report, VerifyError> + 'a;

/// The tokenizer's part of a folder, as its target's library reads it.
#[derive(Clone, Debug, Default)]
pub struct TokenizerParts {
    /// Files by name, such as `tokenizer.json`.
    pub files: Vec<(String, Vec<u8>)>,
    /// The rules by which the folder reads texts; `None` for the source's.
    pub rules: Option<TokenizerRules>,
    /// What a user should know.
    pub notes: Vec<String>,
}

/// Files by name, with their hashes.
type FileHashes = BTreeMap<String, FileHash>;

/// How to write a prepared export.
pub struct WriteOptions<'a> {
    /// Formats of the weights; at least one.
    pub formats: Vec<WeightsFormat>,
    /// Maximum bytes of weights per file; a larger tensor gets its own file.
    pub max_shard_bytes: Option<u64>,
    /// The tokenizer's part.
    pub tokenizer: TokenizerParts,
    /// License of the weights; `None` for the source's, if it states one.
    pub license: Option<String>,
    /// Where its text is, for a license without an identifier on the Hub.
    pub license_link: Option<String>,
    /// Whether to replace an artifact at the target.
    pub force: bool,
    /// Other inputs of the run: the target must not contain them.
    pub inputs: Vec<&'a Path>,
    /// Receives the progress of the export.
    pub progress: &'a dyn Progress,
    /// Stops the export when it becomes true.
    pub cancel: &'a AtomicBool,
    /// Verifies the folder; without it, the artifact says that it was not verified.
    pub verify: Option<&'a Verify<'a>>,
    /// Called before every step of the output.
    pub hook: StepHook,
}

/// Duration of the stages in seconds. They are not part of the artifact.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Timings {
    /// Reading, hashing and writing.
    pub write: f64,
    /// Reading back and comparing.
    pub read_back: f64,
    /// Verifying.
    pub verify: f64,
    /// Waiting for the disk.
    pub sync: f64,
}

/// Result of an export.
#[derive(Debug)]
pub struct ExportReport {
    /// The folder, as an absolute path.
    pub folder: PathBuf,
    /// Its `clipway.json`.
    pub artifact: Artifact,
    /// Where every source tensor went.
    pub ledger: Ledger,
    /// Total size of the source's files, in bytes.
    pub source_bytes: u64,
    /// Total size of the folder's files, in bytes.
    pub folder_bytes: u64,
    /// How long it took.
    pub timings: Timings,
    /// What remains of a replaced artifact that could not be removed.
    pub leftover: Option<OutputError>,
}

impl Export<'_> {
    /// Writes the folder: everything goes into a temporary folder beside it, is read back, verified and then renamed.
    ///
    /// # Errors
    /// Anything that keeps the folder from being complete and right. The target is then unchanged, and nothing is left
    /// beside it.
    pub fn write(&self, target: &Path, options: &WriteOptions<'_>) -> Result<ExportReport, ExportError> {
        let sources = self.source.checkpoint().sources();
        let source_paths: Vec<&Path> = sources.iter().map(|source| source.path()).collect();
        check_apart(target, &source_paths)?;
        check_not_in_artifact(target)?;
        check_outside(target, &options.inputs)?;
        if let ConfigOrigin::File(path) = self.source.origin() {
            check_outside(target, &[path])?;
        }
        let output = OutputOptions {
            kind: TargetKind::Folder,
            force: options.force,
            hook: options.hook.clone(),
            ..OutputOptions::default()
        };
        let staging = Staging::create(target, output)?;
        let mut timings = Timings::default();
        let run = Run { progress: options.progress, cancel: options.cancel };
        let licenses = self.licenses(options, &run)?;
        let writer = self.writer(run, options, &licenses);
        let writer = writer.as_ref();

        let clock = Instant::now();
        let planned_bytes = self.plan.bytes() * options.formats.len() as u64;
        run.progress.begin(Stage::Write, self.source.checkpoint().file_bytes() + planned_bytes);
        let (source_files, written) = self.write_weights(&staging, writer, run, &options.formats)?;
        let mut folder = Folder { staging: &staging, files: BTreeMap::new() };
        for (name, text) in written.iter().filter_map(|files| files.index.as_ref()) {
            folder.add(name, text.as_bytes())?;
        }
        if let Some((name, bytes)) = licenses.file() {
            folder.add(name, bytes)?;
        }
        if let Some(bytes) = self.source.text_model_file() {
            folder.add(&self.source.text_model_path(), bytes)?;
        }
        for (name, text) in &self.files {
            folder.add(name, text)?;
        }
        for (name, bytes) in writer.files(&options.tokenizer, &written)? {
            folder.add(&name, &bytes)?;
        }
        let mut artifact = self.artifact(source_files, &written, (options, &licenses))?;
        artifact.files.clone_from(&folder.files);
        let card = folder.add(CARD_NAME, self.card(&artifact, &written).as_bytes())?;
        artifact.files = std::mem::take(&mut folder.files);
        let contract = staging.file(ARTIFACT_NAME)?;
        rewrite(&contract, artifact.to_json().as_bytes())?;
        timings.write = seconds(clock);

        let clock = Instant::now();
        run.progress.begin(Stage::ReadBack, planned_bytes);
        for files in &written {
            writer.read_back(&staging, files)?;
        }
        read_back_files(&staging, &artifact)?;
        timings.read_back = seconds(clock);

        if let Some(verify) = options.verify {
            let clock = Instant::now();
            run.progress.begin(Stage::Verify, 0);
            let mut report = verify(staging.folder()).map_err(|error| match run.check() {
                Err(interrupted) => interrupted,
                Ok(()) => ExportError::Verification(error),
            })?;
            artifact.notes.append(&mut report.notes);
            artifact.verification = Some(report);
            let text = self.card(&artifact, &written);
            rewrite(&card, text.as_bytes())?;
            artifact.files.insert(CARD_NAME.to_owned(), FileHash::of(text.as_bytes()));
            timings.verify = seconds(clock);
        }
        run.check()?;
        self.source.checkpoint().check_unchanged()?;

        let clock = Instant::now();
        run.progress.begin(Stage::Sync, 0);
        // Wait for the disk and hash the weight files at the same time.
        let (synced, hashes) = rayon::join(|| staging.sync(), || hash_weights(&staging, &written));
        synced?;
        artifact.files.extend(hashes?);
        rewrite(&contract, artifact.to_json().as_bytes())?;
        staging.sync()?;
        run.check()?;
        let folder_bytes = folder_bytes(&staging, &artifact)?;
        let folder = staging.target().to_owned();
        let placed = staging.commit()?;
        timings.sync = seconds(clock);
        Ok(ExportReport {
            folder,
            artifact,
            ledger: self.ledger.clone(),
            source_bytes: self.source.checkpoint().file_bytes(),
            folder_bytes,
            timings,
            leftover: placed.leftover,
        })
    }

    /// Writes the weights in every format while hashing the source files.
    fn write_weights(
        &self,
        staging: &Staging,
        writer: &dyn Writer,
        run: Run<'_>,
        formats: &[WeightsFormat],
    ) -> Result<(FileHashes, Vec<WrittenFiles>), ExportError> {
        let failed = AtomicBool::new(false);
        let (hashes, written) = rayon::join(
            || self.hash_sources(&run, &failed),
            || {
                let mut written = Vec::new();
                for &format in formats {
                    let files = writer.write(staging, format);
                    written.push(files.inspect_err(|_| failed.store(true, Ordering::Relaxed))?);
                }
                Ok::<_, ExportError>(written)
            },
        );
        let mut written = written?;
        let hashes = hashes?;
        for files in &mut written {
            writer.finish(files, &hashes)?;
        }
        let first = written.first().expect("an export has at least one format");
        for other in &written[1..] {
            for (index, (a, b)) in first.tensors.iter().zip(&other.tensors).enumerate() {
                if a != b {
                    let path = self.source.checkpoint().path().to_owned();
                    let tensor = self.plan.tensors[index].target.name.clone();
                    return Err(ExportError::SourceChanged { path, tensor });
                }
            }
        }
        let overflows = self.plan.tensors.iter().zip(&first.tensors).filter(|(_, made)| made.overflowed > 0);
        let tensors: Vec<(String, usize)> =
            overflows.map(|(planned, made)| (planned.target.name.clone(), made.overflowed)).collect();
        if !tensors.is_empty() {
            let precision = self.source.precision().map_or("as stored", Precision::name);
            return Err(ExportError::Overflow { precision, tensors });
        }
        Ok((hashes, written))
    }

    /// What writes the target's weights.
    fn writer<'j>(
        &'j self,
        run: Run<'j>,
        options: &'j WriteOptions<'_>,
        licenses: &'j Licenses,
    ) -> Box<dyn Writer + 'j> {
        match self.spelling.weights {
            StoredWeights::StateDict(names) => Box::new(Job {
                planned: &self.plan.tensors,
                names,
                source: &self.source.weights().state_dict,
                source_path: self.source.checkpoint().weights_path(),
                most_bytes: options.max_shard_bytes,
                run,
            }),
            StoredWeights::Graphs(profile) => Box::new(OnnxJob {
                source: self.source,
                profile,
                precision: self.onnx_precision(),
                settings: &self.onnx,
                licenses,
                run,
            }),
        }
    }

    /// What is known of the license: what the user says, what the source states, and for an archive of OpenAI's that
    /// nothing else is known of, what its hash shows.
    fn licenses(&self, options: &WriteOptions<'_>, run: &Run<'_>) -> Result<Licenses, ExportError> {
        let stated = self.source.licenses();
        if let Some(license) = &options.license {
            return Ok(stated.with_option(license, options.license_link.as_deref()));
        }
        let checkpoint = self.source.checkpoint();
        match checkpoint.sources() {
            [file] if stated.chosen().is_none() && checkpoint.format() == FileFormat::TorchScript => {
                let hash = FileHash::of_source(file, |_| run.check());
                let hash =
                    hash.map_err(|cause| ExportError::Read { path: file.path().to_owned(), cause })??;
                Ok(stated.with_weights(&hash.sha256))
            }
            _ => Ok(stated.clone()),
        }
    }

    fn hash_sources(&self, run: &Run<'_>, failed: &AtomicBool) -> Result<FileHashes, ExportError> {
        let mut hashes = BTreeMap::new();
        let numbers = self.source.checkpoint().part_numbers();
        for (index, source) in self.source.checkpoint().sources().iter().enumerate() {
            let hash = FileHash::of_source(source, |bytes| {
                if failed.load(Ordering::Relaxed) {
                    Err(ExportError::Interrupted)
                } else {
                    run.advance(bytes)
                }
            });
            let path = source.path();
            let hash = hash.map_err(|cause| ExportError::Read { path: path.to_owned(), cause })??;
            let name = file_name(path);
            // Files of several sources may have one name.
            let name = numbers.get(index).map_or(name.clone(), |number| format!("{number}/{name}"));
            hashes.insert(name, hash);
        }
        Ok(hashes)
    }

    fn artifact(
        &self,
        source_files: FileHashes,
        written: &[WrittenFiles],
        (options, licenses): (&WriteOptions<'_>, &Licenses),
    ) -> Result<Artifact, ExportError> {
        let mut notes = self.notes.clone();
        notes.extend(licenses.notes());
        notes.extend(options.tokenizer.notes.iter().cloned());
        if self.spelling.is_open_clip && written.iter().all(|files| files.index.is_some()) {
            notes.push(
                "the weights are split into several files: open_clip 3.3.0 cannot load this folder"
                    .to_owned(),
            );
        }
        let mut tensors = BTreeMap::new();
        for (planned, made) in self.plan.tensors.iter().zip(&written[0].tensors) {
            let dtype = planned.target.dtype.name().to_owned();
            tensors.insert(planned.target.name.clone(), TensorHash { dtype, sha256: made.sha256.clone() });
        }
        let Export { source, spelling, .. } = self;
        let mut contract = source.whole_contract()?;
        if let (Some(text), Some(rules)) = (&mut contract.text, &options.tokenizer.rules) {
            text.read_by(rules);
        }
        if let Some(image) = &mut contract.image {
            image.read_by(&self.rule, spelling.title);
        }
        licenses.apply(&mut contract);
        Ok(Artifact {
            artifact_version: ARTIFACT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            target: spelling.layout.to_owned(),
            source: ArtifactSource {
                name: source.shown_name(),
                format: source.checkpoint().format().name().to_owned(),
                layout: source.layout().name.to_owned(),
                hub: source.checkpoint().hub_place().filter(|_| source.parts().is_empty()),
                path: source.weights().path.clone(),
                weights: source.weights().choice,
                files: source_files,
                parts: source.parts().to_vec(),
                facts: source.checkpoint().facts().into_iter().collect(),
            },
            model: ArtifactModel {
                name: source.origin().name().map(str::to_owned),
                config_from: source.origin().recorded(),
                folded: source.config().model.folded,
                precision: source.precision(),
                towers: source.tower(),
                parameters: source.model().parameters.trained_elements() as u64,
            },
            contract,
            verification: None,
            quantization: self.quantization.clone(),
            notes,
            ledger: self.ledger.clone(),
            plan: PlanRecord::of(&self.plan),
            weights: written.iter().map(|files| (files.format, files.names.clone())).collect(),
            tensors,
            files: BTreeMap::new(),
        })
    }

    /// The model card. Its usage section shows what loads the folder.
    fn card(&self, artifact: &Artifact, written: &[WrittenFiles]) -> String {
        let model = &self.source.config().model;
        let is_known = model.beyond_open_clip().is_empty() && model.newer_text_model().is_none();
        let is_single = written.iter().any(|files| files.index.is_none());
        let usage = match model.folded {
            _ if self.source.tower() != Towers::Both => Usage::None,
            false if !self.spelling.is_open_clip || is_known && is_single => Usage::Loads,
            true if is_known => Usage::AfterFolding,
            _ => Usage::None,
        };
        model_card(artifact, self.source.config(), self.spelling, usage)
    }
}

/// A folder's small files, with their hashes.
struct Folder<'a> {
    staging: &'a Staging,
    files: FileHashes,
}

impl Folder<'_> {
    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<Arc<StagedFile>, ExportError> {
        let file = self.staging.file(name)?;
        file.write_all_at(0, bytes)?;
        self.files.insert(name.to_owned(), FileHash::of(bytes));
        Ok(file)
    }
}

/// Writes a file with exactly this content.
fn rewrite(file: &Arc<StagedFile>, bytes: &[u8]) -> Result<(), ExportError> {
    file.set_length(0)?;
    Ok(file.write_all_at(0, bytes)?)
}

/// Compares the small files with what was written.
fn read_back_files(staging: &Staging, artifact: &Artifact) -> Result<(), ExportError> {
    for (name, expected) in &artifact.files {
        let path = staging.target().join(name);
        let bytes = input::read(&staging.folder().join(name), input::Kind::Written);
        let bytes =
            bytes.map_err(|error| ExportError::ReadBack { path: path.clone(), cause: error.why() })?;
        if FileHash::of(&bytes) != *expected {
            return Err(ExportError::ReadBack { path, cause: "it differs from what was written".to_owned() });
        }
    }
    Ok(())
}

/// Hashes the weight files as a whole.
fn hash_weights(staging: &Staging, written: &[WrittenFiles]) -> Result<FileHashes, ExportError> {
    let mut hashes = FileHashes::new();
    for name in written.iter().flat_map(|files| &files.names) {
        let refuse = |cause: String| ExportError::ReadBack { path: staging.target().join(name), cause };
        let source = input::open(&staging.folder().join(name), input::Kind::Written)
            .map_err(|error| refuse(error.why()))?;
        let Ok(hash) = FileHash::of_source(&source, |_| Ok::<(), Infallible>(()))
            .map_err(|error| refuse(error.to_string()))?;
        hashes.insert(name.clone(), hash);
    }
    Ok(hashes)
}

fn folder_bytes(staging: &Staging, artifact: &Artifact) -> Result<u64, ExportError> {
    let mut sum = 0;
    for name in artifact.files.keys().map(String::as_str).chain([ARTIFACT_NAME]) {
        let path = staging.folder().join(name);
        let size = std::fs::metadata(&path).map(|metadata| metadata.len());
        sum += size.map_err(|cause| OutputError::Io { action: "read the size of", path, cause })?;
    }
    Ok(sum)
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn seconds(clock: Instant) -> f64 {
    Duration::as_secs_f64(&clock.elapsed())
}
