//! What a failure of an index means for the exit status, and what to do about it.

use clipway_model::output::OutputError;
use clipway_search::IndexError;

use crate::failure::{self, COULD_NOT_RUN, Failure, chain};
use crate::hints;

/// Failure, with its exit status, for an index that cannot be used.
pub fn index_failure(error: &IndexError) -> Failure {
    let (exit_code, hint) = match error {
        IndexError::Input(error) => return failure::input(error),
        IndexError::Output(OutputError::Exists { .. }) => {
            (COULD_NOT_RUN, Some("choose another name, or remove it first".to_owned()))
        }
        IndexError::Output(error) => (COULD_NOT_RUN, hints::of_output(error)),
        IndexError::NotAnIndex { .. } => {
            (failure::NO, Some("create one with `clipway index FOLDER --index PATH`".to_owned()))
        }
        IndexError::Locked { .. } => (COULD_NOT_RUN, Some("wait until it has ended".to_owned())),
        IndexError::Damaged { .. } => {
            (failure::NO, Some("restore the index from a copy, or create it anew".to_owned()))
        }
        IndexError::OtherSpace { .. } => {
            (failure::NO, Some("pass the model that the index was made with, by `--model`".to_owned()))
        }
        IndexError::BadQuery { .. } | IndexError::TooLarge { what: "the number of results", .. } => {
            (COULD_NOT_RUN, None)
        }
        IndexError::Io { .. } => (COULD_NOT_RUN, None),
        _ => (failure::exit_of(error.code()), None),
    };
    Failure { exit_code, hint, ..Failure::no(error.code(), chain(error)) }
}
