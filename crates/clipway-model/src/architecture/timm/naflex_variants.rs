//! The variants of timm's `NaFlexVit` (NaViT, <https://arxiv.org/abs/2307.06304>; SigLIP 2, <https://arxiv.org/abs/2502.14786>),
//! one per line.
//!
//! The tower takes images of any proportions. Here it has the fixed size of the config, as open_clip runs it on whole images.
//! Figures come from timm 1.0 (Apache-2.0), `timm/models/naflexvit.py`.

use crate::graph::{Activation, GridFilter};

use super::token_pool::PoolKind;
use super::tokens::{GridPositions, Positions, StemKind};
use super::vit_variants::{BASE, PLAIN, SO150M2, SO400M, Size, Style, Variant};

/// Rows and columns of the position table.
const GRID: usize = 16;

const BICUBIC: GridPositions =
    GridPositions { filter: GridFilter::Bicubic, square: false, factorized: false };
/// How SigLIP's towers resample their positions.
pub(super) const BILINEAR: GridPositions = GridPositions { filter: GridFilter::Bilinear, ..BICUBIC };
const SQUARE: GridPositions = GridPositions { square: true, ..BICUBIC };
const SQUARE_FACTORIZED: GridPositions = GridPositions { factorized: true, ..SQUARE };

const NAFLEX: Style = Style {
    stem: StemKind::Linear(BICUBIC),
    class_token: false,
    positions: Positions::Patches,
    any_size: true,
    pool: PoolKind::Latent,
    ..PLAIN
};
const GAP: Style =
    Style { layer_scale: true, registers: 4, pool: PoolKind::Average, norm_after_pool: Some(true), ..NAFLEX };
const PAR_GAP: Style = Style { stem: StemKind::Linear(SQUARE), ..GAP };
const PARFAC_GAP: Style = Style { stem: StemKind::Linear(SQUARE_FACTORIZED), ..GAP };
const MAP: Style = Style { layer_scale: true, registers: 1, ..NAFLEX };
const SO150M2_GAP: Style = Style { registers: 1, query_key_value_bias: false, ..GAP };
const SO150M2_MAP: Style = Style { query_key_value_bias: false, ..MAP };
const SIGLIP: Style = Style { stem: StemKind::Linear(BILINEAR), activation: Activation::GeluTanh, ..NAFLEX };

/// Every variant.
#[rustfmt::skip]
pub(super) const VARIANTS: &[Variant] = &[
    variant("naflexvit_base_patch16_gap", BASE, GAP),
    variant("naflexvit_base_patch16_map", BASE, MAP),
    variant("naflexvit_base_patch16_par_gap", BASE, PAR_GAP),
    variant("naflexvit_base_patch16_parfac_gap", BASE, PARFAC_GAP),
    variant("naflexvit_base_patch16_siglip", BASE, SIGLIP),
    variant("naflexvit_so150m2_patch16_reg1_gap", SO150M2, SO150M2_GAP),
    variant("naflexvit_so150m2_patch16_reg1_map", SO150M2, SO150M2_MAP),
    variant("naflexvit_so400m_patch16_siglip", SO400M, SIGLIP),
];

const fn variant(name: &'static str, size: Size, style: Style) -> Variant {
    let patch = 16;
    Variant { name, image: [GRID * patch; 2], patch, size, pool_hidden: None, style }
}
