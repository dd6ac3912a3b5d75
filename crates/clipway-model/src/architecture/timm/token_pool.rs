//! How timm's transformers pool their tokens.

use crate::graph::{Activation, GraphBuilder, GraphError, Linear, Mask, ParameterId, Pool, Scope, ValueId};

use super::super::error::ArchitectureError;
use super::layers::{Mlp, MlpKind, MlpOptions, Norm, NormKind, join};
use super::request::{PoolRequest, TrunkRequest};

/// A pool by timm's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolKind {
    /// `token`: the class token.
    Token,
    /// `avg`: the mean of the patch tokens.
    Average,
    /// `max`: the maximum of each channel over the patch tokens.
    Max,
    /// `avgmax`: half the sum of mean and maximum.
    AverageMax,
    /// `map`: attention of one learned query.
    Latent,
    /// `prr`: parameter-free attention of all tokens to each other, then the class token, or the mean of all tokens if
    /// there is none.
    Refined,
}

const NAMES: [(&str, PoolKind); 6] = [
    ("token", PoolKind::Token),
    ("avg", PoolKind::Average),
    ("max", PoolKind::Max),
    ("avgmax", PoolKind::AverageMax),
    ("map", PoolKind::Latent),
    ("prr", PoolKind::Refined),
];

/// The pool that a trunk is constructed with, which affects its layers, and the pool it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pooling {
    pub(super) constructed: PoolKind,
    pub(super) used: PoolKind,
}

/// A trunk's pools.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolOptions<'a> {
    /// The trunk's default pool.
    pub(super) own: PoolKind,
    /// Pools it can be asked for.
    pub(super) known: &'a [PoolKind],
    pub(super) class_token: bool,
}

impl Pooling {
    /// Interprets open_clip's request as timm does.
    pub(super) fn resolve(
        request: &TrunkRequest<'_>,
        options: PoolOptions<'_>,
    ) -> Result<Pooling, ArchitectureError> {
        let PoolOptions { own, known, class_token } = options;
        let (asked, constructed) = match request.pool {
            PoolRequest::Default => return Ok(Pooling { constructed: own, used: own }),
            PoolRequest::AtConstruction(name) => (name, None),
            PoolRequest::Afterwards(name) => (name, Some(own)),
        };
        let refuse = |why: &str| Err(request.refused_pool(why));
        match request.pool {
            PoolRequest::Afterwards("") => {
                return refuse("an attention of open_clip's own needs a map");
            }
            _ if asked.is_empty() => {
                return refuse("the trunk would return its tokens instead of one vector");
            }
            _ => {}
        }
        let found = NAMES.iter().find(|(name, kind)| *name == asked && known.contains(kind));
        let Some(&(_, used)) = found else {
            let names: Vec<&str> =
                NAMES.iter().filter(|(_, kind)| known.contains(kind)).map(|(name, _)| *name).collect();
            return refuse(&format!("its pools are {}", names.join(", ")));
        };
        if used == PoolKind::Token && !class_token {
            return refuse("the trunk has no class token");
        }
        let constructed = constructed.unwrap_or(used);
        if used != constructed && matches!(used, PoolKind::Latent | PoolKind::Refined) {
            return refuse("timm adds no attention to a trunk built without it");
        }
        Ok(Pooling { constructed, used })
    }
}

/// A pool with its tensors declared.
pub(super) enum TokenPool {
    Plain(Pool),
    /// Attention of a learned query to the tokens after the first `n`.
    Latent(Box<LatentPool>, usize),
    /// Attention of the tokens to each other with this many heads, then a pool over all.
    Refined(usize, Pool),
}

/// Settings of a token pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenPoolOptions {
    /// Number of tokens before the patch tokens.
    pub(super) prefix: usize,
    /// Whether means and maxima include those tokens.
    pub(super) with_prefix: bool,
    /// Whether the learned query's attention includes them.
    pub(super) latent_with_prefix: bool,
    pub(super) class_token: bool,
    pub(super) latent: LatentOptions,
}

impl TokenPool {
    pub(super) fn declare(scope: &mut Scope<'_>, used: PoolKind, options: TokenPoolOptions) -> TokenPool {
        let skip_unless = |with_prefix: bool| if with_prefix { 0 } else { options.prefix };
        let skip = skip_unless(options.with_prefix);
        match used {
            PoolKind::Token => TokenPool::Plain(Pool::First),
            PoolKind::Average => TokenPool::Plain(Pool::Mean { skip }),
            PoolKind::Max => TokenPool::Plain(Pool::Max { skip }),
            PoolKind::AverageMax => TokenPool::Plain(Pool::MeanMax { skip }),
            PoolKind::Latent => {
                let pool = LatentPool::declare(scope.child("attn_pool"), options.latent);
                TokenPool::Latent(Box::new(pool), skip_unless(options.latent_with_prefix))
            }
            PoolKind::Refined => {
                let pool = if options.class_token { Pool::First } else { Pool::Mean { skip: 0 } };
                TokenPool::Refined(options.latent.heads, pool)
            }
        }
    }

    /// `[batch, tokens, width]` to `[batch, width]`.
    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            TokenPool::Plain(pool) => graph.pool(x, *pool, None),
            TokenPool::Latent(latent, skip) => {
                let x = graph.drop_tokens(x, *skip)?;
                latent.forward(graph, x)
            }
            TokenPool::Refined(heads, pool) => {
                let x = graph.attention(&[x, x, x], *heads, Mask::None)?;
                graph.pool(x, *pool, None)
            }
        }
    }
}

/// Pooling by a learned query that attends to all tokens, followed by an MLP (<https://arxiv.org/abs/2106.04560>).
pub(super) struct LatentPool {
    path: String,
    heads: usize,
    width: usize,
    latent: ParameterId,
    query: Linear,
    key_value: Linear,
    output: Linear,
    norm: Norm,
    mlp: Mlp,
}

/// Settings of a learned-query pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct LatentOptions {
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) hidden: usize,
    pub(super) norm: NormKind,
    pub(super) activation: Activation,
}

impl LatentPool {
    fn declare(mut scope: Scope<'_>, options: LatentOptions) -> LatentPool {
        let LatentOptions { width, heads, hidden, norm, activation } = options;
        LatentPool {
            path: scope.path().to_owned(),
            heads,
            width,
            latent: scope.parameter("latent", &[1, 1, width]),
            query: Linear::new(scope.child("q"), width, width, true),
            key_value: Linear::new(scope.child("kv"), width, 2 * width, true),
            output: Linear::new(scope.child("proj"), width, width, true),
            norm: Norm::new(scope.child("norm"), width, norm),
            mlp: Mlp::declare(
                scope.child("mlp"),
                MlpOptions { kind: MlpKind::Plain, width, hidden, bias: true, activation, norm: None },
            ),
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let latent = graph.queries(x, self.latent)?;
        let query = graph.linear(latent, &self.query)?;
        let key = graph.linear(x, &self.key_value.part(0, self.width))?;
        let value = graph.linear(x, &self.key_value.part(1, self.width))?;
        let attended = graph.attention(&[query, key, value], self.heads, Mask::None)?;
        let x = graph.linear(attended, &self.output)?;
        let branch = self.norm.forward(graph, x)?;
        let branch = self.mlp.forward(graph, branch)?;
        let x = join(graph, x, branch, None)?;
        graph.pool(x, Pool::First, None)
    }
}
