//! Why a command ended without its result, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;

use clipway_formats::shown_path;
use clipway_model::differences::Differences;
use clipway_model::input::InputError;
use serde_json::{Value, json};

/// Exit status of a question answered with no: refused, mismatched, failed verification.
pub const NO: u8 = 1;
/// Exit status of a command that could not run: a missing file, a full disk, an unusable option.
pub const COULD_NOT_RUN: u8 = 2;
/// Exit status after an interrupt from the keyboard, as shells count it.
pub const INTERRUPTED: u8 = 130;

/// A command's failure, ready to show.
#[derive(Debug)]
pub struct Failure {
    /// Exit status of the process.
    pub exit_code: u8,
    /// Stable name of the cause, the same in every release.
    pub code: &'static str,
    /// What went wrong, with its causes.
    pub message: String,
    /// What to run or change.
    pub hint: Option<String>,
    /// Everything that is wrong, where there can be much, for `--json`.
    pub list: Box<List>,
}

/// What is wrong, one by one.
#[derive(Debug, Default)]
pub struct List {
    /// In what tensors differ.
    differences: Vec<Value>,
    /// What contradicts, or cannot be expressed.
    problems: Vec<Value>,
    /// How many there are beyond.
    left_out: usize,
}

impl List {
    /// Most entries of each kind: more than any model has tensors.
    const MOST: usize = 20_000;

    /// What an error lists.
    pub fn of(differences: Option<&Differences>, problems: &[&str]) -> Box<List> {
        let count = differences.map_or(0, |differences| differences.iter().count());
        Box::new(List {
            left_out: count.saturating_sub(List::MOST) + problems.len().saturating_sub(List::MOST),
            differences: differences
                .into_iter()
                .flat_map(|differences| differences.iter().take(List::MOST))
                .map(|one| json!(one))
                .collect(),
            problems: problems.iter().take(List::MOST).map(|one| json!(one)).collect(),
        })
    }
}

impl Failure {
    /// Refused: the input or the result is not what it must be.
    pub fn no(code: &'static str, message: impl fmt::Display) -> Failure {
        Failure { exit_code: NO, code, message: message.to_string(), hint: None, list: Box::default() }
    }

    /// Could not run.
    pub fn could_not_run(code: &'static str, message: impl fmt::Display) -> Failure {
        Failure {
            exit_code: COULD_NOT_RUN,
            code,
            message: message.to_string(),
            hint: None,
            list: Box::default(),
        }
    }

    /// As `--json` says it.
    pub fn json(&self) -> Value {
        let Failure { code, message, hint, list, .. } = self;
        let mut error = json!({ "code": code, "message": message, "hint": hint });
        let lists = [("differences", &list.differences), ("problems", &list.problems)];
        for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            error[key] = json!(list);
        }
        if list.left_out > 0 {
            error["left_out"] = json!(list.left_out);
        }
        json!({ "error": error })
    }

    /// The message with its code at the end of the first line.
    pub fn coded(&self) -> String {
        let end = self.message.find('\n').unwrap_or(self.message.len());
        let (first, rest) = self.message.split_at(end);
        format!("{first} [{}]{rest}", self.code)
    }

    /// The same with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }
}

/// An error with its causes, joined by colons. No error repeats its causes in its own message.
pub fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message
}

/// The exit status of a cause: what the system cannot do could not be run, all else is refused.
pub fn exit_of(code: &str) -> u8 {
    if code == "io" { COULD_NOT_RUN } else { NO }
}

/// The failure of an input that cannot be opened or read.
pub fn input(error: &InputError) -> Failure {
    let exit_code = if error.is_trouble() { COULD_NOT_RUN } else { NO };
    let hint = match error {
        InputError::NotAFile { found: "a pipe", .. } => Some(
            "texts and labels are read from standard input with `-`; save anything else as a file".to_owned(),
        ),
        InputError::Changed { .. } => Some("run it again when nothing writes to the file".to_owned()),
        _ => None,
    };
    Failure { exit_code, hint, ..Failure::no(error.code(), chain(error)) }
}

/// The failure of listing the folder `path`.
pub fn folder(path: &std::path::Path, error: &io::Error) -> Failure {
    Failure::could_not_run("io", format!("`{}`: {error}", shown_path(path)))
}
