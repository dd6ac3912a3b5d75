//! How ModernText pools a text's tokens, without its registers.

use crate::config::TextPool;
use crate::graph::{
    AttentionOptions, GraphBuilder, GraphError, Linear, Mask, ParameterId, Pool, Scope, ValueId,
};

use super::super::ArchitectureError;
use super::super::norm::Norm;
use super::Options;

/// A pool with its tensors declared.
pub(super) enum TextPooling {
    Plain(Pool),
    Query(Box<Query>),
}

/// Attention of one learned query to the tokens that are not padding.
pub(super) struct Query {
    path: String,
    heads: usize,
    pad_id: i64,
    tokens: ParameterId,
    query: Linear,
    key_value: [Linear; 2],
    head_norms: Option<[Norm; 2]>,
}

impl TextPooling {
    pub(super) fn declare(scope: Scope<'_>, options: &Options<'_>) -> Result<TextPooling, ArchitectureError> {
        let text = options.text;
        match text.pool {
            TextPool::Eos => {
                Ok(TextPooling::Plain(Pool::EosOrLast { end: text.eos_id, padding: text.pad_id }))
            }
            TextPool::Mean => Ok(TextPooling::Plain(Pool::MeanUnpadded(text.pad_id))),
            TextPool::Query => Ok(TextPooling::Query(Box::new(Query::declare(scope, options)))),
            TextPool::First | TextPool::Last | TextPool::Argmax | TextPool::None => {
                let why = "its pools are eos, argmax, mean and map";
                Err(ArchitectureError::unsupported("this `text_cfg.pool_type` with `text_arch: modern`", why))
            }
        }
    }

    /// `[batch, length, width]` to `[batch, width]`.
    pub(super) fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        ids: ValueId,
    ) -> Result<ValueId, GraphError> {
        match self {
            TextPooling::Plain(pool) => graph.pool(x, *pool, Some(ids)),
            TextPooling::Query(query) => query.forward(graph, x, ids),
        }
    }
}

impl Query {
    fn declare(mut scope: Scope<'_>, options: &Options<'_>) -> Query {
        let (text, bias) = (options.text, options.modern.attention_bias);
        let (width, head) = (text.width, text.width / text.heads);
        let tokens = scope.parameter("query", &[1, 1, width]);
        let query = Linear::new(scope.child("q"), width, width, bias);
        let packed = Linear::new(scope.child("kv"), width, 2 * width, bias);
        let head_norms = text
            .block
            .qk_norm
            .then(|| ["q_norm", "k_norm"].map(|name| Norm::new(scope.child(name), head, options.norm)));
        Query {
            path: scope.path().to_owned(),
            heads: text.heads,
            pad_id: text.pad_id,
            tokens,
            query,
            key_value: [0, 1].map(|part| packed.part(part, width)),
            head_norms,
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId, ids: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let [key, value] = &self.key_value;
        let query = graph.queries(x, self.tokens)?;
        let mut query = graph.linear(query, &self.query)?;
        let mut key = graph.linear(x, key)?;
        let value = graph.linear(x, value)?;
        if let Some([query_norm, key_norm]) = &self.head_norms {
            query = query_norm.forward_heads(graph, query)?;
            key = key_norm.forward_heads(graph, key)?;
        }
        let mask = Mask::Padding { id: self.pad_id, skip: 0, causal: false };
        let options = AttentionOptions { mask, ids: Some(ids), ..AttentionOptions::new(self.heads) };
        let attended = graph.attention_with(&[query, key, value], options)?;
        graph.pool(attended, Pool::First, None)
    }
}
