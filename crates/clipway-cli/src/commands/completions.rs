//! `clipway completions` and `clipway man`: made of the same definitions as the commands.

use clap::{Args, CommandFactory};

use crate::failure::Failure;
use crate::ui::Ui;

/// Print a completion script for a shell
#[derive(Args)]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    /// Prints the script.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let mut out = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Arguments::command(), "clipway", &mut out);
        ui.data(&String::from_utf8_lossy(&out))?;
        Ok(true)
    }
}

/// Print a man page (roff)
#[derive(Args)]
pub struct Man {
    /// Command to describe; without it the page of clipway itself
    command: Option<String>,
}

impl Man {
    /// Prints the page.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let mut root = crate::Arguments::command();
        root.build();
        let page = match &self.command {
            None => root,
            Some(name) => match root.find_subcommand(name) {
                Some(command) => command.clone().display_name(format!("clipway-{name}")),
                None => {
                    return Err(Failure::could_not_run("bad-option", format!("no command `{name}`"))
                        .hint("`clipway help` lists the commands"));
                }
            },
        };
        let mut out = Vec::new();
        clap_mangen::Man::new(page)
            .render(&mut out)
            .map_err(|error| Failure::could_not_run("internal", error))?;
        ui.data(&String::from_utf8_lossy(&out))?;
        Ok(true)
    }
}
