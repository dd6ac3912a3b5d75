//! Options that several commands share.

use clap::Args;

/// Heading of the options of every command in `--help`.
const GLOBAL: &str = "Global options";

/// Options of every command.
#[derive(Args)]
pub struct Global {
    /// Write results to stdout as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    /// Say nothing on stderr but warnings and errors
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub quiet: bool,

    /// Threads to compute with [default: all processors]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}
