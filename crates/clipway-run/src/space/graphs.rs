//! What decides the features of ONNX graphs, found without running them.

use clipway_formats::Dtype;
use clipway_model::plan::Towers;

use super::{
    Identity, ImageSpace, PixelRules, SPACE_VERSION, Space, SpaceError, SpacePrecision, TextSpace, TokenRules,
};
use crate::clip::Clip;
use crate::onnx::{OnnxFolder, OnnxFolderError, OnnxGraphFile};

/// Operators that multiply integers.
const INTEGER_PRODUCTS: [&str; 5] =
    ["MatMulInteger", "DynamicQuantizeLinear", "ConvInteger", "QLinearMatMul", "QuantizeLinear"];

/// The operator of weights in 4 bits.
const FOUR_BITS: &str = "MatMulNBits";

impl Identity {
    /// The identity of ONNX graphs, loaded as `clip`, which may lack a tower of them. A tower is known by the bytes of its
    /// files, which are all read.
    ///
    /// # Errors
    /// Files that cannot be read, and a folder that does not say how images and texts are prepared.
    pub fn of_graphs(folder: &OnnxFolder, clip: &Clip) -> Result<Identity, SpaceError> {
        let no_contract = || OnnxFolderError::NoContract { path: folder.path.clone() };
        let contract = folder.contract.as_ref().ok_or_else(no_contract)?;
        let digest = |tower| -> Result<Option<String>, SpaceError> {
            let graph =
                folder.graphs.iter().find(|graph| graph.towers.iter().any(|ports| ports.tower == tower));
            Ok(graph.map(OnnxGraphFile::digest).transpose()?)
        };
        let image = digest(Towers::Image)?.map(|digest| ImageSpace {
            tower: Some(digest),
            pixels: PixelRules::of(&contract.config.preprocess()),
            probes: Vec::new(),
        });
        let tokens = || -> Result<Option<TokenRules>, SpaceError> {
            if let Ok(tokenizer) = clip.tokenizer() {
                return Ok(Some(TokenRules::of(tokenizer)?));
            }
            let tokenizer = contract.tokenizer()?;
            Ok(tokenizer.as_ref().map(TokenRules::of).transpose()?)
        };
        let text = match digest(Towers::Text)? {
            None => None,
            Some(digest) => Some(TextSpace { tower: Some(digest), tokens: tokens()?, probes: Vec::new() }),
        };
        let precisions = folder.graphs.iter().map(precisions);
        let precisions = precisions.fold([SpacePrecision::F32; 2], |[stored, computed], found| {
            [stored.max(found[0]), computed.max(found[1])]
        });
        let said = |key: &str| folder.graphs.iter().find_map(|graph| graph.said(key)).map(str::to_owned);
        let source = folder.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let space = Space {
            version: SPACE_VERSION,
            fingerprint: String::new(),
            width: clip.embed_dim(),
            model: said("model"),
            source,
            precision: precisions[0].max(precisions[1]),
            image,
            text,
        };
        Ok(Identity::new(space, precisions))
    }
}

/// What a graph's matrices are stored in, the narrowest, and what its products are computed in.
fn precisions(graph: &OnnxGraphFile) -> [SpacePrecision; 2] {
    let has = |operator: &str| graph.interface.operators.contains_key(operator);
    let stored = graph.tensors.iter().filter(|info| info.shape.len() > 1).map(|info| match info.dtype {
        _ if has(FOUR_BITS) => SpacePrecision::Int4,
        Dtype::I8 | Dtype::U8 => SpacePrecision::Int8,
        Dtype::F16 => SpacePrecision::Fp16,
        Dtype::BF16 => SpacePrecision::Bf16,
        _ => SpacePrecision::F32,
    });
    let computed = match INTEGER_PRODUCTS.into_iter().any(has) {
        true => SpacePrecision::Int8,
        false => SpacePrecision::F32,
    };
    [stored.max().unwrap_or(SpacePrecision::F32), computed]
}
