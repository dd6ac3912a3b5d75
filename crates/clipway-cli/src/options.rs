//! Options shared by several commands.

use clap::{Args, ValueEnum};
use clipway_formats::raise_inflation_limit;
use clipway_model::input;
use clipway_run::budget::Budget;
use clipway_run::engine::{Bf16Products, Compute, InstructionSet};

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

    /// Size limit of a tokenizer file, an image and a file of texts, if more than the usual 256 MiB, 512 MiB and 64 MiB
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "SIZE", value_parser = size)]
    pub max_input: Option<u64>,

    /// Size that the deflated entries of an archive may inflate to in total, if more than the usual 32 MiB and 8 times
    /// their bytes
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "SIZE", value_parser = size)]
    pub max_inflated: Option<u64>,

    /// Use only what is in the Hub's cache, without the network
    #[cfg(feature = "hub")]
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub offline: bool,

    #[command(flatten)]
    pub debug: Debug,
}

impl Global {
    /// Raises the limits that hold for the whole process.
    pub fn raise_limits(&self) {
        self.max_input.into_iter().for_each(input::raise_size_limits);
        self.max_inflated.into_iter().for_each(raise_inflation_limit);
    }

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

/// Options for finding a mismatch; see `docs/debugging.md`. They matter to commands that run a model.
#[derive(Args, Clone, Copy)]
pub struct Debug {
    /// Compute with these instructions: avx512, avx2, neon or portable
    #[arg(long, global = true, hide = true, value_name = "NAME", value_parser = instruction_set)]
    pub isa: Option<InstructionSet>,

    /// With `--compute bf16`, multiply in bf16 or widen weights to f32: multiply, widen
    #[arg(long, global = true, hide = true, value_name = "HOW", value_parser = bf16_products)]
    pub bf16: Option<Bf16Products>,

    /// Compute step by step as the model is described, without the passes that make it fast
    #[arg(long, global = true, hide = true)]
    pub no_passes: bool,

    /// Say how long each kind of step took in each module
    #[arg(long, global = true, hide = true)]
    pub step_times: bool,
}

/// What a model is run in.
#[derive(Args)]
pub struct RunArguments {
    /// What products are computed in: bf16 and int8 weights take a half and a quarter of the memory [default: int8 where
    /// weights are stored so, else f32]
    #[arg(long, value_enum)]
    pub compute: Option<ComputeName>,
}

impl RunArguments {
    /// What products are computed in.
    pub fn compute(&self) -> Compute {
        self.compute.map_or(Compute::AsStored, Compute::from)
    }
}

/// What products are computed in.
#[derive(Clone, Copy, ValueEnum)]
pub enum ComputeName {
    /// Exact to f32
    F32,
    /// Weights rounded to bf16
    Bf16,
    /// Weights and inputs rounded to int8, with scales
    Int8,
}

impl From<ComputeName> for Compute {
    fn from(name: ComputeName) -> Compute {
        match name {
            ComputeName::F32 => Compute::F32,
            ComputeName::Bf16 => Compute::Bf16,
            ComputeName::Int8 => Compute::Int8,
        }
    }
}

fn bf16_products(text: &str) -> Result<Bf16Products, String> {
    one_of(Bf16Products::named(text), &Bf16Products::ALL.map(Bf16Products::name))
}

fn instruction_set(text: &str) -> Result<InstructionSet, String> {
    one_of(InstructionSet::named(text), &InstructionSet::ALL.map(InstructionSet::name))
}

/// What was found by its name, or an error with the names that there are.
fn one_of<T>(found: Option<T>, names: &[&str]) -> Result<T, String> {
    found.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

/// Parses a side, or a height and a width.
pub fn image_size(text: &str) -> Result<[usize; 2], String> {
    let side = |text: &str| match text.parse() {
        Ok(side @ 1..=16_384) => Ok(side),
        _ => Err("expected SIDE (such as 336) or HEIGHTxWIDTH, each from 1 to 16384".to_owned()),
    };
    match text.split_once('x') {
        Some((height, width)) => Ok([side(height)?, side(width)?]),
        None => side(text).map(|side| [side; 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_strictly() {
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        assert_eq!(size(" 500 mb"), Ok(500_000_000));
        assert_eq!(size("17"), Ok(17));
        for bad in ["", "0", "GB", "2TB", "-1", "1.5GB", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(image_size("336"), Ok([336, 336]));
        assert_eq!(image_size("192x320"), Ok([192, 320]));
        for bad in ["", "0", "x", "20x", "99999"] {
            assert!(image_size(bad).is_err(), "{bad}");
        }
    }
}
