//! What a step sees while it runs.

use clipway_kernels::{Activation as Function, Epilogue, Image, Kernels, Matrix, Residual};
use clipway_model::graph::Activation;

use super::batch::Batch;
use super::shape::{Combine, Finish, Shape};

/// An input of a step.
pub(super) struct Input<'a> {
    pub shape: Shape,
    /// Whether its buffer is the output's, which then holds its values.
    pub is_output: bool,
    /// Its values; `None` for pixels and token ids, which are in the batch, and if the buffer is the output's.
    pub data: Option<&'a [f32]>,
}

/// A step's input values, the batch and the kernels.
pub(super) struct Values<'a> {
    pub batch: &'a Batch<'a>,
    pub kernels: &'a Kernels,
    /// Shape of the result.
    pub shape: Shape,
    pub inputs: &'a [Input<'a>],
}

impl<'a> Values<'a> {
    /// Shape of the result.
    pub fn own_shape(&self) -> Shape {
        self.shape
    }

    /// Rows of the result, of all samples.
    pub fn rows(&self) -> usize {
        self.batch.rows(self.own_shape().rows)
    }

    /// Width of the result.
    pub fn width(&self) -> usize {
        self.own_shape().width
    }

    /// Shape of an input.
    pub fn shape(&self, index: usize) -> Shape {
        self.inputs[index].shape
    }

    /// Values of an input.
    pub fn data(&self, index: usize) -> &'a [f32] {
        self.inputs[index].data.expect("an input that is read has a buffer of its own")
    }

    /// An input as a matrix.
    pub fn matrix(&self, index: usize) -> Matrix<'a> {
        let shape = self.shape(index);
        Matrix::new(self.data(index), self.batch.rows(shape.rows), shape.width)
    }

    /// Columns of an input.
    pub fn columns(&self, index: usize, start: usize, width: usize) -> Matrix<'a> {
        let shape = self.shape(index);
        let data = self.data(index);
        let rows = self.batch.rows(shape.rows);
        Matrix::with_stride(data.get(start..).unwrap_or(&[]), rows, width, shape.width)
    }

    /// An input as maps.
    pub fn image(&self, index: usize) -> Image<'a> {
        let shape = self.shape(index);
        Image::new(self.data(index), self.batch.samples, shape.map.unwrap_or([1, 1]), shape.width)
    }

    /// Copies the first input into the output, unless it is already there.
    pub fn copy_input(&self, out: &mut [f32]) {
        if !self.inputs[0].is_output {
            out.copy_from_slice(self.data(0));
        }
    }

    /// The epilogue of a product; the second input is what is added or multiplied.
    pub fn epilogue(&self, bias: Option<&'a [f32]>, finish: Finish) -> Epilogue<'a> {
        let second = || match self.inputs[1].is_output {
            true => Residual::Output,
            false => Residual::Matrix(self.matrix(1)),
        };
        let epilogue = Epilogue::bias(bias).activation(function(finish.before));
        let epilogue = match finish.second {
            None => epilogue,
            Some(Combine::Add) => epilogue.residual(second()),
            Some(Combine::Multiply) => epilogue.gate(second()),
        };
        epilogue.finish(function(finish.after))
    }

    /// Writes the same rows for each sample.
    pub fn repeat(&self, table: &[f32], out: &mut [f32]) {
        out.chunks_exact_mut(table.len()).for_each(|sample| sample.copy_from_slice(table));
    }

    /// A sample's rows of the output.
    pub fn own<'o>(&self, out: &'o mut [f32], sample: usize) -> &'o mut [f32] {
        let Shape { rows, width, .. } = self.shape;
        let range = self.batch.range(rows, sample);
        &mut out[range.start * width..range.end * width]
    }

    /// The rows of a sample after the first `n`.
    pub fn rows_after(&self, skip: usize, sample: usize) -> &'a [f32] {
        let shape = self.shape(0);
        let range = self.batch.range(shape.rows, sample);
        &self.data(0)[(range.start + skip) * shape.width..range.end * shape.width]
    }
}

/// The kernel for an activation.
pub(super) fn function(activation: Option<Activation>) -> Function {
    match activation {
        None => Function::Identity,
        Some(Activation::Gelu) => Function::Gelu,
        Some(Activation::GeluTanh) => Function::GeluTanh,
        Some(Activation::QuickGelu) => Function::QuickGelu,
        Some(Activation::Relu) => Function::Relu,
        Some(Activation::Silu) => Function::Silu,
        Some(Activation::Tanh) => Function::Tanh,
        Some(Activation::Sigmoid) => Function::Sigmoid,
    }
}
