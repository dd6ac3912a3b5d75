//! A text tower with fewer tokens: rows of its token embedding are chosen, and the config follows.

use std::sync::Arc;

use clipway_formats::FormatError;

use crate::architecture::{Model, build};
use crate::config::text_model::{CONFIG_NAME, TextModel, known_file};
use crate::config::{BEGIN_KEY, ConfigFile, END_KEY, ModelConfig, PADDING_KEY, TextConfig, TextPool};
use crate::contract::TrimmedVocabulary;
use crate::graph::Operation;
use crate::layout::OWN_TOKENIZER;
use crate::plan::{Converted, Step, Towers};

/// The tokens to keep of a text tower's vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// Their ids in the source, in ascending order: `kept[id]` becomes `id`.
    pub kept: Arc<[u32]>,
    /// How they were chosen.
    pub choice: TrimmedVocabulary,
}

impl Vocabulary {
    /// The id that a token of the source gets; `None` if it is not kept.
    pub fn id(&self, old: u32) -> Option<u32> {
        self.kept.binary_search(&old).ok().map(|place| place as u32)
    }

    /// The same for an id of a config.
    fn id_of(&self, old: i64) -> Option<i64> {
        u32::try_from(old).ok().and_then(|old| self.id(old)).map(i64::from)
    }
}

/// A vocabulary, and the text tower's config before it was trimmed.
#[derive(Clone, Debug)]
pub(super) struct Trimmed {
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) text: TextConfig,
}

/// Why a vocabulary cannot be trimmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// A model for which rows of one table are not all that depends on the vocabulary.
    #[error("{0}")]
    Unsupported(String),
    /// A config that is then contradictory.
    #[error(transparent)]
    Config(#[from] FormatError),
}

/// Trims the config and the tensors of a source. `model` is the one that the config describes, and `file` describes its
/// text model of transformers. Returns both as they are then.
///
/// # Errors
/// A source without a text tower, a decoder that writes texts, and ids beyond the embedding's rows.
pub(super) fn trim(
    vocabulary: &Vocabulary,
    config: &mut ConfigFile,
    model: &Model,
    (tower, file): (Towers, Option<Vec<u8>>),
    converted: &mut Converted,
) -> Result<(Model, Option<Vec<u8>>), VocabularyError> {
    let refuse = |cause: String| Err(VocabularyError::Unsupported(cause));
    let (rows, kept) = (model.vocab_size, &vocabulary.kept);
    if tower == Towers::Image {
        return refuse("the source has only the image tower, which reads no texts".to_owned());
    }
    if config.model.multimodal.is_some() || config.model.text.embed_cls {
        return refuse(
            "a CoCa cannot be trimmed: its decoder writes texts with the vocabulary, and its class token \
             recognizes padding by its id"
                .to_owned(),
        );
    }
    if let Some(tiktoken) = config.model.text.tokenizer.tiktoken {
        return refuse(format!(
            "its tokenizer is tiktoken's `{}`, which is known by its name, and a part of it has none",
            tiktoken.encoding.name()
        ));
    }
    if let Some(last) = kept.last().filter(|last| **last as usize >= rows) {
        return refuse(format!("token {last} has no row: the token embedding has {rows}"));
    }
    let ids = special_ids(vocabulary, &config.model)?;
    let file = text_model_file(vocabulary, config, file)?;
    config.model.set_vocabulary(kept.len(), &ids, [OWN_TOKENIZER, TEXT_MODEL])?;
    let tables = model.text.nodes.iter().filter_map(|node| match node.operation {
        Operation::Embedding { table } => Some(bare(&model.parameters.get(table).name)),
        _ => None,
    });
    let tables: Vec<&str> = tables.collect();
    for planned in &mut converted.tensors {
        let is_table = tables.contains(&bare(&planned.target.name));
        if is_table && planned.target.shape.first() == Some(&rows) {
            planned
                .then(Step::TakeRows { rows: Arc::clone(kept), of: rows })
                .map_err(|cause| VocabularyError::Unsupported(cause.to_string()))?;
        }
    }
    let model = build(&config.model).map_err(|cause| VocabularyError::Unsupported(cause.to_string()))?;
    Ok((model, file))
}

/// The ids that a config states and a tower looks for, as they are then.
fn special_ids(
    vocabulary: &Vocabulary,
    model: &ModelConfig,
) -> Result<Vec<(&'static str, i64)>, VocabularyError> {
    let text = &model.text;
    if text.hugging_face.is_some() {
        return Ok(Vec::new());
    }
    let end = (text.pool == TextPool::Eos).then_some((END_KEY, text.eos_id, "at which texts end"));
    // CLIP's tokenizer, once it is trimmed, pads with the token at which texts end.
    let is_own = text.tokenizer.name.is_some();
    let padding = if is_own { text.pad_id } else { text.eos_id };
    let padding = text.modern.map(|_| (PADDING_KEY, padding, "which is padding"));
    let begin = text.begin_id.filter(|_| text.modern.is_some());
    let begin = begin.map(|id| (BEGIN_KEY, id, "with which texts begin"));
    let renumbered = |(key, id, role): (&'static str, i64, &str)| match vocabulary.id_of(id) {
        Some(new) => Ok((key, new)),
        None => Err(VocabularyError::Unsupported(format!("token {id}, {role}, is not among the kept ones"))),
    };
    end.into_iter().chain(padding).chain(begin).map(renumbered).collect()
}

/// The `config.json` of a text model of transformers with fewer tokens.
fn text_model_file(
    vocabulary: &Vocabulary,
    config: &ConfigFile,
    file: Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, VocabularyError> {
    let refuse = |cause: String| VocabularyError::Unsupported(cause);
    let Some(tower) = &config.model.text.hugging_face else { return Ok(None) };
    let file = match file {
        Some(file) => file,
        None => known_file(&tower.model_name).map_err(|cause| refuse(cause.to_string()))?.into_bytes(),
    };
    let model = TextModel::parse(&file).ok().flatten();
    let model = model.ok_or_else(|| refuse("its text model is described by no file".to_owned()))?;
    // Positions are counted from this id, and padding is recognized by it.
    if vocabulary.id(model.pad_id as u32) != Some(model.pad_id as u32) {
        return Err(refuse(format!(
            "padding is token {}, which would get another id, and positions depend on it",
            model.pad_id
        )));
    }
    let mut document: serde_json::Value =
        serde_json::from_slice(&file).map_err(|cause| refuse(cause.to_string()))?;
    document["vocab_size"] = vocabulary.kept.len().into();
    Ok(Some(format!("{document:#}\n").into_bytes()))
}

/// A name without the prefix that open_clip's custom text towers have.
fn bare(name: &str) -> &str {
    name.strip_prefix("text.").unwrap_or(name)
}

/// The folder, inside an artifact, of the file that describes a trimmed text model of transformers. It is also the name
/// of the model, by which transformers looks for that folder in the working folder.
pub(crate) const TEXT_MODEL: &str = "text_model";

/// Where an artifact has the file that describes its text model of transformers.
pub(crate) fn text_model_path(text: &TextConfig) -> String {
    match &text.hugging_face {
        Some(tower) if tower.model_name == TEXT_MODEL => format!("{TEXT_MODEL}/{CONFIG_NAME}"),
        _ => CONFIG_NAME.to_owned(),
    }
}
