//! Folders and files of ONNX graphs, ours or anyone's: found, and ready to run.

use std::path::{Path, PathBuf};

use clipway_formats::Dtype;
use clipway_model::plan::Towers;

use super::contract::{LOGIT_SCALE, OnnxContract, padding};
use super::error::OnnxFolderError;
use super::graph::OnnxGraphFile;
use super::runtime::OnnxRuntime;
use super::session::OnnxSession;
use super::watch::Peak;
use crate::clip::Clip;
use crate::encoder::{Encoder, EncoderSettings};
use crate::image::Preprocess;
use crate::tower::{Tower, TowerBatch, TowerInput};

/// Where programs look for graphs: the layout, the image tower's file and the text tower's, `*` for what names a
/// precision.
const LAYOUTS: [(&str, [&str; 2]); 5] = [
    ("open_clip_inference's", ["visual.onnx", "text.onnx"]),
    ("clip-as-service's", ["visual.onnx", "textual.onnx"]),
    ("immich's", ["visual/model.onnx", "textual/model.onnx"]),
    ("transformers.js's", ["onnx/vision_model*.onnx", "onnx/text_model*.onnx"]),
    ("optimum's", ["onnx/model*.onnx", "model*.onnx"]),
];

/// Where classifiers lie.
const CLASSIFIERS: [&str; 2] = ["classifier.onnx", "onnx/classifier*.onnx"];

/// What names the precision of a file, the exactest first.
const SUFFIXES: [&str; 8] = ["", "_fp16", "_int8", "_quantized", "_uint8", "_q8", "_q4", "_q4f16"];

/// Folders inside a model's folder in which graphs lie.
const INNER: [&str; 3] = ["onnx", "visual", "textual"];

/// A folder of ONNX graphs, or one file of it.
#[derive(Clone, Debug)]
pub struct OnnxFolder {
    /// What was opened.
    pub path: PathBuf,
    /// The layout, by the program that loads it; a file alone has none.
    pub layout: Option<&'static str>,
    /// The graphs.
    pub graphs: Vec<OnnxGraphFile>,
    /// How images and texts become their inputs; `None` where nothing says it.
    pub contract: Option<OnnxContract>,
    /// What runs the graphs.
    pub runtime: OnnxRuntime,
}

impl OnnxFolder {
    /// Whether a path is a file of ONNX, or a folder with graphs where programs look for them.
    pub fn is_at(path: &Path) -> bool {
        match path.is_dir() {
            true => !found(path).1.is_empty(),
            false => path.extension().is_some_and(|extension| extension == "onnx"),
        }
    }

    /// Opens a folder or a file: checks the graphs and reads the files beside them, and no weight.
    ///
    /// # Errors
    /// Graphs that are not sound or no towers, and malformed files beside them.
    pub fn open(path: &Path) -> Result<OnnxFolder, OnnxFolderError> {
        let (layout, files, root) = if path.is_dir() {
            let (layout, files) = found(path);
            if files.is_empty() {
                let expected = LAYOUTS.iter().flat_map(|(_, names)| names).map(|name| format!("`{name}`"));
                return Err(OnnxFolderError::NoGraphs {
                    path: path.to_owned(),
                    expected: expected.collect(),
                });
            }
            (layout, files, path.to_owned())
        } else {
            let parent = path.parent().unwrap_or(Path::new("")).to_owned();
            let is_inner = parent.file_name().is_some_and(|name| INNER.iter().any(|inner| name == *inner));
            let root = if is_inner { parent.parent().unwrap_or(Path::new("")).to_owned() } else { parent };
            (None, vec![path.to_owned()], root)
        };
        let graphs = files.iter().map(|file| OnnxGraphFile::open(file)).collect::<Result<Vec<_>, _>>()?;
        let root = if root == Path::new("") { PathBuf::from(".") } else { root };
        let contract = OnnxContract::read(&root, &graphs)?;
        Ok(OnnxFolder { path: path.to_owned(), layout, graphs, contract, runtime: OnnxRuntime::default() })
    }

    /// The towers that it has.
    pub fn towers(&self) -> Towers {
        let has =
            |tower| self.graphs.iter().flat_map(|graph| &graph.towers).any(|ports| ports.tower == tower);
        match (has(Towers::Image), has(Towers::Text)) {
            (true, false) => Towers::Image,
            (false, true) => Towers::Text,
            _ => Towers::Both,
        }
    }

    /// The classifiers beside the towers of a folder; a file alone has none.
    ///
    /// # Errors
    /// As [`OnnxFolder::open`].
    pub fn classifiers(&self) -> Result<Vec<OnnxFolder>, OnnxFolderError> {
        let paths = CLASSIFIERS.into_iter().filter_map(|name| existing(&self.path, name));
        let open = |path: PathBuf| Ok(OnnxFolder { runtime: self.runtime, ..OnnxFolder::open(&path)? });
        paths.map(open).collect()
    }

    /// Whether it is the graph of a classifier, which has no features.
    pub fn is_classifier(&self) -> bool {
        self.graphs.iter().any(|graph| graph.said("tower") == Some("classifier"))
    }

    /// Whether any weight is stored in fewer bits than f32.
    pub fn has(&self, dtype: Dtype) -> bool {
        self.graphs.iter().any(|graph| graph.has(dtype))
    }

    /// Loads the towers, `wanted` ones where they are there, with preprocessing and tokenizer.
    ///
    /// # Errors
    /// A graph that the runtime refuses, or a folder that does not say how images and texts are prepared.
    pub fn load(&self, wanted: Towers) -> Result<Clip, OnnxFolderError> {
        self.load_with(wanted, (LOGIT_SCALE, None))
    }

    /// The same with the factor of the cosines, and what is added then, where nothing states them.
    pub(super) fn load_with(
        &self,
        wanted: Towers,
        logits: (f32, Option<f32>),
    ) -> Result<Clip, OnnxFolderError> {
        let contract = self.contract.as_ref();
        let contract = contract.ok_or_else(|| OnnxFolderError::NoContract { path: self.path.clone() })?;
        let preprocess = Preprocess::from(&contract.config.preprocess());
        let tokenizer = match self.towers() {
            Towers::Image => None,
            _ if wanted == Towers::Image => None,
            _ => contract.tokenizer()?,
        };
        let mut towers: [Option<Box<dyn Tower>>; 2] = [None, None];
        let mut width = 0;
        let lengths = contract.lengths();
        for graph in &self.graphs {
            let refuse = |cause| OnnxFolderError::Graph { path: graph.path.clone(), cause };
            for ports in graph.towers.iter().filter(|ports| wanted == Towers::Both || wanted == ports.tower) {
                let session = OnnxSession::open(graph, lengths, self.runtime);
                let padding = tokenizer.as_ref().and_then(|tokenizer| padding(tokenizer.rules()));
                let tower = contract.tower(session.map_err(refuse)?, ports, padding).map_err(refuse)?;
                width = tower.describe().width;
                towers[usize::from(ports.tower == Towers::Text)] = Some(Box::new(tower));
            }
        }
        let [image, text] = towers;
        let (logit_scale, logit_bias) = contract.logits.unwrap_or(logits);
        let settings = EncoderSettings { logit_scale, logit_bias, embed_dim: width };
        Ok(Clip::new(Encoder::new(image, text, settings)?, preprocess, tokenizer))
    }

    /// The largest activation in f16 of each tower that computes in f16, from the first of these pixels
    /// `[images, 3 · height · width]` and token ids `[texts, context]`.
    ///
    /// # Errors
    /// As [`OnnxFolder::load`].
    pub fn peaks(&self, pixels: &[f32], ids: &[i64]) -> Result<Vec<Peak>, OnnxFolderError> {
        let contract = self.contract.as_ref();
        let contract = contract.ok_or_else(|| OnnxFolderError::NoContract { path: self.path.clone() })?;
        let tokenizer = if ids.is_empty() { None } else { contract.tokenizer()? };
        let padding = tokenizer.as_ref().and_then(|tokenizer| padding(tokenizer.rules()));
        let mut peaks = Vec::new();
        for graph in self.graphs.iter().filter(|graph| graph.has(Dtype::F16)) {
            let refuse = |cause| OnnxFolderError::Graph { path: graph.path.clone(), cause };
            for ports in &graph.towers {
                let (session, values) =
                    OnnxSession::open_watched(graph, contract.lengths()).map_err(refuse)?;
                let tower = contract.tower(session, ports, padding).map_err(refuse)?;
                let batch = match tower.describe().input {
                    TowerInput::Pixels { .. } | TowerInput::Grids { .. } => TowerBatch::Pixels(pixels),
                    TowerInput::Tokens { context, .. } => TowerBatch::Tokens { ids, length: context },
                };
                let path = graph.path.clone();
                let largest = tower.largest(&values, &batch).map_err(refuse)?;
                peaks.extend(largest.map(|(value, largest)| Peak {
                    path,
                    node: value.node.clone(),
                    largest,
                }));
            }
        }
        Ok(peaks)
    }
}

/// The file with a name in a folder, where `*` stands for what names a precision.
fn existing(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut names = SUFFIXES.iter().map(|suffix| folder.join(name.replace('*', suffix)));
    names.find(|path| path.is_file())
}

/// The layout of a folder, and its files.
fn found(folder: &Path) -> (Option<&'static str>, Vec<PathBuf>) {
    let existing = |name: &str| existing(folder, name);
    for (layout, names) in LAYOUTS {
        // Both towers may be in one file, in one place or the other.
        let files: Vec<PathBuf> = match layout {
            "optimum's" => names.into_iter().find_map(existing).into_iter().collect(),
            _ => names.into_iter().filter_map(existing).collect(),
        };
        let is_ambiguous = layout == "open_clip_inference's" && folder.join("textual.onnx").is_file();
        if !files.is_empty() && !is_ambiguous {
            return (Some(layout), files);
        }
    }
    (None, Vec::new())
}
