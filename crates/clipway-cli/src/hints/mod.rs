//! What to do about an error. Only the program knows its commands and options, so library errors carry no hints.

mod checkpoint;
mod mismatch;

pub use checkpoint::{of_absent, of_checkpoint};

use clipway_formats::{shown, shown_path};
use clipway_model::architecture::ArchitectureError;
use clipway_model::config::text_model::UnknownTextModel;
use clipway_model::export::ExportError;
use clipway_model::layout::LayoutError;
use clipway_model::output::OutputError;
use clipway_model::registry::{Newer, UnknownModel};
use clipway_model::source::{Candidates, SourceError};
use clipway_model::state_dict::SelectError;
use clipway_run::clip::ClipError;
use clipway_run::image::ImageError;

use checkpoint::{ZERO_3, folder_of};
use mismatch::{of_identification, of_mismatch};

/// What to do about a refused input.
pub fn of_clip(error: &ClipError) -> Option<String> {
    match error {
        ClipError::NoTokenizer { .. } => Some(
            "put its `tokenizer.json` and `tokenizer_config.json` beside the weights, or pass their folder with \
             `--tokenizer DIR`"
                .to_owned(),
        ),
        ClipError::NotFinite { .. } => {
            Some("`clipway inspect SOURCE --stats` lists the tensors with NaN or infinities".to_owned())
        }
        ClipError::Image { cause, .. } => of_image(cause).map(str::to_owned),
        _ => None,
    }
}

/// What to do about an image that cannot be read.
pub fn of_image(error: &ImageError) -> Option<&'static str> {
    match error {
        ImageError::TooManyPixels { .. } => Some("raise the limit with `--max-pixels` if you trust the file"),
        ImageError::Unsupported { .. } => Some("convert the file to PNG or JPEG"),
        ImageError::Truncated { .. } => Some("the copy or download may be incomplete; get the file again"),
        ImageError::ResizedAway { .. } => {
            Some("the image is too thin for the resize mode `longest`; crop it first")
        }
        ImageError::OtherSize { .. } => {
            Some("resize or crop the image to the model's size; its processor does neither")
        }
        _ => None,
    }
}

/// What to do about a source that cannot be resolved.
pub fn of_source(error: &SourceError) -> Option<String> {
    match error {
        SourceError::Open(error) => of_checkpoint(error),
        SourceError::Candidates(candidates) => Some(of_candidates(candidates)),
        SourceError::Mismatch(mismatch) => of_mismatch(mismatch),
        SourceError::UnknownModel(unknown) => Some(of_unknown_model(unknown)),
        SourceError::Architecture { cause: ArchitectureError::TextModel(unknown), .. } => Some(of_text_model(unknown)),
        SourceError::Select { cause: SelectError::NotThere { found, .. }, .. } => {
            Some(format!("pass `--weights {}`, or omit the option", found.name()))
        }
        SourceError::Select { cause: SelectError::Ambiguous { candidates }, .. } => {
            let first = candidates.first()?;
            Some(format!(
                "pass the right one, such as `--under {}`; `clipway inspect SOURCE --tensors` lists the tensors",
                shown(first)
            ))
        }
        SourceError::Select { cause: SelectError::Placeholders { .. }, .. } => Some(ZERO_3.to_owned()),
        SourceError::Select { cause: SelectError::Pruning { .. }, .. } => Some(
            "apply the masks with the training code, such as TinyCLIP's `prune_model`, and save the model"
                .to_owned(),
        ),
        SourceError::Select {
            cause: SelectError::NoPrefix { .. } | SelectError::NothingIgnored { .. },
            ..
        } => Some("`clipway inspect SOURCE --tensors` lists the tensors".to_owned()),
        SourceError::Preprocessing { .. } => Some(
            "pass the preprocessing that the training started from, with `--image-mean`, `--image-std`, \
             `--interpolation` and `--resize-mode`"
                .to_owned(),
        ),
        SourceError::TrainerLog { .. } => {
            Some("omit the option, or move `params.txt` away if it belongs to another run".to_owned())
        }
        SourceError::Select { cause: SelectError::Frozen { .. }, .. } => {
            Some("save the model's `state_dict()`, or its program before `torch.jit.freeze`".to_owned())
        }
        SourceError::Layout { cause, .. } => match **cause {
            LayoutError::MissingFile { file, .. } => Some(format!(
                "put the model's `{file}` beside the weights, as `save_pretrained` writes it, with the files of its processor and \
                 tokenizer"
            )),
            LayoutError::ImageModel { .. } => Some(
                "if it is the image tower of an open_clip model, put `visual.trunk.` before its names, and pass that model's \
                 config with `--model FILE.json --tower image`"
                    .to_owned(),
            ),
            LayoutError::Refused { .. } | LayoutError::OtherKind { .. } => Some(
                "README.md lists the models that can be converted; if this one contains such a model, save that alone"
                    .to_owned(),
            ),
            _ => None,
        },
        SourceError::Shard { path, .. } => Some(format!(
            "pass the folder of all shards and their `….index.json`, `{}`, or the index itself",
            shown_path(folder_of(path))
        )),
        SourceError::NoTower { found, .. } => Some(format!("pass `--tower {}`", found.name())),
        SourceError::AlreadyFolded { .. } => Some("omit `--fold`".to_owned()),
        _ => None,
    }
}

/// What to do about a model's name that is not known.
pub fn of_unknown_model(error: &UnknownModel) -> String {
    match error {
        UnknownModel { newer: Some(Newer::ImageAndText), name, .. } => format!(
            "pass its config, `src/open_clip/model_configs/{name}.json` of open_clip's main branch, with `--model FILE.json`"
        ),
        UnknownModel { newer: Some(_), .. } => "README.md lists the models that can be converted".to_owned(),
        UnknownModel { nearest: Some(name), .. } => {
            format!("pass `--model {name}`, or a config file; `clipway models` lists the names")
        }
        _ => "`clipway models` lists the names; a config file ends in `.json`".to_owned(),
    }
}

/// What to do about a text model whose name says nothing.
fn of_text_model(error: &UnknownTextModel) -> String {
    let name = shown(&error.name);
    format!(
        "put the `config.json` of `{name}` beside the weights, or into a folder `{name}` beside the config or in the working \
         folder; without its text tower, the model needs none (`--tower image`)"
    )
}

/// What to do about an export that was refused.
pub fn of_export(error: &ExportError) -> Option<String> {
    match error {
        ExportError::Source(error) => of_source(error),
        ExportError::Overflow { precision: "fp16", .. } => {
            Some("pass `--precision bf16`, which has the range of fp32".to_owned())
        }
        ExportError::Overflow { .. } => Some("pass `--precision fp32`".to_owned()),
        ExportError::Output(error) => of_output(error),
        _ => None,
    }
}

/// What to do about an output that cannot be written.
pub fn of_output(error: &OutputError) -> Option<String> {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match error {
        OutputError::Exists { .. } => Some("pass `--force` to replace it".to_owned()),
        OutputError::Io { cause, .. }
            if matches!(cause.kind(), PermissionDenied | ReadOnlyFilesystem | Unsupported) =>
        {
            Some("choose a folder that you may write to".to_owned())
        }
        _ => None,
    }
}

fn of_candidates(candidates: &Candidates) -> String {
    let identification = &candidates.identification;
    let names = identification.names();
    match of_identification(identification, None) {
        _ if candidates.differ_in_activation() => {
            let source = shown_path(&candidates.path);
            let options = names.iter().map(|name| format!("`--model {name}`")).collect::<Vec<_>>();
            format!(
                "`clipway inspect {source} --probe` runs both activations and reports which fits better, and the trainer's \
                 `params.txt` names the model; then pass {}",
                options.join(" or ")
            )
        }
        Some(hint) => hint,
        None => {
            "pass its config with `--model FILE.json`; `clipway inspect` shows what can be inferred from the shapes"
                .to_owned()
        }
    }
}
