//! Options shared by several commands.

use clap::Args;
use clipway_run::budget::Budget;

/// Heading in `--help` for the options that every command takes.
const GLOBAL: &str = "Global options";

/// Options of every command.
#[derive(Args)]
pub struct Global {
    /// Write results to stdout as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    /// Print only warnings and errors to stderr
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub quiet: bool,

    /// Number of threads to compute with [default: all processors]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,

    /// Memory limit for one image or text, such as 8GB
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "SIZE",
        value_parser = size,
        default_value = "2GiB"
    )]
    pub max_memory: u64,

    /// Limit on multiplications for one image or text, in billions
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "N",
        default_value_t = Budget::default().multiplications / 1_000_000_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000)
    )]
    pub max_compute: u64,
}

impl Global {
    /// The limits for one image or text.
    pub fn budget(&self) -> Budget {
        Budget { bytes: self.max_memory, multiplications: self.max_compute * 1_000_000_000 }
    }
}

/// Parses a size in bytes: a number alone, or with `KB`, `MB`, `GB` (powers of 1000) or `KiB`, `MiB`, `GiB` (powers of
/// 1024).
pub fn size(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_ascii_uppercase();
    let (digits, unit) = match upper.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => upper.split_at(at),
        None => (upper.as_str(), ""),
    };
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KIB" => 1 << 10,
        "MIB" => 1 << 20,
        "GIB" => 1 << 30,
        _ => return Err("expected a size such as 500MB or 2GB".to_owned()),
    };
    let count: u64 = digits.parse().map_err(|_| "expected a size such as 500MB or 2GB".to_owned())?;
    count.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(|| "expected a size above 0".to_owned())
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}
