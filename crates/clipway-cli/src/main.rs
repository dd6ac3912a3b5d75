//! The `clipway` command: takes CLIP checkpoints to verified, deployable artifacts, and runs them.
//!
//! stdout carries data, stderr talk. Exit status: 0 yes, 1 no (refused, mismatched, failed verification), 2 could
//! not run.

#![forbid(unsafe_code)]

mod commands;
mod failure;
mod hints;
mod options;
mod pictures;
mod progress;
mod source;
mod text;
mod texts;
mod ui;
mod verification;

use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use ui::Ui;

/// Turn OpenCLIP-family checkpoints into verified artifacts, and run them
#[derive(Parser)]
#[command(name = "clipway", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    global: options::Global,

    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ui = Ui::new(&arguments.global);
    match arguments.command.run(&ui) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(failure::NO),
        Err(failure) => {
            ui.failure(&failure);
            ExitCode::from(failure.exit_code)
        }
    }
}
