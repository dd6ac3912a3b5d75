//! What to do about an error. Only the program knows its commands and options, so library errors carry no hints.

use clipway_formats::{shown, shown_path};
use clipway_model::architecture::ArchitectureError;
use clipway_model::checkpoint::{AdapterError, CheckpointError};
use clipway_model::config::text_model::UnknownTextModel;
use clipway_model::differences::Differences;
use clipway_model::export::ExportError;
use clipway_model::identify::{CloseFit, Identification, NearFit};
use clipway_model::input::InputError;
use clipway_model::layout::LayoutError;
use clipway_model::output::OutputError;
use clipway_model::registry::{self, Newer, UnknownModel};
use clipway_model::source::{Candidates, Mismatch, SourceError};
use clipway_model::state_dict::SelectError;
use clipway_run::clip::ClipError;
use clipway_run::image::ImageError;

/// What to do about a source that cannot be opened.
pub fn of_checkpoint(error: &CheckpointError) -> Option<String> {
    match error {
        CheckpointError::Ambiguous { .. } => {
            let newest = error.proposed()?;
            Some(format!("pass one of the files; `{}` is the newest", shown_path(&newest)))
        }
        CheckpointError::SeveralFolders { .. } | CheckpointError::NoWeights { .. } => {
            Some(format!("pass `{}`", shown_path(&error.proposed()?)))
        }
        CheckpointError::OtherProgram { program: "Flax", .. } => Some(from_program("from_flax")),
        CheckpointError::OtherProgram { program: "TensorFlow", .. } => Some(from_program("from_tf")),
        CheckpointError::OtherProgram { .. } => {
            Some("export the PyTorch or safetensors weights that it was made from".to_owned())
        }
        CheckpointError::DistributedPart { path } => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(std::path::Path::new("."));
            Some(format!("pass the folder with its `.metadata`, `{}`", shown_path(folder)))
        }
        CheckpointError::NoIndex { .. } => Some(
            "copy the `….index.json` that was written beside the shards, and pass the folder or the index"
                .to_owned(),
        ),
        CheckpointError::NoMetadata { .. } => {
            Some("copy the `.metadata` that was written beside the parts".to_owned())
        }
        CheckpointError::Adapter { cause: AdapterError::NoBase { .. }, .. } => Some(
            "pass the weights with `--base SOURCE`, or merge the adapter with PEFT's `merge_and_unload()`"
                .to_owned(),
        ),
        CheckpointError::Adapter { cause: AdapterError::NotAnAdapter, .. } => {
            Some("omit `--base`".to_owned())
        }
        CheckpointError::Adapter { cause: AdapterError::Several { .. }, .. } => {
            Some("save the one adapter that is wanted, and pass it with `--base SOURCE`".to_owned())
        }
        CheckpointError::Adapter { cause: AdapterError::NoConfig, .. } => Some(
            "put the adapter's `adapter_config.json` beside the weights, or merge the adapter with PEFT's \
             `merge_and_unload()`"
                .to_owned(),
        ),
        CheckpointError::Adapter { .. } => {
            Some("merge the adapter with PEFT's `merge_and_unload()`".to_owned())
        }
        CheckpointError::InParts { .. } => Some(ZERO_3.to_owned()),
        _ => None,
    }
}

/// What to do about a path that does not exist and is the name of something else.
pub fn of_absent(error: &InputError) -> Option<String> {
    let InputError::Io { path, .. } = error else { return None };
    let name = path.to_str().filter(|_| error.is_absent())?;
    if name.contains("://") {
        return Some(
            "only models on the Hub are downloaded, as `hf-hub:OWNER/NAME`; get other files first, and pass their \
             folder"
                .to_owned(),
        );
    }
    let architecture = name.split_once(':').map_or(name, |(architecture, _)| architecture);
    match registry::model(name) {
        Ok(_) => Some(format!(
            "this is an architecture's name; pass the file or folder with its weights, and `--model {name}`, or one of \
             its pretrained tags, `{name}:TAG`"
        )),
        Err(_) => registry::model(architecture).err().filter(|error| error.newer.is_some()).map(|error| {
            format!(
                "this is an architecture's name; pass the file or folder with its weights, or its repository as \
                 `hf-hub:OWNER/NAME`; {}",
                of_unknown_model(&error)
            )
        }),
    }
}

/// What to do about DeepSpeed's parts of a model.
const ZERO_3: &str = "join the parts with DeepSpeed's script in the run's folder, \
                      `python zero_to_fp32.py . OUT`, and pass the file that it writes";

/// How transformers reads weights of another program.
fn from_program(option: &str) -> String {
    format!(
        "load it in transformers 4 with `from_pretrained(FOLDER, {option}=True)`, and save it with `save_pretrained`"
    )
}

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
        SourceError::Layout { cause, .. } => match **cause {
            LayoutError::Refused { .. } | LayoutError::OtherKind { .. } => Some(
                "README.md lists the models that can be converted; if this one contains such a model, save that alone"
                    .to_owned(),
            ),
            _ => None,
        },
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

fn of_mismatch(mismatch: &Mismatch) -> Option<String> {
    let Differences { numbers, .. } = &mismatch.differences;
    if !numbers.is_empty() && numbers.len() == mismatch.differences.iter().count() {
        let hint = "if the shapes are right, save the weights without these numbers; nothing needs them";
        return Some(hint.to_owned());
    }
    let unused = &mismatch.differences.unused;
    if !unused.is_empty() && unused.len() == mismatch.differences.iter().count() {
        return Some(format!(
            "if the model does not need them, leave them out, such as with {}",
            ignored(unused.iter().map(|tensor| tensor.name.as_str()))
        ));
    }
    of_identification(&mismatch.identification, mismatch.given.as_deref())
}

/// Modules of a model, which are not left out whole.
const MODULES: [&str; 13] = [
    "visual",
    "text",
    "transformer",
    "trunk",
    "head",
    "resblocks",
    "blocks",
    "encoder",
    "layer",
    "stages",
    "attn",
    "mlp",
    "embeddings",
];

/// The options that leave out tensors: up to the first module of their names that is not the model's own, in every block.
fn ignored<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const MOST: usize = 4;
    let mut options: Vec<String> = Vec::new();
    for name in names {
        let parts: Vec<&str> = name.split('.').collect();
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let own = parts.iter().take_while(|part| MODULES.contains(part) || is_number(part)).count();
        let mut kept: Vec<String> = parts
            .iter()
            .take(own + 1)
            .map(|part| if is_number(part) { "*".to_owned() } else { shown(part) })
            .collect();
        if own + 1 < parts.len() {
            kept.push("*".to_owned());
        }
        let option = format!("--ignore '{}'", kept.join("."));
        if options.len() < MOST && !options.contains(&option) {
            options.push(option);
        }
    }
    format!("`{}`", options.join(" "))
}

/// The options that name a model at the size of the tensors.
fn options_of(near: &NearFit) -> String {
    let mut options = format!("--model {}", near.name);
    if let Some([height, width]) = near.image_size {
        let size = if height == width { height.to_string() } else { format!("{height}x{width}") };
        options.push_str(&format!(" --image-size {size}"));
    }
    if let Some(length) = near.context_length {
        options.push_str(&format!(" --context-length {length}"));
    }
    options
}

/// The options for a matching model other than the given one.
fn of_identification(identification: &Identification, given: Option<&str>) -> Option<String> {
    let names = identification.names();
    match (&names[..], &identification.near[..]) {
        ([name], _) => Some(format!("the shapes match `{name}`; pass `--model {name}`")),
        ([], []) => {
            let closest = &identification.closest;
            let first = closest.first()?;
            let is_given =
                |close: &CloseFit| close.differences == first.differences && Some(close.name) == given;
            (!closest.iter().any(is_given))
                .then(|| format!("pass `--model {}` to see which tensors differ", first.name))
        }
        ([], [near, ..]) => Some(format!("pass `{}`, which matches the shapes", options_of(near))),
        (names, _) => {
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            Some(format!("the shapes match {}; pass one of them with `--model`", quoted.join(" and ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use clipway_model::architecture::build;
    use clipway_model::identify::identify;
    use clipway_model::registry;

    use super::*;

    #[test]
    fn only_what_is_not_the_models_is_left_out() {
        let check = |names: &[&str], expected: &str| assert_eq!(ignored(names.iter().copied()), expected);
        check(&["classifier.weight", "classifier.bias"], "`--ignore 'classifier.*'`");
        check(&["visual.classifier.weight"], "`--ignore 'visual.classifier.*'`");
        check(&["visual.head.weight"], "`--ignore 'visual.head.weight'`");
        let adapters = [
            "visual.transformer.resblocks.0.adapter.up.weight",
            "visual.transformer.resblocks.1.adapter.up.bias",
        ];
        check(&adapters, "`--ignore 'visual.transformer.resblocks.*.adapter.*'`");
        check(&["criterion.labels", "metric.total"], "`--ignore 'criterion.*' --ignore 'metric.*'`");
        check(&["step"], "`--ignore 'step'`");
    }

    /// Names and shapes of `ViT-B-32`, with one of them changed or, without a shape, removed.
    fn changed(name: &str, shape: Option<[usize; 2]>) -> Identification {
        let parameters = build(&registry::model("ViT-B-32").unwrap()).unwrap().parameters;
        let mut tensors: Vec<(String, Vec<usize>)> = parameters
            .in_state_dict_order()
            .into_iter()
            .map(|id| (parameters.get(id).name.clone(), parameters.get(id).shape.clone()))
            .collect();
        match shape {
            Some(shape) => tensors.iter_mut().find(|(n, _)| n == name).unwrap().1 = shape.to_vec(),
            None => tensors.retain(|(n, _)| n != name),
        }
        identify(tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())))
    }

    #[test]
    fn what_names_and_shapes_match_is_hinted_at_unless_it_was_given() {
        let check = |identification: &Identification, given: Option<&str>, expected: Option<&str>| {
            assert_eq!(of_identification(identification, given).as_deref(), expected);
        };
        let square = changed("visual.positional_embedding", Some([9 * 9 + 1, 768]));
        check(&square, None, Some("pass `--model ViT-B-32 --image-size 288`, which matches the shapes"));
        let longer = changed("positional_embedding", Some([80, 512]));
        check(&longer, None, Some("pass `--model ViT-B-32 --context-length 80`, which matches the shapes"));
        let without = changed("ln_final.bias", None);
        check(&without, Some("ViT-B-16"), Some("pass `--model ViT-B-32` to see which tensors differ"));
        // The differences from the nearest model are listed already.
        check(&without, Some("ViT-B-32"), None);
        check(&without, Some("ViT-B-32-quickgelu"), None);
    }
}
