//! How images and texts become the inputs of graphs, as the program that loads the folder reads it.

use std::path::{Path, PathBuf};

use clipway_formats::{Dtype, TensorInfo};
use clipway_model::config::{ConfigFile, PixelRule, PreprocessOptions};
use clipway_model::input::{Folder, Kind};
use clipway_model::layout::read_image_processor;
use clipway_model::plan::Towers;
use serde_json::{Value, json};

use super::error::OnnxFolderError;
use super::failure::OnnxError;
use super::graph::{OnnxGraphFile, OnnxTowerPorts};
use super::session::OnnxSession;
use super::sizes::OnnxLengths;
use super::tower::OnnxTower;
use crate::image::Preprocess;
use crate::text::{FolderTokenizer, TextReading, Tokenizer, TokenizerFiles, TokenizerKind, TokenizerRules};

/// The factor of the cosines where nothing says it: that of OpenAI's models, which only probabilities depend on.
pub(super) const LOGIT_SCALE: f32 = 100.0;

/// How images and texts become the inputs of graphs, and features become logits.
#[derive(Clone, Debug)]
pub struct OnnxContract {
    /// Sizes, preprocessing and tokenizer.
    pub config: ConfigFile,
    /// Which library's reading of texts is followed.
    pub reading: TextReading,
    /// The file that says it.
    pub from: String,
    /// Where the tokenizer's files lie.
    pub tokenizer_folder: PathBuf,
    /// Factor of the cosines, and what is added then; `None` where nothing states them.
    pub logits: Option<(f32, Option<f32>)>,
    /// What a user should know.
    pub notes: Vec<String>,
}

impl OnnxContract {
    /// Reads the contract of a folder from the files of its layout, else from what its graphs say of themselves;
    /// `None` where neither says anything.
    ///
    /// # Errors
    /// Files that cannot be read or are malformed.
    pub fn read(root: &Path, graphs: &[OnnxGraphFile]) -> Result<Option<OnnxContract>, OnnxFolderError> {
        let folder = Folder::open(root)?;
        let read = |name: &str| folder.read(name, Kind::Config);
        let said = |key: &str| graphs.iter().find_map(|graph| graph.said(key));
        let mut notes = Vec::new();
        let mut tokenizer_folder = root.to_owned();
        let (config, reading, from) = if let Some(bytes) = read("open_clip_config.json")? {
            let name = "open_clip_config.json";
            (parsed(root, name, &bytes)?, TextReading::OpenClip, name.to_owned())
        } else if let (Some(model), Some(preprocess)) =
            (read("config.json")?, read("visual/preprocess_cfg.json")?)
        {
            let document = json!({
                "model_cfg": value(root, "config.json", &model)?,
                "preprocess_cfg": value(root, "visual/preprocess_cfg.json", &preprocess)?,
            });
            tokenizer_folder.push("textual");
            let config = parsed(root, "config.json", document.to_string().as_bytes())?;
            (config, TextReading::OpenClip, "config.json".to_owned())
        } else if let Some(bytes) = read("preprocessor_config.json")? {
            let name = "preprocessor_config.json";
            let options = read_image_processor(&bytes).map_err(|error| OnnxFolderError::Config {
                path: root.join(name),
                cause: error.to_string(),
            })?;
            let model = read("config.json")?.map(|bytes| value(root, "config.json", &bytes)).transpose()?;
            (of_transformers(root, graphs, &options, model)?, TextReading::Transformers, name.to_owned())
        } else if let Some(text) = said("config") {
            (
                parsed(root, "clipway.config", text.as_bytes())?,
                TextReading::OpenClip,
                "the graph's metadata".to_owned(),
            )
        } else {
            return Ok(None);
        };
        let stored =
            read("model_config.json")?.map(|bytes| value(root, "model_config.json", &bytes)).transpose()?;
        let number = |key: &str| {
            let stored = stored.as_ref().and_then(|stored| stored.get(key)?.as_f64());
            stored.or_else(|| said(key)?.parse().ok()).map(|number| number as f32)
        };
        let logits = number("logit_scale").map(|scale| (scale, number("logit_bias")));
        if logits.is_none() {
            notes.push(format!(
                "nothing states the logit scale: {LOGIT_SCALE} is assumed, which only probabilities depend on"
            ));
        }
        Ok(Some(OnnxContract { config, reading, from, tokenizer_folder, logits, notes }))
    }

    /// The tower with these ports, whose images and texts are prepared by this contract.
    pub(super) fn tower(
        &self,
        session: OnnxSession,
        ports: &OnnxTowerPorts,
        padding: Option<i64>,
    ) -> Result<OnnxTower, OnnxError> {
        let preprocess = Preprocess::from(&self.config.preprocess());
        let size = [preprocess.size.0, preprocess.size.1];
        let tower = OnnxTower::new(session, ports, size, &self.config.model.text, padding)?;
        Ok(tower.with_colors(preprocess.mean.map(f64::from), preprocess.std.map(f64::from)))
    }

    /// The lengths that a graph may leave open.
    pub(super) fn lengths(&self) -> OnnxLengths {
        let (height, width) = Preprocess::from(&self.config.preprocess()).size;
        OnnxLengths { image: [height, width], context: self.config.model.text.context_length }
    }

    /// The tokenizer; `None` where its files are missing.
    ///
    /// # Errors
    /// Files that are malformed, or a tokenizer that does not fit the graph.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>, OnnxFolderError> {
        Ok(self.folder_tokenizer()?.map(|found| found.tokenizer))
    }

    /// The tokenizer with its files; `None` where they are missing.
    ///
    /// # Errors
    /// As [`OnnxContract::tokenizer`].
    pub fn folder_tokenizer(&self) -> Result<Option<FolderTokenizer>, OnnxFolderError> {
        let folder = Folder::open_if_any(&self.tokenizer_folder)?;
        let mut files = Vec::new();
        for name in TokenizerFiles::NAMES.into_iter().chain(["config.json"]) {
            files.extend(folder.read(name, Kind::Tokenizer)?.map(|bytes| (name.to_owned(), bytes)));
        }
        let found = FolderTokenizer::read(&self.config.model.text, self.reading, &files);
        let refuse = |cause| OnnxFolderError::Tokenizer { path: self.tokenizer_folder.clone(), cause };
        found.map_err(refuse)
    }
}

/// A config as open_clip's, of a folder for transformers: only what images and texts depend on is meant.
fn of_transformers(
    root: &Path,
    graphs: &[OnnxGraphFile],
    options: &PreprocessOptions,
    model: Option<Value>,
) -> Result<ConfigFile, OnnxFolderError> {
    let model = model.unwrap_or_default();
    let stated =
        |section: &str, key: &str| model.get(section)?.get(key)?.as_u64().map(|number| number as usize);
    let ports = |tower| graphs.iter().flat_map(|graph| &graph.towers).find(move |ports| ports.tower == tower);
    let size = ports(Towers::Image).and_then(|ports| ports.image_size());
    let by_rule = || match &options.rule {
        Some(PixelRule::Transformers(processor)) => processor.output_size(),
        _ => None,
    };
    let size = size.or_else(by_rule).unwrap_or([224; 2]);
    let context = ports(Towers::Text).and_then(|ports| ports.fixed(1));
    let context = context.or_else(|| stated("text_config", "max_position_embeddings")).unwrap_or(77);
    let vocabulary = stated("text_config", "vocab_size").or_else(|| rows(graphs)).unwrap_or(49408);
    let document = json!({
        "embed_dim": 1,
        "vision_cfg": { "image_size": size, "layers": 1, "width": 64, "patch_size": 1 },
        "text_cfg": {
            "context_length": context,
            "vocab_size": vocabulary,
            // The graph pools: nothing is to be compared with the tokenizer.
            "pool_type": "none",
        },
    });
    let mut config = parsed(root, "config.json", document.to_string().as_bytes())?;
    config.preprocess = options.clone();
    Ok(config)
}

/// Rows of the largest table of a text tower.
fn rows(graphs: &[OnnxGraphFile]) -> Option<usize> {
    let texts = graphs.iter().filter(|graph| graph.towers.iter().any(|ports| ports.tower == Towers::Text));
    let table =
        |info: &TensorInfo| (info.shape.len() == 2 && info.dtype != Dtype::I64).then(|| info.shape[0]);
    texts.flat_map(|graph| &graph.tensors).filter_map(table).max()
}

/// The id that a tokenizer pads with, where padding is distinguished from the tokens of a text.
pub(super) fn padding(rules: &TokenizerRules) -> Option<i64> {
    match &rules.kind {
        TokenizerKind::TokenizerJson(rules) => Some(i64::from(rules.pad_id)),
        TokenizerKind::ClipBpe {} => None,
    }
}

fn parsed(root: &Path, name: &str, bytes: &[u8]) -> Result<ConfigFile, OnnxFolderError> {
    let refuse = |cause: clipway_formats::FormatError| OnnxFolderError::Config {
        path: root.join(name),
        cause: cause.to_string(),
    };
    ConfigFile::parse(bytes).map_err(refuse)
}

fn value(root: &Path, name: &str, bytes: &[u8]) -> Result<Value, OnnxFolderError> {
    serde_json::from_slice(bytes)
        .map_err(|error| OnnxFolderError::Config { path: root.join(name), cause: error.to_string() })
}
