//! Text towers by Hugging Face name: a transformers encoder, a pooler and a projection, combined as in open_clip's
//! `HFTextEncoder`.

mod encoder;
mod bert;
mod m2m100;
mod modern_bert;
mod mt5;

use crate::config::text_model::{Family, TextModel, known};
use crate::config::{HuggingFaceConfig, ModelConfig, TextPooler, TextProjection};
use crate::graph::{Activation, GraphBuilder, GraphError, Linear, Pool, Scope, ValueId};

use super::{ArchitectureError, Declared, Tower};
use encoder::Encoder;

struct HuggingFaceText {
    path: String,
    context_length: usize,
    encoder: Box<dyn Encoder>,
    pool: Pool,
    /// The encoder's own pooler: a linear layer and tanh on the first token.
    pooler: Option<Linear>,
    projection: Vec<Linear>,
}

/// Whether the config asks for this tower.
pub(super) fn fits(config: &ModelConfig) -> bool {
    config.text.hugging_face.is_some()
}

/// The text model of a config: from the file beside the weights, or a known name.
pub(super) fn text_model(
    config: &ModelConfig,
    tower: &HuggingFaceConfig,
) -> Result<TextModel, ArchitectureError> {
    match config.text_model() {
        Some(model) => Ok(model.clone()),
        None => Ok(known(&tower.model_name)?),
    }
}

/// Declares the tower's tensors.
pub(super) fn declare(config: &ModelConfig, mut scope: Scope<'_>) -> Declared {
    let Some(tower) = &config.text.hugging_face else {
        return Err(ArchitectureError::unsupported("a text tower without a name", "set `hf_model_name`"));
    };
    let model = text_model(config, tower)?;
    let path = scope.path().to_owned();
    let pooling = pooling(tower, &model);
    let mut transformer = scope.child("transformer");
    let encoder: Box<dyn Encoder> = match model.family {
        Family::Bert(tables) | Family::Roberta(tables) | Family::XlmRoberta(tables) => {
            Box::new(bert::Bert::declare(&mut transformer, &model, tables))
        }
        Family::Mt5(sizes) => Box::new(mt5::Mt5::declare(&mut transformer, &model, sizes)),
        Family::M2m100 { scale_embedding } => {
            Box::new(m2m100::M2m100::declare(&mut transformer, &model, scale_embedding))
        }
        Family::ModernBert(sizes) => {
            let most = config.text.context_length;
            Box::new(modern_bert::ModernBert::declare(&mut transformer, &model, sizes, most))
        }
    };
    let pooler = (pooling == Pooling::Pooler)
        .then(|| Linear::new(transformer.child("pooler").child("dense"), model.width, model.width, true));
    let pool = match pooling {
        Pooling::Mean => Pool::MeanUnpadded(model.pad_id as i64),
        Pooling::Max => Pool::MaxUnpadded(model.pad_id as i64),
        Pooling::First | Pooling::Pooler => Pool::First,
    };
    let projection = declare_projection(&mut scope, tower, model.width, config.embed_dim)?;
    let context_length = config.text.context_length;
    Ok(Box::new(HuggingFaceText { path, context_length, encoder, pool, pooler, projection }))
}

/// How the tokens become one vector.
#[derive(Clone, Copy, PartialEq)]
enum Pooling {
    /// The mean of all tokens that are not padding.
    Mean,
    /// The maximum over all tokens that are not padding. open_clip intends this too, but 3.3.0 fails: it fills by an
    /// integer mask, which PyTorch rejects.
    Max,
    /// The first token.
    First,
    /// The first token, passed through the encoder's own pooler.
    Pooler,
}

fn pooling(tower: &HuggingFaceConfig, model: &TextModel) -> Pooling {
    let is_bert = matches!(model.family, Family::Bert(_) | Family::Roberta(_) | Family::XlmRoberta(_));
    match tower.pooler {
        Some(TextPooler::Mean) => Pooling::Mean,
        Some(TextPooler::Max) => Pooling::Max,
        // open_clip creates the encoder's own pooler if this one is named; encoder-decoder models have none.
        Some(TextPooler::Class) if is_bert => Pooling::Pooler,
        Some(TextPooler::Class | TextPooler::ClassLastHiddenState) => Pooling::First,
        None => match model.family {
            Family::Bert(_) | Family::M2m100 { .. } => Pooling::First,
            Family::Roberta(_) | Family::XlmRoberta(_) | Family::Mt5(_) | Family::ModernBert(_) => {
                Pooling::Mean
            }
        },
    }
}

/// The layers of the projection, with GELU between them.
fn declare_projection(
    scope: &mut Scope<'_>,
    tower: &HuggingFaceConfig,
    width: usize,
    embed_dim: usize,
) -> Result<Vec<Linear>, ArchitectureError> {
    match tower.projection {
        Some(TextProjection::Linear) => Ok(vec![Linear::new(scope.child("proj"), width, embed_dim, false)]),
        Some(TextProjection::Mlp) => {
            let mut layers = scope.child("proj");
            let hidden = (width + embed_dim) / 2;
            Ok(vec![
                Linear::new(layers.child(0), width, hidden, false),
                Linear::new(layers.child(2), hidden, embed_dim, false),
            ])
        }
        None if width == embed_dim => Ok(Vec::new()),
        None => {
            let why = format!("the text model has width {width} and the embedding {embed_dim}");
            Err(ArchitectureError::unsupported("`text_cfg.hf_proj_type: null`", why))
        }
    }
}

impl Tower for HuggingFaceText {
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let ids = graph.token_ids(self.context_length);
        let tokens = self.encoder.forward(graph, ids)?;
        graph.scope(self.path.as_str());
        let mut x = graph.pool(tokens, self.pool, self.pool.looks_at_ids().then_some(ids))?;
        if let Some(pooler) = &self.pooler {
            x = graph.linear(x, pooler)?;
            x = graph.activation(x, Activation::Tanh);
        }
        for (index, layer) in self.projection.iter().enumerate() {
            if index > 0 {
                x = graph.activation(x, Activation::Gelu);
            }
            x = graph.linear(x, layer)?;
        }
        Ok(x)
    }
}
