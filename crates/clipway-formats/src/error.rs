//! What is wrong with a file, and where.

use std::fmt;
use std::io;
use std::path::Path;

/// Stable code of a refusal, the same in every release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Reading failed.
    Io,
    /// The file ends before something it announces.
    Truncated,
    /// A size over a limit, or larger than any memory.
    TooLarge,
    /// The system has no memory for a size that the limits allow.
    NoMemory,
    /// Not a file of a known format.
    UnknownFormat,
    /// The structure of the file contradicts itself or its format.
    Malformed,
    /// A duplicate name.
    Duplicate,
    /// A checksum differs from the bytes.
    Checksum,
    /// A path that leads outside the file's own folder.
    PathEscape,
    /// A pickle that asks to run code.
    UnsafePickle,
    /// Valid, but not supported.
    Unsupported,
    /// A value of the wrong type or out of range.
    BadValue,
    /// An unknown key.
    UnknownKey,
    /// A missing required part.
    Missing,
}

impl Code {
    /// Every code of a reader.
    pub const ALL: [Code; 14] = [
        Code::Io,
        Code::Truncated,
        Code::TooLarge,
        Code::NoMemory,
        Code::UnknownFormat,
        Code::Malformed,
        Code::Duplicate,
        Code::Checksum,
        Code::PathEscape,
        Code::UnsafePickle,
        Code::Unsupported,
        Code::BadValue,
        Code::UnknownKey,
        Code::Missing,
    ];

    /// Name in messages and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Code::Io => "io",
            Code::Truncated => "truncated",
            Code::TooLarge => "too-large",
            Code::NoMemory => "no-memory",
            Code::UnknownFormat => "unknown-format",
            Code::Malformed => "malformed",
            Code::Duplicate => "duplicate",
            Code::Checksum => "checksum",
            Code::PathEscape => "path-escape",
            Code::UnsafePickle => "unsafe-pickle",
            Code::Unsupported => "unsupported",
            Code::BadValue => "bad-value",
            Code::UnknownKey => "unknown-key",
            Code::Missing => "missing",
        }
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A byte offset.
    Byte(u64),
    /// An entry of an archive.
    Entry(String),
    /// A byte offset inside an entry of an archive.
    EntryByte(String, u64),
    /// A tensor, by name.
    Tensor(String),
    /// A row of a table, from 0.
    Row(u64),
    /// A path into a JSON document, such as `$.vision_cfg.layers`.
    Json(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => f.write_str("file"),
            Place::Byte(offset) => write!(f, "byte {offset}"),
            Place::Entry(name) => write!(f, "entry `{}`", shown(name)),
            Place::EntryByte(name, offset) => write!(f, "entry `{}`, byte {offset}", shown(name)),
            Place::Row(number) => write!(f, "row {number}"),
            Place::Tensor(name) => write!(f, "tensor `{}`", shown(name)),
            Place::Json(path) => write!(f, "`{}`", shown(path)),
        }
    }
}

/// A file is refused: what is wrong, and where. The caller adds the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct FormatError {
    /// Kind of the cause.
    pub code: Code,
    /// Where it was found.
    pub place: Place,
    /// What was expected and what was found, with numbers. Text from the file is escaped and shortened.
    pub cause: String,
}

impl FormatError {
    /// Creates an error; text from a file must go through [`shown`] first.
    pub fn new(code: Code, place: Place, cause: impl Into<String>) -> FormatError {
        FormatError { code, place, cause: cause.into() }
    }

    /// Creates the error of a failed read at `offset`.
    pub fn io(offset: u64, error: &io::Error) -> FormatError {
        let code = if error.kind() == io::ErrorKind::UnexpectedEof { Code::Truncated } else { Code::Io };
        FormatError::new(code, Place::Byte(offset), error.to_string())
    }

    /// The same error for a shard of an index, where the index is the file that the caller names.
    pub fn in_shard(self, shard: &str) -> FormatError {
        let cause = format!("{} (in shard `{}`)", self.cause, shown(shard));
        FormatError { cause, ..self }
    }
}

/// Maximum number of characters of a file's own text in a message.
const SHOWN_CHARACTERS: usize = 80;

/// Whether a character controls a terminal, is invisible, or moves other text: controls, line separators, direction
/// marks, zero-width characters.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Text from a file, safe for a message: control and invisible characters are escaped, long text is shortened.
pub fn shown(text: &str) -> String {
    shown_up_to(text, SHOWN_CHARACTERS)
}

/// Like [`shown`], with another number of characters.
pub fn shown_up_to(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        let plain = c == ' ' || (c.is_alphanumeric() || c.is_ascii_graphic()) && c != '`';
        if plain { out.push(c) } else { out.extend(c.escape_unicode()) }
    }
    out
}

/// The first texts of several, each safe for a message and quoted, and an ellipsis where there are more.
pub fn shown_first(texts: &[String], most: usize) -> String {
    let first: Vec<String> = texts.iter().take(most).map(|text| format!("`{}`", shown(text))).collect();
    let more = if texts.len() > most { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}

/// Maximum number of characters of a path in a message: more than any system's longest path.
const SHOWN_PATH: usize = 4096;

/// A path, safe for a message: escaped like [`shown`], but not shortened.
pub fn shown_path(path: &Path) -> String {
    shown_up_to(&path.to_string_lossy(), SHOWN_PATH)
}
