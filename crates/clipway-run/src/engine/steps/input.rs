//! A tower's input, and pixels as rows.

use super::step::{Operation, Prepared, Step};
use crate::engine::batch::Input;
use crate::engine::loader::Loader;
use crate::engine::pixels::{self, PatchOrder};
use crate::engine::shape::Shape;
use crate::engine::values::Values;

/// The tower's input: normalized pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Pixels;

/// The tower's input: texts of at most `most` tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct TokenIds {
    pub most: usize,
}

/// Pixels as a map of three channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct ToRows;

/// Pixels as rows of whole patches, after `leading` zero rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Patches {
    pub kernel: [usize; 2],
    pub leading: usize,
    pub order: PatchOrder,
}

/// An input: it is in the batch, so there is nothing to compute.
struct Given;

impl Operation for Pixels {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(Given))
    }
}

impl Operation for TokenIds {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(Given))
    }
}

impl Step for Given {
    fn run(&self, _: &Values<'_>, _: &mut [f32]) {}
}

impl Operation for ToRows {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for ToRows {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        if let Input::Pixels { values, size } = values.batch.input {
            pixels::to_rows(values, size, out);
        }
    }
}

impl Operation for Patches {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for Patches {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        if let Input::Pixels { values, size } = values.batch.input {
            pixels::patches(values, size, (self.kernel, self.order), self.leading, out);
        }
    }
}
