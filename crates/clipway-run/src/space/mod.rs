//! The space that a model's features lie in, as something to store beside them and to compare with another model's.
//!
//! Features of two models can be compared only if both lie in the same space. A [`Space`] states what decides it: the
//! width, how images become pixels and texts become tokens, what the towers compute, and the features of fixed images and
//! texts. [`Space::compare`] gives an [`Agreement`].
//!
//! ```
//! use clipway_model::source::{ModelChoice, Source, SourceOptions};
//! use clipway_run::load::LoadOptions;
//! use clipway_run::space::{Identity, Probing, Verdict};
//! use clipway_run::Clip;
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/emoji-clip");
//! # let (weights, config) = (format!("{folder}/emoji-clip.pt"), format!("{folder}/emoji-clip.json"));
//! let options = SourceOptions { model: Some(ModelChoice::of(&config)), ..SourceOptions::default() };
//! let source = Source::resolve(&weights, &options)?;
//! let load = LoadOptions::default();
//! let clip = Clip::load(&source, &load)?;
//! let space = Identity::of(&source, &clip, &load)?.space(&clip, Probing::Whole)?;
//! assert_eq!(space.fingerprint.len(), 16);
//! assert_eq!(space.compare(&space).verdict, Verdict::Same);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agreement;
mod comparison;
mod feature;
mod graphs;
mod identity;
mod precision;
mod rules;

pub use agreement::{Agreement, ProbeAgreement, Verdict};
pub use comparison::{ComparisonError, SpaceComparison};
pub use feature::UnitFeature;
pub use identity::{Identity, SpaceError};
pub use precision::SpacePrecision;
pub use rules::{PixelRules, TokenRules};

use serde::{Deserialize, Serialize};

use crate::clip::{Clip, ClipError};
use crate::verify::probes;

/// Version of [`Space`] and of the images and texts that it holds features of. Features of another version are of other
/// inputs and cannot be compared.
pub const SPACE_VERSION: u32 = 1;

/// The space that a model's features lie in. Small enough to store beside features: in JSON 1 kB, and 56 bytes for each
/// value of a feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// Version of the structure and of the probes.
    pub version: u32,
    /// 16 hexadecimal digits of a SHA-256 of all below except names and features: where they are equal, so is all that
    /// decides the features, up to the rounding of another processor.
    pub fingerprint: String,
    /// Number of values in a feature.
    pub width: usize,
    /// Registered name of the model, if it has one.
    pub model: Option<String>,
    /// Name of the file or folder that it was opened from, without its path.
    pub source: String,
    /// The narrowest of what weights are stored in and products are computed in.
    pub precision: SpacePrecision,
    /// The image tower, if the model has one.
    pub image: Option<ImageSpace>,
    /// The text tower, if the model has one.
    pub text: Option<TextSpace>,
}

/// What decides the features of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpace {
    /// SHA-256 of the tower's operations and weights, hexadecimal; of an ONNX graph, that of its files.
    pub tower: Option<String>,
    /// How images become pixels.
    pub pixels: PixelRules,
    /// Features of the built-in images, of the first ones or all; empty if the tower was not loaded.
    pub probes: Vec<UnitFeature>,
}

/// What decides the features of texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSpace {
    /// SHA-256 of the tower's operations and weights, hexadecimal; of an ONNX graph, that of its files.
    pub tower: Option<String>,
    /// How texts become tokens; `None` if the tokenizer's files are missing.
    pub tokens: Option<TokenRules>,
    /// Features of the built-in texts, of the first ones or all; empty if the tower was not loaded.
    pub probes: Vec<UnitFeature>,
}

/// How many of the built-in images and texts are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probing {
    /// One of each: enough to see that the weights are what the fingerprint says.
    Quick,
    /// All: what a new index stores, and what decides where fingerprints differ.
    Whole,
}

impl Space {
    /// Compares with the space of another model.
    pub fn compare(&self, other: &Space) -> Agreement {
        Agreement::of(self, other)
    }

    /// Compares with an opened model, and runs no more of it than that takes: one image and one text if its fingerprint is
    /// the same, else all.
    ///
    /// # Errors
    /// Inputs that the model refuses.
    pub fn check(&self, identity: Identity, clip: &Clip) -> Result<(Space, Agreement), ClipError> {
        let is_known = identity.fingerprint() == self.fingerprint && identity.has_digests();
        let probing = if is_known { Probing::Quick } else { Probing::Whole };
        let space = identity.space(clip, probing)?;
        let agreement = self.compare(&space);
        Ok((space, agreement))
    }
}

/// Features of the built-in images, by the loaded image tower.
fn image_probes(clip: &Clip, probing: Probing) -> Result<Vec<UnitFeature>, ClipError> {
    let mut found = Vec::new();
    if !clip.has_image_tower() {
        return Ok(found);
    }
    let count = if probing == Probing::Quick { 1 } else { usize::MAX };
    for (name, image) in probes::images().iter().take(count) {
        let feature = clip.encode_pixels(&clip.pixels(name, image)?);
        found.push(UnitFeature::of(&feature.map_err(|error| error.naming(|_| format!("`{name}`")))?));
    }
    Ok(found)
}

/// Features of the built-in texts, by the loaded text tower. Texts as they are: a model without a tokenizer has none.
fn text_probes(clip: &Clip, probing: Probing) -> Result<Vec<UnitFeature>, ClipError> {
    if !clip.has_text_tower() || !clip.has_tokenizer() {
        return Ok(Vec::new());
    }
    let count = if probing == Probing::Quick { 1 } else { probes::TEXTS.len() };
    let (features, _) = clip.encode_texts(&probes::TEXTS[..count])?;
    Ok(features.chunks_exact(clip.embed_dim()).map(UnitFeature::of).collect())
}
