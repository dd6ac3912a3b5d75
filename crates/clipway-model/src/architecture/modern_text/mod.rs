//! ModernText, open_clip's text tower for texts of any length: rotated queries and keys, gated MLPs and attention, register
//! tokens, values mixed with those of the first block, and a pool that knows padding. open_clip 3.3.0 has no such tower.

mod block;
mod pool;

use crate::config::{ModelConfig, ModernTextConfig, TextConfig};
use crate::graph::{
    Coordinates, GraphBuilder, GraphError, Linear, Mask, Pairs, ParameterId, Rotation, Scope, ValueId,
};

use super::norm::{Norm, NormKind};
use super::transformer::Masking;
use super::{ArchitectureError, Declared, Tower};
use block::Block;
use pool::TextPooling;

struct ModernText {
    path: String,
    context_length: usize,
    registers: Option<ParameterId>,
    token_embedding: ParameterId,
    pre_norm: Option<Norm>,
    blocks: Vec<Block>,
    mask: Mask,
    ln_final: Norm,
    pool: TextPooling,
    /// Number of tokens before the text.
    skip: usize,
    projection: Option<Linear>,
}

/// What the parts of the tower need to know.
struct Options<'a> {
    text: &'a TextConfig,
    modern: ModernTextConfig,
    norm: NormKind,
    rotation: Option<Rotation>,
}

/// Whether the config asks for this tower.
pub(super) fn fits(config: &ModelConfig) -> bool {
    config.text.modern.is_some()
}

/// Declares the tower's tensors.
pub(super) fn declare(config: &ModelConfig, mut scope: Scope<'_>) -> Declared {
    let text = &config.text;
    let Some(modern) = text.modern else {
        return Err(ArchitectureError::unsupported("a ModernText tower", "set `text_arch: modern`"));
    };
    let norm = match modern.rms {
        true => NormKind::Rms(modern.norm_epsilon),
        false => NormKind::Layer(modern.norm_epsilon),
    };
    let rotation = modern.rotary.map(|base| Rotation {
        grid: [modern.registers + text.context_length, 1],
        skip: 0,
        coordinates: Coordinates::Line,
        columns_first: false,
        temperature: base as f32,
        pairs: Pairs::Neighbors,
    });
    let options = Options { text, modern, norm, rotation };
    let (width, skip) = (text.width, modern.registers);
    let registers = (skip > 0).then(|| scope.parameter("reg_tokens", &[1, skip, width]));
    let token_embedding = scope.child("token_embedding").parameter("weight", &[text.vocab_size, width]);
    let pre_norm = modern.pre_norm.then(|| Norm::new(scope.child("norm_pre"), width, norm));
    let mut list = scope.child("blocks");
    let blocks = (0..text.layers).map(|index| Block::declare(list.child(index), index, &options)).collect();
    let ln_final = Norm::new(scope.child("ln_final"), width, norm);
    let pool = TextPooling::declare(scope.child("pool"), &options)?;
    let projection = text
        .projection
        .then(|| Linear::new(scope.child("text_projection"), width, config.embed_dim, text.projection_bias));
    Ok(Box::new(ModernText {
        path: scope.path().to_owned(),
        context_length: text.context_length,
        registers,
        token_embedding,
        pre_norm,
        blocks,
        mask: match modern.causal {
            true => Mask::Causal,
            false => Mask::Padding { id: text.pad_id, skip, causal: false },
        },
        ln_final,
        pool,
        skip,
        projection,
    }))
}

impl Tower for ModernText {
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let ids = graph.token_ids(self.context_length);
        let mut x = graph.embedding(ids, self.token_embedding)?;
        if let Some(registers) = self.registers {
            x = graph.prepend_token(x, registers)?;
        }
        if let Some(norm) = &self.pre_norm {
            x = norm.forward(graph, x)?;
        }
        let looks_at_ids = matches!(self.mask, Mask::Padding { .. });
        let masking = Masking { mask: self.mask, ids: looks_at_ids.then_some(ids) };
        let mut first_values = None;
        for block in &self.blocks {
            x = block.forward(graph, x, masking, &mut first_values)?;
        }
        graph.scope(self.path.as_str());
        x = self.ln_final.forward(graph, x)?;
        x = graph.drop_tokens(x, self.skip)?;
        x = self.pool.forward(graph, x, ids)?;
        graph.scope(self.path.as_str());
        match &self.projection {
            Some(projection) => graph.linear(x, projection),
            None => Ok(x),
        }
    }
}
