//! From named options to the words of a command line, by the command's own definition.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

/// The value of an option, as a program gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// On or off.
    Switch(bool),
    /// One value.
    One(OsString),
    /// Several values.
    Many(Vec<OsString>),
}

/// An option that a command does not take as it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// There is no such command.
    #[error("there is no command `{name}`")]
    Command {
        /// The name.
        name: String,
    },
    /// The command has no such option.
    #[error("`{command}` has no option `{name}`{}", near.as_ref().map(|near| format!("; the nearest is `{near}`")).unwrap_or_default())]
    Unknown {
        /// The command.
        command: String,
        /// The name of the option.
        name: String,
        /// The option with the most similar name.
        near: Option<String>,
    },
    /// The option takes another kind of value.
    #[error("`{name}`: expected {expected}, found {found}")]
    Kind {
        /// The name of the option.
        name: String,
        /// What it takes.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
}

/// Options of the program's own output, which have no meaning here.
const OF_OUTPUT: [&str; 4] = ["json", "quiet", "help", "version"];

/// The options of a command by their names here.
fn named(command: &Command) -> impl Iterator<Item = (String, &Arg)> {
    let options = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
    options.filter(|(name, _)| !OF_OUTPUT.contains(name)).map(|(name, arg)| (name.replace('-', "_"), arg))
}

/// The words of a command line: options, then paths. An option is given by its name with underscores.
///
/// # Errors
/// A name that the command does not have, and a value of another kind than the option takes.
pub fn words(
    command: &Command,
    options: Vec<(String, OptionValue)>,
    paths: Vec<OsString>,
) -> Result<Vec<OsString>, OptionError> {
    let mut words = Vec::new();
    for (name, value) in options {
        let Some((_, arg)) = named(command).find(|(known, _)| *known == name) else {
            let distance = |known: &str| strsim::damerau_levenshtein(known, &name);
            let near = named(command).map(|(known, _)| known).min_by_key(|known| distance(known));
            let near = near.filter(|known| distance(known) <= 1 + name.len() / 3);
            return Err(OptionError::Unknown { command: command.get_name().to_owned(), name, near });
        };
        option_words(&name, arg, value, &mut words)?;
    }
    words.push("--".into());
    words.extend(paths);
    Ok(words)
}

/// Adds the words of one option.
fn option_words(
    name: &str,
    arg: &Arg,
    value: OptionValue,
    words: &mut Vec<OsString>,
) -> Result<(), OptionError> {
    let long = format!("--{}", arg.get_long().unwrap_or_default());
    let kind = |expected, found| OptionError::Kind { name: name.to_owned(), expected, found };
    let with = |value: OsString| {
        let mut word = OsString::from(format!("{long}="));
        word.push(value);
        word
    };
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let is_row = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
    let is_repeated = matches!(arg.get_action(), ArgAction::Append);
    match value {
        OptionValue::Switch(on) if is_switch => words.extend(on.then(|| long.clone().into())),
        OptionValue::Switch(_) if is_row || is_repeated => return Err(kind("a list", "a truth value")),
        OptionValue::Switch(_) => return Err(kind("a value", "a truth value")),
        _ if is_switch => return Err(kind("True or False", "another value")),
        OptionValue::One(value) => words.push(with(value)),
        OptionValue::Many(values) if is_row => {
            words.push(long.clone().into());
            words.extend(values);
        }
        OptionValue::Many(values) if is_repeated => words.extend(values.into_iter().map(with)),
        OptionValue::Many(_) => return Err(kind("one value", "a list")),
    }
    Ok(())
}

/// The options of a command for a manual, one paragraph each.
pub fn help(command: &Command) -> String {
    let mut text = String::new();
    for (name, arg) in named(command).filter(|(_, arg)| !arg.is_hide_set()) {
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> =
            arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        let values = match values.is_empty() || matches!(arg.get_action(), ArgAction::SetTrue) {
            true => String::new(),
            false => format!(" [{}]", values.join(", ")),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}\n    {about}{values}");
    }
    text
}
