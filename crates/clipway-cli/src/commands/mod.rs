//! The commands, one file each.

#[cfg(feature = "hub")]
mod cache;
mod check;
mod classify;
mod completions;
mod destination;
mod embed;
mod export;
mod export_report;
mod inspect;
mod models;
mod int8;
mod license;
mod mix;
mod onnx;
mod onnx_inspect;
#[cfg(feature = "hub")]
mod pull;
#[cfg(feature = "hub")]
mod push;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use crate::failure::Failure;
use crate::hub;
use crate::ui::Ui;

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    Inspect(inspect::Inspect),
    Check(check::Check),
    Export(Box<export::Export>),
    Mix(Box<mix::Mix>),
    Verify(verify::Verify),
    Classify(classify::Classify),
    Embed(embed::Embed),
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
    /// Runs the command; `false` means the answer is no.
    pub fn run(mut self, ui: &Ui) -> Result<bool, Failure> {
        for source in self.sources() {
            hub::bring(source, ui)?;
        }
        match self {
            Command::Inspect(command) => command.run(ui),
            Command::Check(command) => command.run(ui),
            Command::Export(command) => command.run(ui),
            Command::Mix(command) => command.run(ui),
            Command::Verify(command) => command.run(ui),
            Command::Classify(command) => command.run(ui),
            Command::Embed(command) => command.run(ui),
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

    /// The sources of the command, which may be on the Hub.
    fn sources(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Command::Inspect(command) => command.arguments.with_base(&mut command.source),
            Command::Check(command) => command.arguments.with_base(&mut command.source),
            Command::Export(command) => command.sources(),
            Command::Mix(command) => command.sources(),
            Command::Verify(command) => {
                let mut sources = command.source.with_base(&mut command.folder);
                sources.extend(&mut command.against);
                sources
            }
            Command::Classify(command) => command.source.with_base(&mut command.model_folder),
            Command::Embed(command) => command.source.with_base(&mut command.model_folder),
            #[cfg(feature = "hub")]
            Command::Push(command) => command.sources(),
            _ => Vec::new(),
        }
    }
}
