//! Texts per second: clipway, the tokenizers library and open_clip side by side.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clipway_testing::token_bench::{TokenBench, captions, measure_tokens};

use super::peer;

/// Captions per set.
const CAPTIONS: usize = 5000;

/// What to measure.
#[derive(Args)]
pub struct Tokens {
    /// Minimum seconds per tokenizer and set of texts
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// A Python with open_clip
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

impl Tokens {
    /// Measures two sets of captions on one thread and prints a line per tokenizer.
    pub fn run(&self) -> Result<bool, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let file = folder.path().join("captions.txt");
        for (name, scripts) in [("English captions", false), ("captions with other scripts", true)] {
            let texts = captions(CAPTIONS, scripts);
            std::fs::write(&file, texts.join("\n")).map_err(|error| error.to_string())?;
            let measure = || {
                measure_tokens(&texts, Duration::from_secs(self.seconds)).map_err(|error| error.to_string())
            };
            let [before, library] = measure()?;
            let (shown, seconds) = (file.display().to_string(), self.seconds.to_string());
            let peer: TokenBench = peer::run(&self.python, "tokens.py", &[&shown, "--seconds", &seconds])?;
            let [after, _] = measure()?;
            let mean = (before.per_second + after.per_second) / 2.0;
            println!("{name}: clipway {:.0} and {:.0} a second", before.per_second, after.per_second);
            for other in [library, peer] {
                let times = mean / other.per_second;
                println!(
                    "  {}: {:.0} a second; clipway is {times:.1} times as fast",
                    other.engine, other.per_second
                );
            }
        }
        Ok(true)
    }
}
