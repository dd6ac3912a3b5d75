//! Measures how many pictures and texts the engine encodes in a second, for comparison with other engines.

use std::time::{Duration, Instant};

use clipway_model::architecture::{self, Model};
use clipway_model::config::ModelConfig;
use clipway_run::engine::{Engine, EngineOptions, Processor};
use serde::Serialize;

use crate::architecture_runner::FormulaWeights;
use crate::formula;

/// The model that is measured.
const CONFIG: &str = r#"{"embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}}"#;

/// Sizes of the batches.
const BATCHES: [usize; 3] = [1, 8, 32];

/// Tokens of a caption, start and end included.
const CAPTION: usize = 10;

/// Start and end of a text in CLIP's vocabulary.
const START_AND_END: [i64; 2] = [49406, 49407];

/// How long each case is repeated.
#[derive(Clone, Copy, Debug)]
pub struct EngineBenchOptions {
    /// Threads.
    pub threads: usize,
    /// Least time that a case is repeated for, after one run to warm up.
    pub time: Duration,
}

impl Default for EngineBenchOptions {
    fn default() -> EngineBenchOptions {
        EngineBenchOptions { threads: 2, time: Duration::from_secs(4) }
    }
}

/// What was measured. The peers' script prints the same.
#[derive(Clone, Debug, Serialize)]
pub struct EngineBench {
    /// `clipway`.
    pub engine: &'static str,
    /// Model by open_clip's name.
    pub model: &'static str,
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
    /// `image`, `text` (77 tokens) or `caption` (about ten tokens, padded to 77).
    pub input: &'static str,
    /// Samples of a call.
    pub batch: usize,
    /// Samples a second, by the median call.
    pub per_second: f64,
    /// Calls that were timed.
    pub calls: usize,
}

/// Measures a ViT-B-32 in f32 with weights by formula.
///
/// # Errors
/// What the model or the engine refuses.
pub fn measure_engine(options: EngineBenchOptions) -> Result<EngineBench, Box<dyn std::error::Error>> {
    let model = architecture::build(&ModelConfig::parse(CONFIG.as_bytes())?)?;
    let processor = Processor::with_threads(options.threads)?;
    let mut cases = images(&model, &processor, options.time)?;
    cases.extend(texts(&model, &processor, options.time)?);
    Ok(EngineBench {
        engine: "clipway",
        model: "ViT-B-32",
        instruction_set: processor.instruction_set().name(),
        threads: processor.threads(),
        cases,
    })
}

fn images(
    model: &Model,
    processor: &Processor,
    time: Duration,
) -> Result<Vec<EngineBenchCase>, Box<dyn std::error::Error>> {
    let options = EngineOptions::default();
    let engine = Engine::compile(&model.image, &model.parameters, &FormulaWeights, processor, options)?;
    let mut cases = Vec::new();
    for batch in BATCHES {
        let mut pixels = Vec::new();
        for sample in 0..batch {
            let mut image = Vec::new();
            formula::image(sample, model.image_size, &mut image);
            pixels.extend(image);
        }
        cases.push(time_calls("image", batch, time, || engine.run_pixels(&pixels).map(drop))?);
    }
    Ok(cases)
}

fn texts(
    model: &Model,
    processor: &Processor,
    time: Duration,
) -> Result<Vec<EngineBenchCase>, Box<dyn std::error::Error>> {
    let options = EngineOptions::default();
    let engine = Engine::compile(&model.text, &model.parameters, &FormulaWeights, processor, options)?;
    let context = model.context_length;
    let mut cases = Vec::new();
    for (input, tokens) in [("text", context), ("caption", CAPTION)] {
        for batch in BATCHES {
            let ids: Vec<i64> = (0..batch).flat_map(|text| ids(text, tokens, context)).collect();
            cases.push(time_calls(input, batch, time, || engine.run_tokens(&ids, context).map(drop))?);
        }
    }
    Ok(cases)
}

/// A text of `tokens` ids between start and end, padded with zeros.
fn ids(text: usize, tokens: usize, context: usize) -> Vec<i64> {
    let mut ids: Vec<i64> = (0..tokens).map(|token| 320 + (text * 77 + token) as i64 * 97 % 40_000).collect();
    ids[0] = START_AND_END[0];
    ids[tokens - 1] = START_AND_END[1];
    ids.resize(context, 0);
    ids
}

fn time_calls<E: std::error::Error + 'static>(
    input: &'static str,
    batch: usize,
    time: Duration,
    mut call: impl FnMut() -> Result<(), E>,
) -> Result<EngineBenchCase, Box<dyn std::error::Error>> {
    call()?;
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 3 || start.elapsed() < time {
        let before = Instant::now();
        call()?;
        times.push(before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    Ok(EngineBenchCase { input, batch, per_second: batch as f64 / median, calls: times.len() })
}
