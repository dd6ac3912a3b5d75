//! `clipway models`: the registry of open_clip 3.3.0.

use std::path::Path;

use clap::Args;
use clipway_model::architecture;
use clipway_model::config::{ConfigFile, ModelConfig, PreprocessConfig};
use clipway_model::plan::Precision;
use clipway_model::registry;
use serde::Serialize;

use crate::failure::{self, Failure};
use crate::text::{bytes, millions};
use crate::ui::Ui;

/// List the models that are known by name, or show one
#[derive(Args)]
pub struct Models {
    /// A name shows its config and preprocessing; part of a name, or one with *, lists; a config file is checked and
    /// shown
    pattern: Option<String>,
}

/// A model in the list.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    /// Trained values; absent where the architecture is not supported yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<u64>,
    embed_dim: usize,
    image_size: [usize; 2],
    context_length: usize,
    /// Bytes on disk by precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Sizes>,
    pretrained: Vec<&'static str>,
}

/// Bytes of the weights by precision.
#[derive(Serialize)]
struct Sizes {
    fp32: u64,
    fp16: u64,
    bf16: u64,
}

impl Models {
    /// Lists or shows.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let pattern = self.pattern.unwrap_or_default();
        if pattern.to_ascii_lowercase().ends_with(".json") {
            let path = Path::new(&pattern);
            let bytes = std::fs::read(path).map_err(|error| failure::file(path, &error))?;
            let file =
                ConfigFile::parse(&bytes).map_err(|error| Failure::no(format!("`{pattern}`: {error}")))?;
            return show(&pattern, &file.model, &file.preprocess(), ui);
        }
        if let Ok(config) = registry::model(&pattern) {
            let preprocess = PreprocessConfig::new(config.vision.image_size);
            return show(&pattern, &config, &preprocess, ui);
        }
        let names = registry::search(&pattern);
        if names.is_empty() {
            let failure = Failure::no(format!("no model has `{pattern}` in its name"));
            return Err(match registry::model(&pattern) {
                Err(registry::UnknownModel { nearest: Some(name), .. }) => {
                    failure.hint(format!("the nearest is `{name}`; `clipway models` lists all"))
                }
                _ => failure.hint("`clipway models` lists all"),
            });
        }
        let rows = names.into_iter().map(row).collect::<Result<Vec<Row>, Failure>>()?;
        if ui.json() {
            ui.data_json(&rows)?
        } else {
            ui.data(&list(&rows))?
        }
        Ok(true)
    }
}

fn row(name: &'static str) -> Result<Row, Failure> {
    let config = registry::model(name).map_err(Failure::no)?;
    let model = architecture::build(&config).ok();
    Ok(Row {
        name,
        parameters: model.as_ref().map(|model| model.parameters.trained_elements() as u64),
        embed_dim: config.embed_dim,
        image_size: config.vision.image_size,
        context_length: config.text.context_length,
        bytes: model.as_ref().map(sizes),
        pretrained: registry::pretrained(name).map(|entry| entry.tag.as_str()).collect(),
    })
}

/// Bytes of the tensors: floating-point ones at each precision, counters as they are.
fn sizes(model: &architecture::Model) -> Sizes {
    let at = |precision: Precision| {
        let size = |parameter: &clipway_model::graph::Parameter| {
            let dtype = if parameter.dtype.is_float() { precision.dtype() } else { parameter.dtype };
            (parameter.elements() * dtype.size()) as u64
        };
        model.parameters.iter().map(|(_, parameter)| size(parameter)).sum()
    };
    Sizes { fp32: at(Precision::F32), fp16: at(Precision::F16), bf16: at(Precision::BF16) }
}

fn list(rows: &[Row]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "model",
        "parameters",
        "embedding",
        "image",
        "text",
        "fp32",
        "fp16/bf16",
        "pretrained tags",
    ]);
    for row in rows {
        let size = |pick: fn(&Sizes) -> u64| {
            row.bytes.as_ref().map_or_else(|| "-".to_owned(), |sizes| bytes(pick(sizes)))
        };
        table.add_row([
            row.name.to_owned(),
            row.parameters.map_or_else(|| "not supported yet".to_owned(), millions),
            row.embed_dim.to_string(),
            side(row.image_size),
            row.context_length.to_string(),
            size(|sizes| sizes.fp32),
            size(|sizes| sizes.fp16),
            row.pretrained.join(" "),
        ]);
    }
    format!("{table}\n")
}

fn side([height, width]: [usize; 2]) -> String {
    if height == width { height.to_string() } else { format!("{height}x{width}") }
}

/// One model: what it is, and its config as open_clip writes it.
fn show(name: &str, config: &ModelConfig, preprocess: &PreprocessConfig, ui: &Ui) -> Result<bool, Failure> {
    let file = config.to_config_file(preprocess);
    if ui.json() {
        let mut value: serde_json::Value = serde_json::from_str(&file).map_err(Failure::could_not_run)?;
        let tags: Vec<&str> = registry::pretrained(name).map(|entry| entry.tag.as_str()).collect();
        value["pretrained"] = serde_json::json!(tags);
        ui.data_json(&value)?;
        return Ok(true);
    }
    let mut text = format!("{name}\n");
    match architecture::build(config) {
        Ok(model) => {
            let sizes = sizes(&model);
            let parameters = millions(model.parameters.trained_elements() as u64);
            text.push_str(&format!(
                "{parameters} parameters, {} as fp32, {} as fp16 or bf16\n",
                bytes(sizes.fp32),
                bytes(sizes.fp16)
            ));
        }
        Err(error) => text.push_str(&format!("{error}\n")),
    }
    for entry in registry::pretrained(name) {
        let hub = entry.hub.as_deref().or(entry.url.as_deref()).unwrap_or("-");
        let activation = if entry.quick_gelu { ", QuickGELU" } else { "" };
        text.push_str(&format!("pretrained {}: {hub}{activation}\n", entry.tag));
    }
    text.push_str(&format!("\n{file}"));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    ui.data(&text)?;
    Ok(true)
}
