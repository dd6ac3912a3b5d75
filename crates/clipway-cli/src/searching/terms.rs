//! Queries: what is added and subtracted to get them.

use std::path::{Path, PathBuf};

use clipway_formats::shown_path;
use clipway_model::input::{self, Kind};
use clipway_search::Index;

use super::index_failure;
use crate::failure::{self, Failure};

/// What a term stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A text for the text tower.
    Text(String),
    /// An image file's bytes for the image tower.
    Image(Vec<u8>),
    /// A row of the index.
    Row(u64),
}

/// A term and what it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedTerm {
    /// The term.
    pub term: Term,
    /// Below 0 for a term that is subtracted.
    pub weight: f32,
}

/// A query: a sum of terms of length 1.
#[derive(Clone, Debug)]
pub struct Query {
    /// The query, as it was given.
    pub said: String,
    /// What is summed.
    pub terms: Vec<WeightedTerm>,
}

impl Term {
    /// The term that a word of the command line names: an image if it is the path of a file, else a text.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn named(text: &str) -> Result<Term, Failure> {
        if Path::new(text).is_file() {
            let bytes = input::read(Path::new(text), Kind::Image).map_err(|error| failure::input(&error))?;
            return Ok(Term::Image(bytes));
        }
        Ok(Term::Text(text.to_owned()))
    }

    /// The terms of standard input: an image, or texts line by line.
    ///
    /// # Errors
    /// An input that cannot be read or is too large.
    pub fn stdin() -> Result<Vec<(String, Term)>, Failure> {
        let bytes = input::read_stdin(Kind::Image).map_err(|error| failure::input(&error))?;
        // An image's first bytes are no text in UTF-8, or have a zero soon.
        let text = std::str::from_utf8(&bytes).ok().filter(|text| !text.contains('\0'));
        let Some(text) = text else { return Ok(vec![("standard input".to_owned(), Term::Image(bytes))]) };
        let lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty());
        Ok(lines.map(|line| (line.to_owned(), Term::Text(line.to_owned()))).collect())
    }

    /// A row of the index, by its number or by a file that has it; else an image file that the index does not know.
    ///
    /// # Errors
    /// A name that is neither, a file without a row, and a damaged index.
    pub fn like(name: &str, index: &Index) -> Result<Term, Failure> {
        let path = PathBuf::from(name);
        // The index has paths as they were found: as given, absolute, or without links.
        let spellings = [Some(path.clone()), std::path::absolute(&path).ok(), path.canonicalize().ok()];
        for spelling in spellings.into_iter().flatten() {
            let Some(item) = index.item(&spelling).map_err(|error| index_failure(&error))? else { continue };
            return item.row.map(Term::Row).ok_or_else(|| {
                let reason = item.unreadable.unwrap_or_default();
                let message = format!("`{}` has no feature in the index: {reason}", shown_path(&path));
                Failure::no("missing", message)
            });
        }
        match name.parse() {
            Ok(row) if row < index.info().rows => Ok(Term::Row(row)),
            Ok(row) => {
                let message = format!("there is no row {row}: the index has {}", index.info().rows);
                Err(Failure::could_not_run("bad-option", message))
            }
            Err(_) if path.is_file() => Term::named(name),
            Err(_) => {
                let message = format!("`{}` is neither in the index nor a file", shown_path(&path));
                Err(Failure::no("missing", message))
            }
        }
    }
}

impl WeightedTerm {
    /// A term with a weight before it, such as `2:golden retriever`, or 1; `sign` is -1 for what is subtracted.
    ///
    /// # Errors
    /// As [`Term::named`].
    pub fn weighted(text: &str, sign: f32) -> Result<WeightedTerm, Failure> {
        let (weight, text) = weight(text);
        Ok(WeightedTerm { term: Term::named(text)?, weight: sign * weight })
    }
}

/// Splits a weight from a term.
fn weight(text: &str) -> (f32, &str) {
    let split = text.split_once(':');
    let number = split.and_then(|(number, rest)| {
        let is_number =
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let weight = number.parse().ok().filter(|weight: &f32| is_number && weight.is_finite())?;
        Some((weight, rest))
    });
    number.unwrap_or((1.0, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_stand_before_terms() {
        for (text, expected) in [
            ("night", (1.0, "night")),
            ("2:golden retriever", (2.0, "golden retriever")),
            ("0.5:a:b", (0.5, "a:b")),
            (":x", (1.0, ":x")),
            ("ratio 2:1", (1.0, "ratio 2:1")),
            ("-1:x", (1.0, "-1:x")),
            ("inf:x", (1.0, "inf:x")),
            ("1e3:x", (1.0, "1e3:x")),
        ] {
            assert_eq!(weight(text), expected, "{text}");
        }
    }
}
