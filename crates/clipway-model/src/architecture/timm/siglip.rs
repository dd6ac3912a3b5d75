//! SigLIP's vision transformers among timm's names, for conversions between projects.

use super::layers::NormKind;
use super::tokens::StemKind;
use super::vit::variants;
use super::vit_variants::Variant;
use crate::config::TimmConfig;
use crate::graph::Activation;

/// A vision transformer with attention pooling, as in SigLIP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SiglipVariant {
    /// The timm name it follows.
    pub(crate) name: &'static str,
    /// Whether it takes images of any proportions (NaFlex).
    pub(crate) naflex: bool,
    /// Height and width of the images that the stored positions are made for.
    pub(crate) image: [usize; 2],
    /// Side of the patches.
    pub(crate) patch: usize,
    pub(crate) width: usize,
    pub(crate) depth: usize,
    pub(crate) heads: usize,
    /// Width of the MLPs.
    pub(crate) hidden: usize,
    /// Whether GELU uses the tanh approximation.
    pub(crate) tanh: bool,
    /// Epsilon of the layer norms.
    pub(crate) epsilon: f64,
}

/// Every such name.
pub(crate) fn siglip_variants() -> impl Iterator<Item = SiglipVariant> {
    variants().filter_map(of)
}

/// The model with this timm name, if it is one of these.
pub(crate) fn siglip_variant(name: &str) -> Option<SiglipVariant> {
    let name = super::request::without_tag(name);
    siglip_variants().find(|variant| variant.name == name)
}

/// The model that a config asks for, with its changes.
pub(crate) fn siglip_variant_of(timm: &TimmConfig) -> Option<SiglipVariant> {
    let name = super::request::without_tag(&timm.model_name);
    of(&variants().find(|variant| variant.name == name)?.changed(&timm.changes).ok()?)
}

fn is_siglip(name: &str) -> bool {
    (name.contains("_siglip_") || name.ends_with("_siglip")) && !name.contains("_gap_")
}

fn of(variant: &Variant) -> Option<SiglipVariant> {
    let Variant { name, image, patch, size: [width, depth, heads, hidden], style, .. } = *variant;
    let NormKind::Layer(epsilon) = style.norm else { return None };
    let tanh = style.activation == Activation::GeluTanh;
    is_siglip(name).then_some(SiglipVariant {
        name,
        naflex: matches!(style.stem, StemKind::Linear(_)),
        image,
        patch,
        width,
        depth,
        heads,
        hidden,
        tanh,
        epsilon,
    })
}
