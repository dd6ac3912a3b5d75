//! Speed measurements, to be compared with the peers' scripts in `benches/peers`.

mod images;
mod peer;
mod search;
mod tokens;

use std::time::Duration;

use clap::Subcommand;
use clipway_testing::engine_bench::{EngineBenchOptions, bf16_named, compute_named, measure_engine};

/// What to measure.
#[derive(Subcommand)]
pub enum What {
    /// A model: images, context-length texts and captions per second; `benches/peers/engine.py` prints the same
    /// for PyTorch, ONNX Runtime and OpenVINO, `benches/peers/towers.py` a table of models measured by turns
    Engine {
        /// Registered model
        #[arg(long, default_value = "ViT-B-32")]
        model: String,
        /// Kinds of input: image, text, caption
        #[arg(long, value_delimiter = ',', default_value = "image,text,caption")]
        inputs: Vec<String>,
        /// Batch sizes
        #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
        batches: Vec<usize>,
        /// Threads
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// What products are computed in: f32, bf16 or int8
        #[arg(long, default_value = "f32")]
        compute: String,
        /// With bf16, multiply in bf16 or widen weights to f32: multiply, widen [default: the processor's]
        #[arg(long)]
        bf16: Option<String>,
        /// Minimum seconds per case
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// Photographs per second from file to pixels, next to Pillow and torchvision as open_clip runs them
    Images(images::Images),
    /// Texts per second of CLIP's tokenizer, next to the tokenizers library and open_clip's SimpleTokenizer
    Tokens(tokens::Tokens),
    /// Milliseconds a query in an index of a million features; `benches/peers/search.py` measures usearch and faiss on
    /// the same rows
    Search(search::Search),
}

/// Measures and prints.
pub fn run(what: What) -> Result<bool, String> {
    match what {
        What::Engine { model, inputs, batches, threads, compute, bf16, seconds } => {
            let (time, compute) = (Duration::from_secs(seconds), compute_named(&compute)?);
            let bf16 = bf16.map(|name| bf16_named(&name)).transpose()?;
            engine(&EngineBenchOptions { model, inputs, batches, threads, compute, bf16, time })
        }
        What::Images(images) => images.run(),
        What::Tokens(tokens) => tokens.run(),
        What::Search(search) => search.run(),
    }
}

/// Prints JSON, like the peers' script.
fn engine(options: &EngineBenchOptions) -> Result<bool, String> {
    let measured = measure_engine(options).map_err(|error| error.to_string())?;
    let text = serde_json::to_string_pretty(&measured).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(true)
}
