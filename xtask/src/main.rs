//! Repository tasks: the demo, golden outputs, the corpus of hostile files, benchmarks.

// Tests and tools read and write their own files.
#![allow(clippy::disallowed_methods)]
#![forbid(unsafe_code)]

mod attack;
mod bench;
mod cases;
mod circles;
mod conventions;
mod corpus;
mod coverage;
mod crash;
mod demo;
mod fuzz;
mod goldens;
mod licenses;
mod made;
mod mutate;
mod outcome;
mod random;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Repository tasks
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Export, verify and use the demo model in examples/emoji-clip
    Demo,
    /// Compare with stored outputs of open_clip: every case in a folder
    Goldens {
        /// What the folder contains
        kind: goldens::Kind,
        /// The folder
        folder: PathBuf,
        /// Run only cases whose name contains a match of this regular expression
        #[arg(long, value_name = "REGEX")]
        only: Option<regex::Regex>,
        /// Force the kernels: avx512, avx2, neon or portable
        #[arg(long)]
        isa: Option<String>,
        /// Keep the ONNX files in this folder
        #[arg(long, value_name = "FOLDER")]
        keep: Option<PathBuf>,
    },
    /// Compare the parameters of every architecture with open_clip's state dicts
    Manifests {
        /// A folder of NAME.json.gz
        folder: PathBuf,
        /// Run only cases whose name contains a match of this regular expression
        #[arg(long, value_name = "REGEX")]
        only: Option<regex::Regex>,
    },
    /// Open every file in a folder of hostile and odd files, each in its own process
    Corpus {
        /// The folder, with its manifest.json
        folder: PathBuf,
        /// Run only cases whose name or path contains a match of this regular expression
        #[arg(long, value_name = "REGEX")]
        only: Option<regex::Regex>,
        /// Leave out cases whose name contains a match of this regular expression
        #[arg(long, value_name = "REGEX")]
        except: Option<regex::Regex>,
    },
    /// Run the program on every file in a folder that must be refused, command by command
    Contract {
        /// The folder, with its manifest.json
        folder: PathBuf,
        /// Run only cases whose name or path contains a match of this regular expression
        #[arg(long, value_name = "REGEX")]
        only: Option<regex::Regex>,
        /// Leave out cases whose name contains a match of this regular expression
        #[arg(long, value_name = "REGEX")]
        except: Option<regex::Regex>,
    },
    /// Open one file of a corpus and report on it; started by `corpus`
    #[command(hide = true)]
    CorpusCase {
        /// What opens it
        format: corpus::Format,
        /// The file
        path: PathBuf,
    },
    /// Create user cases with Python, run the program on them and judge the results
    Cases(cases::Options),
    /// Run folders of hostile inputs (`make.py`, `run.sh`) under observation, and judge them by their expectations
    Attack(attack::Options),
    /// Find cycles of source files, and fail if more than four files depend on each other
    Circles,
    /// Check conventions that the compiler does not: errors, tables and links in documents, plain English
    Conventions,
    /// Count the lines of the readers that tests reach
    Coverage,
    /// Kill exports and indexing at random moments, and check what is in place
    Crash(crash::Options),
    /// Feed mutated files to readers, and watch for panics, memory, time and differing results
    Fuzz(fuzz::Options),
    /// Check the license and origin of every dependency
    Licenses,
    /// Change valid files in every small way, and count the results
    Mutate,
    /// Measure speed
    Bench {
        /// What to measure
        #[command(subcommand)]
        what: bench::What,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.task {
        Task::Demo => demo::run(),
        Task::Goldens { kind, folder, only, isa, keep } => {
            goldens::run(kind, &folder, only.as_ref(), isa.as_deref(), keep.as_deref())
        }
        Task::Manifests { folder, only } => goldens::manifests(&folder, only.as_ref()),
        Task::Corpus { folder, only, except } => corpus::run(&folder, only.as_ref(), except.as_ref()),
        Task::Contract { folder, only, except } => {
            corpus::run_contract(&folder, only.as_ref(), except.as_ref())
        }
        Task::CorpusCase { format, path } => corpus::run_case(format, path),
        Task::Cases(options) => cases::run(&options),
        Task::Attack(options) => attack::run(&options),
        Task::Circles => circles::run(),
        Task::Conventions => conventions::run(),
        Task::Coverage => coverage::run(),
        Task::Crash(options) => crash::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Licenses => licenses::run(),
        Task::Mutate => mutate::run(),
        Task::Bench { what } => bench::run(what),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
