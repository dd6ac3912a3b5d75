//! Why a tokenizer could not be made or used.

use clipway_formats::{Code, is_invisible};
use thiserror::Error;

/// An error of a tokenizer, its files or its rules.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The context is too short to hold the start and the end token, or absurdly long.
    #[error("context length {found} is not usable: expected {least} to {most}")]
    ContextLength {
        /// The length that was asked for.
        found: usize,
        /// The shortest length that works.
        least: usize,
        /// The longest length that is allowed.
        most: usize,
    },
    /// The rules name another kind of tokenizer than the one that is being made.
    #[error("the rules are for a `{found}` tokenizer: expected `{expected}`")]
    Kind {
        /// The kind that the constructor makes.
        expected: &'static str,
        /// The kind that the rules name.
        found: &'static str,
    },
    /// A rule is unknown, or the files of the tokenizer cannot satisfy it.
    #[error("`{rule}`: {cause}")]
    Rule {
        /// The rule, as a configuration spells it.
        rule: String,
        /// What is wrong.
        cause: String,
    },
    /// A file of the tokenizer is not what it should be.
    #[error("{file}: {place}: {cause}")]
    File {
        /// The file's name, such as `tokenizer.json`.
        file: &'static str,
        /// Where in the file: a key path or a byte offset.
        place: String,
        /// What is wrong.
        cause: String,
    },
    /// The tokenizer is not the one that the model was made for.
    #[error("the tokenizer does not fit the model:{}", problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
    Unfit {
        /// Each contradiction.
        problems: Vec<String>,
    },
    /// A part of a file is over a limit.
    #[error("{file}: {place}: {cause}")]
    TooLarge {
        /// The file's name, such as `tokenizer.json`.
        file: &'static str,
        /// Where in the file: a key path.
        place: String,
        /// What there is too much of.
        cause: String,
    },
    /// A text is longer than the tokenizer is given, or becomes so.
    #[error("the text has {found} bytes when it is normalized: at most {most} are encoded")]
    TextTooLong {
        /// Bytes of the text, as the tokenizer would have them.
        found: u64,
        /// The most that are encoded.
        most: u64,
    },
    /// The tokenizers library failed on a text, or gave ids of a length that cannot be.
    #[error("the text could not be encoded: {cause}")]
    Encode {
        /// What the library said.
        cause: String,
    },
}

impl TokenizerError {
    /// Stable name of the cause, as [`clipway_formats::Code::name`].
    pub fn code(&self) -> &'static str {
        let code = match self {
            TokenizerError::ContextLength { .. }
            | TokenizerError::Kind { .. }
            | TokenizerError::Rule { .. }
            | TokenizerError::Encode { .. } => Code::BadValue,
            TokenizerError::Unfit { .. } => return "contradiction",
            TokenizerError::File { .. } => Code::Malformed,
            TokenizerError::TooLarge { .. } | TokenizerError::TextTooLong { .. } => Code::TooLarge,
        };
        code.name()
    }

    /// Makes the error of a bad file.
    pub(crate) fn file(file: &'static str, place: impl Into<String>, cause: impl Into<String>) -> Self {
        TokenizerError::File { file, place: printable(&place.into()), cause: printable(&cause.into()) }
    }

    /// Makes the error of a file with a part over a limit.
    pub(crate) fn too_large(file: &'static str, place: impl Into<String>, cause: impl Into<String>) -> Self {
        TokenizerError::TooLarge { file, place: printable(&place.into()), cause: printable(&cause.into()) }
    }

    /// Makes the error of a rule that cannot be obeyed.
    pub(crate) fn rule(rule: impl Into<String>, cause: impl Into<String>) -> Self {
        TokenizerError::Rule { rule: printable(&rule.into()), cause: printable(&cause.into()) }
    }
}

/// A part of a message, which may repeat a file's own text or a library's words on it: characters that a terminal
/// would obey or not show are escaped, and what is too long is cut.
fn printable(text: &str) -> String {
    /// Most characters of a part.
    const LONGEST: usize = 400;
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        if is_invisible(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}
