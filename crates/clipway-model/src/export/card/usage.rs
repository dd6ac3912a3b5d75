//! How to use a folder: with the library that it is written for, and with clipway.

use std::fmt::Write;

use crate::artifact::Artifact;
use crate::plan::Towers;
use crate::spelling::{Spelling, WeightsFormat};

/// Stands for the folder in every example. [`super::for_repository`] replaces it.
pub(super) const FOLDER: &str = "PATH/TO/THIS/FOLDER";

/// Commands that use a folder, by its towers.
const COMMANDS: &str = include_str!("../../../data/commands.txt");

/// How the library can use a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) enum Usage {
    /// Not at all.
    None,
    /// It loads the folder.
    Loads,
    /// open_clip's model accepts the weights once it is folded.
    AfterFolding,
}

/// The section.
pub(super) fn section(artifact: &Artifact, spelling: &Spelling, usage: Usage) -> String {
    let mut text = "\n## Use\n".to_owned();
    let mut python = |title: &str, about: &str, code: &str| {
        let _ = write!(text, "\n### {title}\n\n{about}```python\n{code}```\n");
    };
    match usage {
        _ if spelling.has_graphs() => python("onnxruntime", "", &onnx(artifact)),
        Usage::None => {}
        Usage::Loads => python(spelling.title, "", spelling.usage),
        Usage::AfterFolding => {
            let about =
                "The image tower's branches are folded, so fold the model before loading the weights:\n\n";
            python(spelling.title, about, &folding(artifact));
        }
    }
    let commands = COMMANDS.lines().filter_map(|line| {
        let (towers, command) = line.split_once(": ")?;
        ["any", artifact.model.towers.name()].contains(&towers).then_some(command)
    });
    let commands = commands.collect::<Vec<_>>().join("\n");
    let _ = write!(text, "\n### clipway\n\n```sh\n{commands}\n```\n");
    text
}

/// Python that runs one tower of a folder of graphs.
fn onnx(artifact: &Artifact) -> String {
    let graphs = artifact.weights.get(&WeightsFormat::Onnx).map(Vec::as_slice).unwrap_or_default();
    let is_text = artifact.model.towers == Towers::Text;
    let is_wanted = |name: &&String| name.ends_with(".onnx") && name.contains("text") == is_text;
    let name = graphs.iter().find(is_wanted).or(graphs.first()).map_or("", String::as_str);
    let (input, about) = match is_text {
        true => ("ids", "token ids, [batch, length]"),
        false => ("pixels", "[batch, 3, height, width]; bytes if the graph normalizes them itself"),
    };
    format!(
        "import onnxruntime\n\nfolder = '{FOLDER}'\ntower = onnxruntime.InferenceSession(f'{{folder}}/{name}')\n\
         # {input}: {about}\nfeatures = tower.run(None, {{tower.get_inputs()[0].name: {input}}})[0]\n"
    )
}

/// Python that folds open_clip's model and gives it the weights.
fn folding(artifact: &Artifact) -> String {
    format!(
        "import open_clip, safetensors.torch, timm, torch\n\nfolder = '{FOLDER}'\n\
         model, _, preprocess = open_clip.create_model_and_transforms(f'local-dir:{{folder}}', load_weights=False)\n\
         model.visual.trunk = timm.utils.reparameterize_model(model.visual.trunk)\n\
         {}model.load_state_dict(weights)\nmodel.eval()\n\
         tokenizer = open_clip.get_tokenizer(f'local-dir:{{folder}}')\n",
        weights_in_python(artifact)
    )
}

/// Python that reads the weights in the first written format.
fn weights_in_python(artifact: &Artifact) -> String {
    let Some((format, names)) = artifact.weights.first_key_value() else { return String::new() };
    let load = |path: &str| match *format == WeightsFormat::Safetensors {
        true => format!("safetensors.torch.load_file({path})"),
        false => format!("torch.load({path}, weights_only=True)"),
    };
    match &names[..] {
        [name] => format!("weights = {}\n", load(&format!("f'{{folder}}/{name}'"))),
        names => {
            let all = names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
            let one = load("f'{folder}/{name}'");
            format!("weights = {{}}\nfor name in [{all}]:\n    weights.update({one})\n")
        }
    }
}
