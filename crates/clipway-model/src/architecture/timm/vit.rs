//! timm's `VisionTransformer` (ViT, <https://arxiv.org/abs/2010.11929>) and its many variants, including SigLIP's and
//! MobileCLIP-B's.

use crate::graph::{Linear, Scope};

use super::super::error::ArchitectureError;
use super::block::{Block, BlockOptions};
use super::eva_block::{AttentionKind, EvaBlock, EvaBlockOptions};
use super::layers::{MlpKind, Norm};
use super::naflex_variants;
use super::request::{DeclaredTrunk, TrunkRequest};
use super::token_pool::{LatentOptions, PoolKind, PoolOptions, Pooling, TokenPool, TokenPoolOptions};
use super::token_trunk::{TokenBlock, TokenTrunk};
use super::tokens::{ImageSize, Positions, Sizes, StemKind, TokenOptions, Tokens};
use super::vit_variants::{Style, VARIANTS, Variant};

/// The timm names.
pub(super) fn names() -> Vec<&'static str> {
    variants().map(|variant| variant.name).collect()
}

/// Every variant.
pub(super) fn variants() -> impl Iterator<Item = &'static Variant> {
    VARIANTS.iter().chain(naflex_variants::VARIANTS)
}

/// Declares a trunk's tensors.
pub(super) fn declare(request: &TrunkRequest<'_>, mut scope: Scope<'_>) -> DeclaredTrunk {
    let variant = variants().find(|variant| variant.name == request.name);
    let Variant { image, patch, size: [width, depth, heads, hidden], pool_hidden, style, .. } =
        variant.ok_or_else(|| request.unknown_trunk())?.changed(request.changes)?;
    if width == 0 || !width.is_multiple_of(heads) || image.iter().any(|side| side / patch == 0) {
        let what = format!("width {width} with {heads} heads, and {image:?} pixels with patches of {patch}");
        return Err(ArchitectureError::unsupported(what, "they do not divide each other"));
    }
    let Style { norm, activation, class_token, .. } = style;
    let known = [
        PoolKind::Token,
        PoolKind::Average,
        PoolKind::Max,
        PoolKind::AverageMax,
        PoolKind::Latent,
        PoolKind::Refined,
    ];
    let is_naflex = style.stem.is_naflex();
    // NaFlexVit has all of these but the last.
    let known = if is_naflex { &known[..known.len() - 1] } else { &known };
    let pooling = Pooling::resolve(request, PoolOptions { own: style.pool, known, class_token })?;
    let tokens = TokenOptions {
        image: ImageSize::of(request, image, patch, sizes(request, image, patch, style))?,
        patch,
        width,
        stem: style.stem,
        class_token,
        registers: style.registers,
        positions: style.positions,
        patch_norm: style.patch_norm,
        pre_norm: style.pre_norm.then_some(norm),
    };
    let block = BlockOptions {
        width,
        heads,
        hidden,
        query_key_value_bias: style.query_key_value_bias,
        output_bias: style.output_bias,
        sub_norms: style.sub_norms,
        layer_scale: style.layer_scale,
        relative: None,
        order: style.order,
        mlp: style.mlp,
        norm,
        activation,
    };
    let after_pool = style.norm_after_pool.unwrap_or(match pooling.constructed {
        PoolKind::Average => true,
        PoolKind::Max | PoolKind::AverageMax => !is_naflex,
        PoolKind::Token | PoolKind::Latent | PoolKind::Refined => false,
    });
    // timm counts gate and value of a packed MLP together, and makes the pool's plain MLP equally wide.
    let latent_hidden = if style.mlp == MlpKind::Packed && !is_naflex { 2 * hidden } else { hidden };
    let latent_hidden = pool_hidden.unwrap_or(latent_hidden);
    let pool = TokenPoolOptions {
        prefix: tokens.prefix(),
        with_prefix: style.pool_with_prefix,
        latent_with_prefix: style.pool_with_prefix,
        class_token,
        latent: LatentOptions { width, heads, hidden: latent_hidden, norm, activation },
    };
    let path = scope.path().to_owned();
    let tokens = if is_naflex {
        Tokens::declare(&mut scope.child("embeds"), &tokens)
    } else {
        Tokens::declare(&mut scope, &tokens)
    };
    let mut list = scope.child("blocks");
    let blocks = (0..depth).map(|index| declare_block(list.child(index), &block, is_naflex)).collect();
    let final_norm =
        |scope: Scope<'_>, there: bool| (style.final_norm && there).then(|| Norm::new(scope, width, norm));
    Ok(Box::new(TokenTrunk {
        path,
        width,
        tokens,
        blocks,
        norm: final_norm(scope.child("norm"), !after_pool),
        pool: TokenPool::declare(&mut scope, pooling.used, pool),
        norm_after_pool: final_norm(scope.child("fc_norm"), after_pool),
        classifier: request.classifier.map(|classes| Linear::new(scope.child("head"), width, classes, true)),
    }))
}

/// A block. With gated MLPs, NaFlexVit takes those of timm's `Eva`.
fn declare_block(scope: Scope<'_>, options: &BlockOptions, is_naflex: bool) -> Box<dyn TokenBlock> {
    if !is_naflex || options.mlp != MlpKind::Packed {
        return Box::new(Block::declare(scope, options));
    }
    let BlockOptions { width, heads, hidden, query_key_value_bias, layer_scale, norm, mlp, .. } = *options;
    let options = EvaBlockOptions {
        width,
        heads,
        hidden,
        attention: AttentionKind::BiasApart,
        bias: query_key_value_bias,
        attention_norm: false,
        mlp,
        mlp_norm: false,
        layer_scale,
        post_norm: false,
        norm,
        rotation: None,
    };
    Box::new(EvaBlock::declare(scope, &options))
}

/// Which images the trunk accepts. A stem that can tokenize any image is limited by its number of positions.
fn sizes(request: &TrunkRequest<'_>, image: [usize; 2], patch: usize, style: Style) -> Sizes {
    let grid = |size: [usize; 2]| size.map(|side| side.div_ceil(patch));
    let same_grid = grid(request.image_size) == grid(image);
    match style.stem {
        StemKind::Vitamin(_) if style.positions == Positions::None || same_grid => Sizes::Any,
        _ if style.any_size => Sizes::WholePatches,
        _ => Sizes::Own,
    }
}
