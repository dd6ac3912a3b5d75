//! Attention over the samples of a batch, and the rotation of its heads.

use clipway_kernels::{AttentionSpec, MatrixMut};
use clipway_model::graph::{AttentionBias, Mask, Rotation};

use super::step::{Operation, Prepared, Step};
use crate::engine::attend::{self, Sight};
use crate::engine::bias::Bias;
use crate::engine::loader::Loader;
use crate::engine::shape::{Rows, Shape};
use crate::engine::turn::Turn;
use crate::engine::values::Values;

/// Attention. Inputs: values that hold queries, keys and values from these columns on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Attention {
    pub heads: usize,
    pub scale: f32,
    pub mask: Mask,
    pub bias: Option<AttentionBias>,
    /// Rotates the heads of queries and keys first.
    pub rotation: Option<Rotation>,
    pub columns: [usize; 3],
}

struct AttentionStep {
    heads: usize,
    scale: f32,
    mask: Mask,
    bias: Option<Bias>,
    turn: Option<Turn>,
    columns: [usize; 3],
}

impl Operation for Attention {
    fn prepare(&self, shape: Shape, loader: &Loader<'_>) -> Prepared {
        let Attention { heads, scale, mask, bias, rotation, columns } = *self;
        let bias = bias.map(|bias| loader.bias(bias, heads)).transpose()?;
        let turn = rotation.map(|rotation| Turn::new(&rotation, shape.width / heads));
        Ok(Box::new(AttentionStep { heads, scale, mask, bias, turn, columns }))
    }
}

impl Step for AttentionStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let width = values.width();
        let spec = AttentionSpec {
            causal: matches!(self.mask, Mask::Causal | Mask::Padding { causal: true, .. }),
            rotary: self.turn.as_ref().map(Turn::rotary),
            ..plain(width, self.heads, self.scale)
        };
        let inputs = [0, 1, 2].map(|index| values.columns(index, self.columns[index], width));
        let rows = [values.own_shape().rows, values.shape(1).rows];
        let sight = Sight { mask: self.mask, bias: self.bias.as_ref() };
        attend::attend(values.kernels, &spec, &sight, values.batch, rows, inputs, out);
    }
}

/// Attention without a mask, a bias or a rotation.
pub(super) fn plain(width: usize, heads: usize, scale: f32) -> AttentionSpec<'static> {
    AttentionSpec { heads, head_width: width / heads, scale, causal: false, bias: None, rotary: None }
}

/// Rotates heads by the row's position in its sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Rotary {
    pub heads: usize,
    pub rotation: Rotation,
}

struct RotaryStep {
    heads: usize,
    turn: Turn,
}

impl Operation for Rotary {
    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn prepare(&self, shape: Shape, _: &Loader<'_>) -> Prepared {
        let Rotary { heads, rotation } = *self;
        Ok(Box::new(RotaryStep { heads, turn: Turn::new(&rotation, shape.width / heads) }))
    }
}

impl Step for RotaryStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.copy_input(out);
        let width = values.width();
        let rotate = |out: &mut [f32], positions: usize| {
            let out = MatrixMut::new(out, out.len() / width, width);
            values.kernels.rotate(self.turn.rotary(), width / self.heads, positions, out);
        };
        match values.own_shape().rows {
            Rows::Fixed(positions) => rotate(out, positions.max(1)),
            // Each text begins anew, and each has its own length.
            Rows::Text(_) => (0..values.batch.samples).for_each(|sample| {
                let own = values.own(out, sample);
                let positions = own.len() / width;
                rotate(own, positions.max(1));
            }),
        }
    }
}
