//! The commands, one file each.

mod check;
mod classify;
mod completions;
mod embed;
mod export;
mod export_report;
mod inspect;
mod models;
mod int8;
mod mix;
mod onnx;
mod onnx_inspect;
mod verify;

use clap::Subcommand;

use crate::failure::Failure;
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
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Command {
    /// Runs the command; `false` means the answer is no.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        match self {
            Command::Inspect(command) => command.run(ui),
            Command::Check(command) => command.run(ui),
            Command::Export(command) => command.run(ui),
            Command::Mix(command) => command.run(ui),
            Command::Verify(command) => command.run(ui),
            Command::Classify(command) => command.run(ui),
            Command::Embed(command) => command.run(ui),
            Command::Models(command) => command.run(ui),
            Command::Completions(command) => command.run(ui),
            Command::Man(command) => command.run(ui),
        }
    }
}
