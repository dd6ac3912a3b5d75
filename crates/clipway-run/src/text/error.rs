//! Why a tokenizer could not be created or used.

use clipway_formats::{Code, is_invisible};
use thiserror::Error;

/// An error of a tokenizer, its files or its rules.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The context is too short for the start and end tokens, or far too long.
    #[error("context length {found} is not usable: expected {least} to {most}")]
    ContextLength {
        /// The requested length.
        found: usize,
        /// The shortest usable length.
        least: usize,
        /// The longest allowed length.
        most: usize,
    },
    /// The rules are for another kind of tokenizer.
    #[error("the rules are for a `{found}` tokenizer: expected `{expected}`")]
    Kind {
        /// The expected kind.
        expected: &'static str,
        /// The kind in the rules.
        found: &'static str,
    },
    /// A rule is unknown, or the tokenizer's files cannot satisfy it.
    #[error("`{rule}`: {cause}")]
    Rule {
        /// The rule, as spelled in a configuration.
        rule: String,
        /// What is wrong.
        cause: String,
    },
    /// A tokenizer file is invalid.
    #[error("{file}: {place}: {cause}")]
    File {
        /// The file's name, such as `tokenizer.json`.
        file: &'static str,
        /// Where in the file: a key path or a byte offset.
        place: String,
        /// What is wrong.
        cause: String,
    },
    /// The tokenizer does not match the model.
    #[error("the tokenizer does not fit the model:{}", problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
    Unfit {
        /// Each contradiction.
        problems: Vec<String>,
    },
    /// Part of a file is over a limit.
    #[error("{file}: {place}: {cause}")]
    TooLarge {
        /// The file's name, such as `tokenizer.json`.
        file: &'static str,
        /// Where in the file: a key path.
        place: String,
        /// What there is too much of.
        cause: String,
    },
    /// A text is too long, or becomes too long.
    #[error("the text has {found} bytes after normalization; the limit is {most}")]
    TextTooLong {
        /// Number of bytes after normalization.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// The tokenizers library failed on a text, or returned an impossible number of ids.
    #[error("the text could not be encoded: {cause}")]
    Encode {
        /// The library's error.
        cause: String,
    },
}

impl TokenizerError {
    /// Stable code of the error, as in [`clipway_formats::Code::name`].
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

    /// The error of an invalid file.
    pub(crate) fn file(file: &'static str, place: impl Into<String>, cause: impl Into<String>) -> Self {
        TokenizerError::File { file, place: printable(&place.into()), cause: printable(&cause.into()) }
    }

    /// The error of a file with a part over a limit.
    pub(crate) fn too_large(file: &'static str, place: impl Into<String>, cause: impl Into<String>) -> Self {
        TokenizerError::TooLarge { file, place: printable(&place.into()), cause: printable(&cause.into()) }
    }

    /// The error of a rule that cannot be followed.
    pub(crate) fn rule(rule: impl Into<String>, cause: impl Into<String>) -> Self {
        TokenizerError::Rule { rule: printable(&rule.into()), cause: printable(&cause.into()) }
    }
}

/// Part of a message that may quote a file's text or a library's error: characters that control or hide text on a
/// terminal are escaped, and long text is shortened.
fn printable(text: &str) -> String {
    /// Maximum bytes of a part, with its escapes.
    const LONGEST: usize = 800;
    let mut out = String::new();
    for c in text.chars() {
        let start = out.len();
        if is_invisible(c) {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
        if out.len() > LONGEST {
            out.truncate(start);
            out.push('…');
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_messages_are_short_as_they_are_written() {
        assert_eq!(printable("a\u{7f}b`ü"), "a\\u{7f}b`ü");
        for (one, shown, count) in [("x", "x", 800), ("\u{7f}", "\\u{7f}", 133), ("🦁", "🦁", 200)] {
            assert_eq!(printable(&one.repeat(5000)), format!("{}…", shown.repeat(count)), "{shown}");
        }
        assert_eq!(printable(&"x".repeat(800)), "x".repeat(800));
    }
}
