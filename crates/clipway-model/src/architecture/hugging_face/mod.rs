//! Text towers by Hugging Face name: an encoder of transformers, a pooler and a projection, as open_clip's
//! `HFTextEncoder` puts them together.

mod encoder;
mod bert;
mod m2m100;
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
    /// The encoder's own pooler: a layer and tanh behind the first token.
    pooler: Option<Linear>,
    projection: Vec<Linear>,
}

/// Whether the config asks for this tower.
pub(super) fn fits(config: &ModelConfig) -> bool {
    config.text.hugging_face.is_some()
}

/// The text model of a config: that of the file beside the weights, or one that is known by its name.
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

/// What makes one vector of the tokens.
#[derive(Clone, Copy, PartialEq)]
enum Pooling {
    /// The mean of what is not padding.
    Mean,
    /// The greatest values of what is not padding. That is what open_clip means; 3.3.0 itself fails there, since it
    /// fills by a mask of integers, which PyTorch refuses.
    Max,
    /// The first token.
    First,
    /// The first token through the encoder's own pooler.
    Pooler,
}

fn pooling(tower: &HuggingFaceConfig, model: &TextModel) -> Pooling {
    let is_bert = matches!(model.family, Family::Bert(_) | Family::Roberta(_) | Family::XlmRoberta(_));
    match tower.pooler {
        Some(TextPooler::Mean) => Pooling::Mean,
        Some(TextPooler::Max) => Pooling::Max,
        // open_clip asks for the encoder's own pooler where this one is named; encoders of pairs have none.
        Some(TextPooler::Class) if is_bert => Pooling::Pooler,
        Some(TextPooler::Class | TextPooler::ClassLastHiddenState) => Pooling::First,
        None => match model.family {
            Family::Bert(_) | Family::M2m100 { .. } => Pooling::First,
            Family::Roberta(_) | Family::XlmRoberta(_) | Family::Mt5(_) => Pooling::Mean,
        },
    }
}

/// The layers of the projection, with GELU between two.
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
            let why = format!("the text model is {width} wide and the embedding {embed_dim}");
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
