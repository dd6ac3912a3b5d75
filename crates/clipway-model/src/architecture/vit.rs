//! open_clip's vision transformer (ViT, <https://arxiv.org/abs/2010.11929>, with CLIP's projection).

use crate::config::{AttentionalPool, ModelConfig, VisionConfig, VisionLayers, VisionPool};
use crate::graph::{Conv2d, GraphBuilder, GraphError, LayerNorm, Linear, ParameterId, Pool, Scope, ValueId};

use super::attentional_pooler::AttentionalPooler;
use super::transformer::{self, BlockOptions, Masking, Transformer};
use super::{ArchitectureError, Declared, Tower};

struct VisionTransformer {
    path: String,
    image_size: [usize; 2],
    conv1: Conv2d,
    class_embedding: ParameterId,
    positional_embedding: ParameterId,
    ln_pre: Option<LayerNorm>,
    transformer: Transformer,
    pooling: Pooling,
    ln_post: LayerNorm,
    proj: Linear,
}

/// How the tokens become one vector, and where the last layer norm goes.
enum Pooling {
    /// Layer norm, then pooling.
    NormThenPool(Pool),
    /// Pooling, then layer norm.
    PoolThenNorm(Pool),
    /// Attentional pooling, layer norm, then pooling of its outputs.
    Attentional(Box<AttentionalPooler>, Pool),
    /// Layer norm, then attentional pooling with one query. The other pooler, whose tokens a decoder would read, comes
    /// before it or beside it.
    Contrastive { tokens: Box<AttentionalPooler>, vector: Box<AttentionalPooler>, cascade: bool },
}

/// Whether the config asks for this tower.
pub(super) fn fits(config: &ModelConfig) -> bool {
    config.vision.timm.is_none() && matches!(config.vision.layers, VisionLayers::Blocks(_))
}

/// Declares the tower's tensors.
pub(super) fn declare(config: &ModelConfig, mut scope: Scope<'_>) -> Declared {
    let vision = &config.vision;
    let (VisionLayers::Blocks(layers), Some(patch)) = (vision.layers, vision.patch_size) else {
        return Err(ArchitectureError::unsupported(
            "a vision transformer without patches",
            "set `patch_size`",
        ));
    };
    transformer::check_norm(vision.norm, "vision_cfg")?;
    let VisionConfig { width, image_size, norm, .. } = *vision;
    let tokens = (image_size[0] / patch[0]) * (image_size[1] / patch[1]) + 1;
    let pool_width = if vision.attentional_pool == AttentionalPool::None { width } else { config.embed_dim };
    let options = BlockOptions {
        width,
        heads: width / vision.head_width,
        mlp_ratio: vision.mlp_ratio,
        layer_scale: vision.layer_scale.is_some(),
        activation: transformer::activation(config.quick_gelu, vision.activation),
        norm,
        block: vision.block,
    };
    Ok(Box::new(VisionTransformer {
        path: scope.path().to_owned(),
        image_size,
        class_embedding: scope.parameter("class_embedding", &[width]),
        positional_embedding: scope.parameter("positional_embedding", &[tokens, width]),
        proj: Linear::projection(&mut scope, "proj", pool_width, config.embed_dim),
        conv1: Conv2d::new(scope.child("conv1"), 3, width, patch).stride(patch),
        ln_pre: (!vision.no_ln_pre).then(|| transformer::layer_norm(scope.child("ln_pre"), width, norm)),
        transformer: Transformer::declare(scope.child("transformer"), layers, &options),
        pooling: declare_pooling(config, &mut scope)?,
        ln_post: transformer::layer_norm(scope.child("ln_post"), pool_width, norm),
    }))
}

fn declare_pooling(config: &ModelConfig, scope: &mut Scope<'_>) -> Result<Pooling, ArchitectureError> {
    let vision = &config.vision;
    let mut pooler = |name: &str, queries: usize| {
        let sizes = [queries, config.embed_dim, vision.width];
        Box::new(AttentionalPooler::declare(scope.child(name), sizes, vision.pooler_heads))
    };
    if let AttentionalPool::Parallel | AttentionalPool::Cascade = vision.attentional_pool {
        return Ok(Pooling::Contrastive {
            tokens: pooler("attn_pool", vision.pooler_queries),
            vector: pooler("attn_pool_contrastive", 1),
            cascade: vision.attentional_pool == AttentionalPool::Cascade,
        });
    }
    let pool = match vision.pool {
        VisionPool::Token => Pool::First,
        VisionPool::Average => Pool::Mean { skip: 1 },
        VisionPool::None => {
            let why = "the tower would return its tokens instead of one embedding";
            return Err(ArchitectureError::unsupported("`vision_cfg.pool_type: none`", why));
        }
    };
    Ok(match vision.attentional_pool {
        AttentionalPool::None if vision.final_ln_after_pool => Pooling::PoolThenNorm(pool),
        AttentionalPool::None => Pooling::NormThenPool(pool),
        _ if vision.pool == VisionPool::Average && vision.pooler_queries == 1 => {
            let what = "`vision_cfg.pool_type: avg` after attentional pooling with one query";
            return Err(ArchitectureError::unsupported(what, "the mean skips the first query"));
        }
        _ => Pooling::Attentional(pooler("attn_pool", vision.pooler_queries), pool),
    })
}

impl Tower for VisionTransformer {
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        let [height, width] = self.image_size;
        graph.scope(self.path.as_str());
        let pixels = graph.pixels(height, width);
        let patches = graph.conv2d(pixels, &self.conv1)?;
        let tokens = graph.flatten(patches)?;
        let tokens = graph.prepend_token(tokens, self.class_embedding)?;
        let mut x = graph.add_positions(tokens, self.positional_embedding)?;
        if let Some(norm) = &self.ln_pre {
            x = graph.layer_norm(x, norm)?;
        }
        x = self.transformer.forward(graph, x, Masking::NONE)?;

        graph.scope(self.path.as_str());
        let pooled = self.pool(graph, x)?;
        graph.scope(self.path.as_str());
        graph.linear(pooled, &self.proj)
    }
}

impl VisionTransformer {
    fn pool(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match &self.pooling {
            Pooling::NormThenPool(pool) => {
                let x = graph.layer_norm(x, &self.ln_post)?;
                graph.pool(x, *pool, None)
            }
            Pooling::PoolThenNorm(pool) => {
                let pooled = graph.pool(x, *pool, None)?;
                graph.layer_norm(pooled, &self.ln_post)
            }
            Pooling::Attentional(pooler, pool) => {
                let x = pooler.forward(graph, x)?;
                graph.scope(self.path.as_str());
                let x = graph.layer_norm(x, &self.ln_post)?;
                graph.pool(x, *pool, None)
            }
            Pooling::Contrastive { tokens, vector, cascade } => {
                let mut x = graph.layer_norm(x, &self.ln_post)?;
                if *cascade {
                    x = tokens.forward(graph, x)?;
                }
                let pooled = vector.forward(graph, x)?;
                graph.pool(pooled, Pool::First, None)
            }
        }
    }
}
