//! Measures how many images and texts the engine encodes in a second, for comparison with other engines.

use std::time::{Duration, Instant};

use clipway_model::architecture::{self, Model};
use clipway_model::registry;
use clipway_run::engine::{Engine, EngineOptions, Processor};
use serde::Serialize;

use crate::architecture_runner::FormulaWeights;
use crate::formula;

/// Tokens of a caption, start and end included.
const CAPTION: usize = 10;

/// Start and end of a text in CLIP's vocabulary.
const START_AND_END: [i64; 2] = [49406, 49407];

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct EngineBenchOptions {
    /// Name of the registered model.
    pub model: String,
    /// Kinds of input: `image`, `text`, `caption`.
    pub inputs: Vec<String>,
    /// Sizes of the batches.
    pub batches: Vec<usize>,
    /// Threads.
    pub threads: usize,
    /// Least time that a case is repeated for, after one run to warm up.
    pub time: Duration,
}

/// What was measured. The peers' script prints the same.
#[derive(Clone, Debug, Serialize)]
pub struct EngineBench {
    /// `clipway`.
    pub engine: &'static str,
    /// Model by open_clip's name.
    pub model: String,
    /// Instruction set.
    pub instruction_set: &'static str,
    /// Threads.
    pub threads: usize,
    /// One line a case.
    pub cases: Vec<EngineBenchCase>,
}

/// Speed of one tower at one batch size.
#[derive(Clone, Debug, Serialize)]
pub struct EngineBenchCase {
    /// `image`, `text` (as long as the context) or `caption` (ten tokens, padded to the context).
    pub input: String,
    /// Samples of a call.
    pub batch: usize,
    /// Samples a second, by the median call.
    pub per_second: f64,
    /// Calls that were timed.
    pub calls: usize,
}

/// Measures a registered model in f32 with weights by formula.
///
/// # Errors
/// What the registry, the model or the engine refuses; an input of unknown kind.
pub fn measure_engine(options: &EngineBenchOptions) -> Result<EngineBench, Box<dyn std::error::Error>> {
    let model = architecture::build(&registry::model(&options.model)?)?;
    let processor = Processor::with_threads(options.threads)?;
    let mut bench = EngineBench {
        engine: "clipway",
        model: options.model.clone(),
        instruction_set: processor.instruction_set().name(),
        threads: processor.threads(),
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
        let engine =
            Engine::compile(tower, &model.parameters, &FormulaWeights, &processor, EngineOptions::default())?;
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

/// A text of `tokens` ids between start and end, padded with zeros to the model's context.
fn ids(model: &Model, text: usize, tokens: usize) -> Vec<i64> {
    let mut ids: Vec<i64> = (0..tokens).map(|token| 320 + (text * 77 + token) as i64 * 97 % 31_000).collect();
    ids[0] = START_AND_END[0].min(model.vocab_size as i64 - 2);
    ids[tokens - 1] = START_AND_END[1].min(model.vocab_size as i64 - 1);
    ids.resize(model.context_length, 0);
    ids
}

/// Samples a second by the median call, and the number of calls.
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
