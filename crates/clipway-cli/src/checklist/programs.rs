//! Which programs load a model as it is, and which after an export.

use std::path::Path;

use clap::ValueEnum;
use clipway_model::config::TextPool;
use clipway_model::export::Export;
use clipway_model::source::Source;
use clipway_model::spelling::Target;

use super::Point;
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
                &[&["open_clip_config.json"], &["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]]
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
    let refuse = |found: String, mend: Option<String>| match (is_needed, mend) {
        (true, mend) => Point::fail(name, found, mend),
        (false, Some(mend)) => Point::warn(name, found, mend),
        (false, None) => Point { mend: None, ..Point::warn(name, found, "") },
    };
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
    let prepared = match Export::prepare(source, spelling) {
        Ok(prepared) => prepared,
        Err(error) => return refuse(format!("cannot express it: {}", chain(&error)), None),
    };
    let cannot = prepared.notes().iter().find(|note| {
        note.contains("open_clip 3.3.0 cannot load") || note.contains("so open_clip cannot load")
    });
    match program {
        Program::OpenClip | Program::OpenClipMain if cannot.is_some() => {
            return refuse(cannot.cloned().unwrap_or_default(), None);
        }
        Program::OpenClipMain if finds && lacks_end_token(source) => {
            let found =
                "`text_cfg` pools at the end token and has no `eos_id`, which main refuses".to_owned();
            return refuse(found, Some(export));
        }
        _ => {}
    }
    match finds {
        true => Point::pass(name, "loads it as it is"),
        false => refuse("not as it is".to_owned(), Some(export)),
    }
}

/// Whether the config beside the weights leaves out the end token that its text tower pools at.
fn lacks_end_token(source: &Source) -> bool {
    let Some((_, config)) = source.checkpoint().config() else { return false };
    let stated = serde_json::from_str::<serde_json::Value>(&config.model.to_json());
    let has = stated.is_ok_and(|model| model["text_cfg"].get("eos_id").is_some());
    config.model.text.pool == TextPool::Eos && !has
}
