//! Which programs load a model as it is, and which after an export.

use std::path::Path;

use clap::ValueEnum;
use clipway_formats::shown_path;
use clipway_model::checkpoint::CONFIG_NAME;
use clipway_model::export::{Export, open_clip_main_obstacles, open_clip_obstacles};
use clipway_model::input::{Folder, Kind};
use clipway_model::source::Source;
use clipway_model::spelling::Target;
use serde_json::Value;

use super::{Point, Status};
use crate::failure::chain;

/// A program that loads models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// open_clip 3.3.0
    #[value(name = "open_clip")]
    OpenClip,
    /// open_clip's main branch
    #[value(name = "open_clip-main")]
    OpenClipMain,
    /// transformers
    Transformers,
    /// immich
    Immich,
    /// transformers.js
    #[value(name = "transformers.js")]
    TransformersJs,
}

/// Every program.
const ALL: [Program; 5] = [
    Program::OpenClip,
    Program::OpenClipMain,
    Program::Transformers,
    Program::Immich,
    Program::TransformersJs,
];

impl Program {
    fn name(self) -> &'static str {
        match self {
            Program::OpenClip => "open_clip 3.3.0",
            Program::OpenClipMain => "open_clip main",
            Program::Transformers => "transformers",
            Program::Immich => "immich",
            Program::TransformersJs => "transformers.js",
        }
    }

    /// The target of an export that it loads.
    fn target(self) -> &'static str {
        match self {
            Program::OpenClip | Program::OpenClipMain => "open_clip",
            Program::Transformers => "transformers",
            Program::Immich => "onnx-immich",
            Program::TransformersJs => "onnx-transformers",
        }
    }

    /// The files that it looks for: one of each group.
    fn files(self) -> &'static [&'static [&'static str]] {
        match self {
            Program::OpenClip | Program::OpenClipMain => {
                &[&[CONFIG_NAME], &["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]]
            }
            Program::Transformers => &[
                &["config.json"],
                &[
                    "model.safetensors",
                    "model.safetensors.index.json",
                    "pytorch_model.bin",
                    "pytorch_model.bin.index.json",
                ],
            ],
            Program::Immich => {
                &[&["visual/model.onnx"], &["textual/model.onnx"], &["visual/preprocess_cfg.json"]]
            }
            Program::TransformersJs => &[
                &["config.json"],
                &[
                    "onnx/model.onnx",
                    "onnx/vision_model.onnx",
                    "onnx/vision_model_fp16.onnx",
                    "onnx/model_fp16.onnx",
                ],
                &["preprocessor_config.json"],
            ],
        }
    }

    /// Whether a folder has the files that it looks for.
    fn finds_files(self, folder: &Path) -> bool {
        let has = |names: &&[&str]| names.iter().any(|name| folder.join(name).is_file());
        folder.is_dir() && self.files().iter().all(has)
    }
}

/// A point for each program; those in `needed` must load the source as it is. Without a source, as for graphs alone,
/// only files are looked at.
pub fn programs(path: &Path, given: &str, source: Option<&Source>, needed: &[Program]) -> Vec<Point> {
    ALL.into_iter().map(|program| point(program, path, given, source, needed.contains(&program))).collect()
}

fn point(program: Program, path: &Path, given: &str, source: Option<&Source>, is_needed: bool) -> Point {
    let name = program.name();
    let target = program.target();
    let export = format!("clipway export {given} --to {target} --out DIR");
    let status = if is_needed { Status::Fail } else { Status::Warn };
    let refuse = |found: String, mend: Option<String>| Point { name, status, found, mend };
    let finds = program.finds_files(path);
    let Some(source) = source else {
        return match finds {
            true => Point::pass(name, "its files are here"),
            false => refuse(
                "its files are not here".to_owned(),
                Some(format!("clipway export SOURCE --to {target} --out DIR")),
            ),
        };
    };
    let Some(spelling) = Target::named(target).map(|target| target.spelling) else {
        return refuse("nothing is written for it".to_owned(), None);
    };
    if let Err(error) = Export::prepare(source, spelling) {
        return refuse(format!("cannot express it: {}", chain(&error)), None);
    }
    let is_open_clip = matches!(program, Program::OpenClip | Program::OpenClipMain);
    let obstacles = match program {
        Program::OpenClip => open_clip_obstacles(source),
        Program::OpenClipMain => open_clip_main_obstacles(source),
        _ => Vec::new(),
    };
    if let Some(obstacle) = obstacles.into_iter().next() {
        return refuse(obstacle, None);
    }
    if is_open_clip && finds && source.has_local_text_model() {
        let found = "loads it with the folder as working folder, where it looks for `text_model`";
        return Point::warn(name, found, format!("cd {}, and load `local-dir:.`", shown_path(path)));
    }
    if program == Program::OpenClipMain
        && finds
        && config_at(path).is_some_and(|config| lacks_end_token(&config))
    {
        let found = "`text_cfg` pools at the end token and has no `eos_id`, which main refuses".to_owned();
        return refuse(found, Some(export));
    }
    match finds {
        true => Point::pass(name, "loads it as it is"),
        false => refuse("not as it is".to_owned(), Some(export)),
    }
}

/// The model config in a folder, as it is written there.
fn config_at(path: &Path) -> Option<Value> {
    let bytes = Folder::open(path).ok()?.read(CONFIG_NAME, Kind::Config).ok()??;
    let config: Value = serde_json::from_slice(&bytes).ok()?;
    Some(config["model_cfg"].clone())
}

/// Whether a model config leaves out the end token that its text tower pools at.
fn lacks_end_token(model: &Value) -> bool {
    let text = &model["text_cfg"];
    text["pool_type"] == "eos" && text.get("eos_id").is_none() && text.get("hf_model_name").is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pooling_at_the_end_token_needs_its_id() {
        let lacks = |text: Value| lacks_end_token(&json!({ "embed_dim": 8, "text_cfg": text }));
        assert!(lacks(json!({ "pool_type": "eos" })));
        assert!(!lacks(json!({ "pool_type": "eos", "eos_id": 2 })));
        assert!(!lacks(json!({ "pool_type": "argmax" })));
        assert!(!lacks(json!({})), "the default is the highest id");
        assert!(!lacks(json!({ "pool_type": "eos", "hf_model_name": "roberta-base" })));
    }
}
