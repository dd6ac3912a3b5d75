//! The commands, one file each.

#[cfg(feature = "hub")]
mod cache;
mod check;
mod classify;
mod compare;
mod completions;
mod destination;
#[cfg(feature = "search")]
mod duplicates;
mod embed;
mod export;
mod export_report;
mod export_targets;
mod export_tokenizer;
#[cfg(feature = "search")]
mod index;
#[cfg(feature = "search")]
mod index_actions;
#[cfg(feature = "search")]
mod index_export;
#[cfg(feature = "search")]
mod index_import;
mod inspect;
mod models;
mod integers;
mod license;
mod mix;
mod onnx;
mod onnx_inspect;
#[cfg(feature = "hub")]
mod pull;
#[cfg(feature = "hub")]
mod push;
#[cfg(feature = "search")]
mod search;
#[cfg(feature = "serve")]
mod serve;
mod verify;

use clap::Subcommand;

use crate::failure::Failure;
use crate::hub::{self, Reads};
use crate::pool;
use crate::source_name::SourceName;
use crate::ui::Ui;

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    Inspect(inspect::Inspect),
    Check(check::Check),
    Export(Box<export::Export>),
    Mix(Box<mix::Mix>),
    Verify(verify::Verify),
    Compare(Box<compare::Compare>),
    Classify(classify::Classify),
    Embed(embed::Embed),
    #[cfg(feature = "search")]
    Index(Box<index::Index>),
    #[cfg(feature = "search")]
    Search(Box<search::Search>),
    #[cfg(feature = "search")]
    Duplicates(duplicates::Duplicates),
    #[cfg(feature = "serve")]
    Serve(Box<serve::Serve>),
    Models(models::Models),
    #[cfg(feature = "hub")]
    Pull(pull::Pull),
    #[cfg(feature = "hub")]
    Push(Box<push::Push>),
    #[cfg(feature = "hub")]
    Cache(cache::Cache),
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Command {
    /// Runs the command on the requested threads; `false` means the answer is no.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        match self {
            // Its model's threads must be free for the model: what waits for connections waits elsewhere.
            #[cfg(feature = "serve")]
            Command::Serve(command) => command.run(ui),
            command => pool::run(ui, || command.run_in_pool(ui)),
        }
    }

    fn run_in_pool(mut self, ui: &Ui) -> Result<bool, Failure> {
        let reads = self.reads();
        for source in self.sources()? {
            hub::bring(source, reads, ui)?;
        }
        match self {
            Command::Inspect(command) => command.run(ui),
            Command::Check(command) => command.run(ui),
            Command::Export(command) => command.run(ui),
            Command::Mix(command) => command.run(ui),
            Command::Verify(command) => command.run(ui),
            Command::Compare(command) => command.run(ui),
            Command::Classify(command) => command.run(ui),
            Command::Embed(command) => command.run(ui),
            #[cfg(feature = "search")]
            Command::Index(command) => command.run(ui),
            #[cfg(feature = "search")]
            Command::Search(command) => command.run(ui),
            #[cfg(feature = "search")]
            Command::Duplicates(command) => command.run(ui),
            #[cfg(feature = "serve")]
            Command::Serve(command) => command.run(ui),
            Command::Models(command) => command.run(ui),
            #[cfg(feature = "hub")]
            Command::Pull(command) => command.run(ui),
            #[cfg(feature = "hub")]
            Command::Push(command) => command.run(ui),
            #[cfg(feature = "hub")]
            Command::Cache(command) => command.run(ui),
            Command::Completions(command) => command.run(ui),
            Command::Man(command) => command.run(ui),
        }
    }

    /// Which bytes of weights the command reads.
    fn reads(&self) -> Reads {
        match self {
            Command::Inspect(command) => command.reads(),
            _ => Reads::Weights,
        }
    }

    /// The sources of the command, which may be on the Hub.
    fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        match self {
            Command::Inspect(command) => command.arguments.sources(&mut command.source.name),
            Command::Check(command) => command.arguments.sources(&mut command.source.name),
            Command::Export(command) => command.sources(),
            Command::Mix(command) => command.sources(),
            Command::Verify(command) => command.sources(),
            Command::Compare(command) => Ok(command.sources()),
            Command::Classify(command) => command.sources(),
            Command::Embed(command) => command.sources(),
            #[cfg(feature = "search")]
            Command::Index(command) => command.sources(),
            #[cfg(feature = "search")]
            Command::Search(command) => Ok(command.sources()),
            #[cfg(feature = "hub")]
            Command::Push(command) => command.sources(),
            _ => Ok(Vec::new()),
        }
    }
}
