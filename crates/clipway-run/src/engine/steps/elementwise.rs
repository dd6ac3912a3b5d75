//! Elementwise operations.

use clipway_model::graph::Activation;

use super::step::{Operation, Prepared, Step};
use crate::engine::loader::{Loader, single};
use crate::engine::recipe::Vector;
use crate::engine::shape::Shape;
use crate::engine::values::{Values, function};

/// `row · scale + shift`, channel by channel.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Affine {
    pub scale: Vector,
    pub shift: Option<Vector>,
}

struct AffineStep {
    scale: Vec<f32>,
    shift: Option<Vec<f32>>,
}

impl Operation for Affine {
    fn is_row_wise(&self) -> bool {
        true
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        let scale = single(&loader.vector(&self.scale)?);
        Ok(Box::new(AffineStep { scale, shift: loader.optional(self.shift.as_ref())? }))
    }
}

impl Step for AffineStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.copy_input(out);
        values.kernels.mul_channels(&self.scale, out);
        if let Some(shift) = &self.shift {
            values.kernels.add(shift, out);
        }
    }
}

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Activate(pub Activation);

impl Operation for Activate {
    fn is_row_wise(&self) -> bool {
        true
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for Activate {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.copy_input(out);
        values.kernels.activation(function(Some(self.0)), out);
    }
}

/// Two values combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) enum Pairwise {
    /// Sum of two values.
    Add,
    /// Elementwise product of two values.
    Multiply,
    /// The first of two values minus the second.
    Subtract,
    /// Each row of a sample times the sample's one row of the second input.
    Gate,
}

impl Operation for Pairwise {
    fn is_row_wise(&self) -> bool {
        *self != Pairwise::Gate
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for Pairwise {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.copy_input(out);
        match self {
            Pairwise::Add => values.kernels.add(values.data(1), out),
            Pairwise::Multiply => values.kernels.mul_channels(values.data(1), out),
            Pairwise::Subtract => values.kernels.subtract(values.data(1), out),
            Pairwise::Gate => {
                let gates = values.matrix(1);
                for sample in 0..values.batch.samples {
                    values.kernels.mul_channels(gates.row(sample), values.own(out, sample));
                }
            }
        }
    }
}
