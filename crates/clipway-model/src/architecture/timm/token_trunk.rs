//! What all of timm's vision transformers share: tokens, blocks, a pool with a norm before or after it, a classifier.

use crate::graph::{GraphBuilder, GraphError, Linear, ValueId};

use super::layers::Norm;
use super::request::Trunk;
use super::token_pool::TokenPool;
use super::tokens::Tokens;

/// A residual block, `[batch, tokens, width]` to the same.
pub(super) trait TokenBlock {
    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError>;
}

impl TokenBlock for Box<dyn TokenBlock> {
    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        (**self).forward(graph, x)
    }
}

/// A trunk with its tensors declared.
pub(super) struct TokenTrunk<B> {
    pub(super) path: String,
    pub(super) width: usize,
    pub(super) tokens: Tokens,
    pub(super) blocks: Vec<B>,
    pub(super) norm: Option<Norm>,
    pub(super) pool: TokenPool,
    pub(super) norm_after_pool: Option<Norm>,
    pub(super) classifier: Option<Linear>,
}

impl<B: TokenBlock> Trunk for TokenTrunk<B> {
    fn features(&self) -> usize {
        self.width
    }

    fn changed_from(&self) -> Option<[usize; 2]> {
        self.tokens.changed_from()
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        let mut x = self.tokens.forward(graph)?;
        x = self.blocks.iter().try_fold(x, |x, block| block.forward(graph, x))?;
        graph.scope(self.path.as_str());
        if let Some(norm) = &self.norm {
            x = norm.forward(graph, x)?;
        }
        x = self.pool.forward(graph, x)?;
        graph.scope(self.path.as_str());
        if let Some(norm) = &self.norm_after_pool {
            x = norm.forward(graph, x)?;
        }
        match &self.classifier {
            Some(classifier) => graph.linear(x, classifier),
            None => Ok(x),
        }
    }
}
