//! The `clipway` command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(clipway_cli::run(std::env::args_os()))
}
