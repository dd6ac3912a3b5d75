//! Runs a prepared program over one batch.

use clipway_kernels::{
    Activation as Function, AttentionSpec, Epilogue, Image, Kernels, Matrix, MatrixMut, Residual,
};
use clipway_model::graph::{Activation, Mask};

use super::attend::{self, Sight};
use super::batch::{Batch, Input};
use super::pixels;
use super::prepare::Step;
use super::program::{Combine, Finish, Id, Program, Reduction, Shape, Unpadded};
use super::reduce;
use super::slots::Slots;
use super::turn::Turn;

/// Buffers of the values, kept from pass to pass.
#[derive(Default)]
pub(super) struct Arena {
    buffers: Vec<Vec<f32>>,
}

/// A program with everything it needs to run.
pub(super) struct Executable {
    pub program: Program,
    pub steps: Vec<Step>,
    pub slots: Slots,
}

impl Executable {
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
            values.step(&mut out[..length]);
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

/// One step with the values that are there.
struct Values<'a> {
    executable: &'a Executable,
    arena: &'a Arena,
    batch: &'a Batch<'a>,
    kernels: &'a Kernels,
    id: Id,
}

impl<'a> Values<'a> {
    fn input(&self, index: usize) -> Id {
        self.executable.program.nodes[self.id].inputs[index]
    }

    fn shape_of(&self, id: Id) -> Shape {
        self.executable.program.nodes[id].shape
    }

    fn shape(&self, index: usize) -> Shape {
        self.shape_of(self.input(index))
    }

    /// Values of an input.
    fn data(&self, index: usize) -> &'a [f32] {
        let id = self.input(index);
        let shape = self.shape_of(id);
        let slot = self.executable.slots.of[id].expect("the value of a step has a buffer");
        &self.arena.buffers[slot][..self.batch.rows(shape.rows) * shape.width]
    }

    /// An input as a matrix.
    fn matrix(&self, index: usize) -> Matrix<'a> {
        let shape = self.shape(index);
        Matrix::new(self.data(index), self.batch.rows(shape.rows), shape.width)
    }

    /// Columns of an input.
    fn columns(&self, index: usize, start: usize, width: usize) -> Matrix<'a> {
        let shape = self.shape(index);
        let data = self.data(index);
        let rows = self.batch.rows(shape.rows);
        Matrix::with_stride(data.get(start..).unwrap_or(&[]), rows, width, shape.width)
    }

    fn image(&self, index: usize) -> Image<'a> {
        let shape = self.shape(index);
        Image::new(self.data(index), self.batch.samples, shape.map.unwrap_or([1, 1]), shape.width)
    }

    /// Whether an input's buffer is the output's.
    fn shares(&self, index: usize) -> bool {
        let slots = &self.executable.slots.of;
        slots[self.input(index)] == slots[self.id]
    }

    /// Puts the first input into the output, unless it is there.
    fn copy_input(&self, out: &mut [f32]) {
        if !self.shares(0) {
            out.copy_from_slice(self.data(0));
        }
    }

    fn epilogue(&self, bias: Option<&'a [f32]>, finish: Finish) -> Epilogue<'a> {
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

    fn step(&self, out: &mut [f32]) {
        let shape = self.shape_of(self.id);
        let rows = self.batch.rows(shape.rows);
        let kernels = self.kernels;
        let batch = self.batch;
        match &self.executable.steps[self.id] {
            Step::Input => {}
            Step::ToRows => {
                if let Input::Pixels { values, size } = batch.input {
                    pixels::to_rows(values, size, out);
                }
            }
            Step::Patches { kernel, leading } => {
                if let Input::Pixels { values, size } = batch.input {
                    pixels::patches(values, size, *kernel, *leading, out);
                }
            }
            Step::Linear { weight, bias, table, finish } => {
                let mut epilogue = self.epilogue(bias.as_deref(), *finish);
                if let Some(table) = table {
                    self.repeat(table, out);
                    epilogue = epilogue.residual(Residual::Output);
                }
                kernels.linear(self.matrix(0), weight, epilogue, MatrixMut::new(out, rows, shape.width));
            }
            Step::Conv { conv, bias, finish } => {
                kernels.conv2d(self.image(0), conv, self.epilogue(bias.as_deref(), *finish), out);
            }
            Step::LayerNorm { weight, bias, epsilon } => {
                let runs = out.len() / weight.len();
                let x = Matrix::new(self.data(0), runs, weight.len());
                let out = MatrixMut::new(out, runs, weight.len());
                kernels.layer_norm(x, Some(weight), bias.as_deref(), *epsilon, out);
            }
            Step::RmsNorm { weight, epsilon } => {
                kernels.rms_norm(self.matrix(0), weight, *epsilon, MatrixMut::new(out, rows, shape.width));
            }
            Step::UnitHeads(heads) => {
                self.copy_input(out);
                let width = shape.width / heads;
                kernels.l2_normalize(MatrixMut::new(out, rows * heads, width), 1e-12);
            }
            Step::Affine { scale, shift } => {
                self.copy_input(out);
                kernels.mul_channels(scale, out);
                if let Some(shift) = shift {
                    kernels.add(shift, out);
                }
            }
            Step::Attention { heads, scale, mask, bias, turn, columns } => {
                let causal = matches!(mask, Mask::Causal | Mask::Padding { causal: true, .. });
                let rotary = turn.as_ref().map(Turn::rotary);
                let spec = AttentionSpec { rotary, ..attention(shape.width, *heads, *scale, causal) };
                let inputs = [0, 1, 2].map(|index| self.columns(index, columns[index], shape.width));
                let rows = [shape.rows, self.shape(1).rows];
                let sight = Sight { mask: *mask, bias: bias.as_ref() };
                attend::attend(kernels, &spec, &sight, batch, rows, inputs, out);
            }
            Step::WindowAttention { heads, bias } => {
                let scale = (1.0 / ((shape.width / heads) as f64).sqrt()) as f32;
                let spec = attention(shape.width, *heads, scale, false);
                let inputs = [0, 1, 2].map(|part| self.columns(0, part * shape.width, shape.width));
                bias.attend(kernels, &spec, batch.samples, inputs, out);
            }
            Step::Arrange(rows) => {
                let width = self.shape(0).width;
                let samples = out.chunks_exact_mut(rows.len() * width);
                for (out, x) in samples.zip(self.data(0).chunks_exact(rows.len() * width)) {
                    for (out, row) in out.chunks_exact_mut(width).zip(rows) {
                        out.copy_from_slice(&x[row * width..][..width]);
                    }
                }
            }
            Step::Rotary { heads, turn } => {
                self.copy_input(out);
                let positions = rows / batch.samples.max(1);
                let out = MatrixMut::new(out, rows, shape.width);
                kernels.rotate(turn.rotary(), shape.width / heads, positions.max(1), out);
            }
            Step::Activation(activation) => {
                self.copy_input(out);
                kernels.activation(function(Some(*activation)), out);
            }
            Step::Add => {
                self.copy_input(out);
                kernels.add(self.data(1), out);
            }
            Step::Multiply => {
                self.copy_input(out);
                kernels.mul_channels(self.data(1), out);
            }
            Step::Subtract => {
                self.copy_input(out);
                kernels.subtract(self.data(1), out);
            }
            Step::Gate => {
                self.copy_input(out);
                let gates = self.matrix(1);
                for sample in 0..batch.samples {
                    kernels.mul_channels(gates.row(sample), self.own(out, sample));
                }
            }
            Step::AddTable(table) => {
                self.copy_input(out);
                for sample in 0..batch.samples {
                    let out = self.own(out, sample);
                    kernels.add(&table[..out.len()], out);
                }
            }
            Step::AddRow(row) => {
                self.copy_input(out);
                kernels.add(row, out);
            }
            Step::AddTextPositions { positions, padding } => {
                self.copy_input(out);
                for sample in 0..batch.samples {
                    let out = self.own(out, sample);
                    let ids = &batch.ids(sample)[..out.len() / shape.width];
                    positions.add(ids, *padding, shape.width, out);
                }
            }
            Step::Embedding { table, positions } => {
                self.embed(table, positions.as_deref(), out);
            }
            Step::Prepend(tokens) => self.insert(tokens, 0, out),
            Step::Append(token) => self.insert(token, 1, out),
            Step::Drop(count) => {
                for sample in 0..batch.samples {
                    self.own(out, sample).copy_from_slice(self.rows_after(*count, sample));
                }
            }
            Step::PrependMean => self.prepend_mean(out),
            Step::Queries(tokens) => self.repeat(tokens, out),
            Step::AveragePool(window) => kernels.avg_pool2d(self.image(0), window, false, out),
            Step::Select(select) => {
                let source = self.shape(0).rows;
                for (sample, out) in out.chunks_exact_mut(shape.width).enumerate() {
                    out.copy_from_slice(self.matrix(0).row(batch.selected(*select, source, sample)));
                }
            }
            Step::PoolUnpadded { padding, by } => self.pool_unpadded(*padding, *by, out),
            Step::Reduce { skip, reduction } => self.reduce(*skip, *reduction, out),
        }
    }

    /// Pools each text's rows whose ids are not padding.
    fn pool_unpadded(&self, padding: i64, by: Unpadded, out: &mut [f32]) {
        let Shape { rows, width, .. } = self.shape(0);
        let x = self.matrix(0);
        for (sample, out) in out.chunks_exact_mut(width).enumerate() {
            let range = self.batch.range(rows, sample);
            let seen = range.zip(self.batch.ids(sample)).filter(|(_, id)| **id != padding);
            let seen = seen.map(|(row, _)| x.row(row));
            match by {
                Unpadded::Mean => reduce::mean(seen, out),
                Unpadded::Max => reduce::largest(seen, out),
            }
        }
    }

    /// Reduces the rows of each sample after the first so many.
    fn reduce(&self, skip: usize, reduction: Reduction, out: &mut [f32]) {
        let width = self.shape(0).width;
        let values = self.shape_of(self.id).width;
        let mut most = vec![0.0; width];
        for (sample, out) in out.chunks_exact_mut(values).enumerate() {
            let x = self.rows_after(skip, sample);
            if reduction != Reduction::Max {
                self.kernels.mean_rows(x, x.len() / width, width, &mut out[..width]);
            }
            if reduction != Reduction::Mean {
                reduce::largest(x.chunks_exact(width), &mut most);
            }
            match reduction {
                Reduction::Mean => {}
                Reduction::Max => out.copy_from_slice(&most),
                Reduction::MeanMax => out.iter_mut().zip(&most).for_each(|(o, most)| *o = 0.5 * (*o + most)),
                Reduction::MeanAndMax => out[width..].copy_from_slice(&most),
            }
        }
    }

    /// Writes the same rows for each sample.
    fn repeat(&self, table: &[f32], out: &mut [f32]) {
        out.chunks_exact_mut(table.len()).for_each(|sample| sample.copy_from_slice(table));
    }

    fn embed(&self, table: &[f32], positions: Option<&[f32]>, out: &mut [f32]) {
        let shape = self.shape_of(self.id);
        for sample in 0..self.batch.samples {
            let range = self.batch.range(shape.rows, sample);
            let ids = self.batch.ids(sample);
            for (token, row) in range.enumerate() {
                let out = &mut out[row * shape.width..][..shape.width];
                // Ids were checked against the table when the input was.
                let id = usize::try_from(ids[token]).unwrap_or(0);
                let entry = &table[id * shape.width..][..shape.width];
                match positions {
                    Some(positions) => {
                        let position = &positions[token * shape.width..][..shape.width];
                        out.iter_mut().zip(entry.iter().zip(position)).for_each(|(o, (e, p))| *o = e + p);
                    }
                    None => out.copy_from_slice(entry),
                }
            }
        }
    }

    /// A sample's rows of the output.
    fn own<'o>(&self, out: &'o mut [f32], sample: usize) -> &'o mut [f32] {
        let Shape { rows, width, .. } = self.shape_of(self.id);
        let range = self.batch.range(rows, sample);
        &mut out[range.start * width..range.end * width]
    }

    /// The rows of a sample after the first so many.
    fn rows_after(&self, skip: usize, sample: usize) -> &'a [f32] {
        let shape = self.shape(0);
        let range = self.batch.range(shape.rows, sample);
        &self.data(0)[(range.start + skip) * shape.width..range.end * shape.width]
    }

    /// Puts rows before (`side` 0) or after (`side` 1) the rows of each sample.
    fn insert(&self, rows: &[f32], side: usize, out: &mut [f32]) {
        for sample in 0..self.batch.samples {
            let (own, x) = (self.own(out, sample), self.rows_after(0, sample));
            let (first, last) = own.split_at_mut(if side == 0 { rows.len() } else { x.len() });
            let (new, others) = if side == 0 { (first, last) } else { (last, first) };
            new.copy_from_slice(rows);
            others.copy_from_slice(x);
        }
    }

    fn prepend_mean(&self, out: &mut [f32]) {
        let width = self.shape_of(self.id).width;
        for sample in 0..self.batch.samples {
            let (mean, others) = self.own(out, sample).split_at_mut(width);
            others.copy_from_slice(self.rows_after(0, sample));
            self.kernels.mean_rows(others, others.len() / width, width, mean);
        }
    }
}

fn attention(width: usize, heads: usize, scale: f32, causal: bool) -> AttentionSpec<'static> {
    AttentionSpec { heads, head_width: width / heads, scale, causal, bias: None, rotary: None }
}

fn function(activation: Option<Activation>) -> Function {
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
