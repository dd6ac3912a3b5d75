//! The `clipway` command: takes CLIP checkpoints to verified, deployable artifacts, and runs them.
//!
//! [`run`] is the whole program: stdout carries data, stderr everything else. Exit status: 0 yes, 1 no (refused,
//! mismatched, failed verification), 2 could not run. [`library`] runs commands for another program, which gets their
//! results instead.

#![forbid(unsafe_code)]

mod checklist;
mod collect;
mod commands;
mod contract;
mod failure;
mod features;
mod hints;
mod html;
mod hub;
mod images;
mod options;
mod output;
mod pool;
mod progress;
mod reading;
mod running;
#[cfg(feature = "search")]
mod searching;
#[cfg(feature = "serve")]
mod serve_limits;
mod signals;
mod source;
mod source_name;
#[cfg(all(unix, feature = "search"))]
mod terminal;
mod text;
mod texts;
mod tips;
mod ui;
mod verification;
mod vocabulary;
pub mod library;

use std::ffi::OsString;
use std::io::Write;

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

/// Runs the program with these arguments, the first of which is its name, and returns its exit status.
///
/// It takes over the process: it prints, handles signals and starts the global threads. Call it once.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => {
            let words = words.get(1..).unwrap_or_default();
            let shown: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            return refused(&tips::corrected(error, Arguments::command(), &shown), words);
        }
    };
    arguments.global.raise_limits();
    let ui = Ui::new(&arguments.global, signals::watch(arguments.global.json));
    let result = arguments.command.run(&ui);
    ui.say_step_times();
    match result {
        Ok(true) => 0,
        Ok(false) => failure::NO,
        Err(failure) => {
            let failure = ui.cause(failure);
            ui.failure(&failure);
            failure.exit_code
        }
    }
}

/// Reports an error in the arguments (with `--json`, like any other failure), or prints the requested help.
fn refused(error: &clap::Error, words: &[OsString]) -> u8 {
    // If a stream cannot be written to, there is nothing left to do.
    let _ = error.print();
    if !error.use_stderr() {
        return 0;
    }
    // The arguments could not be parsed, so look for `--json` among them.
    if words.iter().take_while(|word| *word != "--").any(|word| word == "--json") {
        let _ = writeln!(anstream::stdout(), "{:#}", bad_option(error).json());
    }
    failure::COULD_NOT_RUN
}

/// The failure of arguments that cannot be parsed.
fn bad_option(error: &clap::Error) -> Failure {
    let text = error.to_string();
    Failure::could_not_run("bad-option", text.strip_prefix("error: ").unwrap_or(&text).trim_end())
}
