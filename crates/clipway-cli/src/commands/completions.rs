//! `clipway completions` and `clipway man`: generated from the definitions of the commands.

use clap::{Args, CommandFactory};

use crate::failure::Failure;
use crate::ui::Ui;

/// Print a shell completion script
#[derive(Args)]
pub struct Completions {
    /// Shell to complete for
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
    /// Command to describe [default: clipway itself]
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
