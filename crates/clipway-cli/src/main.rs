//! The `clipway` command: takes CLIP checkpoints to verified, deployable artifacts, and runs them.
//!
//! stdout carries data, stderr everything else. Exit status: 0 yes, 1 no (refused, mismatched, failed verification), 2
//! could not run.

#![forbid(unsafe_code)]

mod checklist;
mod collect;
mod commands;
mod contract;
mod failure;
mod features;
mod hints;
mod hub;
mod images;
mod options;
mod output;
mod pool;
mod progress;
mod reading;
#[cfg(feature = "search")]
mod searching;
#[cfg(feature = "serve")]
mod serve_limits;
mod signals;
mod source;
mod source_name;
mod text;
mod texts;
mod tips;
mod ui;
mod verification;
mod vocabulary;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use commands::Command;
use failure::Failure;
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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let words: Vec<String> =
                std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            return refused(&tips::corrected(error, Arguments::command(), &words));
        }
    };
    arguments.global.raise_limits();
    let ui = Ui::new(&arguments.global, signals::watch(arguments.global.json));
    let result = arguments.command.run(&ui);
    ui.say_step_times();
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(failure::NO),
        Err(failure) => {
            let failure = ui.cause(failure);
            ui.failure(&failure);
            ExitCode::from(failure.exit_code)
        }
    }
}

/// Reports an error in the arguments (with `--json`, like any other failure), or prints the requested help.
fn refused(error: &clap::Error) -> ExitCode {
    // If a stream cannot be written to, there is nothing left to do.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    // The arguments could not be parsed, so look for `--json` among them.
    if std::env::args_os()
        .skip(1)
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json")
    {
        let text = error.to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        let failure = Failure::could_not_run("bad-option", message);
        let _ = writeln!(anstream::stdout(), "{:#}", failure.json());
    }
    ExitCode::from(failure::COULD_NOT_RUN)
}
