//! Commands for another program: it names options, and gets results and failures instead of output.
//!
//! Nothing here prints, handles signals or starts global threads. Options have the names of the command line, with
//! underscores: what a command takes is defined once, by its own arguments.

#[cfg(feature = "search")]
mod index;
mod load;
mod words;

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory, FromArgMatches};

pub use crate::failure::{Failure, chain};
#[cfg(feature = "search")]
pub use crate::searching::{Answer, Found};
#[cfg(feature = "search")]
pub use index::OpenIndex;
pub use load::{LoadedModel, ModelOrigin, load, load_help, load_tokenizer};
pub use words::{OptionError, OptionValue};

use crate::ui::{Kept, Ui};
use crate::{Arguments, bad_option};

/// What a command that ran has to say.
#[derive(Debug)]
pub struct Reply {
    /// Whether the answer is yes; no means a failed verification.
    pub passed: bool,
    /// The result, as `--json` prints it; null if there is none.
    pub result: serde_json::Value,
    /// Notes that a user must see.
    pub notes: Vec<String>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Why a command did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// An option that the command does not take as it was given.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The command's own failure.
    #[error("{}", .0.message)]
    Failed(Box<Failure>),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> CallError {
        CallError::Failed(Box::new(failure))
    }
}

/// Commands that give no result: one that runs until it is stopped, and two that write text.
const WITHOUT_RESULT: [&str; 3] = ["serve", "man", "completions"];

/// Runs a command. `cancel` ends it early where it writes, downloads or reads long files.
///
/// # Errors
/// Options that the command does not take, and its failure.
pub fn call(
    command: &str,
    paths: Vec<OsString>,
    options: Vec<(String, OptionValue)>,
    cancel: Arc<AtomicBool>,
) -> Result<Reply, CallError> {
    let mut all = Arguments::command();
    all.build();
    let definition = all.find_subcommand(command).filter(|_| !WITHOUT_RESULT.contains(&command));
    let definition = definition.ok_or_else(|| OptionError::Command { name: command.to_owned() })?;
    let mut arguments = vec![OsString::from("clipway"), command.into(), "--json".into()];
    arguments.extend(words::words(definition, options, paths)?);
    let parsed = all.try_get_matches_from(arguments).and_then(|found| Arguments::from_arg_matches(&found));
    let Arguments { global, command } = parsed.map_err(|error| bad_option(&error))?;
    global.raise_limits();
    let ui = Ui::keeping(&global, cancel);
    let passed = command.run(&ui).map_err(|failure| ui.cause(failure))?;
    let Kept { data, notes, warnings } = ui.into_kept();
    let result = if data.is_empty() { Ok(serde_json::Value::Null) } else { serde_json::from_str(&data) };
    let result = result.map_err(|error| Failure::could_not_run("internal", error))?;
    Ok(Reply { passed, result, notes, warnings })
}

/// The options of a command for a manual, by their names here, without those of its output.
pub fn help(command: &str) -> Option<String> {
    let mut all = Arguments::command();
    all.build();
    all.find_subcommand(command).map(words::help)
}

#[cfg(test)]
mod tests;
