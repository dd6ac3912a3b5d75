//! The model card, `README.md`.

use std::fmt::Write;

use super::escape::{markdown, note, yaml};
use crate::artifact::Artifact;
use crate::config::ConfigFile;
use crate::plan::Precision;
use crate::spelling::{Spelling, WeightsFormat};

/// How open_clip can use a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// Not at all.
    None,
    /// It loads the folder.
    Loads,
    /// Its model also accepts the weights once it is folded.
    AfterFolding,
}

/// Writes the card of an artifact.
pub(super) fn model_card(
    artifact: &Artifact,
    config: &ConfigFile,
    spelling: &Spelling,
    usage: Usage,
) -> String {
    let mut card = format!("---\ntags:\n- clip\nlibrary_name: {}\n", spelling.library);
    card.push_str("pipeline_tag: zero-shot-image-classification\n");
    if let Some(license) = &artifact.contract.license {
        let _ = writeln!(card, "license: {}", yaml(&license.value));
    }
    card.push_str("---\n");
    let name = artifact.model.name.as_deref().unwrap_or("a CLIP model");
    let _ = writeln!(card, "# Model card for {name}\n");
    let preprocess = config.preprocess();
    let [height, width] = preprocess.size;
    let mut rows = vec![
        (
            "Source",
            format!(
                "{} ({}, {})",
                markdown(&artifact.source.name),
                artifact.source.format,
                artifact.source.layout
            ),
        ),
        (
            "Weights",
            format!(
                "{}, {}",
                artifact.source.weights.name(),
                artifact.model.precision.map_or("as stored", Precision::name)
            ),
        ),
        ("Towers", artifact.model.towers.name().to_owned()),
        ("Parameters", artifact.model.parameters.to_string()),
        ("Embedding width", config.model.embed_dim.to_string()),
        ("Image size", format!("{height} x {width}")),
        ("Context length", config.model.text.context_length.to_string()),
        ("Activation", if config.model.quick_gelu { "QuickGELU" } else { "GELU" }.to_owned()),
        ("Mean", format!("{:?}", preprocess.mean)),
        ("Standard deviation", format!("{:?}", preprocess.std)),
        ("Interpolation", preprocess.interpolation.name().to_owned()),
        ("Resize mode", preprocess.resize_mode.name().to_owned()),
    ];
    if config.model.folded {
        rows.push(("Branches of the image tower", "folded for inference".to_owned()));
    }
    card.push_str("| | |\n| --- | --- |\n");
    for (key, value) in rows {
        let _ = writeln!(card, "| {key} | {value} |");
    }
    card.push_str(
        "\nThe sources of each tensor, the origin of each setting, hashes and the verification are in \
         `clipway.json`.\n",
    );
    for text in &artifact.notes {
        let _ = write!(card, "\n> {}\n", note(text));
    }
    if usage == Usage::AfterFolding {
        let _ = write!(
            card,
            "\n## Usage\n\nThe image tower's branches are folded, so fold the model before loading the \
             weights:\n\n```python\nimport open_clip, safetensors.torch, timm, torch\n\n\
             model, _, preprocess = open_clip.create_model_and_transforms('local-dir:PATH/TO/THIS/FOLDER', \
             load_weights=False)\n\
             model.visual.trunk = timm.utils.reparameterize_model(model.visual.trunk)\n\
             {}model.load_state_dict(weights)\nmodel.eval()\n\
             tokenizer = open_clip.get_tokenizer('local-dir:PATH/TO/THIS/FOLDER')\n```\n",
            weights_in_python(artifact),
        );
    }
    if usage == Usage::Loads {
        let _ = write!(card, "\n## Usage\n\n```python\n{}```\n", spelling.usage);
    }
    card
}

/// Python that reads the weights in the first written format.
fn weights_in_python(artifact: &Artifact) -> String {
    let Some((format, names)) = artifact.weights.first_key_value() else { return String::new() };
    let load = |path: &str| match *format == WeightsFormat::Safetensors {
        true => format!("safetensors.torch.load_file({path})"),
        false => format!("torch.load({path}, weights_only=True)"),
    };
    match &names[..] {
        [name] => format!("weights = {}\n", load(&format!("'PATH/TO/THIS/FOLDER/{name}'"))),
        names => {
            let all = names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
            let one = load("'PATH/TO/THIS/FOLDER/' + name");
            format!("weights = {{}}\nfor name in [{all}]:\n    weights.update({one})\n")
        }
    }
}
