//! Why a command failed, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;

use clipway_formats::shown_path;
use clipway_model::differences::Differences;
use clipway_model::input::InputError;
use serde_json::{Value, json};

use crate::hints;

/// Exit status for an answer of no: refused, mismatched, failed verification.
pub const NO: u8 = 1;
/// Exit status of a command that could not run: a missing file, a full disk, an unusable option.
pub const COULD_NOT_RUN: u8 = 2;
/// Exit status after an interrupt from the keyboard, following the convention of shells.
pub const INTERRUPTED: u8 = 130;

/// A command's failure, ready to show.
#[derive(Debug)]
pub struct Failure {
    /// Exit status of the process.
    pub exit_code: u8,
    /// Stable code of the cause, the same in every release.
    pub code: &'static str,
    /// What went wrong, including causes.
    pub message: String,
    /// What to run or change.
    pub hint: Option<String>,
    /// All differences and problems, for `--json`.
    pub list: Box<List>,
}

/// Everything that is wrong, item by item.
#[derive(Debug, Default)]
pub struct List {
    /// Tensors that differ.
    differences: Vec<Value>,
    /// Contradictions, and what the target cannot express.
    problems: Vec<Value>,
    /// Number of entries left out.
    left_out: usize,
}

impl List {
    /// Maximum number of entries of each kind: more than any model has tensors.
    const MOST: usize = 20_000;

    /// The list of an error.
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
    /// Refused: the input or the result is wrong.
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

    /// The failure as `--json` prints it.
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

    /// The message, with its code at the end of the first line.
    pub fn coded(&self) -> String {
        let end = self.message.find('\n').unwrap_or(self.message.len());
        let (first, rest) = self.message.split_at(end);
        format!("{first} [{}]{rest}", self.code)
    }

    /// The first line of the message, with the code.
    pub fn first_line(&self) -> String {
        self.coded().lines().next().unwrap_or_default().to_owned()
    }

    /// Adds a hint.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }
}

/// An error and its causes, joined by colons. No error repeats its causes in its own message.
pub fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message
}

/// The exit status of a cause: an I/O failure means the command could not run, anything else is a refusal.
pub fn exit_of(code: &str) -> u8 {
    if matches!(code, "io" | "no-memory") { COULD_NOT_RUN } else { NO }
}

/// The failure of an input that cannot be opened or read.
pub fn input(error: &InputError) -> Failure {
    let exit_code = if error.is_trouble() { COULD_NOT_RUN } else { NO };
    let hint = match error {
        InputError::NotAFile { found: "a pipe", .. } => Some(
            "texts and labels are read from standard input with `-`; save anything else as a file".to_owned(),
        ),
        InputError::TooLarge { kind, .. } if kind.is_raisable() => {
            Some("raise the limit with `--max-input` if you trust the file".to_owned())
        }
        InputError::Changed { .. } => Some("run it again when nothing writes to the file".to_owned()),
        _ => hints::of_absent(error),
    };
    Failure { exit_code, hint, ..Failure::no(error.code(), chain(error)) }
}

/// The failure to list the folder `path`.
pub fn folder(path: &std::path::Path, error: &io::Error) -> Failure {
    Failure::could_not_run("io", format!("`{}`: {error}", shown_path(path)))
}
