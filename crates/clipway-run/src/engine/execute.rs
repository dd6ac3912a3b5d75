//! Runs a prepared program on one batch.

use std::sync::Arc;
use std::time::Instant;

use clipway_kernels::Kernels;
use rayon::prelude::*;

use super::batch::Batch;
use super::error::EngineError;
use super::loader::Loader;
use super::program::{Id, Node, Program};
use super::slots::Slots;
use super::steps::step::Step;
use super::times::StepTimes;
use super::values::{Input, Values};

/// Buffers of the values, reused between passes.
#[derive(Default)]
pub(super) struct Arena {
    buffers: Vec<Vec<f32>>,
}

/// A program with everything it needs to run.
pub(super) struct Executable {
    pub program: Program,
    pub steps: Vec<Arc<dyn Step>>,
    pub slots: Slots,
}

impl Executable {
    /// Prepares every node of a program, on all threads. Nodes that `like` has too share its numbers.
    pub fn prepare(
        program: Program,
        loader: &Loader<'_>,
        like: Option<&Executable>,
    ) -> Result<Executable, EngineError> {
        let shared = |id: usize| {
            let (like, node) = (like?, &program.nodes[id]);
            let same = like.program.nodes.get(id)?;
            (same.op == node.op && same.shape.width == node.shape.width).then(|| Arc::clone(&like.steps[id]))
        };
        let steps = loader.kernels.install(|| {
            let nodes = program.nodes.par_iter().enumerate().with_max_len(1);
            let prepared = |(id, node): (usize, &Node)| match shared(id) {
                Some(step) => Ok(step),
                None => node.op.operation().prepare(node.shape, loader).map(Arc::from),
            };
            nodes.map(prepared).collect::<Result<_, _>>()
        })?;
        let slots = Slots::plan(&program);
        Ok(Executable { program, steps, slots })
    }

    /// Runs a batch and adds the times of its steps to `times`; `sink` receives each kept value with its index, and finally
    /// the output with `None`.
    pub fn run(
        &self,
        kernels: &Kernels,
        arena: &mut Arena,
        batch: &Batch<'_>,
        times: Option<&StepTimes>,
        sink: &mut dyn FnMut(Option<usize>, &[f32]),
    ) {
        arena.buffers.resize_with(self.slots.count, Vec::new);
        for id in 0..self.steps.len() {
            let Some(slot) = self.slots.of[id] else { continue };
            let node = &self.program.nodes[id];
            let shape = node.shape;
            let length = batch.rows(shape.rows) * shape.width;
            let mut out = std::mem::take(&mut arena.buffers[slot]);
            if out.len() < length {
                out.resize(length, 0.0);
            }
            let input = |&id: &Id| {
                let shape = self.program.nodes[id].shape;
                let lent = self.slots.of[id].filter(|lent| *lent != slot);
                let data = lent.map(|lent| &arena.buffers[lent][..batch.rows(shape.rows) * shape.width]);
                Input { shape, is_output: self.slots.of[id] == Some(slot), data }
            };
            let inputs: Vec<Input<'_>> = node.inputs.iter().map(input).collect();
            let values = Values { batch, kernels, shape, inputs: &inputs };
            let start = times.map(|_| Instant::now());
            self.steps[id].run(&values, &mut out[..length]);
            if let (Some(times), Some(start)) = (times, start) {
                times.add(&node.scope, node.op.name(), start.elapsed());
            }
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
