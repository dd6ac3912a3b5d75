//! Measures how many images and texts per second the engine encodes, for comparison with other engines.

use std::time::{Duration, Instant};

use clipway_model::architecture::{self, Model};
use clipway_model::registry;
use clipway_run::engine::{Bf16Products, Compute, Engine, EngineOptions, Processor};
use serde::Serialize;

use crate::architecture_runner::FormulaWeights;
use crate::formula;

/// Tokens in a caption, including start and end.
const CAPTION: usize = 10;

/// Start and end tokens of CLIP's vocabulary.
const START_AND_END: [i64; 2] = [49406, 49407];

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct EngineBenchOptions {
    /// Name of the registered model.
    pub model: String,
    /// Kinds of input: `image`, `text`, `caption`.
    pub inputs: Vec<String>,
    /// Batch sizes.
    pub batches: Vec<usize>,
    /// Threads.
    pub threads: usize,
    /// What products are computed in.
    pub compute: Compute,
    /// How products with weights in bf16 are computed; `None` for what the processor takes.
    pub bf16: Option<Bf16Products>,
    /// Minimum time to repeat a case for, after one warm-up run.
    pub time: Duration,
}

/// The measurement, in the same format that the peers' script prints.
#[derive(Clone, Debug, Serialize)]
pub struct EngineBench {
    /// `clipway`.
    pub engine: &'static str,
    /// open_clip's name of the model.
    pub model: String,
    /// Instruction set.
    pub instruction_set: &'static str,
    /// Threads.
    pub threads: usize,
    /// What products are computed in.
    pub compute: &'static str,
    /// How products with weights in bf16 are computed, where there are any.
    pub bf16: Option<&'static str>,
    /// One entry per case.
    pub cases: Vec<EngineBenchCase>,
}

/// Speed of one tower at one batch size.
#[derive(Clone, Debug, Serialize)]
pub struct EngineBenchCase {
    /// `image`, `text` (as long as the context) or `caption` (ten tokens, padded to the context).
    pub input: String,
    /// Samples per call.
    pub batch: usize,
    /// Samples per second, from the median call.
    pub per_second: f64,
    /// Number of timed calls.
    pub calls: usize,
}

/// Measures a registered model with formula weights in f32, which the engine rounds to what it computes in.
///
/// # Errors
/// Errors of the registry, the model or the engine, and unknown kinds of input.
pub fn measure_engine(options: &EngineBenchOptions) -> Result<EngineBench, Box<dyn std::error::Error>> {
    let model = architecture::build(&registry::model(&options.model)?)?;
    let mut processor = Processor::with_threads(options.threads)?;
    if let Some(products) = options.bf16 {
        processor = processor.with_bf16(products)?;
    }
    let mut bench = EngineBench {
        engine: "clipway",
        model: options.model.clone(),
        instruction_set: processor.instruction_set().name(),
        threads: processor.threads(),
        compute: options.compute.name(),
        bf16: (options.compute == Compute::Bf16).then(|| processor.bf16().name()),
        cases: Vec::new(),
    };
    for input in &options.inputs {
        let tokens = match input.as_str() {
            "image" => None,
            "text" => Some(model.context_length),
            "caption" => Some(CAPTION.min(model.context_length)),
            other => return Err(format!("`{other}` is neither image, text nor caption").into()),
        };
        let tower = if tokens.is_some() { &model.text } else { &model.image };
        let settings = EngineOptions { compute: options.compute, ..EngineOptions::default() };
        let engine = Engine::compile(tower, &model.parameters, &FormulaWeights, &processor, settings)?;
        for &batch in &options.batches {
            let (per_second, calls) = match tokens {
                None => {
                    let pixels = pixels(&model, batch);
                    time_calls(batch, options.time, || engine.run_pixels(&pixels).map(drop))?
                }
                Some(tokens) => {
                    let ids: Vec<i64> = (0..batch).flat_map(|text| ids(&model, text, tokens)).collect();
                    time_calls(batch, options.time, || {
                        engine.run_tokens(&ids, model.context_length).map(drop)
                    })?
                }
            };
            bench.cases.push(EngineBenchCase { input: input.clone(), batch, per_second, calls });
        }
    }
    Ok(bench)
}

fn pixels(model: &Model, batch: usize) -> Vec<f32> {
    let mut pixels = Vec::new();
    for sample in 0..batch {
        let mut image = Vec::new();
        formula::image(sample, model.image_size, &mut image);
        pixels.extend(image);
    }
    pixels
}

/// Returns a text of `tokens` ids between start and end, zero-padded to the model's context.
fn ids(model: &Model, text: usize, tokens: usize) -> Vec<i64> {
    let mut ids: Vec<i64> = (0..tokens).map(|token| 320 + (text * 77 + token) as i64 * 97 % 31_000).collect();
    ids[0] = START_AND_END[0].min(model.vocab_size as i64 - 2);
    ids[tokens - 1] = START_AND_END[1].min(model.vocab_size as i64 - 1);
    ids.resize(model.context_length, 0);
    ids
}

/// What products are computed in, by its name.
///
/// # Errors
/// A name that no [`Compute`] has, with those that there are.
pub fn compute_named(name: &str) -> Result<Compute, String> {
    let found = Compute::ALL.into_iter().find(|compute| compute.name() == name);
    one_of(found, name, &Compute::ALL.map(Compute::name))
}

/// How products with weights in bf16 are computed, by its name.
///
/// # Errors
/// A name that no [`Bf16Products`] has, with those that there are.
pub fn bf16_named(name: &str) -> Result<Bf16Products, String> {
    one_of(Bf16Products::named(name), name, &Bf16Products::ALL.map(Bf16Products::name))
}

fn one_of<T>(found: Option<T>, name: &str, names: &[&str]) -> Result<T, String> {
    found.ok_or_else(|| format!("`{name}` is none of {}", names.join(", ")))
}

/// Returns samples per second, from the median call, and the number of calls.
fn time_calls<E: std::error::Error + 'static>(
    batch: usize,
    time: Duration,
    mut call: impl FnMut() -> Result<(), E>,
) -> Result<(f64, usize), E> {
    call()?;
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 3 || start.elapsed() < time {
        let before = Instant::now();
        call()?;
        times.push(before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok((batch as f64 / times[times.len() / 2], times.len()))
}
