//! Measurements of speed, to be read beside the peers' scripts in `benches/peers`.

use std::time::Duration;

use clap::Subcommand;
use clipway_testing::engine_bench::{EngineBenchOptions, measure_engine};

/// What to measure.
#[derive(Subcommand)]
pub enum What {
    /// ViT-B-32 in f32: images, texts of 77 tokens and captions a second; `benches/peers/engine.py` prints the same
    /// of PyTorch, ONNX Runtime and OpenVINO
    Engine {
        /// Threads
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Least seconds for each case
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
}

/// Measures and prints JSON.
pub fn run(what: What) -> Result<bool, String> {
    let What::Engine { threads, seconds } = what;
    let options = EngineBenchOptions { threads, time: Duration::from_secs(seconds) };
    let measured = measure_engine(options).map_err(|error| error.to_string())?;
    let text = serde_json::to_string_pretty(&measured).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(true)
}
