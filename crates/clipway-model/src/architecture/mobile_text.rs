//! The text tower of Apple's MobileCLIP-S0 (<https://arxiv.org/abs/2311.17049>): open_clip's text transformer with some
//! RepMixer blocks, which convolve along the tokens. open_clip 3.3.0 has no such tower.

use crate::config::{ModelConfig, TextConfig};
use crate::graph::{
    Activation, GraphBuilder, GraphError, LayerNorm, Linear, Mask, ParameterId, Pool, Scope, ValueId,
};

use super::mobile_one::Form;
use super::rep_mixer::{RepMixerBlock, RepMixerBlockOptions};
use super::transformer::{self, BlockOptions, Masking, TransformerBlock};
use super::{ArchitectureError, Declared, Tower, text_transformer};

struct MobileText {
    path: String,
    context_length: usize,
    token_embedding: ParameterId,
    positional_embedding: ParameterId,
    blocks: Vec<Block>,
    mask: Mask,
    ln_final: LayerNorm,
    pool: Pool,
    projection: Option<Linear>,
}

enum Block {
    Attention(TransformerBlock),
    RepMixer(RepMixerBlock),
}

/// Whether the config asks for this tower.
pub(super) fn fits(config: &ModelConfig) -> bool {
    config.text.rep_mixer.is_some()
}

/// Declares the tower's tensors.
pub(super) fn declare(config: &ModelConfig, mut scope: Scope<'_>) -> Declared {
    let text = &config.text;
    let Some(mixer) = &text.rep_mixer else {
        return Err(ArchitectureError::unsupported("a RepMixer tower without mixers", "set `rep_mixer_cfg`"));
    };
    transformer::check_norm(text.norm, "text_cfg")?;
    let options = BlockOptions::of_text(config);
    check(text, &options)?;
    let width = text.width;
    // A sequence of tokens is a map of height 1.
    let kernel = [1, mixer.kernel];
    let mixer_options = RepMixerBlockOptions {
        channels: width,
        hidden: text.mlp_width(),
        mixer_kernel: kernel,
        scale_branch: false,
        mlp_kernel: kernel,
    };
    let positional_embedding = scope.parameter("positional_embedding", &[text.context_length, width]);
    let projection = text_transformer::declare_projection(config, &mut scope);
    let token_embedding = scope.child("token_embedding").parameter("weight", &[text.vocab_size, width]);
    let mut list = scope.child("transformer.resblocks");
    let blocks = (0..text.layers).map(|index| {
        let scope = list.child(index);
        match mixer.layers.contains(&index) {
            true => Block::RepMixer(RepMixerBlock::declare(scope, mixer_options, Form::of(config.folded))),
            false => Block::Attention(TransformerBlock::declare(scope, &options, false)),
        }
    });
    let blocks = blocks.collect();
    Ok(Box::new(MobileText {
        path: scope.path().to_owned(),
        context_length: text.context_length,
        token_embedding,
        positional_embedding,
        blocks,
        mask: if text.no_causal_mask { Mask::None } else { Mask::Causal },
        ln_final: transformer::layer_norm(scope.child("ln_final"), width, text.norm),
        pool: text_transformer::pool(text)?,
        projection,
    }))
}

/// Refuses options that make no sense with convolution blocks.
fn check(text: &TextConfig, options: &BlockOptions) -> Result<(), ArchitectureError> {
    let refuse = |what: &str, why: &str| {
        Err(ArchitectureError::unsupported(format!("`text_cfg.{what}` with `rep_mixer_cfg`"), why))
    };
    if text.hugging_face.is_some() {
        return refuse("hf_model_name", "its blocks come from the Hugging Face model");
    }
    if text.embed_cls {
        return refuse("embed_cls", "convolutions would treat the class token as a word");
    }
    if options.activation != Activation::Gelu {
        return refuse("act_kwargs", "convolution blocks use exact GELU, so `quick_gelu` is refused too");
    }
    Ok(())
}

impl Tower for MobileText {
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        // Convolutions see past the end of a text, so a text is always computed with its padding.
        let ids = graph.padded_token_ids(self.context_length);
        let mut x = graph.embedding(ids, self.token_embedding)?;
        x = graph.add_positions(x, self.positional_embedding)?;
        for block in &self.blocks {
            x = match block {
                Block::Attention(block) => block.forward(graph, x, Masking { mask: self.mask, ids: None })?,
                Block::RepMixer(block) => {
                    let line = graph.unflatten(x, [1, self.context_length])?;
                    let line = block.forward(graph, line)?;
                    graph.flatten(line)?
                }
            };
        }
        graph.scope(self.path.as_str());
        x = graph.layer_norm(x, &self.ln_final)?;
        text_transformer::pooled(graph, x, ids, self.pool, self.projection.as_ref())
    }
}
