//! timm's `VisionTransformerRelPos`: vision transformers with relative position biases instead of positions.

use crate::graph::{Activation, Linear, Pool, Scope};

use super::block::{Block, BlockOptions, GridMlpOptions, Order, RelativePositions};
use super::layers::{MlpKind, Norm, NormKind};
use super::request::{DeclaredTrunk, TrunkRequest};
use super::token_pool::{PoolKind, PoolOptions, Pooling, TokenPool};
use super::token_trunk::TokenTrunk;
use super::tokens::{ImageSize, Positions, Sizes, StemKind, TokenOptions, Tokens};

const NORM: NormKind = NormKind::Layer(1e-6);

/// A named trunk: side of its images and patches in pixels, width, depth, heads and MLP width.
struct Variant {
    name: &'static str,
    image: usize,
    patch: usize,
    size: [usize; 4],
    style: Style,
}

/// Settings of a trunk, independent of its size.
#[derive(Clone, Copy)]
struct Style {
    class_token: bool,
    pool: PoolKind,
    norm_after_pool: bool,
    bias: bool,
    order: Order,
    /// Width of the MLP of relative positions.
    relative: usize,
    /// Whether all blocks share one such MLP.
    shared: bool,
}

const PLAIN: Style = Style {
    class_token: false,
    pool: PoolKind::Average,
    norm_after_pool: true,
    bias: false,
    order: Order::PreNorm,
    relative: 128,
    shared: false,
};
const NORM_FIRST: Style = Style { norm_after_pool: false, ..PLAIN };
const PLUS: Style = Style { bias: true, ..NORM_FIRST };
const POST_NORM: Style = Style { order: Order::PostNorm, ..NORM_FIRST };
const PLUS_POST_NORM: Style = Style { bias: true, ..POST_NORM };
const SHARED_384: Style = Style { relative: 384, shared: true, ..NORM_FIRST };
const SHARED_512: Style = Style { relative: 512, ..SHARED_384 };
const CLASS: Style = Style { class_token: true, pool: PoolKind::Token, ..NORM_FIRST };
const CLASS_256: Style = Style { relative: 256, ..CLASS };
const CLASS_MEAN: Style = Style { class_token: true, ..PLAIN };

const SMALL: [usize; 4] = [384, 12, 6, 1536];
const MEDIUM: [usize; 4] = [512, 12, 8, 2048];
const BASE: [usize; 4] = [768, 12, 12, 3072];
const BASE_PLUS: [usize; 4] = [896, 12, 14, 3584];

/// Every variant; the numbers come from timm 1.0 (Apache-2.0), `timm/models/vision_transformer_relpos.py`.
#[rustfmt::skip]
const VARIANTS: &[Variant] = &[
    variant("test_vit_relpos", 160, 16, [96, 9, 3, 192], PLAIN),
    variant("vit_relpos_base_patch16_224", 224, 16, BASE, PLAIN),
    variant("vit_relpos_base_patch16_cls_224", 224, 16, BASE, CLASS),
    variant("vit_relpos_base_patch16_clsgap_224", 224, 16, BASE, CLASS_MEAN),
    variant("vit_relpos_base_patch16_plus_240", 240, 16, BASE_PLUS, PLUS),
    variant("vit_relpos_base_patch16_rpn_224", 224, 16, BASE, POST_NORM),
    variant("vit_relpos_base_patch32_plus_rpn_256", 256, 32, BASE_PLUS, PLUS_POST_NORM),
    variant("vit_relpos_medium_patch16_224", 224, 16, MEDIUM, PLAIN),
    variant("vit_relpos_medium_patch16_cls_224", 224, 16, MEDIUM, CLASS_256),
    variant("vit_relpos_medium_patch16_rpn_224", 224, 16, MEDIUM, POST_NORM),
    variant("vit_relpos_small_patch16_224", 224, 16, SMALL, PLAIN),
    variant("vit_relpos_small_patch16_rpn_224", 224, 16, SMALL, POST_NORM),
    variant("vit_srelpos_medium_patch16_224", 224, 16, MEDIUM, SHARED_512),
    variant("vit_srelpos_small_patch16_224", 224, 16, SMALL, SHARED_384),
];

const fn variant(name: &'static str, image: usize, patch: usize, size: [usize; 4], style: Style) -> Variant {
    Variant { name, image, patch, size, style }
}

/// The timm names.
pub(super) fn names() -> Vec<&'static str> {
    VARIANTS.iter().map(|variant| variant.name).collect()
}

/// Declares a trunk's tensors.
pub(super) fn declare(request: &TrunkRequest<'_>, mut scope: Scope<'_>) -> DeclaredTrunk {
    let variant = VARIANTS.iter().find(|variant| variant.name == request.name);
    let &Variant { image, patch, size: [width, depth, heads, hidden], style, .. } =
        variant.ok_or_else(|| request.unknown_trunk())?;
    let class_token = style.class_token;
    let known = [PoolKind::Token, PoolKind::Average];
    let pooling = Pooling::resolve(request, PoolOptions { own: style.pool, known: &known, class_token })?;
    let options = TokenOptions {
        image: ImageSize::of(request, [image; 2], patch, Sizes::Own)?,
        patch,
        width,
        stem: StemKind::Patches,
        class_token,
        registers: 0,
        positions: Positions::None,
        patch_norm: None,
        pre_norm: None,
    };
    let path = scope.path().to_owned();
    let tokens = Tokens::declare(&mut scope, &options);
    let (grid, prefix) = (options.grid(), options.prefix());
    let relative = GridMlpOptions { heads, hidden: style.relative, grid, prefix };
    let relative = match style.shared {
        true => RelativePositions::Shared(relative.declare(scope.child("shared_rel_pos"))),
        false => RelativePositions::Own(relative),
    };
    let block = BlockOptions {
        width,
        heads,
        hidden,
        query_key_value_bias: style.bias,
        output_bias: true,
        sub_norms: false,
        layer_scale: true,
        relative: Some(relative),
        order: style.order,
        mlp: MlpKind::Plain,
        norm: NORM,
        activation: Activation::Gelu,
    };
    let mut list = scope.child("blocks");
    let blocks = (0..depth).map(|index| Block::declare(list.child(index), &block)).collect();
    let final_norm = |scope: Scope<'_>, there: bool| there.then(|| Norm::new(scope, width, NORM));
    let pool = match pooling.used {
        PoolKind::Token => Pool::First,
        _ => Pool::Mean { skip: prefix },
    };
    Ok(Box::new(TokenTrunk {
        path,
        width,
        tokens,
        blocks,
        norm: final_norm(scope.child("norm"), !style.norm_after_pool),
        pool: TokenPool::Plain(pool),
        norm_after_pool: final_norm(scope.child("fc_norm"), style.norm_after_pool),
        classifier: request.classifier.map(|classes| Linear::new(scope.child("head"), width, classes, true)),
    }))
}
