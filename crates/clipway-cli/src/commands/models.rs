//! `clipway models`: the registry of open_clip 3.3.0.

use std::path::Path;

use clap::Args;
use clipway_formats::FormatError;
use clipway_model::architecture;
use clipway_model::config::{ConfigFile, ModelConfig, PreprocessConfig};
use clipway_model::input;
use clipway_model::plan::Precision;
use clipway_model::registry::{self, ModelSize, TagPreprocessing};
use serde::Serialize;

use crate::failure::{self, Failure, chain};
use crate::hints;
use crate::text::{bytes, millions};
use crate::ui::Ui;

/// List known models, or show one
#[derive(Args)]
pub struct Models {
    /// A full name shows config and preprocessing; part of a name or of a pretrained tag, or a pattern with *, lists
    /// matches; a config file is checked and shown
    pattern: Option<String>,
}

/// A model in the list.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    /// Number of parameters.
    parameters: u64,
    /// Whether clipway can export and run it.
    supported: bool,
    embed_dim: usize,
    image_size: [usize; 2],
    context_length: usize,
    /// Size in bytes by precision.
    bytes: Sizes,
    pretrained: Vec<&'static str>,
}

/// Size of the weights in bytes by precision.
#[derive(Serialize)]
struct Sizes {
    fp32: u64,
    fp16: u64,
    bf16: u64,
}

impl Models {
    /// Lists models or shows one.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let pattern = self.pattern.unwrap_or_default();
        if pattern.to_ascii_lowercase().ends_with(".json") {
            let path = Path::new(&pattern);
            let bytes = input::read(path, input::Kind::Config).map_err(|error| failure::input(&error))?;
            let parsed = ConfigFile::parse(&bytes);
            let refuse = |error: FormatError| Failure::no(error.code.name(), format!("`{pattern}`: {error}"));
            let file = parsed.map_err(refuse)?;
            // A well-formed config can still ask for a model that cannot be built.
            architecture::build(&file.model)
                .map_err(|error| Failure::no(error.code(), format!("`{pattern}`: {}", chain(&error))))?;
            return show(&pattern, &file.model, &file.preprocess(), ui);
        }
        if let Ok(config) = registry::model(&pattern) {
            let mut preprocess = PreprocessConfig::new(config.vision.image_size);
            if let TagPreprocessing::Shared { preprocess: shared, .. } = registry::tag_preprocessing(&pattern)
            {
                preprocess = preprocess.merged(&shared);
            }
            return show(&pattern, &config, &preprocess, ui);
        }
        let names = registry::search(&pattern);
        if names.is_empty() {
            let failure = Failure::no(
                "unknown-model",
                format!("no model name and no pretrained tag contains `{pattern}`"),
            );
            return Err(match registry::model(&pattern) {
                Err(error) if error.newer.is_some() => {
                    Failure::no("unknown-model", &error).hint(hints::of_unknown_model(&error))
                }
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
    let config = registry::model(name).map_err(|error| Failure::no("unknown-model", error))?;
    let size = registry::size(name)
        .ok_or_else(|| Failure::no("unknown-model", format!("the size of `{name}` is unknown")))?;
    Ok(Row {
        name,
        parameters: size.parameters,
        supported: architecture::build(&config).is_ok(),
        embed_dim: config.embed_dim,
        image_size: config.vision.image_size,
        context_length: config.text.context_length,
        bytes: Sizes {
            fp32: size.bytes(Precision::F32),
            fp16: size.bytes(Precision::F16),
            bf16: size.bytes(Precision::BF16),
        },
        pretrained: registry::pretrained(name).map(|entry| entry.tag.as_str()).collect(),
    })
}

fn list(rows: &[Row]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let sizes = ["fp32", "fp16", "bf16"];
    let header = ["model", "runs", "parameters", "embedding", "image", "text"];
    table.set_header(header.into_iter().chain(sizes).chain(["pretrained tags"]));
    for row in rows {
        table.add_row([
            row.name.to_owned(),
            if row.supported { "yes" } else { "not yet" }.to_owned(),
            millions(row.parameters),
            row.embed_dim.to_string(),
            side(row.image_size),
            row.context_length.to_string(),
            bytes(row.bytes.fp32),
            bytes(row.bytes.fp16),
            bytes(row.bytes.bf16),
            row.pretrained.join(" "),
        ]);
    }
    // Padding of the last column would wrap on every line.
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn side([height, width]: [usize; 2]) -> String {
    if height == width { height.to_string() } else { format!("{height}x{width}") }
}

/// One model: a summary, then its config as open_clip writes it.
fn show(name: &str, config: &ModelConfig, preprocess: &PreprocessConfig, ui: &Ui) -> Result<bool, Failure> {
    let file = config.to_config_file(preprocess);
    if ui.json() {
        let mut value: serde_json::Value =
            serde_json::from_str(&file).map_err(|error| Failure::could_not_run("internal", error))?;
        let tags: Vec<&str> = registry::pretrained(name).map(|entry| entry.tag.as_str()).collect();
        value["pretrained"] = serde_json::json!(tags);
        ui.data_json(&value)?;
        return Ok(true);
    }
    let mut text = format!("{name}\n");
    let built = architecture::build(config);
    if let Err(error) = &built {
        text.push_str(&format!("{error}\n"));
    }
    let size = built.ok().map(|model| ModelSize::of(&model.parameters)).or_else(|| registry::size(name));
    if let Some(size) = size {
        let [fp32, half] = [Precision::F32, Precision::F16].map(|precision| bytes(size.bytes(precision)));
        let parameters = millions(size.parameters);
        text.push_str(&format!("{parameters} parameters, {fp32} as fp32, {half} as fp16 or bf16\n"));
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
