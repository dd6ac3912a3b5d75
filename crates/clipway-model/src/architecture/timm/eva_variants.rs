//! The variants of timm's `Eva`, one per line.
//!
//! Figures come from timm 1.0 (Apache-2.0), `timm/models/eva.py`.

use super::eva_block::AttentionKind;
use super::layers::{MlpKind, NormKind};
use super::token_pool::PoolKind;
use super::tokens::Positions;

/// A named trunk: side of its images and patches in pixels, size and style.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) image: usize,
    pub(super) patch: usize,
    pub(super) size: Size,
    pub(super) style: Style,
}

/// Width, depth, number of heads and MLP width.
type Size = [usize; 4];

/// Rotary positions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rope {
    /// Positions count rows and columns, stretched over a reference grid if given; neighboring values form a pair.
    Axial { offset: f32, reference: Option<usize>, columns_first: bool, temperature: f32 },
    /// Positions run from one edge to the other; the two halves of a head form pairs (DINOv3).
    Centerd,
}

/// Settings of a trunk, independent of its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) class_token: bool,
    pub(super) registers: usize,
    pub(super) positions: Positions,
    pub(super) rope: Option<Rope>,
    /// Whether images may have any number of patches.
    pub(super) any_size: bool,
    pub(super) attention: AttentionKind,
    /// Whether queries, keys and values have a bias.
    pub(super) bias: bool,
    pub(super) attention_norm: bool,
    pub(super) mlp: MlpKind,
    pub(super) mlp_norm: bool,
    pub(super) layer_scale: bool,
    pub(super) post_norm: bool,
    pub(super) norm: NormKind,
    /// A norm before the blocks.
    pub(super) pre_norm: bool,
    /// A norm after the blocks; by default there is one unless it comes after the pool.
    pub(super) norm_before_pool: Option<bool>,
    /// A norm after the pool; by default there is one after mean pooling.
    pub(super) norm_after_pool: Option<bool>,
    pub(super) pool: PoolKind,
    /// Heads of the learned-query pool, if different from the blocks'.
    pub(super) latent_heads: Option<usize>,
}

const EVA: Style = Style {
    class_token: true,
    registers: 0,
    positions: Positions::All,
    rope: None,
    any_size: false,
    attention: AttentionKind::BiasApart,
    bias: true,
    attention_norm: false,
    mlp: MlpKind::Plain,
    mlp_norm: false,
    layer_scale: false,
    post_norm: false,
    norm: NormKind::Layer(1e-6),
    pre_norm: false,
    norm_before_pool: None,
    norm_after_pool: None,
    pool: PoolKind::Average,
    latent_heads: None,
};
const EVA_TOKEN: Style = Style { pool: PoolKind::Token, ..EVA };
const EVA02_SMALL: Style =
    Style { rope: Some(rope(0.0, Some(16), false, 10_000.0)), mlp: MlpKind::Packed, ..EVA };
const EVA02: Style =
    Style { attention: AttentionKind::MatricesApart, mlp: MlpKind::Split, mlp_norm: true, ..EVA02_SMALL };
const EVA02_CLIP: Style = Style { attention_norm: true, pool: PoolKind::Token, ..EVA02 };
const EVA02_POST_NORM: Style = Style { post_norm: true, ..EVA_TOKEN };
const ROPE_REGISTERS_1: Style = Style {
    class_token: false,
    registers: 1,
    positions: Positions::None,
    layer_scale: true,
    mlp: MlpKind::Plain,
    ..EVA02_SMALL
};
const ROPE_REGISTERS_1_NO_BIAS: Style = Style { bias: false, ..ROPE_REGISTERS_1 };
const ROPE_REGISTERS_4: Style = Style { registers: 4, ..ROPE_REGISTERS_1 };
const PE: Style =
    Style { attention: AttentionKind::Packed, norm: NormKind::Layer(1e-5), pre_norm: true, ..EVA };
const PE_CORE_14: Style = Style {
    rope: Some(rope(1.0, Some(14), true, 10_000.0)),
    pool: PoolKind::Latent,
    latent_heads: Some(8),
    ..PE
};
const PE_CORE_24: Style = Style { rope: Some(rope(1.0, Some(24), true, 10_000.0)), ..PE_CORE_14 };
const PE_CORE_GIGANTIC: Style =
    Style { rope: Some(rope(0.0, Some(32), true, 10_000.0)), class_token: false, ..PE_CORE_14 };
const PE_SPATIAL: Style = Style {
    rope: Some(rope(1.0, Some(32), true, 10_000.0)),
    norm_before_pool: Some(false),
    norm_after_pool: Some(false),
    ..PE
};
const PE_LANG: Style = Style { layer_scale: true, ..PE_SPATIAL };
const PE_GIGANTIC: Style =
    Style { rope: Some(rope(0.0, Some(32), true, 10_000.0)), class_token: false, ..PE_LANG };
const ROPE_ONLY: Style = Style {
    positions: Positions::None,
    rope: Some(rope(0.0, None, true, 100.0)),
    attention: AttentionKind::Packed,
    layer_scale: true,
    ..EVA_TOKEN
};
const ROPE_ONLY_BASE: Style = Style { norm_after_pool: Some(false), ..ROPE_ONLY };
const ROPE_AND_POSITIONS: Style = Style { positions: Positions::Patches, ..ROPE_ONLY };
const DINO3_BIAS: Style = Style {
    registers: 4,
    positions: Positions::None,
    rope: Some(Rope::Centerd),
    any_size: true,
    layer_scale: true,
    norm: NormKind::Layer(1e-5),
    norm_after_pool: Some(false),
    ..EVA
};
const DINO3: Style = Style { bias: false, ..DINO3_BIAS };
const DINO3_SPLIT: Style = Style { mlp: MlpKind::Split, ..DINO3 };
const DINO3_SPLIT_BIAS: Style = Style { mlp: MlpKind::Split, ..DINO3_BIAS };
const LINGBOT: Style = Style { pool: PoolKind::Token, ..DINO3_BIAS };
const LINGBOT_SPLIT: Style = Style { pool: PoolKind::Token, ..DINO3_SPLIT };

const TINY: Size = [192, 12, 3, 768];
const SMALL: Size = [384, 12, 6, 1536];
const BASE: Size = [768, 12, 12, 3072];
const LARGE: Size = [1024, 24, 16, 4096];
const GIANT: Size = [1408, 40, 16, 6144];

/// Every variant.
#[rustfmt::skip]
pub(super) const VARIANTS: &[Variant] = &[
    variant("eva02_base_patch14_224", 224, 14, [768, 12, 12, 2048], EVA02),
    variant("eva02_base_patch14_448", 448, 14, [768, 12, 12, 2048], EVA02),
    variant("eva02_base_patch16_clip_224", 224, 16, [768, 12, 12, 2048], EVA02_CLIP),
    variant("eva02_enormous_patch14_clip_224", 224, 14, [1792, 64, 16, 15360], EVA02_POST_NORM),
    variant("eva02_large_patch14_224", 224, 14, [1024, 24, 16, 2730], EVA02),
    variant("eva02_large_patch14_448", 448, 14, [1024, 24, 16, 2730], EVA02),
    variant("eva02_large_patch14_clip_224", 224, 14, [1024, 24, 16, 2730], EVA02_CLIP),
    variant("eva02_large_patch14_clip_336", 336, 14, [1024, 24, 16, 2730], EVA02_CLIP),
    variant("eva02_small_patch14_224", 224, 14, [384, 12, 6, 1024], EVA02_SMALL),
    variant("eva02_small_patch14_336", 336, 14, [384, 12, 6, 1024], EVA02_SMALL),
    variant("eva02_tiny_patch14_224", 224, 14, [192, 12, 3, 512], EVA02_SMALL),
    variant("eva02_tiny_patch14_336", 336, 14, [192, 12, 3, 512], EVA02_SMALL),
    variant("eva_giant_patch14_224", 224, 14, GIANT, EVA),
    variant("eva_giant_patch14_336", 336, 14, GIANT, EVA),
    variant("eva_giant_patch14_560", 560, 14, GIANT, EVA),
    variant("eva_giant_patch14_clip_224", 224, 14, GIANT, EVA_TOKEN),
    variant("vit_7b_patch16_dinov3", 256, 16, [4096, 40, 32, 8192], DINO3_SPLIT),
    variant("vit_base_patch16_dinov3", 256, 16, BASE, DINO3),
    variant("vit_base_patch16_dinov3_qkvb", 256, 16, BASE, DINO3_BIAS),
    variant("vit_base_patch16_lingbot", 512, 16, BASE, LINGBOT),
    variant("vit_base_patch16_rope_224", 224, 16, BASE, ROPE_ONLY_BASE),
    variant("vit_base_patch16_rope_ape_224", 224, 16, BASE, ROPE_AND_POSITIONS),
    variant("vit_base_patch16_rope_reg1_gap_256", 256, 16, BASE, ROPE_REGISTERS_1),
    variant("vit_betwixt_patch16_rope_reg4_gap_256", 256, 16, [640, 12, 10, 2560], ROPE_REGISTERS_4),
    variant("vit_giant_patch16_lingbot", 512, 16, [1536, 40, 24, 4096], LINGBOT_SPLIT),
    variant("vit_huge_plus_patch16_dinov3", 256, 16, [1280, 32, 20, 5120], DINO3_SPLIT),
    variant("vit_huge_plus_patch16_dinov3_qkvb", 256, 16, [1280, 32, 20, 5120], DINO3_SPLIT_BIAS),
    variant("vit_large_patch16_dinov3", 256, 16, LARGE, DINO3),
    variant("vit_large_patch16_dinov3_qkvb", 256, 16, LARGE, DINO3_BIAS),
    variant("vit_large_patch16_lingbot", 512, 16, LARGE, LINGBOT),
    variant("vit_large_patch16_rope_224", 224, 16, LARGE, ROPE_ONLY),
    variant("vit_large_patch16_rope_ape_224", 224, 16, LARGE, ROPE_AND_POSITIONS),
    variant("vit_medium_patch16_rope_reg1_gap_256", 256, 16, [512, 12, 8, 2048], ROPE_REGISTERS_1),
    variant("vit_mediumd_patch16_rope_reg1_gap_256", 256, 16, [512, 20, 8, 2048], ROPE_REGISTERS_1_NO_BIAS),
    variant("vit_pe_core_base_patch16_224", 224, 16, BASE, PE_CORE_14),
    variant("vit_pe_core_gigantic_patch14_448", 448, 14, [1536, 50, 16, 8960], PE_CORE_GIGANTIC),
    variant("vit_pe_core_large_patch14_336", 336, 14, LARGE, PE_CORE_24),
    variant("vit_pe_core_small_patch16_384", 384, 16, SMALL, PE_CORE_24),
    variant("vit_pe_core_tiny_patch16_384", 384, 16, TINY, PE_CORE_24),
    variant("vit_pe_lang_gigantic_patch14_448", 448, 14, [1536, 47, 16, 8960], PE_GIGANTIC),
    variant("vit_pe_lang_large_patch14_448", 448, 14, [1024, 23, 16, 4096], PE_LANG),
    variant("vit_pe_spatial_base_patch16_512", 512, 16, BASE, PE_SPATIAL),
    variant("vit_pe_spatial_gigantic_patch14_448", 448, 14, [1536, 50, 16, 8960], PE_GIGANTIC),
    variant("vit_pe_spatial_large_patch14_448", 448, 14, LARGE, PE_SPATIAL),
    variant("vit_pe_spatial_small_patch16_512", 512, 16, SMALL, PE_SPATIAL),
    variant("vit_pe_spatial_tiny_patch16_512", 512, 16, TINY, PE_SPATIAL),
    variant("vit_small_patch16_dinov3", 256, 16, SMALL, DINO3),
    variant("vit_small_patch16_dinov3_qkvb", 256, 16, SMALL, DINO3_BIAS),
    variant("vit_small_patch16_lingbot", 512, 16, SMALL, LINGBOT),
    variant("vit_small_patch16_rope_224", 224, 16, SMALL, ROPE_ONLY),
    variant("vit_small_patch16_rope_ape_224", 224, 16, SMALL, ROPE_AND_POSITIONS),
    variant("vit_small_plus_patch16_dinov3", 256, 16, SMALL, DINO3_SPLIT),
    variant("vit_small_plus_patch16_dinov3_qkvb", 256, 16, SMALL, DINO3_SPLIT_BIAS),
    variant("vit_tiny_patch16_dinov3_qkvb", 256, 16, TINY, DINO3_BIAS),
];

const fn variant(name: &'static str, image: usize, patch: usize, size: Size, style: Style) -> Variant {
    Variant { name, image, patch, size, style }
}

const fn rope(offset: f32, reference: Option<usize>, columns_first: bool, temperature: f32) -> Rope {
    Rope::Axial { offset, reference, columns_first, temperature }
}
