//! `clipway export`: from a checkpoint to a verified folder.

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};
use clipway_formats::shown_path;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{
    Export as Prepared, ExportReport, TokenizerParts, VerifyError, WeightsFormat, WriteOptions,
};
use clipway_model::layout::OWN_TOKENIZER;
use clipway_model::output::StepHook;
use clipway_model::plan::{Ledger, Precision, Towers};
use clipway_model::source::{ConfigOrigin, Source, SourceOptions};
use clipway_model::spelling::{TARGETS, Target};
use clipway_run::load::{self, LoadError, LoadOptions, LoadedTokenizer};
use clipway_run::verify::{FolderVerification, Report};
use serde_json::json;

use super::int8::Int8Options;
use super::onnx::{self, OnnxOptions};
use crate::contract::table;
use crate::failure::Failure;
use crate::options::size;
use crate::progress::StageBars;
use crate::reading::ReadingOptions;
use crate::source::{self, SourceArguments, export_failure, load_failure};
use crate::text::{bytes, counted};
use crate::ui::Ui;
use crate::verification::InputOptions;

/// Dtypes of floating-point weights.
#[derive(Clone, Copy, ValueEnum)]
enum PrecisionName {
    Fp32,
    Fp16,
    Bf16,
    /// Only for `--to clipway`: see the int8 options
    Int8,
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
    /// A checkpoint, a weight file, a shard index, or a folder
    source: PathBuf,

    /// Folder to write
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    out: Option<PathBuf>,

    /// Target to write; targets of one layout can be written together
    #[arg(long, value_name = "TARGET", value_parser = targets(), value_delimiter = ',', default_value = "open_clip")]
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

    /// Print the plan and the ledger without writing anything
    #[arg(long)]
    dry_run: bool,

    /// Replace an existing artifact
    #[arg(long)]
    force: bool,

    /// Skip verification; the artifact is then marked as not verified
    #[arg(long)]
    no_verify: bool,

    /// New image size, SIDE or HEIGHTxWIDTH; resamples the positional embedding
    #[arg(long, value_name = "PIXELS", value_parser = image_size)]
    image_size: Option<[usize; 2]>,

    /// New context length in tokens; resamples the positional embedding
    #[arg(long, value_name = "TOKENS")]
    context_length: Option<usize>,

    #[command(flatten)]
    onnx: OnnxOptions,

    #[command(flatten)]
    int8: Int8Options,

    /// License of the weights, for the model card
    #[arg(long, value_name = "NAME", alias = "licence")]
    license: Option<String>,

    #[command(flatten)]
    reading: ReadingOptions,

    #[command(flatten)]
    inputs: InputOptions,

    #[command(flatten)]
    source_arguments: SourceArguments,
}

impl Export {
    /// Exports, or reports what an export would do.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let checkpoint = self.source_arguments.open(&self.source)?;
        let options = self.options()?;
        let targets = self.targets()?;
        let formats: Vec<WeightsFormat> = targets.iter().map(|target| target.format).collect();
        let tokenizer = self.reading.tokenizer.as_deref();
        let mut source =
            load::resolve(&checkpoint, &options, tokenizer).map_err(|error| load_failure(&error))?;
        let tokenizer = self.tokenizer(&mut source, ui)?;
        let prepared =
            Prepared::prepare(&source, targets[0].spelling).map_err(|error| export_failure(&error))?;
        let prepared = prepared.with_onnx(self.onnx.settings(&targets)?);
        let is_int8 = matches!(self.precision, Some(PrecisionName::Int8));
        let prepared = match self.int8.settings(is_int8, &targets)? {
            Some(settings) => self.int8.quantized(prepared, &settings, &self.inputs, ui)?,
            None => prepared,
        };
        match &self.out {
            Some(out) if !self.dry_run => self.write(out, &prepared, formats, tokenizer, &options, ui),
            _ => dry_run(&prepared, formats.len(), ui),
        }
    }

    fn options(&self) -> Result<SourceOptions, Failure> {
        Ok(SourceOptions {
            precision: self.precision.and_then(|precision| match precision {
                PrecisionName::Fp32 => Some(Precision::F32),
                PrecisionName::Fp16 => Some(Precision::F16),
                PrecisionName::Bf16 => Some(Precision::BF16),
                PrecisionName::Int8 => None,
            }),
            tower: Some(match self.tower {
                TowerName::Both => Towers::Both,
                TowerName::Image => Towers::Image,
                TowerName::Text => Towers::Text,
            }),
            image_size: self.image_size,
            context_length: self.context_length,
            fold: self.fold,
            preprocess: self.reading.preprocess()?,
            ..self.source_arguments.options()
        })
    }

    fn write(
        &self,
        out: &std::path::Path,
        prepared: &Prepared<'_>,
        formats: Vec<WeightsFormat>,
        tokenizer: TokenizerParts,
        options: &SourceOptions,
        ui: &Ui,
    ) -> Result<bool, Failure> {
        let checkpoint = prepared.source().checkpoint();
        let cancel = ui.cancel_flag();
        let bars = StageBars::new(ui);
        let inputs = self.inputs.read()?;
        let load = LoadOptions { tokenizer: self.reading.tokenizer.clone(), ..source::load_options(ui)? };
        if !self.no_verify {
            let source = prepared.source();
            let over = |cause| LoadError::Budget { path: source.path().to_owned(), cause };
            let checked = load.budget.check(source.model(), source.tower());
            checked.map_err(|cause| load_failure(&over(cause)))?;
        }
        let verify = |folder: &std::path::Path| match prepared.spelling().onnx {
            Some(_) => onnx::verified(folder, prepared, &inputs, &load, options),
            None => verified(folder, checkpoint, &inputs, &load, options),
        };
        let report = prepared.write(
            out,
            &WriteOptions {
                formats,
                max_shard_bytes: self.max_shard_size,
                tokenizer,
                license: self.license.clone(),
                force: self.force,
                inputs: self.inputs.paths().chain(self.reading.tokenizer.as_deref()).collect(),
                progress: &bars,
                cancel: &cancel,
                verify: if self.no_verify { None } else { Some(&verify) },
                hook: StepHook::default(),
            },
        );
        bars.finish();
        let report = report.map_err(|error| export_failure(&error))?;
        let told = if ui.json() {
            ui.data_json(&json!({
                "folder": report.folder,
                "source_bytes": report.source_bytes,
                "folder_bytes": report.folder_bytes,
                "ledger": report.ledger,
                "notes": report.artifact.notes,
                "contract": report.artifact.contract,
                "verification": report.artifact.verification,
                "seconds": report.timings,
            }))
        } else {
            ui.data(&text_of(&report))
        };
        told.map_err(|failure| {
            let folder = shown_path(&report.folder);
            let message =
                format!("`{folder}` is complete, but its report could not be printed: {}", failure.message);
            Failure { message, ..failure }
        })?;
        if let Some(leftover) = &report.leftover {
            ui.warn(&format!("the replaced output could not be removed: {leftover}"));
        }
        Ok(true)
    }

    /// Reads the tokenizer into the source's contract, and returns the tokenizer files to write. Warns if open_clip
    /// will look the tokenizer up by the name in the config.
    fn tokenizer(&self, source: &mut Source, ui: &Ui) -> Result<TokenizerParts, Failure> {
        if source.tower() == Towers::Image {
            return Ok(TokenizerParts::default());
        }
        let folder = self.reading.tokenizer.clone().unwrap_or_else(|| source.folder().to_owned());
        let found = LoadedTokenizer::read_into(source, &folder).map_err(|error| load_failure(&error))?;
        if let Some(found) = found {
            let layout = self.targets()?[0].spelling.layout;
            return found.parts_for(layout, source).map_err(|error| load_failure(&error));
        }
        let text = &source.config().model.text;
        let folder = shown_path(&folder);
        let name = text.tokenizer.name.as_deref().filter(|name| *name != OWN_TOKENIZER);
        // A config that states a name says which tokenizer it is; the number of rows does not.
        let is_stated = !matches!(source.origin(), ConfigOrigin::Layout(_));
        let Some(name) = name.filter(|_| is_stated) else {
            let rows = text.vocab_size;
            let known = name.map(|name| format!(", as many as `{name}` has")).unwrap_or_default();
            let message = format!(
                "`{folder}` has no tokenizer, and the built-in one is not known to fit the model: its token embedding has \
                 {rows} rows{known}"
            );
            let hint = "pass the folder of its files with `--tokenizer DIR`, or pass `--tower image`";
            return Err(Failure { hint: Some(hint.to_owned()), ..Failure::no("missing-tokenizer", message) });
        };
        ui.warn(&format!(
            "`{folder}` does not contain the tokenizer `{name}`, so the export will not run offline (pass `--tokenizer \
             DIR`)"
        ));
        Ok(TokenizerParts::default())
    }

    /// The requested targets, without repeats.
    fn targets(&self) -> Result<Vec<&'static Target>, Failure> {
        let asked = |target: &&Target| self.to.iter().any(|name| name == target.name);
        let targets: Vec<&Target> = TARGETS.iter().filter(asked).collect();
        let strangers = targets.iter().find(|target| target.spelling.layout != targets[0].spelling.layout);
        match strangers {
            Some(stranger) => {
                let (first, other) = (targets[0].name, stranger.name);
                let why = "these targets use different names and files; export them one at a time";
                Err(Failure::could_not_run("bad-option", format!("`--to {first},{other}`: {why}")))
            }
            None => Ok(targets),
        }
    }
}

/// Names of the targets, each with a description.
fn targets() -> PossibleValuesParser {
    PossibleValuesParser::new(TARGETS.iter().map(|target| PossibleValue::new(target.name).help(target.about)))
}

/// Reports what an export would do, once per format.
fn dry_run(prepared: &Prepared<'_>, formats: usize, ui: &Ui) -> Result<bool, Failure> {
    let (plan, source) = (prepared.plan(), prepared.source());
    let (before, after) = (source.checkpoint().file_bytes(), plan.bytes() * formats as u64);
    let contract = source.whole_contract().map_err(|error| source::source_failure(&error))?;
    if ui.json() {
        ui.data_json(&json!({
            "layout": source.layout().name,
            "target": prepared.spelling().layout,
            "plan": plan,
            "ledger": prepared.ledger(),
            "contract": contract,
            "notes": prepared.notes(),
            "bytes_before": before,
            "bytes_after": after,
        }))?;
    } else {
        let (layout, target) = (source.layout().title, prepared.spelling().title);
        let mut text = format!("layout: {layout}, to {target}\n\n{plan}\n");
        text.push_str(&ledger(prepared.ledger()));
        text.push_str(&format!("size: {} before, {} after\n", bytes(before), bytes(after)));
        for note in prepared.notes() {
            text.push_str(&format!("note: {note}\n"));
        }
        text.push_str(&table(&contract));
        ui.data(&text)?;
    }
    Ok(true)
}

/// Verifies a folder before it is moved into place. A folder that fails stays out.
fn verified(
    folder: &std::path::Path,
    checkpoint: &Arc<Checkpoint>,
    inputs: &clipway_run::verify::Inputs,
    load: &LoadOptions,
    options: &SourceOptions,
) -> Result<Report, VerifyError> {
    let verification = FolderVerification { inputs, load: load.clone(), source: options.clone() };
    let report: Report = verification.run(folder, checkpoint)?;
    if report.passed { Ok(report) } else { Err(report.explanation().into()) }
}

/// An export as text for people.
fn text_of(report: &ExportReport) -> String {
    let mut text = ledger(&report.ledger);
    let (before, after) = (bytes(report.source_bytes), bytes(report.folder_bytes));
    text.push_str(&format!("size: {before} before, {after} after\n"));
    for note in &report.artifact.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push_str(&table(&report.artifact.contract));
    text.push_str(&match &report.artifact.verification {
        Some(verification) => format!("{}\n", verification.summary()),
        None => "NOT verified: nothing was run\n".to_owned(),
    });
    text.push_str(&format!("wrote {}\n", shown_path(&report.folder)));
    text
}

/// The ledger as text for people.
fn ledger(ledger: &Ledger) -> String {
    let (source, written) =
        (counted(ledger.source_tensors, "tensor"), counted(ledger.written_tensors, "tensor"));
    let mut text = format!(
        "ledger: {source}, {} in; {written}, {} out\n",
        bytes(ledger.source_bytes),
        bytes(ledger.written_bytes)
    );
    for group in &ledger.groups {
        let fate = format!("{:?}", group.fate).to_lowercase();
        let tensors = counted(group.tensors, "tensor");
        text.push_str(&format!("  {fate:<8} {tensors}, {}: {}\n", bytes(group.bytes), group.rule));
    }
    text
}

/// Parses a side, or a height and a width.
fn image_size(text: &str) -> Result<[usize; 2], String> {
    let side = |text: &str| match text.parse() {
        Ok(side @ 1..=16_384) => Ok(side),
        _ => Err("expected SIDE (such as 336) or HEIGHTxWIDTH, each from 1 to 16384".to_owned()),
    };
    match text.split_once('x') {
        Some((height, width)) => Ok([side(height)?, side(width)?]),
        None => side(text).map(|side| [side; 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_strictly() {
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        assert_eq!(size(" 500 mb"), Ok(500_000_000));
        assert_eq!(size("17"), Ok(17));
        for bad in ["", "0", "GB", "2TB", "-1", "1.5GB", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(image_size("336"), Ok([336, 336]));
        assert_eq!(image_size("192x320"), Ok([192, 320]));
        for bad in ["", "0", "x", "20x", "99999"] {
            assert!(image_size(bad).is_err(), "{bad}");
        }
    }
}
