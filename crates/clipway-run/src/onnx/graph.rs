//! One file of a graph: which tower it is, found from what it takes and gives.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{
    Code, Dtype, FormatError, OnnxDim, OnnxFile, OnnxInterface, OnnxPort, Place, ReadAt, TensorFile,
    TensorInfo,
};
use clipway_model::artifact::FileHash;
use clipway_model::input::{self, FileSource, Folder, Kind};
use clipway_model::plan::Towers;

use super::error::OnnxFolderError;
use super::sizes::SizeGraph;

/// Outputs that are features of images, the likeliest first.
const IMAGE_OUTPUTS: [&str; 6] =
    ["image_embeds", "image_embeddings", "image_features", "embedding", "pooler_output", "output"];

/// The same of texts.
const TEXT_OUTPUTS: [&str; 6] =
    ["text_embeds", "text_embeddings", "text_features", "embedding", "pooler_output", "output"];

/// Inputs of texts that are no ids.
const MASK: &str = "attention_mask";

/// What the outputs of blocks are called before their names.
pub(super) const BLOCK: &str = "block:";

/// A file of a graph, whose structure was checked and whose tensors were not read.
#[derive(Clone, Debug)]
pub struct OnnxGraphFile {
    /// The file.
    pub path: PathBuf,
    /// The files of its external data, by their names in it, in order.
    pub external: Vec<String>,
    /// What it takes and gives, and which operators it uses.
    pub interface: OnnxInterface,
    /// What it says of itself.
    pub metadata: Vec<(String, String)>,
    /// Its tensors.
    pub tensors: Vec<TensorInfo>,
    /// The towers in it: one, or both.
    pub towers: Vec<OnnxTowerPorts>,
    pub(super) sizes: SizeGraph,
}

/// A tower of a graph, by the names of what it takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxTowerPorts {
    /// Which tower.
    pub tower: Towers,
    /// Its pixels, or its token ids.
    pub input: OnnxPort,
    /// The input that says which tokens are no padding.
    pub mask: Option<String>,
    /// Its features.
    pub output: OnnxPort,
    /// Names of the outputs of its blocks.
    pub blocks: Vec<String>,
}

impl OnnxGraphFile {
    /// Opens a file and checks its structure; external data must lie beside it, below its folder.
    ///
    /// # Errors
    /// A file that is no sound ONNX, or whose inputs and outputs are not those of a tower.
    pub fn open(path: &Path) -> Result<OnnxGraphFile, OnnxFolderError> {
        let folder = Folder::of(path)?;
        let main: Arc<dyn ReadAt> = Arc::new(input::open(path, Kind::Weights)?);
        let mut external = BTreeSet::new();
        let mut beside = |name: &str| -> Result<Arc<dyn ReadAt>, FormatError> {
            external.insert(name.to_owned());
            let opened = folder.file(name, Kind::Weights);
            let code = |error: &input::InputError| match error {
                input::InputError::Escapes { .. } => Code::PathEscape,
                // The model is incomplete, as with a shard that is not there.
                error if error.is_absent() => Code::Missing,
                _ => Code::Io,
            };
            let refuse = |error: input::InputError| {
                let cause = format!("its external data `{}`: {}", clipway_formats::shown(name), error.why());
                FormatError::new(code(&error), Place::File, cause)
            };
            Ok(Arc::new(opened.map_err(refuse)?))
        };
        let file = OnnxFile::open(main, &mut beside);
        let malformed = |cause| OnnxFolderError::Malformed { path: path.to_owned(), cause: Box::new(cause) };
        let file = file.map_err(malformed)?;
        let sizes = SizeGraph::of(&file).map_err(malformed)?;
        let interface = file.interface().clone();
        let classifies =
            file.metadata().iter().any(|(key, value)| key == "clipway.tower" && value == "classifier");
        let towers = towers(&interface, classifies)
            .map_err(|cause| OnnxFolderError::NoTower { path: path.to_owned(), cause })?;
        Ok(OnnxGraphFile {
            path: path.to_owned(),
            external: external.into_iter().collect(),
            interface,
            metadata: file.metadata().to_vec(),
            tensors: file.tensors().to_vec(),
            towers,
            sizes,
        })
    }

    /// SHA-256 of its file and of the files of its external data, hexadecimal.
    ///
    /// # Errors
    /// Files that cannot be read any more.
    pub fn digest(&self) -> Result<String, OnnxFolderError> {
        let folder = Folder::of(&self.path)?;
        let hashed = |source: FileSource| {
            let hash = FileHash::of_source(&source, |_| Ok::<(), Infallible>(()));
            let cause =
                |cause| OnnxFolderError::Malformed { path: self.path.clone(), cause: Box::new(cause) };
            let Ok(hash) = hash.map_err(cause)?;
            source.check_unchanged()?;
            Ok::<String, OnnxFolderError>(hash.sha256)
        };
        let mut hashes = vec![hashed(input::open(&self.path, Kind::Weights)?)?];
        for name in &self.external {
            hashes.push(hashed(folder.file(name, Kind::Weights)?)?);
        }
        // Without external data, the file's own hash is the digest, as other programs print it.
        Ok(match &hashes[..] {
            [own] => own.clone(),
            all => FileHash::of(all.join("\n").as_bytes()).sha256,
        })
    }

    /// What it says of itself under `clipway.KEY`.
    pub fn said(&self, key: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(name, _)| name.strip_prefix("clipway.") == Some(key));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether any tensor has this dtype.
    pub fn has(&self, dtype: Dtype) -> bool {
        self.tensors.iter().any(|info| info.dtype == dtype)
    }

    /// How its weights are stored, for people: the dtype of most bytes, and what is quantized.
    pub fn precision(&self) -> &'static str {
        let quantizes = |operator: &str| self.interface.operators.contains_key(operator);
        match () {
            () if quantizes("MatMulInteger") || quantizes("DynamicQuantizeLinear") => "int8, scales by input",
            () if quantizes("QuantizeLinear") => "int8, fixed scales",
            () if self.has(Dtype::I8) || self.has(Dtype::U8) => "int8 weights",
            () if self.has(Dtype::F16) => "fp16",
            () if self.has(Dtype::BF16) => "bf16",
            () => "fp32",
        }
    }
}

impl OnnxTowerPorts {
    /// A dimension of the input, where it is fixed.
    pub fn fixed(&self, dim: usize) -> Option<usize> {
        match self.input.shape.as_ref()?.get(dim)? {
            OnnxDim::Fixed(length) => Some(*length),
            OnnxDim::Free(_) => None,
        }
    }

    /// Whether images come as bytes `[batch, height, width, 3]`.
    pub fn takes_bytes(&self) -> bool {
        self.tower == Towers::Image && self.input.dtype == Some(Dtype::U8)
    }

    /// Height and width of images, where they are fixed.
    pub fn image_size(&self) -> Option<[usize; 2]> {
        let first = if self.takes_bytes() { 1 } else { 2 };
        Some([self.fixed(first)?, self.fixed(first + 1)?])
    }
}

/// The towers of a graph, or why it has none.
fn towers(interface: &OnnxInterface, classifies: bool) -> Result<Vec<OnnxTowerPorts>, String> {
    let mut towers = Vec::new();
    let mut mask = None;
    for port in &interface.inputs {
        let rank = port.shape.as_ref().map_or(0, Vec::len);
        match (port.dtype, rank) {
            (Some(Dtype::I64 | Dtype::I32), 2) if port.name == MASK => mask = Some(port.name.clone()),
            (Some(Dtype::F32), 4) | (Some(Dtype::U8), 4) => towers.push((Towers::Image, port)),
            (Some(Dtype::I64 | Dtype::I32), 2) => towers.push((Towers::Text, port)),
            (dtype, _) => {
                let dtype = dtype.map_or("unknown dtype".to_owned(), |dtype| dtype.to_string());
                return Err(format!(
                    "input `{}`, {dtype} of {rank} dimensions, is neither pixels (f32 or u8, 4 dimensions) nor token \
                     ids (integers, 2 dimensions)",
                    clipway_formats::shown(&port.name)
                ));
            }
        }
    }
    let is_one_each = matches!(towers[..], [_]) || matches!(towers[..], [(a, _), (b, _)] if a != b);
    if !is_one_each {
        let names: Vec<String> =
            interface.inputs.iter().map(|port| format!("`{}`", clipway_formats::shown(&port.name))).collect();
        return Err(format!("its inputs are not those of a tower: {}", names.join(", ")));
    }
    let is_both = towers.len() == 2;
    let blocks = |_| {
        let names = interface.outputs.iter().map(|port| port.name.clone());
        names.filter(|name| name.starts_with(BLOCK)).collect()
    };
    let named = |(tower, input): (Towers, &OnnxPort)| {
        Ok(OnnxTowerPorts {
            tower,
            input: input.clone(),
            mask: mask.clone().filter(|_| tower == Towers::Text),
            output: match classifies {
                true => named_output(interface, &["logits"]).ok_or("it has no output `logits`")?.clone(),
                false => output(interface, tower, is_both)?.clone(),
            },
            blocks: blocks(tower),
        })
    };
    towers.into_iter().map(named).collect()
}

fn named_output<'a>(interface: &'a OnnxInterface, names: &[&str]) -> Option<&'a OnnxPort> {
    names.iter().find_map(|name| interface.outputs.iter().find(|port| port.name == **name))
}

/// The output that is a tower's features.
fn output(interface: &OnnxInterface, tower: Towers, is_both: bool) -> Result<&OnnxPort, String> {
    let names = if tower == Towers::Image { IMAGE_OUTPUTS } else { TEXT_OUTPUTS };
    // In a graph of both towers only a name says whose features they are.
    let names = if is_both { &names[..3] } else { &names[..] };
    let by_name = named_output(interface, names);
    let vectors = |port: &&OnnxPort| port.shape.as_ref().is_some_and(|shape| shape.len() == 2);
    let mut matrices = interface.outputs.iter().filter(vectors);
    let only = match (matrices.next(), matrices.next()) {
        (Some(port), None) if !is_both && !port.name.starts_with("logits") => Some(port),
        _ => None,
    };
    by_name.or(only).ok_or_else(|| {
        let names = interface.outputs.iter().map(|port| format!("`{}`", clipway_formats::shown(&port.name)));
        let names: Vec<String> = names.collect();
        format!("none of its outputs is known to be features: {}", names.join(", "))
    })
}
