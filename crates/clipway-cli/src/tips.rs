//! Tips for arguments that do not exist, where similarity alone would mislead.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Command, Error};

/// Replaces the tip of an error whose option is the name of a positional argument, such as `--source`. `words` are the
/// arguments of the program.
pub fn corrected(mut error: Error, mut command: Command, words: &[String]) -> Error {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return error };
    let name = argument.split('=').next().unwrap_or_default().trim_start_matches('-').replace('-', "_");
    command.build();
    let subcommand = words.iter().find(|word| command.find_subcommand(word).is_some());
    let Some(subcommand) = subcommand.and_then(|word| command.find_subcommand_mut(word)) else {
        return error;
    };
    let Some(positional) = subcommand.get_positionals().find(|one| one.get_id().as_str() == name) else {
        return error;
    };
    let shown = name.to_ascii_uppercase();
    let values = positional.get_value_names().and_then(<[_]>::first).map_or(shown, ToString::to_string);
    let tip = StyledStr::from(format!("{values} stands without an option"));
    let usage = subcommand.render_usage();
    error.remove(ContextKind::SuggestedArg);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    error
}
