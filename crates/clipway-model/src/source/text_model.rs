//! The text model's own config beside the weights, which takes precedence over the model's name.

use super::SourceError;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::config::text_model::{CONFIG_NAME, TextModel};

/// The note on a source with such a file.
pub(super) const NOTE: &str = "the text model is described by `config.json` beside the weights";

/// A text model and the file that describes it.
pub(super) struct Described {
    pub(super) model: TextModel,
    /// The file, which an artifact carries along.
    pub(super) file: Vec<u8>,
}

/// Reads the `config.json` beside the weights, if the config asks for a transformers text model; `None` if there is
/// none, or it describes another kind of model.
pub(super) fn find(checkpoint: &Checkpoint, config: &ModelConfig) -> Result<Option<Described>, SourceError> {
    if config.text.hugging_face.is_none() {
        return Ok(None);
    }
    let Some(file) = checkpoint.read_beside(CONFIG_NAME)? else { return Ok(None) };
    let path = checkpoint.weights_path().with_file_name(CONFIG_NAME);
    let model = TextModel::parse(&file).map_err(|cause| SourceError::TextModel { path, cause })?;
    Ok(model.map(|model| Described { model, file }))
}
