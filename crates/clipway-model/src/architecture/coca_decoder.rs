//! The multimodal decoder of CoCa (<https://arxiv.org/abs/2205.01917>): text blocks alternating with blocks that attend
//! to the image.
//!
//! It writes captions and plays no part in the embeddings, so its tensors are declared but nothing is computed.

use crate::config::{BlockConfig, ModelConfig, MultimodalConfig, NormConfig};
use crate::graph::{Activation, Scope};

use super::transformer::{self, BlockOptions};

/// open_clip's decoder has no MLP ratio of its own.
const MLP_RATIO: f64 = 4.0;

/// Declares the decoder's tensors. It outputs one number per id of the text tower's config.
pub(super) fn declare(config: &ModelConfig, multimodal: &MultimodalConfig, mut scope: Scope<'_>) {
    let width = multimodal.text.width;
    let options = BlockOptions {
        width,
        heads: multimodal.text.heads,
        mlp_ratio: MLP_RATIO,
        layer_scale: multimodal.text.layer_scale.is_some(),
        activation: Activation::Gelu,
        norm: NormConfig::DEFAULT,
        block: BlockConfig::DEFAULT,
    };
    let layers = multimodal.text.layers;
    scope.parameter("text_projection", &[width, config.text.vocab_size]);
    let mut list = scope.child("resblocks");
    (0..layers).for_each(|index| transformer::declare_block(list.child(index), &options, false));
    let mut list = scope.child("cross_attn");
    (0..layers).for_each(|index| transformer::declare_block(list.child(index), &options, true));
    transformer::layer_norm(scope.child("ln_final"), width, NormConfig::DEFAULT);
}
