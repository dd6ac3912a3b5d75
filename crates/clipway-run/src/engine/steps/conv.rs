//! Windows moving over a map.

use clipway_kernels::{PackedConv, Window as KernelWindow};

use super::step::{Operation, Prepared, Step};
use crate::engine::loader::{Loader, kernel_window};
use crate::engine::recipe::{Matrix, Vector};
use crate::engine::shape::{Finish, Shape, Window};
use crate::engine::values::Values;

/// Convolution of a map; the matrix is the filters, `[outputs, channels / groups · kernel]`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Conv {
    pub filters: Matrix,
    pub bias: Option<Vector>,
    pub window: Window,
    pub groups: usize,
    pub finish: Finish,
}

struct ConvStep {
    conv: PackedConv,
    bias: Option<Vec<f32>>,
    finish: Finish,
}

impl Operation for Conv {
    fn in_place(&self) -> Option<usize> {
        self.finish.second.map(|_| 1)
    }

    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(ConvStep {
            conv: loader.conv(&self.filters, self.window, self.groups)?,
            bias: loader.optional(self.bias.as_ref())?,
            finish: self.finish,
        }))
    }
}

impl Step for ConvStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let epilogue = values.epilogue(self.bias.as_deref(), self.finish);
        values.kernels.conv2d(values.image(0), &self.conv, epilogue, out);
    }
}

/// Mean over windows of a map; values outside are ignored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct AveragePool(pub Window);

struct AveragePoolStep(KernelWindow);

impl Operation for AveragePool {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(AveragePoolStep(kernel_window(self.0))))
    }
}

impl Step for AveragePoolStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.kernels.avg_pool2d(values.image(0), &self.0, false, out);
    }
}
