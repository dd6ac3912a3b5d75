//! The commands, one file each.

mod classify;
mod completions;
mod embed;
mod export;
mod inspect;
mod models;
mod verify;

use std::path::Path;

use clap::Subcommand;

use crate::failure::{self, Failure};
use crate::ui::Ui;

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    Inspect(inspect::Inspect),
    Export(Box<export::Export>),
    Verify(verify::Verify),
    Classify(classify::Classify),
    Embed(embed::Embed),
    Models(models::Models),
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Command {
    /// Runs the command; `false` is an answer of no.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        match self {
            Command::Inspect(command) => command.run(ui),
            Command::Export(command) => command.run(ui),
            Command::Verify(command) => command.run(ui),
            Command::Classify(command) => command.run(ui),
            Command::Embed(command) => command.run(ui),
            Command::Models(command) => command.run(ui),
            Command::Completions(command) => command.run(ui),
            Command::Man(command) => command.run(ui),
        }
    }
}

/// The lines of a text file, without empty ones and the spaces around each.
pub fn read_lines(path: &Path) -> Result<Vec<String>, Failure> {
    let bytes = std::fs::read(path).map_err(|error| failure::file(path, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::no("malformed", format!("`{}`: not UTF-8 at byte {at}", path.display()))
            .hint("save the file as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}
