//! What `inspect` says of ONNX graphs.

use std::fmt::Write as _;
use std::path::Path;

use clipway_formats::{OnnxDim, OnnxPort, TensorInfo, shown, shown_path};
use clipway_model::artifact::Artifact;
use clipway_model::license::Licenses;
use clipway_run::onnx::{OnnxFolder, OnnxGraphFile, backends};
use serde_json::{Map, Value, json};

use super::inspect::license_lines;
use crate::failure::Failure;
use crate::text::{bytes, counted};
use crate::ui::Ui;

/// Prints a folder of graphs.
pub fn run(folder: &OnnxFolder, artifact: Option<&Artifact>, ui: &Ui) -> Result<bool, Failure> {
    let license = artifact.and_then(|artifact| Licenses::agreed(&artifact.contract).summary());
    if ui.json() {
        let mut value = json(folder);
        value["license"] = json!(license);
        ui.data_json(&value)?
    } else {
        let lines = license.iter().flat_map(license_lines);
        let lines: String = lines.map(|(name, value)| format!("{name:<13} {value}\n")).collect();
        ui.data(&(lines + &text(folder)))?
    }
    Ok(true)
}

/// Graphs and contract as JSON.
pub fn json(folder: &OnnxFolder) -> Value {
    let port = |port: &OnnxPort| json!({ "name": port.name, "dtype": port.dtype.map(|dtype| dtype.name()), "shape": shape(port) });
    let graph = |graph: &OnnxGraphFile| {
        let interface = &graph.interface;
        let sets: Map<String, Value> = interface
            .operator_sets
            .iter()
            .map(|(domain, version)| (domain.clone(), json!(version)))
            .collect();
        let towers = graph.towers.iter().map(|ports| {
            json!({
                "tower": ports.tower.name(),
                "input": ports.input.name,
                "mask": ports.mask,
                "output": ports.output.name,
                "blocks": ports.blocks,
            })
        });
        json!({
            "file": below(folder, &graph.path),
            "towers": towers.collect::<Vec<_>>(),
            "precision": graph.precision(),
            "ir_version": interface.ir_version,
            "operator_sets": sets,
            "producer": interface.producer,
            "inputs": interface.inputs.iter().map(port).collect::<Vec<_>>(),
            "outputs": interface.outputs.iter().map(port).collect::<Vec<_>>(),
            "operators": interface.operators,
            "tensors": graph.tensors.len(),
            "bytes": size(graph),
            "metadata": graph.metadata.iter().cloned().map(|(key, value)| (key, Value::from(value))).collect::<Map<_, _>>(),
        })
    };
    let contract = folder.contract.as_ref().map(|contract| {
        let preprocess = contract.config.preprocess();
        json!({
            "from": contract.from,
            "size": preprocess.size,
            "mean": preprocess.mean,
            "std": preprocess.std,
            "interpolation": preprocess.interpolation.name(),
            "resize_mode": preprocess.resize_mode.name(),
            "context_length": contract.config.model.text.context_length,
            "logit_scale": contract.logits.map(|logits| logits.0),
            "logit_bias": contract.logits.and_then(|logits| logits.1),
            "notes": contract.notes,
        })
    });
    json!({
        "layout": folder.layout,
        "graphs": folder.graphs.iter().map(graph).collect::<Vec<_>>(),
        "contract": contract,
        "backends": backends(),
    })
}

/// The same for people.
pub fn text(folder: &OnnxFolder) -> String {
    let mut text = String::new();
    if let Some(layout) = folder.layout {
        let _ = writeln!(text, "{:<13} {layout} folder of ONNX graphs", "layout");
    }
    for graph in &folder.graphs {
        let interface = &graph.interface;
        let towers: Vec<&str> = graph.towers.iter().map(|ports| ports.tower.name()).collect();
        let sets = interface.operator_sets.iter().map(|(domain, version)| match domain.as_str() {
            "" => format!("operator set {version}"),
            domain => format!("`{}` {version}", shown(domain)),
        });
        let sets: Vec<String> = sets.collect();
        let _ = writeln!(
            text,
            "{:<13} `{}`: {} tower, {}, {}, IR {}, by `{}`",
            "graph",
            shown(&below(folder, &graph.path)),
            towers.join(" and "),
            graph.precision(),
            sets.join(", "),
            interface.ir_version,
            shown(&interface.producer)
        );
        for (what, ports) in [("takes", &interface.inputs), ("gives", &interface.outputs)] {
            for port in ports {
                let dtype = port.dtype.map_or("unknown", |dtype| dtype.name());
                let _ = writeln!(
                    text,
                    "  {what:<11} `{}` {dtype} [{}]",
                    shown(&port.name),
                    shape(port).join(", ")
                );
            }
        }
        let operators: Vec<String> =
            interface.operators.iter().map(|(name, count)| format!("{} {count}", shown(name))).collect();
        let _ = writeln!(text, "  {:<11} {}", "operators", operators.join(", "));
        let _ = writeln!(
            text,
            "  {:<11} {}, {}",
            "tensors",
            counted(graph.tensors.len(), "tensor"),
            bytes(size(graph))
        );
        if let Some(normalized) = graph.said("normalized") {
            let length = if normalized == "true" { "have length 1" } else { "are as the model gives them" };
            let _ = writeln!(text, "  {:<11} {length}", "features");
        }
    }
    match &folder.contract {
        Some(contract) => {
            let preprocess = contract.config.preprocess();
            let [height, width] = preprocess.size;
            let _ = writeln!(
                text,
                "{:<13} {height}x{width}, {}, {}, mean {:?}, std {:?}, by `{}`",
                "images",
                preprocess.interpolation.name(),
                preprocess.resize_mode.name(),
                preprocess.mean,
                preprocess.std,
                shown(&contract.from)
            );
            let _ = writeln!(text, "{:<13} {} tokens", "texts", contract.config.model.text.context_length);
            if let Some((scale, bias)) = contract.logits {
                let bias = bias.map_or(String::new(), |bias| format!(", bias {bias}"));
                let _ = writeln!(text, "{:<13} {scale}{bias}", "logit scale");
            }
            for note in &contract.notes {
                let _ = writeln!(text, "note: {note}");
            }
        }
        None => {
            let _ = writeln!(text, "{:<13} not known: no file beside the graphs states it", "contract");
        }
    }
    let _ = writeln!(text, "{:<13} {}", "backends", backends().join(", "));
    text
}

/// Lengths of a port's dimensions, or their names.
fn shape(port: &OnnxPort) -> Vec<String> {
    let dim = |dim: &OnnxDim| match dim {
        OnnxDim::Fixed(length) => length.to_string(),
        OnnxDim::Free(name) if name.is_empty() => "?".to_owned(),
        OnnxDim::Free(name) => shown(name).to_string(),
    };
    port.shape.iter().flatten().map(dim).collect()
}

/// Bytes of a graph's tensors.
fn size(graph: &OnnxGraphFile) -> u64 {
    graph.tensors.iter().map(|info: &TensorInfo| info.bytes() as u64).sum()
}

/// A file's path below the folder.
fn below(folder: &OnnxFolder, path: &Path) -> String {
    shown_path(path.strip_prefix(&folder.path).ok().filter(|path| *path != Path::new("")).unwrap_or(path))
        .to_string()
}
