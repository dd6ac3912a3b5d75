//! SigLIP's vision transformers among timm's names, for conversions between projects.

use super::layers::{MlpKind, NormKind};
use super::naflex_variants::BILINEAR;
use super::tokens::Positions;
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
    let Variant { name, image, patch, size: [width, depth, heads, hidden], pool_hidden, style } = *variant;
    let is_plain = pool_hidden.is_none_or(|own| own == hidden)
        && !style.class_token
        && style.registers == 0
        && style.mlp == MlpKind::Plain
        && style.positions != Positions::None
        && style.stem.grid_positions().is_none_or(|positions| positions == BILINEAR);
    let NormKind::Layer(epsilon) = style.norm else { return None };
    let tanh = style.activation == Activation::GeluTanh;
    (is_siglip(name) && is_plain).then_some(SiglipVariant {
        name,
        naflex: style.stem.is_naflex(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GridTable, TimmChanges};

    #[test]
    fn towers_with_parts_that_siglip_lacks_are_not_siglip() {
        let own = variants().find(|variant| variant.name == "naflexvit_base_patch16_siglip").unwrap();
        let changed = |changes: TimmChanges| of(&own.changed(&changes).unwrap());
        assert!(changed(TimmChanges::default()).is_some());
        // 4 is the ratio of the blocks.
        assert!(changed(TimmChanges { pool_mlp_ratio: Some(4.0), ..TimmChanges::default() }).is_some());
        assert_eq!(changed(TimmChanges { pool_mlp_ratio: Some(3.0), ..TimmChanges::default() }), None);
        assert_eq!(changed(TimmChanges { class_token: Some(true), ..TimmChanges::default() }), None);
        assert_eq!(changed(TimmChanges { registers: Some(1), ..TimmChanges::default() }), None);
        assert_eq!(changed(TimmChanges { gated: Some(true), ..TimmChanges::default() }), None);
        assert_eq!(changed(TimmChanges { square: Some(true), ..TimmChanges::default() }), None);
        for positions in [GridTable::Factorized, GridTable::None] {
            assert_eq!(changed(TimmChanges { positions: Some(positions), ..TimmChanges::default() }), None);
        }
        // Without changes, every name of the kind is one.
        assert_eq!(siglip_variants().count(), variants().filter(|variant| is_siglip(variant.name)).count());
    }
}
