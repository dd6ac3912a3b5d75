//! open_clip's text transformer (CLIP, <https://arxiv.org/abs/2103.00020>).

use crate::config::{ModelConfig, TextConfig, TextPool};
use crate::graph::{GraphBuilder, GraphError, LayerNorm, Linear, Mask, ParameterId, Pool, Scope, ValueId};

use super::transformer::{self, BlockOptions, Masking, Transformer};
use super::{ArchitectureError, Declared, Tower};

struct TextTransformer {
    path: String,
    context_length: usize,
    token_embedding: ParameterId,
    positional_embedding: ParameterId,
    class_token: Option<ParameterId>,
    transformer: Transformer,
    mask: Mask,
    ln_final: LayerNorm,
    pool: Pool,
    projection: Option<Linear>,
}

/// Whether the config asks for this tower.
pub(super) fn fits(config: &ModelConfig) -> bool {
    config.text.hugging_face.is_none()
}

/// Declares the tower's tensors: under `text`, or in the root, where open_clip's `CLIP` class keeps them.
pub(super) fn declare(config: &ModelConfig, mut scope: Scope<'_>) -> Declared {
    let text = &config.text;
    transformer::check_norm(text.norm, "text_cfg")?;
    let TextConfig { width, norm, embed_cls, .. } = *text;
    let in_root = scope.path().is_empty();
    if embed_cls && in_root {
        let why = "open_clip's own CLIP class loses the token; set `custom_text`";
        return Err(ArchitectureError::unsupported("`text_cfg.embed_cls` without `custom_text`", why));
    }
    let options = BlockOptions::of_text(config);
    let positions = text.context_length + usize::from(embed_cls);
    let class_token = embed_cls.then(|| scope.parameter("cls_emb", &[width]));
    let positional_embedding = scope.parameter("positional_embedding", &[positions, width]);
    let declare_embedding =
        |scope: &mut Scope<'_>| scope.child("token_embedding").parameter("weight", &[text.vocab_size, width]);
    // The CLIP class stores the tower's parts in another order than the tower itself.
    let (token_embedding, transformer) = if in_root {
        let transformer = Transformer::declare(scope.child("transformer"), text.layers, &options);
        (declare_embedding(&mut scope), transformer)
    } else {
        let embedding = declare_embedding(&mut scope);
        (embedding, Transformer::declare(scope.child("transformer"), text.layers, &options))
    };
    let ln_final = transformer::layer_norm(scope.child("ln_final"), width, norm);
    let projection = declare_projection(config, &mut scope);
    Ok(Box::new(TextTransformer {
        path: scope.path().to_owned(),
        context_length: text.context_length,
        token_embedding,
        positional_embedding,
        class_token,
        transformer,
        mask: mask(text),
        ln_final,
        pool: pool(text)?,
        projection,
    }))
}

/// The projection from a text's vector to its embedding, if any.
pub(super) fn declare_projection(config: &ModelConfig, scope: &mut Scope<'_>) -> Option<Linear> {
    let (text, embed_dim) = (&config.text, config.embed_dim);
    match (text.projection, text.projection_bias) {
        (false, _) => None,
        (true, true) => Some(Linear::new(scope.child("text_projection"), text.width, embed_dim, true)),
        (true, false) => Some(Linear::projection(scope, "text_projection", text.width, embed_dim)),
    }
}

/// The mask of self-attention. With a class token, open_clip also hides padding, but one position late: the class
/// token's column comes first, as CoCa's released weights were trained.
fn mask(text: &TextConfig) -> Mask {
    let causal = !text.no_causal_mask;
    match (text.embed_cls, causal) {
        (true, _) => Mask::Padding { id: text.pad_id, skip: 1, causal },
        (false, true) => Mask::Causal,
        (false, false) => Mask::None,
    }
}

/// How the tokens become one vector.
pub(super) fn pool(text: &TextConfig) -> Result<Pool, ArchitectureError> {
    match text.pool {
        // The class token comes last and is always the one pooled.
        _ if text.embed_cls => Ok(Pool::Last),
        TextPool::First => Ok(Pool::First),
        TextPool::Last => Ok(Pool::Last),
        TextPool::Argmax => Ok(Pool::Argmax),
        TextPool::Eos => Ok(Pool::Eos(text.eos_id)),
        TextPool::Mean | TextPool::Query | TextPool::None => {
            let why = "the tower would return its tokens instead of one embedding";
            Err(ArchitectureError::unsupported("`text_cfg.pool_type: none`", why))
        }
    }
}

/// From a text's tokens to its embedding.
pub(super) fn pooled(
    graph: &mut GraphBuilder<'_>,
    tokens: ValueId,
    ids: ValueId,
    pool: Pool,
    projection: Option<&Linear>,
) -> Result<ValueId, GraphError> {
    let x = graph.pool(tokens, pool, pool.looks_at_ids().then_some(ids))?;
    match projection {
        Some(projection) => graph.linear(x, projection),
        None => Ok(x),
    }
}

impl Tower for TextTransformer {
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let ids = graph.token_ids(self.context_length);
        let mut x = graph.embedding(ids, self.token_embedding)?;
        if let Some(token) = self.class_token {
            x = graph.append_token(x, token)?;
        }
        x = graph.add_positions(x, self.positional_embedding)?;
        let looks_at_ids = matches!(self.mask, Mask::Padding { .. });
        let masking = Masking { mask: self.mask, ids: looks_at_ids.then_some(ids) };
        x = self.transformer.forward(graph, x, masking)?;

        graph.scope(self.path.as_str());
        x = graph.layer_norm(x, &self.ln_final)?;
        pooled(graph, x, ids, self.pool, self.projection.as_ref())
    }
}
