//! Options that several commands share.

use clap::Args;

/// Options of every command.
#[derive(Args)]
pub struct Global {
    /// Write results to stdout as JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// Say nothing on stderr but warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Threads to compute with [default: all processors]
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}
