//! open_clip's own pools after a trunk, `abs_attn` and `rot_attn`: the mean of a map attends to all places, and the
//! result is the vector (CLIP, <https://arxiv.org/abs/2103.00020>). Positions come from a table or are rotary.

use crate::graph::{
    Coordinates, GraphBuilder, GraphError, GridChange, GridFilter, Linear, Mask, Pairs, ParameterId, Pool,
    Rotation, Scope, ValueId,
};

use super::super::error::ArchitectureError;

/// Width of a head.
const HEAD_WIDTH: usize = 64;
/// The grid that rotary positions are stretched over.
const REFERENCE: [usize; 2] = [7, 7];

/// Where the positions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Positions {
    /// A table made for one map size and resampled to others.
    Table,
    /// Rotary embedding of everything except the mean.
    Rotary,
}

impl Positions {
    /// The pool that `timm_pool` names, if it is open_clip's own.
    pub(super) fn of(pool: &str) -> Option<Positions> {
        match pool {
            "abs_attn" => Some(Positions::Table),
            "rot_attn" => Some(Positions::Rotary),
            _ => None,
        }
    }
}

/// A pool with its tensors declared.
pub(super) struct AttentionPool {
    path: String,
    channels: usize,
    /// A table and the map size it was made for.
    positions: Option<(ParameterId, [usize; 2])>,
    query_key_value: Linear,
    output: Linear,
}

impl AttentionPool {
    /// Declares the pool from a map of `channels` to a vector of `outputs`. `map` is the size of the trunk's maps
    /// according to timm; the table is made for it.
    pub(super) fn declare(
        mut scope: Scope<'_>,
        positions: Positions,
        map: Option<[usize; 2]>,
        [channels, outputs]: [usize; 2],
    ) -> Result<AttentionPool, ArchitectureError> {
        let refused = |why: String| {
            let what = "`vision_cfg.timm_pool` of `abs_attn` or `rot_attn` with this trunk";
            Err(ArchitectureError::unsupported(what, why))
        };
        let Some([height, width]) = map else {
            return refused("they pool channels-first maps, and the trunk outputs none".to_owned());
        };
        if !channels.is_multiple_of(HEAD_WIDTH) {
            return refused(format!("its head width {HEAD_WIDTH} does not divide {channels} channels"));
        }
        let table = (positions == Positions::Table)
            .then(|| (scope.parameter("pos_embed", &[height * width + 1, channels]), [height, width]));
        Ok(AttentionPool {
            path: scope.path().to_owned(),
            channels,
            positions: table,
            query_key_value: Linear::new(scope.child("qkv"), channels, 3 * channels, true),
            output: Linear::new(scope.child("proj"), channels, outputs, true),
        })
    }

    /// `[batch, channels, height, width]` to `[batch, outputs]`.
    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        // If there is none, `flatten` reports the error.
        let grid = graph.map_size(x).unwrap_or_default();
        let heads = self.channels / HEAD_WIDTH;
        let x = graph.flatten(x)?;
        let mut x = graph.prepend_mean(x)?;
        if let Some((table, from)) = self.positions {
            let change = GridChange { prefix: 1, from, to: grid, filter: GridFilter::Bicubic, square: false };
            x = graph.add_resampled_positions(x, table, change)?;
        }
        let part = |index: usize| self.query_key_value.part(index, self.channels);
        let mut query = graph.linear(x, &part(0))?;
        let mut key = graph.linear(x, &part(1))?;
        let value = graph.linear(x, &part(2))?;
        if self.positions.is_none() {
            let rotation = Rotation {
                grid,
                skip: 1,
                coordinates: Coordinates::Index { offset: 0.0, reference: Some(REFERENCE) },
                columns_first: false,
                temperature: 10_000.0,
                pairs: Pairs::Neighbors,
            };
            query = graph.rotary(query, heads, rotation)?;
            key = graph.rotary(key, heads, rotation)?;
        }
        let x = graph.attention(&[query, key, value], heads, Mask::None)?;
        let x = graph.linear(x, &self.output)?;
        graph.pool(x, Pool::First, None)
    }
}
