//! Runs a prepared program over one batch.

use clipway_kernels::{Activation as Function, Epilogue, Image, Kernels, Matrix, Residual};
use clipway_model::graph::Activation;
use rayon::prelude::*;

use super::batch::Batch;
use super::error::EngineError;
use super::loader::Loader;
use super::program::{Combine, Finish, Id, Program, Shape};
use super::slots::Slots;
use super::steps::Step;

/// Buffers of the values, kept from pass to pass.
#[derive(Default)]
pub(super) struct Arena {
    buffers: Vec<Vec<f32>>,
}

/// A program with everything it needs to run.
pub(super) struct Executable {
    pub program: Program,
    pub steps: Vec<Box<dyn Step>>,
    pub slots: Slots,
}

impl Executable {
    /// Prepares every node of a program, on all threads.
    pub fn prepare(program: Program, loader: &Loader<'_>) -> Result<Executable, EngineError> {
        let steps = loader.kernels.install(|| {
            let nodes = program.nodes.par_iter().with_max_len(1);
            nodes.map(|node| node.op.operation().prepare(node.shape, loader)).collect::<Result<_, _>>()
        })?;
        let slots = Slots::plan(&program);
        Ok(Executable { program, steps, slots })
    }

    /// Runs a batch; `sink` gets each kept value by its index, and last the output with `None`.
    pub fn run(
        &self,
        kernels: &Kernels,
        arena: &mut Arena,
        batch: &Batch<'_>,
        sink: &mut dyn FnMut(Option<usize>, &[f32]),
    ) {
        arena.buffers.resize_with(self.slots.count, Vec::new);
        for id in 0..self.steps.len() {
            let Some(slot) = self.slots.of[id] else { continue };
            let shape = self.program.nodes[id].shape;
            let length = batch.rows(shape.rows) * shape.width;
            let mut out = std::mem::take(&mut arena.buffers[slot]);
            if out.len() < length {
                out.resize(length, 0.0);
            }
            let values = Values { executable: self, arena, batch, kernels, id };
            self.steps[id].run(&values, &mut out[..length]);
            for (index, _) in self.program.kept.iter().enumerate().filter(|(_, (_, kept))| *kept == id) {
                sink(Some(index), &out[..length]);
            }
            if id == self.program.output {
                sink(None, &out[..length]);
            }
            arena.buffers[slot] = out;
        }
    }
}

/// What a step sees: its inputs' values, the batch and the kernels.
pub(super) struct Values<'a> {
    pub batch: &'a Batch<'a>,
    pub kernels: &'a Kernels,
    executable: &'a Executable,
    arena: &'a Arena,
    id: Id,
}

impl<'a> Values<'a> {
    fn input(&self, index: usize) -> Id {
        self.executable.program.nodes[self.id].inputs[index]
    }

    fn shape_of(&self, id: Id) -> Shape {
        self.executable.program.nodes[id].shape
    }

    /// Shape of the result.
    pub fn own_shape(&self) -> Shape {
        self.shape_of(self.id)
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
        self.shape_of(self.input(index))
    }

    /// Values of an input.
    pub fn data(&self, index: usize) -> &'a [f32] {
        let id = self.input(index);
        let shape = self.shape_of(id);
        let slot = self.executable.slots.of[id].expect("the value of a step has a buffer");
        &self.arena.buffers[slot][..self.batch.rows(shape.rows) * shape.width]
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

    /// Whether an input's buffer is the output's.
    fn shares(&self, index: usize) -> bool {
        let slots = &self.executable.slots.of;
        slots[self.input(index)] == slots[self.id]
    }

    /// Puts the first input into the output, unless it is there.
    pub fn copy_input(&self, out: &mut [f32]) {
        if !self.shares(0) {
            out.copy_from_slice(self.data(0));
        }
    }

    /// What is done to a product before it is stored; the second input is what is added or multiplied.
    pub fn epilogue(&self, bias: Option<&'a [f32]>, finish: Finish) -> Epilogue<'a> {
        let second = || match self.shares(1) {
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
        let Shape { rows, width, .. } = self.shape_of(self.id);
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

/// The kernels' name of an activation.
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
