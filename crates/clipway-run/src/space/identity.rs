//! What decides a model's features, found without running it.

use clipway_formats::Dtype;
use clipway_model::artifact::FileHash;
use clipway_model::plan::{Integers, PlannedTensor, Towers};
use clipway_model::source::{Source, SourceError};

use super::{
    ImageSpace, PixelRules, Probing, SPACE_VERSION, Space, SpacePrecision, TextSpace, TokenRules,
    image_probes, text_probes,
};
use crate::clip::{Clip, ClipError};
use crate::engine::Compute;
use crate::load::{LoadError, LoadOptions, LoadedTokenizer};
use crate::onnx::OnnxFolderError;
use crate::text::TokenizerError;

/// Hexadecimal digits of a fingerprint.
const FINGERPRINT_DIGITS: usize = 16;

/// A space cannot be stated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// The weights cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The tokenizer cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The tokenizer refuses a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// ONNX graphs, or the files beside them, cannot be read.
    #[error(transparent)]
    Graphs(#[from] OnnxFolderError),
}

impl SpaceError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            SpaceError::Source(error) => error.code(),
            SpaceError::Load(error) => error.code(),
            SpaceError::Tokenizer(error) => error.code(),
            SpaceError::Graphs(error) => error.code(),
        }
    }
}

/// A [`Space`] without features: the model need not be run.
#[derive(Clone, Debug)]
pub struct Identity(Space);

impl Identity {
    /// The identity of a source, loaded with `load` as `clip`, which may lack a tower of the source.
    ///
    /// Weights are read only if no `clipway.json` lists them.
    ///
    /// # Errors
    /// Weights or a tokenizer that cannot be read.
    pub fn of(source: &Source, clip: &Clip, load: &LoadOptions) -> Result<Identity, SpaceError> {
        let towers = source.tower();
        let image = match towers {
            Towers::Text => None,
            _ => Some(ImageSpace {
                tower: Some(source.tower_digest(Towers::Image)?),
                pixels: PixelRules::of(&source.config().preprocess()),
                probes: Vec::new(),
            }),
        };
        let text = match towers {
            Towers::Image => None,
            _ => Some(TextSpace {
                tower: Some(source.tower_digest(Towers::Text)?),
                tokens: tokens(source, clip, load)?,
                probes: Vec::new(),
            }),
        };
        let [stored, computed] = precisions(source, load);
        let space = Space {
            version: SPACE_VERSION,
            fingerprint: String::new(),
            width: source.model().embed_dim,
            model: model_name(source),
            source: source.shown_name(),
            precision: stored.max(computed),
            image,
            text,
        };
        Ok(Identity::new(space, [stored, computed]))
    }

    pub(super) fn new(mut space: Space, precisions: [SpacePrecision; 2]) -> Identity {
        let facts = (
            space.version,
            space.width,
            precisions,
            space.image.as_ref().map(|image| (&image.tower, &image.pixels)),
            space.text.as_ref().map(|text| (&text.tower, &text.tokens)),
        );
        let facts = serde_json::to_vec(&facts).expect("the facts are plain data");
        space.fingerprint = FileHash::of(&facts).sha256;
        space.fingerprint.truncate(FINGERPRINT_DIGITS);
        Identity(space)
    }

    /// The fingerprint of the space.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// Whether the weights of every tower are known, so that equal fingerprints mean equal weights.
    pub fn has_digests(&self) -> bool {
        self.0.has_digests()
    }

    /// The space, with the features that the loaded towers give the built-in images and texts.
    ///
    /// # Errors
    /// Inputs that the model refuses.
    pub fn space(self, clip: &Clip, probing: Probing) -> Result<Space, ClipError> {
        let mut space = self.0;
        if let Some(image) = &mut space.image {
            image.probes = image_probes(clip, probing)?;
        }
        if let Some(text) = &mut space.text {
            text.probes = text_probes(clip, probing)?;
        }
        Ok(space)
    }
}

impl Space {
    /// Whether the weights of every tower are known.
    pub(super) fn has_digests(&self) -> bool {
        self.image.as_ref().is_none_or(|image| image.tower.is_some())
            && self.text.as_ref().is_none_or(|text| text.tower.is_some())
    }
}

/// The tokenizer's rules: of the loaded one, or of the source's if only its image tower was loaded.
fn tokens(source: &Source, clip: &Clip, load: &LoadOptions) -> Result<Option<TokenRules>, SpaceError> {
    if let Ok(tokenizer) = clip.tokenizer() {
        return Ok(Some(TokenRules::of(tokenizer)?));
    }
    let folder = load.tokenizer.as_deref().unwrap_or(source.folder());
    let found = LoadedTokenizer::find(source, folder)?;
    Ok(found.map(|found| TokenRules::of(&found.tokenizer.tokenizer)).transpose()?)
}

/// The narrowest that tensors are stored in, and what products are computed in.
fn precisions(source: &Source, load: &LoadOptions) -> [SpacePrecision; 2] {
    let in_integers = |planned: &PlannedTensor| {
        let chosen = load.quantized.as_ref().and_then(|chosen| chosen.get(&planned.target.name));
        chosen.copied().or_else(|| planned.integers())
    };
    let stored = source.plan().tensors.iter().map(|planned| match planned.target.dtype {
        _ if in_integers(planned) == Some(Integers::Int8) => SpacePrecision::Int8,
        _ if in_integers(planned) == Some(Integers::Int4) => SpacePrecision::Int4,
        Dtype::F16 => SpacePrecision::Fp16,
        Dtype::BF16 | Dtype::F8E4M3 | Dtype::F8E5M2 => SpacePrecision::Bf16,
        _ => SpacePrecision::F32,
    });
    let stored: Vec<SpacePrecision> = stored.collect();
    let computed = match load.compute {
        // Int4 is widened.
        Compute::AsStored if stored.contains(&SpacePrecision::Int8) => SpacePrecision::Int8,
        Compute::AsStored | Compute::F32 => SpacePrecision::F32,
        Compute::Bf16 => SpacePrecision::Bf16,
        Compute::Int8 => SpacePrecision::Int8,
    };
    [stored.into_iter().max().unwrap_or(SpacePrecision::F32), computed]
}

/// The registered name of the model, as its artifact or its config's origin knows it.
fn model_name(source: &Source) -> Option<String> {
    let stored = source.artifact().and_then(|artifact| artifact.model.name.clone());
    stored.or_else(|| source.origin().name().map(str::to_owned))
}
