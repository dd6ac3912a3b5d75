//! timm's `Eva`: EVA (<https://arxiv.org/abs/2211.07636>), EVA-02 (<https://arxiv.org/abs/2303.11331>), the Perception
//! Encoder (<https://arxiv.org/abs/2504.13181>) and other transformers with rotary positions.

use crate::graph::{Activation, Coordinates, Linear, Pairs, Rotation, Scope};

use super::eva_block::{EvaBlock, EvaBlockOptions};
use super::eva_variants::{Rope, Style, VARIANTS, Variant};
use super::layers::Norm;
use super::request::{DeclaredTrunk, TrunkRequest};
use super::token_pool::{LatentOptions, PoolKind, PoolOptions, Pooling, TokenPool, TokenPoolOptions};
use super::token_trunk::TokenTrunk;
use super::tokens::{ImageSize, Sizes, StemKind, TokenOptions, Tokens};

/// The timm names.
pub(super) fn names() -> Vec<&'static str> {
    VARIANTS.iter().map(|variant| variant.name).collect()
}

/// Declares a trunk's tensors.
pub(super) fn declare(request: &TrunkRequest<'_>, mut scope: Scope<'_>) -> DeclaredTrunk {
    let variant = VARIANTS.iter().find(|variant| variant.name == request.name);
    let variant = variant.ok_or_else(|| request.unknown_trunk())?;
    let Variant { image, patch, size: [width, depth, heads, hidden], style, .. } = *variant;
    let Style { norm, class_token, .. } = style;
    let known = [PoolKind::Token, PoolKind::Average, PoolKind::Max, PoolKind::AverageMax, PoolKind::Latent];
    let pooling = Pooling::resolve(request, PoolOptions { own: style.pool, known: &known, class_token })?;
    // Trunks with only rotary positions can be built for any size.
    let sizes = if style.any_size { Sizes::WholePatches } else { Sizes::Own };
    let own = request.changes.image_size.unwrap_or([image; 2]);
    let options = TokenOptions {
        image: ImageSize::of(request, own, patch, sizes)?,
        patch,
        width,
        stem: StemKind::Patches,
        class_token,
        registers: style.registers,
        positions: style.positions,
        patch_norm: None,
        pre_norm: style.pre_norm.then_some(norm),
    };
    let block = EvaBlockOptions {
        width,
        heads,
        hidden,
        attention: style.attention,
        bias: style.bias,
        attention_norm: style.attention_norm,
        mlp: style.mlp,
        mlp_norm: style.mlp_norm,
        layer_scale: style.layer_scale,
        post_norm: style.post_norm,
        norm,
        rotation: style.rope.map(|rope| rotation(rope, &options)),
    };
    // timm's default: after mean pooling, the norm comes after the pool.
    let after_pool = style.norm_after_pool.unwrap_or(pooling.constructed == PoolKind::Average);
    let before_pool = style.norm_before_pool.unwrap_or(!after_pool);
    let pool = TokenPoolOptions {
        prefix: options.prefix(),
        with_prefix: false,
        latent_with_prefix: true,
        class_token,
        latent: LatentOptions {
            width,
            heads: style.latent_heads.unwrap_or(heads),
            hidden: if style.latent_heads.is_some() { 4 * width } else { hidden },
            norm,
            activation: Activation::Gelu,
        },
    };
    let path = scope.path().to_owned();
    let tokens = Tokens::declare(&mut scope, &options);
    let mut list = scope.child("blocks");
    let blocks = (0..depth).map(|index| EvaBlock::declare(list.child(index), &block)).collect();
    Ok(Box::new(TokenTrunk {
        path,
        width,
        tokens,
        blocks,
        norm: before_pool.then(|| Norm::new(scope.child("norm"), width, norm)),
        pool: TokenPool::declare(&mut scope, pooling.used, pool),
        norm_after_pool: after_pool.then(|| Norm::new(scope.child("fc_norm"), width, norm)),
        classifier: request.classifier.map(|classes| Linear::new(scope.child("head"), width, classes, true)),
    }))
}

fn rotation(rope: Rope, tokens: &TokenOptions) -> Rotation {
    let rotation = Rotation {
        grid: tokens.grid(),
        skip: tokens.prefix(),
        coordinates: Coordinates::Centerd,
        columns_first: false,
        temperature: 100.0,
        pairs: Pairs::Halves,
    };
    match rope {
        Rope::Axial { offset, reference, columns_first, temperature } => Rotation {
            coordinates: Coordinates::Index { offset, reference: reference.map(|side| [side; 2]) },
            columns_first,
            temperature,
            pairs: Pairs::Neighbors,
            ..rotation
        },
        Rope::Centerd => rotation,
    }
}
