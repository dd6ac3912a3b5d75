//! `clipway inspect`: reports what a source is, from its headers.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Args;
use clipway_formats::{shown, shown_path, shown_up_to};
use clipway_model::artifact::Artifact;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::contract::Contract;
use clipway_model::inspect::{InspectOptions, Inspection, inspect};
use clipway_model::license::LicenseSummary;
use clipway_model::plan::Towers;
use clipway_model::source::{ModelChoice, Source, SourceError, SourceOptions};
use clipway_run::activation::{Weighed, weigh_activations};
use serde_json::json;

use crate::contract::table;
use crate::failure::{Failure, INTERRUPTED};
use crate::hub::Reads;
use crate::progress::StageBars;
use crate::source::{self, MainSource, SourceArguments};
use crate::text::{bytes, counted, millions};
use crate::ui::Ui;
use crate::verification::verify_failure;

/// Maximum number of names on one line.
const MOST_NAMES: usize = 12;

/// Show what a source is: format, layout, training state, matching models
#[derive(Args)]
pub struct Inspect {
    #[command(flatten)]
    pub(super) source: MainSource,

    /// List every tensor
    #[arg(long)]
    tensors: bool,

    /// Read the weights and list each tensor's minimum, maximum, mean, NaN, infinities and values beyond fp16
    #[arg(long)]
    stats: bool,

    /// Print only the operations of both towers, with shapes and tensors
    #[arg(long, conflicts_with_all = ["tensors", "stats"])]
    graph: bool,

    /// Run GELU and QuickGELU on built-in images and texts, and report which fits better and how clearly
    #[arg(long)]
    probe: bool,

    #[command(flatten)]
    pub(super) arguments: SourceArguments,
}

impl Inspect {
    /// Which bytes of weights are read.
    pub fn reads(&self) -> Reads {
        if self.stats || self.probe || self.arguments.base.is_some() {
            Reads::Weights
        } else {
            Reads::Headers
        }
    }

    /// Inspects and prints.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let source = &self.arguments;
        if self.source.name.is_dir()
            && let Some(folder) = source::graphs(&self.source.name, source.backend)?
        {
            let artifact =
                Artifact::find(&self.source.name).map_err(|error| source::artifact_failure(&error))?;
            return super::onnx_inspect::run(&folder, artifact.as_ref(), ui);
        }
        let checkpoint = source.open(&self.source.name)?;
        let given = source.options(Some(&self.source.name));
        if self.graph {
            return graphs(&checkpoint, &given, ui);
        }
        let options =
            InspectOptions { selection: source.selection(), tensors: self.tensors, statistics: self.stats };
        let inspection = inspection(&checkpoint, &options, ui)?;
        let graph = source::graphs(&self.source.name, None).ok().flatten();
        let contract = contract(&checkpoint, &given);
        let probed = self.probe.then(|| probe(&checkpoint, given, ui)).transpose()?;
        if ui.json() {
            let mut value = serde_json::to_value(&inspection)
                .map_err(|error| Failure::could_not_run("internal", error))?;
            if let Some(folder) = &graph {
                value["onnx"] = super::onnx_inspect::json(folder);
            }
            if let Ok((contract, notes)) = &contract {
                value["contract"] = json!(contract);
                value["notes"] = json!(notes);
            }
            if let Some((model, weighed)) = &probed {
                value["probe"] = json!({ "model": model, "activation": weighed });
            }
            ui.data_json(&value)?
        } else {
            let mut text = text_of(&inspection);
            if let Some(folder) = &graph {
                text.push_str(&super::onnx_inspect::text(folder));
            }
            if let Some((model, weighed)) = &probed {
                let _ = writeln!(text, "{:<13} as {model}: {}", "probe", weighed.summary());
            }
            match &contract {
                Ok((contract, notes)) => {
                    notes.iter().for_each(|note| ui.note(note));
                    let _ = write!(text, "\n{}", table(contract));
                }
                Err(why) => {
                    let _ = writeln!(text, "{:<13} unknown: {why}", "contract");
                }
            }
            ui.data(&text)?
        }
        Ok(true)
    }
}

/// Inspects a checkpoint, with progress bars.
pub fn inspection(checkpoint: &Checkpoint, options: &InspectOptions, ui: &Ui) -> Result<Inspection, Failure> {
    let (bars, cancel) = (StageBars::new(ui), ui.cancel_flag());
    let inspection = inspect(checkpoint, options, &bars, &cancel);
    bars.finish();
    let inspection = inspection.map_err(|error| {
        Failure::no(error.code.name(), format!("`{}`: {error}", shown_path(checkpoint.path())))
    })?;
    inspection.ok_or_else(|| Failure {
        exit_code: INTERRUPTED,
        ..Failure::could_not_run("interrupted", "interrupted")
    })
}

/// The contract of a source and what a user should know of it, or one line saying why it is unknown: not every source that can be inspected can be
/// resolved.
fn contract(
    checkpoint: &Arc<Checkpoint>,
    options: &SourceOptions,
) -> Result<(Contract, Vec<String>), String> {
    let resolved = source::resolve(checkpoint, options);
    let contract = resolved.and_then(|mut source| {
        let contract = crate::contract::of(&mut source)?;
        Ok((contract, source.notes().to_vec()))
    });
    contract.map_err(|failure| failure.first_line())
}

/// Prints the towers of a source.
fn graphs(checkpoint: &Arc<Checkpoint>, options: &SourceOptions, ui: &Ui) -> Result<bool, Failure> {
    let source = source::resolve(checkpoint, options)?;
    let model = source.model();
    let there = [(&model.image, Towers::Text), (&model.text, Towers::Image)];
    let there = there.into_iter().filter(|(_, other)| *other != source.tower());
    let towers: Vec<_> = there.map(|(graph, _)| graph.describe(&model.parameters)).collect();
    if ui.json() {
        ui.data_json(&json!({ "model": source.origin().name(), "towers": towers }))?;
    } else {
        ui.data(&towers.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(true)
}

/// Runs both activations of a source. The config is the source's own, the given one, or the first one that matches
/// names and shapes.
fn probe(
    checkpoint: &Arc<Checkpoint>,
    mut options: SourceOptions,
    ui: &Ui,
) -> Result<(String, Weighed), Failure> {
    let resolved = match Source::of(Arc::clone(checkpoint), &options) {
        Err(SourceError::Candidates(candidates)) if !candidates.identification.exact.is_empty() => {
            let name = candidates.identification.exact[0].name;
            options.model = Some(ModelChoice::Name(name.to_owned()));
            Source::of(Arc::clone(checkpoint), &options)
        }
        resolved => resolved,
    };
    let source = resolved.map_err(|error| source::source_failure(&error))?;
    let load = source::load_options(ui)?;
    let weighed = weigh_activations(&source, &load).map_err(|error| verify_failure(&error))?;
    Ok((source.origin().shown(), weighed))
}

/// An inspection as text for people: one fact per line.
fn text_of(inspection: &Inspection) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<13} {value}");
    };
    let size: u64 = inspection.files.iter().map(|(_, size)| size).sum();
    let files = counted(inspection.files.len(), "file");
    line("source", format!("{} ({files}, {})", inspection.name, bytes(size)));
    line("format", format!("{}{}", inspection.format, writer(inspection)));
    if let Some(layout) = &inspection.layout {
        line("layout", layout.title.to_owned());
    }
    if let Some(weights) = &inspection.weights {
        let path = if weights.path.is_empty() {
            String::new()
        } else {
            format!(", under `{}`", weights.path.join("` · `"))
        };
        let (tensors, elements) = (counted(weights.tensors, "tensor"), millions(weights.elements));
        line(
            "weights",
            format!("{tensors}, {elements} values, {}, {}{path}", bytes(weights.bytes), weights.precision),
        );
        for sum in &weights.dtypes {
            line("", format!("{}: {}, {}", sum.dtype, counted(sum.tensors, "tensor"), bytes(sum.bytes)));
        }
        if weights.has_both {
            line("", format!("the checkpoint has raw and EMA weights; showing {}", weights.choice));
        }
    }
    for part in &inspection.left_out {
        let tensors = counted(part.tensors, "tensor");
        line(
            "beside them",
            format!("{}: {tensors}, {}, under `{}`", part.kind, bytes(part.bytes), part.path),
        );
    }
    if inspection.left_out_bytes > 0 && size > 0 {
        let share = 100.0 * inspection.left_out_bytes as f64 / size as f64;
        line(
            "",
            format!(
                "{} of training state ({share:.0} % of the file), dropped by an export",
                bytes(inspection.left_out_bytes)
            ),
        );
    }
    for (key, value) in &inspection.facts {
        line("fact", format!("{key}: {}", serde_json::to_string(value).unwrap_or_default()));
    }
    models(inspection, &mut line);
    for (name, value) in inspection.license.iter().flat_map(license_lines) {
        line(name, value);
    }
    line(
        "activation",
        format!("{}: {}", inspection.activation.known.unwrap_or("unknown"), inspection.activation.why),
    );
    for global in &inspection.globals {
        line("pickle names", format!("{} ({})", global.name, global.kind));
    }
    for problem in &inspection.problems {
        line("problem", problem.clone());
    }
    tensors(inspection, &mut text);
    text
}

/// Who wrote the file, as far as it is recorded.
fn writer(inspection: &Inspection) -> String {
    let writer = &inspection.writer;
    let mut parts: Vec<String> =
        writer.producer.iter().map(|producer| format!("written by {producer}")).collect();
    parts.extend(writer.archive_version.map(|version| format!("archive version {version}")));
    parts.extend(writer.pickle_protocol.map(|protocol| format!("pickle protocol {protocol}")));
    if writer.big_endian {
        parts.push("big-endian".to_owned());
    }
    if writer.compressed {
        parts.push("compressed".to_owned());
    }
    if writer.pickle_protocol.is_some() && !writer.has_checksums {
        parts.push("without checksums".to_owned());
    }
    parts.extend(writer.metadata.iter().take(MOST_NAMES).map(|(key, value)| format!("{key}: {value}")));
    if parts.is_empty() { String::new() } else { format!(", {}", parts.join(", ")) }
}

fn models(inspection: &Inspection, line: &mut impl FnMut(&str, String)) {
    let models = &inspection.models;
    let listed = |names: &[&str]| {
        let more = names.len().saturating_sub(MOST_NAMES);
        let shown = names.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    if !models.exact.is_empty() {
        line("model", listed(&models.exact));
    }
    if !models.near.is_empty() {
        line("model", format!("at another size: {}", listed(&models.near)));
    }
    if models.exact.is_empty() && models.reconstructed.is_some() {
        line("model", "not registered; config inferred from the shapes:".to_owned());
        line("", on_one_line(models.reconstructed.as_deref().unwrap_or_default()));
        for (field, value, why) in &models.assumed {
            line("", format!("assumed: {field} = {value} ({why})"));
        }
    }
    if let Some(told) = &models.told {
        line("model", format!("the config from {}:", told.from));
        line("", told.config.clone());
    }
    for (name, differences) in &models.closest {
        line("model", format!("not registered; {name} differs in {differences} tensors"));
    }
    if models.folded {
        line("branches", "folded for inference: open_clip cannot load them as they are".to_owned());
    }
    if inspection.has_config {
        line("config", "open_clip_config.json beside the weights".to_owned());
    }
}

/// The license, what it does not permit, and what contradicts it.
pub fn license_lines(license: &LicenseSummary) -> Vec<(&'static str, String)> {
    let name = license.terms.name.as_ref().filter(|name| **name != license.license);
    let named = name.map(|name| format!(" `{}`", shown(name))).unwrap_or_default();
    let restriction = license.restriction.as_ref().map(|text| format!(": it {text}")).unwrap_or_default();
    let id = shown(&license.license);
    let first = ("license", format!("{id}{named} ({}){restriction}", license.from));
    std::iter::once(first).chain(license.contradictions.iter().map(|text| ("", text.clone()))).collect()
}

/// JSON without its line breaks.
fn on_one_line(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json)
        .map_or_else(|_| json.to_owned(), |value| value.to_string())
}

/// The tables of tensors and statistics, if requested.
fn tensors(inspection: &Inspection, text: &mut String) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if let Some(tensors) = &inspection.tensors {
        table.set_header(["tensor", "dtype", "shape", "bytes"]);
        for tensor in tensors {
            let shape = format!("{:?}", tensor.shape);
            table.add_row([cell(&tensor.name), tensor.dtype.to_owned(), shape, tensor.bytes.to_string()]);
        }
        let _ = writeln!(text, "\n{table}");
    }
    if let Some(statistics) = &inspection.statistics {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["tensor", "min", "max", "mean", "NaN", "infinite", "over fp16"]);
        for row in statistics {
            let number =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.6}"));
            table.add_row([
                cell(&row.name),
                number(row.min.map(f64::from)),
                number(row.max.map(f64::from)),
                number(row.mean),
                row.nan.to_string(),
                row.infinite.to_string(),
                row.overflow_f16.to_string(),
            ]);
        }
        let _ = writeln!(text, "\n{table}");
    }
}

/// A tensor name as a table cell: escaped and not shortened.
fn cell(name: &str) -> String {
    shown_up_to(name, 1024)
}
