//! What a text tower of transformers is made of, where open_clip's config has only its name: the `config.json` beside the
//! weights, else that of a local folder of this name, else the table of well-known models, else the shapes.

use std::path::Path;

use clipway_formats::{TensorInfo, shown};

use super::SourceError;
use super::config::ConfigOrigin;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::config::text_model::{BertSizes, CONFIG_NAME, TextModel, TextModelError, known};
use crate::input::{self, Folder};
use crate::layout;

/// Prefix of the text model's tensors.
const PREFIX: &str = "text.transformer.";

/// A text model and the file that describes it.
pub(super) struct Described {
    pub(super) model: TextModel,
    /// The file, which an artifact carries along.
    pub(super) file: Vec<u8>,
    /// What a user should know.
    pub(super) note: String,
}

/// Finds the description of the config's text model of transformers. `None` if the config has none, or its name is
/// enough.
pub(super) fn find(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    origin: &ConfigOrigin,
    tensors: &[TensorInfo],
) -> Result<Option<Described>, SourceError> {
    let Some(tower) = &config.text.hugging_face else { return Ok(None) };
    let name = tower.model_name.as_str();
    let beside = checkpoint.read_beside(CONFIG_NAME)?;
    let path = checkpoint.weights_path().with_file_name(CONFIG_NAME);
    let beside = beside.map(|file| parsed(&path, file)).transpose()?;
    if let Some((Some(model), file)) = beside {
        let note = "the text model is described by `config.json` beside the weights".to_owned();
        return Ok(Some(Described { model, file, note }));
    }
    if let Some(described) = in_folder(checkpoint, origin, name)? {
        return Ok(Some(described));
    }
    if known(name).is_ok() {
        return Ok(None);
    }
    if let Some(described) = by_shapes(tensors) {
        return Ok(Some(described));
    }
    let kind = beside.and_then(|(_, file)| kind_of(&file));
    match kind.filter(|kind| !layout::is_supported(kind)) {
        // The file is the text model's own and not that of a whole model.
        Some(kind) => Err(SourceError::TextModel { path, cause: TextModelError::Kind { kind } }),
        None => Ok(None),
    }
}

/// A file with what it describes; `None` if that is another kind of model.
fn parsed(path: &Path, file: Vec<u8>) -> Result<(Option<TextModel>, Vec<u8>), SourceError> {
    match TextModel::parse(&file) {
        Ok(model) => Ok((model, file)),
        Err(cause) => Err(SourceError::TextModel { path: path.to_owned(), cause }),
    }
}

/// Reads the `config.json` of a local folder of this name, beside the config or in the working folder, as transformers
/// does. A name never leads out of these.
fn in_folder(
    checkpoint: &Checkpoint,
    origin: &ConfigOrigin,
    name: &str,
) -> Result<Option<Described>, SourceError> {
    let own = match origin {
        ConfigOrigin::File(path) => path.parent().unwrap_or(Path::new("")),
        ConfigOrigin::Beside => checkpoint.weights_path().parent().unwrap_or(Path::new("")),
        _ => return Ok(None),
    };
    for place in [own, Path::new("")] {
        let inside = format!("{name}/{CONFIG_NAME}");
        let read = Folder::open_if_any(place).and_then(|folder| folder.read(&inside, input::Kind::Config));
        let Some(file) = read.map_err(|error| SourceError::Open(error.into()))? else { continue };
        let path = place.join(&inside);
        let (model, file) = parsed(&path, file)?;
        let Some(model) = model else {
            let kind = kind_of(&file).unwrap_or_else(|| "none".to_owned());
            return Err(SourceError::TextModel { path, cause: TextModelError::Kind { kind } });
        };
        let note = format!("the text model is described by `config.json` in the folder `{}`", shown(name));
        return Ok(Some(Described { model, file, note }));
    }
    Ok(None)
}

/// The `model_type` of a `config.json`.
fn kind_of(file: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(file).ok()?;
    value["model_type"].as_str().map(shown)
}

/// A BERT or RoBERTa by its shapes. The two have the same names: a RoBERTa has one token type, and two positions before
/// the first. No tensor shows the heads, which are assumed.
fn by_shapes(tensors: &[TensorInfo]) -> Option<Described> {
    let sizes = BertSizes::of(tensors, PREFIX)?;
    let (family, epsilon, padding) = match (sizes.types, sizes.positions % 8) {
        (1, 2) => ("xlm-roberta", 1e-5, 1),
        (2, _) => ("bert", 1e-12, 0),
        _ => return None,
    };
    if !sizes.width.is_multiple_of(BertSizes::HEAD_WIDTH) {
        return None;
    }
    let heads = sizes.width / BertSizes::HEAD_WIDTH;
    let config = sizes.config(family, heads, epsilon, padding);
    let file = config.to_string().into_bytes();
    let model = TextModel::parse(&file).ok().flatten()?;
    let title = if family == "bert" { "BERT" } else { "RoBERTa" };
    let note = format!(
        "the text model was taken for a {title} by its shapes, with {heads} heads of {}, which no shape shows; \
         its own `config.json` beside the weights decides",
        BertSizes::HEAD_WIDTH
    );
    Some(Described { model, file, note })
}
