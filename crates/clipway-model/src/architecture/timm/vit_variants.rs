//! The variants of timm's `VisionTransformer`, one per line.
//!
//! Figures come from timm 1.0 (Apache-2.0), `timm/models/vision_transformer.py` and, for MobileCLIP,
//! `vision_transformer_hybrid.py`; for ViTamin, `vitamin.py`.

use crate::config::{GridTable, TimmChanges};
use crate::graph::Activation;

use super::super::error::ArchitectureError;
use super::block::Order;
use super::layers::{MlpKind, NormKind};
use super::token_pool::PoolKind;
use super::tokens::{GridPositions, Positions, StemKind};
use super::vitamin;

/// A named trunk: height and width of its images and the side of its patches in pixels, size and style.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) image: [usize; 2],
    pub(super) patch: usize,
    pub(super) size: Size,
    /// Width of the MLP of a pool by attention, if not that of the blocks'.
    pub(super) pool_hidden: Option<usize>,
    pub(super) style: Style,
}

/// Width, depth, number of heads and MLP width.
pub(super) type Size = [usize; 4];

/// Settings of a trunk, independent of its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) stem: StemKind,
    pub(super) class_token: bool,
    pub(super) registers: usize,
    pub(super) positions: Positions,
    /// Whether other image sizes are accepted, with resampled positions.
    pub(super) any_size: bool,
    /// A norm of each patch's embedding.
    pub(super) patch_norm: Option<NormKind>,
    pub(super) query_key_value_bias: bool,
    /// Whether the attention's output projection and the MLP's layers have a bias.
    pub(super) output_bias: bool,
    pub(super) layer_scale: bool,
    pub(super) sub_norms: bool,
    pub(super) order: Order,
    pub(super) mlp: MlpKind,
    pub(super) norm: NormKind,
    pub(super) activation: Activation,
    /// A norm before the blocks.
    pub(super) pre_norm: bool,
    /// A norm after the blocks, before or after the pool.
    pub(super) final_norm: bool,
    /// Whether the last norm comes after the pool; by default it does after means and maxima.
    pub(super) norm_after_pool: Option<bool>,
    pub(super) pool: PoolKind,
    /// Whether means and the latent's attention include class and register tokens.
    pub(super) pool_with_prefix: bool,
}

pub(super) const PLAIN: Style = Style {
    stem: StemKind::Patches,
    class_token: true,
    registers: 0,
    positions: Positions::All,
    any_size: false,
    patch_norm: None,
    query_key_value_bias: true,
    output_bias: true,
    layer_scale: false,
    sub_norms: false,
    order: Order::PreNorm,
    mlp: MlpKind::Plain,
    norm: NormKind::Layer(1e-6),
    activation: Activation::Gelu,
    pre_norm: false,
    final_norm: true,
    norm_after_pool: None,
    pool: PoolKind::Token,
    pool_with_prefix: false,
};
const NO_BIAS: Style = Style { query_key_value_bias: false, ..PLAIN };
const LAYER_SCALE: Style = Style { layer_scale: true, ..PLAIN };
const PARALLEL: Style = Style { order: Order::Parallel, ..LAYER_SCALE };
const RES_POST_NORM: Style =
    Style { order: Order::PostNorm, class_token: false, pool: PoolKind::Average, ..NO_BIAS };
const MEAN: Style = Style { pool: PoolKind::Average, ..PLAIN };
const PATCH_POSITIONS: Style = Style { positions: Positions::Patches, ..PLAIN };
const MOBILE_CLIP: Style = Style { stem: StemKind::MobileClip { padding: 0 }, ..PATCH_POSITIONS };
const VITAMIN: Style = Style {
    class_token: false,
    pool: PoolKind::Average,
    mlp: MlpKind::NormSplit(NormKind::Layer(1e-6)),
    ..PLAIN
};
const VITAMIN_S: Style = Style { stem: StemKind::Vitamin([64, 128]), ..VITAMIN };
const VITAMIN_B: Style = Style { stem: StemKind::Vitamin([128, 256]), ..VITAMIN };
const VITAMIN_L: Style = Style { stem: StemKind::Vitamin([160, 320]), ..VITAMIN };
const VITAMIN_XL: Style =
    Style { stem: StemKind::Vitamin([192, 384]), positions: Positions::None, ..VITAMIN };
const CLIP: Style = Style { pre_norm: true, norm: NormKind::Layer(1e-5), ..PLAIN };
const CLIP_QUICK_GELU: Style = Style { activation: Activation::QuickGelu, ..CLIP };
const BEIT3: Style = Style { sub_norms: true, norm: NormKind::Layer(1e-5), ..MEAN };
const MAP: Style = Style { class_token: false, pool: PoolKind::Latent, ..PLAIN };
const MAP_TANH: Style = Style { activation: Activation::GeluTanh, ..MAP };
const GAP: Style = Style { pool: PoolKind::Average, norm_after_pool: Some(false), ..MAP };
const GAP_TANH: Style = Style { activation: Activation::GeluTanh, ..GAP };
const GAP_LAYER_SCALE: Style = Style { query_key_value_bias: false, layer_scale: true, ..GAP };
const REGISTERS_1: Style = Style { registers: 1, positions: Positions::Patches, ..LAYER_SCALE };
const REGISTERS_4: Style = Style { registers: 4, ..REGISTERS_1 };
const SWIGLU: Style = Style { mlp: MlpKind::Packed, activation: Activation::Silu, ..LAYER_SCALE };
const SWIGLU_REGISTERS_1: Style = Style { registers: 1, positions: Positions::Patches, ..SWIGLU };
const SWIGLU_REGISTERS_4: Style = Style { registers: 4, ..SWIGLU_REGISTERS_1 };
const REGISTERS_1_GAP: Style = Style { class_token: false, pool: PoolKind::Average, ..REGISTERS_1 };
const REGISTERS_4_GAP: Style = Style { registers: 4, ..REGISTERS_1_GAP };
const REGISTERS_4_GAP_PLAIN: Style = Style { layer_scale: false, ..REGISTERS_4_GAP };
const RADIO_7: Style = Style { registers: 7, final_norm: false, ..PATCH_POSITIONS };
const RADIO_7_LAYER_SCALE: Style = Style { layer_scale: true, ..RADIO_7 };
const RADIO_9: Style = Style { registers: 9, ..RADIO_7 };
const SO150M_GAP: Style = Style { registers: 4, ..GAP };
const SO150M_MAP: Style = Style { registers: 4, ..MAP };
const SO150M2_GAP: Style = Style { registers: 1, norm_after_pool: None, ..GAP_LAYER_SCALE };
const INTERN: Style = Style { any_size: true, final_norm: false, ..LAYER_SCALE };
const TEST_1: Style = Style { any_size: true, ..PLAIN };
const TEST_2: Style =
    Style { any_size: true, class_token: false, registers: 1, pool: PoolKind::Average, ..LAYER_SCALE };
const TEST_4: Style = Style { norm: NormKind::Rms(1e-6), ..TEST_2 };
const AIM: Style = Style {
    patch_norm: Some(NormKind::Rms(1e-5)),
    query_key_value_bias: false,
    output_bias: false,
    mlp: MlpKind::Split,
    norm: NormKind::Rms(1e-5),
    activation: Activation::Silu,
    ..GAP
};
const TEST_3: Style = Style { any_size: false, pool: PoolKind::Latent, pool_with_prefix: true, ..TEST_2 };

const LARGE_VITAMIN: Size = [1024, 31, 16, 2048];
const TINY: Size = [192, 12, 3, 768];
const XSMALL: Size = [256, 10, 4, 1024];
const WEE: Size = [256, 14, 4, 1280];
const LITTLE: Size = [320, 14, 5, 1792];
const SMALL: Size = [384, 12, 6, 1536];
const MEDIUM: Size = [512, 12, 8, 2048];
const MEDIUM_D: Size = [512, 20, 8, 2048];
const BETWIXT: Size = [640, 12, 10, 2560];
pub(super) const BASE: Size = [768, 12, 12, 3072];
const BASE_PLUS: Size = [896, 12, 14, 3584];
const SO150M: Size = [896, 18, 14, 2304];
pub(super) const SO150M2: Size = [832, 21, 13, 2176];
const LARGE: Size = [1024, 24, 16, 4096];
pub(super) const SO400M: Size = [1152, 27, 16, 4304];
const HUGE: Size = [1280, 32, 16, 5120];
const GIANT: Size = [1408, 40, 16, 6144];
const GIANT_OPT: Size = [1536, 40, 16, 6144];
const GIGANTIC: Size = [1664, 48, 16, 8192];

/// Every variant.
#[rustfmt::skip]
pub(super) const VARIANTS: &[Variant] = &[
    variant("aimv2_1b_patch14_224", 224, 14, [2048, 24, 16, 5632], AIM),
    variant("aimv2_1b_patch14_336", 336, 14, [2048, 24, 16, 5632], AIM),
    variant("aimv2_1b_patch14_448", 448, 14, [2048, 24, 16, 5632], AIM),
    variant("aimv2_3b_patch14_224", 224, 14, [3072, 24, 24, 8192], AIM),
    variant("aimv2_3b_patch14_336", 336, 14, [3072, 24, 24, 8192], AIM),
    variant("aimv2_3b_patch14_448", 448, 14, [3072, 24, 24, 8192], AIM),
    variant("aimv2_huge_patch14_224", 224, 14, [1536, 24, 12, 4096], AIM),
    variant("aimv2_huge_patch14_336", 336, 14, [1536, 24, 12, 4096], AIM),
    variant("aimv2_huge_patch14_448", 448, 14, [1536, 24, 12, 4096], AIM),
    variant("aimv2_large_patch14_224", 224, 14, [1024, 24, 8, 2816], AIM),
    variant("aimv2_large_patch14_336", 336, 14, [1024, 24, 8, 2816], AIM),
    variant("aimv2_large_patch14_448", 448, 14, [1024, 24, 8, 2816], AIM),
    variant("beit3_base_patch16_224", 224, 16, BASE, BEIT3),
    variant("beit3_giant_patch14_224", 224, 14, GIANT, BEIT3),
    variant("beit3_giant_patch14_336", 336, 14, GIANT, BEIT3),
    variant("beit3_large_patch16_224", 224, 16, LARGE, BEIT3),
    variant("eva_large_patch14_196", 196, 14, LARGE, MEAN),
    variant("eva_large_patch14_336", 336, 14, LARGE, MEAN),
    variant("flexivit_base", 240, 16, BASE, PATCH_POSITIONS),
    variant("flexivit_large", 240, 16, LARGE, PATCH_POSITIONS),
    variant("flexivit_small", 240, 16, SMALL, PATCH_POSITIONS),
    variant("test_vit", 160, 16, [64, 6, 2, 192], TEST_1),
    variant("test_vit2", 160, 16, [64, 8, 2, 192], TEST_2),
    variant("test_vit3", 160, 16, [96, 9, 3, 192], TEST_3),
    variant("test_vit4", 160, 16, [96, 9, 3, 288], TEST_4),
    variant("vit_base_patch14_dinov2", 518, 14, BASE, LAYER_SCALE),
    variant("vit_base_patch14_reg1_tipsv2", 448, 14, BASE, REGISTERS_1),
    variant("vit_base_patch14_reg4_dinov2", 518, 14, BASE, REGISTERS_4),
    variant("vit_base_patch16_18x2_224", 224, 16, [768, 18, 12, 3072], PARALLEL),
    variant("vit_base_patch16_224", 224, 16, BASE, PLAIN),
    variant("vit_base_patch16_224_miil", 224, 16, BASE, NO_BIAS),
    variant("vit_base_patch16_384", 384, 16, BASE, PLAIN),
    variant("vit_base_patch16_clip_224", 224, 16, BASE, CLIP),
    variant("vit_base_patch16_clip_384", 384, 16, BASE, CLIP),
    variant("vit_base_patch16_clip_quickgelu_224", 224, 16, BASE, CLIP_QUICK_GELU),
    variant("vit_base_patch16_gap_224", 224, 16, [768, 12, 16, 3072], GAP),
    variant("vit_base_patch16_plus_240", 240, 16, BASE_PLUS, LAYER_SCALE),
    variant("vit_base_patch16_plus_clip_240", 240, 16, BASE_PLUS, CLIP),
    variant("vit_base_patch16_radio_v3", 512, 16, BASE, RADIO_7_LAYER_SCALE),
    variant("vit_base_patch16_reg4_gap_256", 256, 16, BASE, REGISTERS_4_GAP_PLAIN),
    variant("vit_base_patch16_rpn_224", 224, 16, BASE, RES_POST_NORM),
    variant("vit_base_patch16_siglip_224", 224, 16, BASE, MAP),
    variant("vit_base_patch16_siglip_256", 256, 16, BASE, MAP),
    variant("vit_base_patch16_siglip_384", 384, 16, BASE, MAP),
    variant("vit_base_patch16_siglip_512", 512, 16, BASE, MAP),
    variant("vit_base_patch16_siglip_gap_224", 224, 16, BASE, GAP),
    variant("vit_base_patch16_siglip_gap_256", 256, 16, BASE, GAP),
    variant("vit_base_patch16_siglip_gap_384", 384, 16, BASE, GAP),
    variant("vit_base_patch16_siglip_gap_512", 512, 16, BASE, GAP),
    variant("vit_base_patch32_224", 224, 32, BASE, PLAIN),
    variant("vit_base_patch32_384", 384, 32, BASE, PLAIN),
    variant("vit_base_patch32_clip_224", 224, 32, BASE, CLIP),
    variant("vit_base_patch32_clip_256", 256, 32, BASE, CLIP),
    variant("vit_base_patch32_clip_384", 384, 32, BASE, CLIP),
    variant("vit_base_patch32_clip_448", 448, 32, BASE, CLIP),
    variant("vit_base_patch32_clip_quickgelu_224", 224, 32, BASE, CLIP_QUICK_GELU),
    variant("vit_base_patch32_plus_256", 256, 32, BASE_PLUS, LAYER_SCALE),
    variant("vit_base_patch32_siglip_256", 256, 32, BASE, MAP_TANH),
    variant("vit_base_patch32_siglip_gap_256", 256, 32, BASE, GAP_TANH),
    variant("vit_base_patch8_224", 224, 8, BASE, PLAIN),
    variant("vit_betwixt_patch16_gap_256", 256, 16, BETWIXT, GAP_LAYER_SCALE),
    variant("vit_betwixt_patch16_reg1_gap_256", 256, 16, BETWIXT, REGISTERS_1_GAP),
    variant("vit_betwixt_patch16_reg4_gap_256", 256, 16, BETWIXT, REGISTERS_4_GAP),
    variant("vit_betwixt_patch16_reg4_gap_384", 384, 16, BETWIXT, REGISTERS_4_GAP),
    variant("vit_betwixt_patch32_clip_224", 224, 32, BETWIXT, CLIP),
    variant("vit_giant_patch14_224", 224, 14, GIANT, PLAIN),
    variant("vit_giant_patch14_clip_224", 224, 14, GIANT, CLIP),
    variant("vit_giant_patch14_dinov2", 518, 14, [1536, 40, 24, 4096], SWIGLU),
    variant("vit_giant_patch14_reg1_tipsv2", 448, 14, [1536, 40, 24, 4096], SWIGLU_REGISTERS_1),
    variant("vit_giant_patch14_reg4_dinov2", 518, 14, [1536, 40, 24, 4096], SWIGLU_REGISTERS_4),
    variant("vit_giant_patch16_gap_224", 224, 16, GIANT, GAP),
    variant("vit_giant_patch16_radio_v3", 512, 16, [1536, 40, 24, 6144], RADIO_7),
    variant("vit_giantopt_patch16_siglip_256", 256, 16, GIANT_OPT, MAP_TANH),
    variant("vit_giantopt_patch16_siglip_384", 384, 16, GIANT_OPT, MAP_TANH),
    variant("vit_giantopt_patch16_siglip_gap_256", 256, 16, GIANT_OPT, GAP_TANH),
    variant("vit_giantopt_patch16_siglip_gap_384", 384, 16, GIANT_OPT, GAP_TANH),
    variant("vit_gigantic_patch14_224", 224, 14, GIGANTIC, PLAIN),
    variant("vit_gigantic_patch14_clip_224", 224, 14, GIGANTIC, CLIP),
    variant("vit_gigantic_patch14_clip_378", 378, 14, GIGANTIC, CLIP),
    variant("vit_gigantic_patch14_clip_quickgelu_224", 224, 14, GIGANTIC, CLIP_QUICK_GELU),
    variant("vit_huge_patch14_224", 224, 14, HUGE, PLAIN),
    variant("vit_huge_patch14_clip_224", 224, 14, HUGE, CLIP),
    variant("vit_huge_patch14_clip_336", 336, 14, HUGE, CLIP),
    variant("vit_huge_patch14_clip_378", 378, 14, HUGE, CLIP),
    variant("vit_huge_patch14_clip_quickgelu_224", 224, 14, HUGE, CLIP_QUICK_GELU),
    variant("vit_huge_patch14_clip_quickgelu_378", 378, 14, HUGE, CLIP_QUICK_GELU),
    variant("vit_huge_patch14_gap_224", 224, 14, HUGE, GAP),
    variant("vit_huge_patch16_gap_448", 448, 16, HUGE, GAP),
    variant("vit_huge_patch16_radio_v3", 512, 16, HUGE, RADIO_7),
    variant("vit_huge_patch16_radio_v4", 512, 16, HUGE, RADIO_9),
    variant("vit_intern300m_patch14_448", 448, 14, LARGE, INTERN),
    variant("vit_large_patch14_224", 224, 14, LARGE, PLAIN),
    variant("vit_large_patch14_clip_224", 224, 14, LARGE, CLIP),
    variant("vit_large_patch14_clip_336", 336, 14, LARGE, CLIP),
    variant("vit_large_patch14_clip_quickgelu_224", 224, 14, LARGE, CLIP_QUICK_GELU),
    variant("vit_large_patch14_clip_quickgelu_336", 336, 14, LARGE, CLIP_QUICK_GELU),
    variant("vit_large_patch14_dinov2", 518, 14, LARGE, LAYER_SCALE),
    variant("vit_large_patch14_reg1_tipsv2", 448, 14, LARGE, REGISTERS_1),
    variant("vit_large_patch14_reg4_dinov2", 518, 14, LARGE, REGISTERS_4),
    variant("vit_large_patch16_224", 224, 16, LARGE, PLAIN),
    variant("vit_large_patch16_384", 384, 16, LARGE, PLAIN),
    variant("vit_large_patch16_radio_v3", 512, 16, LARGE, RADIO_7_LAYER_SCALE),
    variant("vit_large_patch16_siglip_256", 256, 16, LARGE, MAP),
    variant("vit_large_patch16_siglip_384", 384, 16, LARGE, MAP),
    variant("vit_large_patch16_siglip_512", 512, 16, LARGE, MAP_TANH),
    variant("vit_large_patch16_siglip_gap_256", 256, 16, LARGE, GAP),
    variant("vit_large_patch16_siglip_gap_384", 384, 16, LARGE, GAP),
    variant("vit_large_patch16_siglip_gap_512", 512, 16, LARGE, GAP_TANH),
    variant("vit_large_patch32_224", 224, 32, LARGE, PLAIN),
    variant("vit_large_patch32_384", 384, 32, LARGE, PLAIN),
    variant("vit_little_patch16_reg1_gap_256", 256, 16, LITTLE, REGISTERS_1_GAP),
    variant("vit_little_patch16_reg4_gap_256", 256, 16, LITTLE, REGISTERS_4_GAP),
    variant("vit_medium_patch16_clip_224", 224, 16, MEDIUM, CLIP),
    variant("vit_medium_patch16_gap_240", 240, 16, MEDIUM, GAP_LAYER_SCALE),
    variant("vit_medium_patch16_gap_256", 256, 16, MEDIUM, GAP_LAYER_SCALE),
    variant("vit_medium_patch16_gap_384", 384, 16, MEDIUM, GAP_LAYER_SCALE),
    variant("vit_medium_patch16_reg1_gap_256", 256, 16, MEDIUM, REGISTERS_1_GAP),
    variant("vit_medium_patch16_reg4_gap_256", 256, 16, MEDIUM, REGISTERS_4_GAP),
    variant("vit_medium_patch32_clip_224", 224, 32, MEDIUM, CLIP),
    variant("vit_mediumd_patch16_reg4_gap_256", 256, 16, MEDIUM_D, REGISTERS_4_GAP),
    variant("vit_mediumd_patch16_reg4_gap_384", 384, 16, MEDIUM_D, REGISTERS_4_GAP),
    variant("vit_small_patch14_dinov2", 518, 14, SMALL, LAYER_SCALE),
    variant("vit_small_patch14_reg4_dinov2", 518, 14, SMALL, REGISTERS_4),
    variant("vit_small_patch16_18x2_224", 224, 16, [384, 18, 6, 1536], PARALLEL),
    variant("vit_small_patch16_224", 224, 16, SMALL, PLAIN),
    variant("vit_small_patch16_36x1_224", 224, 16, [384, 36, 6, 1536], LAYER_SCALE),
    variant("vit_small_patch16_384", 384, 16, SMALL, PLAIN),
    variant("vit_small_patch32_224", 224, 32, SMALL, PLAIN),
    variant("vit_small_patch32_384", 384, 32, SMALL, PLAIN),
    variant("vit_small_patch8_224", 224, 8, SMALL, PLAIN),
    variant("vit_so150m2_patch16_reg1_gap_256", 256, 16, SO150M2, SO150M2_GAP),
    variant("vit_so150m2_patch16_reg1_gap_384", 384, 16, SO150M2, SO150M2_GAP),
    variant("vit_so150m2_patch16_reg1_gap_448", 448, 16, SO150M2, SO150M2_GAP),
    variant("vit_so150m_patch16_reg4_gap_256", 256, 16, SO150M, SO150M_GAP),
    variant("vit_so150m_patch16_reg4_gap_384", 384, 16, SO150M, SO150M_GAP),
    variant("vit_so150m_patch16_reg4_map_256", 256, 16, SO150M, SO150M_MAP),
    variant("vit_so400m_patch14_reg1_tipsv2", 448, 14, SO400M, REGISTERS_1),
    variant("vit_so400m_patch14_siglip_224", 224, 14, SO400M, MAP),
    variant("vit_so400m_patch14_siglip_378", 378, 14, SO400M, MAP),
    variant("vit_so400m_patch14_siglip_384", 384, 14, SO400M, MAP),
    variant("vit_so400m_patch14_siglip_gap_224", 224, 14, SO400M, GAP),
    variant("vit_so400m_patch14_siglip_gap_378", 378, 14, SO400M, GAP),
    variant("vit_so400m_patch14_siglip_gap_384", 384, 14, SO400M, GAP),
    variant("vit_so400m_patch14_siglip_gap_448", 448, 14, SO400M, GAP),
    variant("vit_so400m_patch14_siglip_gap_896", 896, 14, SO400M, GAP),
    variant("vit_so400m_patch16_radio_v4", 512, 16, SO400M, RADIO_9),
    variant("vit_so400m_patch16_siglip_256", 256, 16, SO400M, MAP_TANH),
    variant("vit_so400m_patch16_siglip_384", 384, 16, SO400M, MAP_TANH),
    variant("vit_so400m_patch16_siglip_512", 512, 16, SO400M, MAP_TANH),
    variant("vit_so400m_patch16_siglip_gap_256", 256, 16, SO400M, GAP_TANH),
    variant("vit_so400m_patch16_siglip_gap_384", 384, 16, SO400M, GAP_TANH),
    variant("vit_so400m_patch16_siglip_gap_512", 512, 16, SO400M, GAP_TANH),
    variant("vit_tiny_patch16_224", 224, 16, TINY, PLAIN),
    variant("vit_tiny_patch16_384", 384, 16, TINY, PLAIN),
    variant("vit_wee_patch16_reg1_gap_256", 256, 16, WEE, REGISTERS_1_GAP),
    variant("vit_xsmall_patch16_clip_224", 224, 16, XSMALL, CLIP),
    variant("vit_base_mci_224", 224, 16, BASE, MOBILE_CLIP),
    variant("vitamin_small_224", 224, vitamin::PATCH, [384, 14, 6, 768], VITAMIN_S),
    variant("vitamin_base_224", 224, vitamin::PATCH, [768, 14, 12, 1536], VITAMIN_B),
    variant("vitamin_large_224", 224, vitamin::PATCH, LARGE_VITAMIN, VITAMIN_L),
    variant("vitamin_large_256", 256, vitamin::PATCH, LARGE_VITAMIN, VITAMIN_L),
    variant("vitamin_large_336", 336, vitamin::PATCH, LARGE_VITAMIN, VITAMIN_L),
    variant("vitamin_large_384", 384, vitamin::PATCH, LARGE_VITAMIN, VITAMIN_L),
    variant("vitamin_large2_224", 224, vitamin::PATCH, LARGE_VITAMIN, VITAMIN_L),
    variant("vitamin_large2_256", 256, vitamin::PATCH, LARGE_VITAMIN, VITAMIN_L),
    variant("vitamin_large2_336", 336, vitamin::PATCH, LARGE_VITAMIN, VITAMIN_L),
    variant("vitamin_large2_384", 384, vitamin::PATCH, LARGE_VITAMIN, VITAMIN_L),
    variant("vitamin_xlarge_256", 256, vitamin::PATCH, [1152, 32, 16, 2304], VITAMIN_XL),
    variant("vitamin_xlarge_336", 336, vitamin::PATCH, [1152, 32, 16, 2304], VITAMIN_XL),
    variant("vitamin_xlarge_384", 384, vitamin::PATCH, [1152, 32, 16, 2304], VITAMIN_XL),
];

const fn variant(name: &'static str, image: usize, patch: usize, size: Size, style: Style) -> Variant {
    Variant { name, image: [image; 2], patch, size, pool_hidden: None, style }
}

impl Variant {
    /// The variant with a config's changes.
    ///
    /// # Errors
    /// A change timm could not make, or a width without a statement of what it means for the MLPs.
    pub(super) fn changed(&self, changes: &TimmChanges) -> Result<Variant, ArchitectureError> {
        let Variant { name, image, patch, size: [width, depth, heads, hidden], style, .. } = *self;
        let refuse = |key: &str, why: &str| {
            let what = format!("`vision_cfg.timm_model_kwargs.{key}` with the trunk `{name}`");
            Err(ArchitectureError::unsupported(what, why))
        };
        let is_naflex = style.stem.is_naflex();
        let has_stem = !is_naflex && style.stem != StemKind::Patches;
        let of_naflex = [
            ("pos_embed_grid_size", changes.grid.is_some()),
            ("pos_embed", changes.positions.is_some()),
            ("pos_embed_ar_preserving", changes.square.is_some()),
            ("class_token", changes.class_token.is_some()),
            ("reg_tokens", changes.registers.is_some()),
            ("attn_pool_mlp_ratio", changes.pool_mlp_ratio.is_some()),
            ("swiglu_mlp", changes.gated.is_some()),
        ];
        if let Some((key, _)) = of_naflex.into_iter().find(|(_, is_set)| *is_set && !is_naflex) {
            return refuse(key, "only `naflexvit_…` towers support it");
        }
        if is_naflex && changes.image_size.is_some() {
            return refuse("img_size", "the size of its position table is `pos_embed_grid_size`");
        }
        if has_stem && changes.width.is_some_and(|new| new != width) {
            return refuse("embed_dim", "its stem is made for the width that the name implies");
        }
        // timm would split the stem's map into patches of this side.
        if has_stem && changes.patch_size.is_some() {
            return refuse("patch_size", "its stem produces the tokens");
        }
        let stem = match (style.stem, changes.stem_padding) {
            (stem, None) => stem,
            (StemKind::MobileClip { .. }, Some(padding)) => StemKind::MobileClip { padding },
            (_, Some(_)) => return refuse("stem_padding", "only `vit_base_mci_224` has stem padding"),
        };
        let stem = match stem {
            StemKind::Linear(own) => StemKind::Linear(GridPositions {
                square: changes.square.unwrap_or(own.square),
                factorized: changes.positions.map_or(own.factorized, |table| table == GridTable::Factorized),
                ..own
            }),
            other => other,
        };
        let has_none = changes.positions == Some(GridTable::None);
        let width_of = |ratio: f64, width: usize| (width as f64 * ratio) as usize;
        // timm counts gate and value of a packed MLP together.
        let parts = if style.mlp == MlpKind::Packed { 2 } else { 1 };
        let new_width = changes.width.unwrap_or(width);
        let hidden = match changes.mlp_ratio {
            Some(ratio) if !width_of(ratio, new_width).is_multiple_of(parts) => {
                return refuse("mlp_ratio", "gate and value of its MLPs are equally wide");
            }
            Some(ratio) => width_of(ratio, new_width) / parts,
            None if new_width == width => hidden,
            // For others, timm rounds the ratio.
            None if (4 * hidden).is_multiple_of(width) => width_of(hidden as f64 / width as f64, new_width),
            None => {
                return refuse("embed_dim", "its MLPs have no round ratio, so `mlp_ratio` is needed too");
            }
        };
        let activation = match changes.tanh {
            Some(true) => Activation::GeluTanh,
            Some(false) => Activation::Gelu,
            None => style.activation,
        };
        let new_patch = changes.patch_size.unwrap_or(patch);
        let grid = changes.grid.unwrap_or(image.map(|side| side / patch));
        let image = if is_naflex { grid.map(|side| side * new_patch) } else { image };
        Ok(Variant {
            name,
            image: changes.image_size.unwrap_or(image),
            patch: new_patch,
            pool_hidden: changes.pool_mlp_ratio.map(|ratio| width_of(ratio, new_width)),
            size: [new_width, changes.depth.unwrap_or(depth), changes.heads.unwrap_or(heads), hidden],
            style: Style {
                activation,
                norm: changes.norm_epsilon.map_or(style.norm, |epsilon| style.norm.with_epsilon(epsilon)),
                stem,
                positions: if has_none { Positions::None } else { style.positions },
                class_token: changes.class_token.unwrap_or(style.class_token),
                registers: changes.registers.unwrap_or(style.registers),
                mlp: if changes.gated == Some(true) { MlpKind::Packed } else { style.mlp },
                ..style
            },
        })
    }
}
