//! The engine: a tower's graph and weights, compiled and run.
//!
//! Compiling turns the graph into a program (`lower`), makes the program faster (`passes`), and then reads and packs
//! each weight once (`steps`). Running works in passes with a bounded number of rows, so memory does not grow with the
//! batch. Values are stored in buffers that are planned once (`slots`) and reused between passes. A sample's feature
//! does not depend on the batch it is in.

mod attend;
mod batch;
mod bias;
mod compute;
mod error;
mod execute;
mod loader;
mod lookup;
mod lower;
mod packed;
mod passes;
mod positions;
mod pixels;
mod processor;
mod program;
mod recipe;
mod reduce;
mod shape;
mod slots;
mod turn;
mod split;
mod steps;
mod times;
mod tower;
mod values;
mod weights;
mod windows;

use std::sync::{Arc, Mutex, PoisonError};

use clipway_kernels::Kernels;
use clipway_model::graph::{Graph, Parameters, TextPositions};
use clipway_model::quantize::product_inputs;
use rayon::prelude::*;

use crate::tower::{Intermediate, TowerInput};
use batch::{Batch, computed};
use execute::{Arena, Executable};
use loader::Loader;
use positions::first_position;
use program::Program;
use shape::Rows;
use steps::{AddTable, AddTextPositions, Embedding, Op, TokenIds};

pub use compute::Compute;
pub use error::{EngineError, WeightError};
pub use passes::Passes;
pub use processor::{Bf16Products, InstructionSet, Processor};
pub use times::{StepTime, StepTimes};
pub use weights::{Elements, Weights};

/// How to compile a tower.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// Which passes to run.
    pub passes: Passes,
    /// What products are computed in.
    pub compute: Compute,
    /// Whether the outputs of the tower's blocks are available, which prevents some optimizations.
    pub blocks: bool,
    /// Whether the inputs of products are available, named by their number in the graph; this prevents more of them.
    pub product_inputs: bool,
}

/// A compiled tower.
pub struct Engine {
    processor: Processor,
    executable: Executable,
    input: TowerInput,
    width: usize,
    counted: Vec<Counted>,
    options: EngineOptions,
    times: Option<Arc<StepTimes>>,
    arenas: Arc<Mutex<Vec<Arena>>>,
}

/// Limit on the number of tokens in a text that are not padding.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counted {
    padding: i64,
    most: usize,
}

impl Engine {
    /// Compiles a tower. Only the tower's own weights are read.
    ///
    /// # Errors
    /// A weight that cannot be read, or an operation that the engine cannot compute.
    pub fn compile(
        tower: &Graph,
        parameters: &Parameters,
        weights: &dyn Weights,
        processor: &Processor,
        options: EngineOptions,
    ) -> Result<Engine, EngineError> {
        let (program, input) = program(tower, parameters, options)?;
        let counted = counted(&program, parameters);
        let width = program.nodes[program.output].shape.width;
        let loader = Loader::new(parameters, weights, processor.kernels(), options.compute);
        let executable = Executable::prepare(program, &loader, None)?;
        let processor = processor.clone();
        let (times, arenas) = (None, Arc::default());
        Ok(Engine { processor, executable, input, width, counted, options, times, arenas })
    }

    /// Compiles the same tower for images of another size. Whatever does not depend on the size is shared, so only the
    /// rest is read, such as positions.
    ///
    /// # Errors
    /// The errors of [`Engine::compile`].
    pub fn resized(
        &self,
        tower: &Graph,
        parameters: &Parameters,
        weights: &dyn Weights,
    ) -> Result<Engine, EngineError> {
        let (program, input) = program(tower, parameters, self.options)?;
        let loader = Loader::new(parameters, weights, self.processor.kernels(), self.options.compute);
        let executable = Executable::prepare(program, &loader, Some(&self.executable))?;
        Ok(Engine {
            processor: self.processor.clone(),
            executable,
            input,
            width: self.width,
            counted: self.counted.clone(),
            options: self.options,
            times: self.times.clone(),
            arenas: Arc::clone(&self.arenas),
        })
    }

    /// Adds the times of its steps to `times` from now on.
    pub fn with_times(self, times: Arc<StepTimes>) -> Engine {
        Engine { times: Some(times), ..self }
    }

    /// The tower's input.
    pub fn input(&self) -> TowerInput {
        self.input
    }

    /// Number of values in a feature.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The processor it runs on.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// Computes features `[batch, width]` from pixels `[batch, 3, height, width]`.
    ///
    /// # Errors
    /// A tower for texts, or pixels that are not whole images.
    pub fn run_pixels(&self, pixels: &[f32]) -> Result<Vec<f32>, EngineError> {
        Ok(self.images(pixels)?.0)
    }

    /// Computes features, and the outputs of the blocks if the tower was compiled with them.
    ///
    /// # Errors
    /// The errors of [`Engine::run_pixels`].
    pub fn run_pixels_with_blocks(
        &self,
        pixels: &[f32],
    ) -> Result<(Vec<f32>, Vec<Intermediate>), EngineError> {
        self.images(pixels)
    }

    /// Computes features `[batch, width]` from token ids `[batch, length]`.
    ///
    /// # Errors
    /// A tower for images, ids that are not whole texts, or an id outside the vocabulary.
    pub fn run_tokens(&self, ids: &[i64], length: usize) -> Result<Vec<f32>, EngineError> {
        Ok(self.texts(ids, length)?.0)
    }

    /// Computes features, and the outputs of the blocks if the tower was compiled with them.
    ///
    /// # Errors
    /// The errors of [`Engine::run_tokens`].
    pub fn run_tokens_with_blocks(
        &self,
        ids: &[i64],
        length: usize,
    ) -> Result<(Vec<f32>, Vec<Intermediate>), EngineError> {
        self.texts(ids, length)
    }

    fn images(&self, pixels: &[f32]) -> Result<(Vec<f32>, Vec<Intermediate>), EngineError> {
        let TowerInput::Pixels { height, width } = self.input else {
            return Err(EngineError::WrongInput { expected: "token ids", found: "pixels" });
        };
        let values = pixels::CHANNELS * height * width;
        if !pixels.len().is_multiple_of(values) {
            return Err(EngineError::Pixels { expected: values, height, width, found: pixels.len() });
        }
        let passes = split::images(&self.executable.program, pixels.len() / values);
        let mut start = 0;
        let batches = passes.into_iter().map(|samples| {
            let part = &pixels[start * values..(start + samples) * values];
            start += samples;
            Batch::images(part, [height, width], samples)
        });
        Ok(self.run(batches))
    }

    fn texts(&self, ids: &[i64], length: usize) -> Result<(Vec<f32>, Vec<Intermediate>), EngineError> {
        let TowerInput::Tokens { least, context, vocabulary } = self.input else {
            return Err(EngineError::WrongInput { expected: "pixels", found: "token ids" });
        };
        if !(least..=context).contains(&length) || !ids.len().is_multiple_of(length) {
            return Err(EngineError::TokenCount { least, context, length, found: ids.len() });
        }
        let inside = |id: i64| usize::try_from(id).is_ok_and(|id| id < vocabulary);
        if let Some((index, &id)) = ids.iter().enumerate().find(|(_, id)| !inside(**id)) {
            let (text, position) = (index / length, index % length);
            return Err(EngineError::TokenRange { text, position, id, vocabulary });
        }
        self.check_counted(ids, length)?;
        let cut = self.executable.program.cut;
        let computed: Vec<usize> = ids.chunks_exact(length).map(|ids| computed(cut, ids)).collect();
        let mut start = 0;
        let batches = split::texts(&computed).into_iter().map(|samples| {
            let (first, end) = (start, start + samples);
            start = end;
            Batch::texts(&ids[first * length..end * length], length, &computed[first..end])
        });
        Ok(self.run(batches))
    }

    /// Refuses texts with more tokens than there are positions, where padding takes none.
    fn check_counted(&self, ids: &[i64], length: usize) -> Result<(), EngineError> {
        for &Counted { padding, most } in &self.counted {
            let counts = ids.chunks_exact(length).map(|ids| ids.iter().filter(|id| **id != padding).count());
            if let Some((text, found)) = counts.enumerate().find(|(_, found)| *found > most) {
                return Err(EngineError::TextLength { text, most, found });
            }
        }
        Ok(())
    }

    /// Runs passes and joins what they give. As many as go evenly on the threads each run on a thread of their own, so that
    /// no thread waits for another between steps; all threads work on each of the others.
    fn run<'a>(&self, batches: impl Iterator<Item = Batch<'a>>) -> (Vec<f32>, Vec<Intermediate>) {
        let batches: Vec<Batch<'a>> = batches.collect();
        let kernels = self.processor.kernels();
        let shared = match kernels.threads() {
            1 => batches.len(),
            threads => batches.len() % threads,
        };
        let (apart, together) = batches.split_at(batches.len() - shared);
        let passes: Vec<PassOutput> = kernels.install(|| {
            let alone = kernels.alone();
            let apart = apart.par_iter().with_max_len(1).map(|batch| self.pass(&alone, batch));
            let mut passes: Vec<PassOutput> = apart.collect();
            passes.extend(together.iter().map(|batch| self.pass(kernels, batch)));
            passes
        });
        let mut all = self.no_output();
        for pass in passes {
            all.features.extend(pass.features);
            all.kept.iter_mut().zip(pass.kept).for_each(|(all, values)| all.extend(values));
        }
        let program = &self.executable.program;
        let block = |((name, id), values): (&(String, usize), Vec<f32>)| Intermediate {
            name: name.clone(),
            values,
            width: program.nodes[*id].shape.width,
        };
        (all.features, program.kept.iter().zip(all.kept).map(block).collect())
    }

    fn pass(&self, kernels: &Kernels, batch: &Batch<'_>) -> PassOutput {
        let lock = || self.arenas.lock().unwrap_or_else(PoisonError::into_inner);
        let mut arena = lock().pop().unwrap_or_default();
        let mut out = self.no_output();
        let times = self.times.as_deref();
        self.executable.run(kernels, &mut arena, batch, times, &mut |kept, values| match kept {
            Some(index) => out.kept[index].extend_from_slice(values),
            None => out.features.extend_from_slice(values),
        });
        lock().push(arena);
        out
    }

    fn no_output(&self) -> PassOutput {
        PassOutput { features: Vec::new(), kept: vec![Vec::new(); self.executable.program.kept.len()] }
    }
}

/// What passes compute.
struct PassOutput {
    features: Vec<f32>,
    /// The values that are kept, in the program's order.
    kept: Vec<Vec<f32>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps = self.executable.steps.len();
        let Engine { processor, input, width, .. } = self;
        write!(f, "Engine({input:?} to {width} values in {steps} steps on {processor:?})")
    }
}

/// A tower's program after the passes, and its input.
fn program(
    tower: &Graph,
    parameters: &Parameters,
    options: EngineOptions,
) -> Result<(Program, TowerInput), EngineError> {
    let mut kept = if options.blocks { tower.numbered_modules() } else { Vec::new() };
    if options.product_inputs {
        kept.extend(product_inputs(tower).into_iter().map(|value| (value.index().to_string(), value)));
    }
    let mut program = lower::lower(tower, parameters, kept)?;
    let input = input_of(&program, parameters)?;
    passes::run(&mut program, options.passes);
    Ok((program, input))
}

/// A program's only input, with the limits set by its tables.
fn input_of(program: &Program, parameters: &Parameters) -> Result<TowerInput, EngineError> {
    let mut input = None;
    let (mut least, mut context, mut vocabulary) = (1, usize::MAX, usize::MAX);
    for node in &program.nodes {
        match &node.op {
            Op::Pixels(_) => {
                input = node.shape.map.map(|[height, width]| TowerInput::Pixels { height, width })
            }
            Op::TokenIds(TokenIds { most }) => {
                input = Some(TowerInput::Tokens { least, context, vocabulary });
                context = context.min(*most);
                if let Rows::Fixed(length) = node.shape.rows {
                    least = length;
                }
            }
            Op::Embedding(Embedding { table, .. }) => {
                vocabulary = vocabulary.min(parameters.get(*table).shape[0])
            }
            Op::AddTable(AddTable(table)) => {
                if let Rows::Text(extra) = node.shape.rows {
                    context = context.min(table.tokens.saturating_sub(extra));
                }
            }
            _ => {}
        }
    }
    match input {
        Some(TowerInput::Tokens { .. }) => Ok(TowerInput::Tokens { least, context, vocabulary }),
        Some(pixels) => Ok(pixels),
        None => Err(EngineError::Unsupported {
            scope: String::new(),
            operation: "tower".to_owned(),
            reason: "it has neither pixels nor token ids as input".to_owned(),
        }),
    }
}

/// The limits set by position tables, where padding takes no position.
fn counted(program: &Program, parameters: &Parameters) -> Vec<Counted> {
    let limit = |op: &Op| {
        let Op::AddTextPositions(AddTextPositions { positions: TextPositions::Table(table), padding }) = *op
        else {
            return None;
        };
        let most = parameters.get(table).shape[0].saturating_sub(first_position(padding));
        Some(Counted { padding, most })
    };
    program.nodes.iter().filter_map(|node| limit(&node.op)).collect()
}
