//! Numbers formatted for people, and files of lines written by people.

use std::path::Path;

use clipway_formats::shown_path;
use clipway_model::input;

use crate::failure::{self, Failure};

/// A number of bytes with a decimal unit.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// A number of elements in millions, as in papers.
pub fn millions(count: u64) -> String {
    format!("{:.1} M", count as f64 / 1e6)
}

/// A plural formed by adding an s.
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The labels in a text file (or in standard input for `-`): its lines, trimmed, without empty ones.
pub fn read_labels(path: &Path) -> Result<Vec<String>, Failure> {
    let lines = read_texts(path)?.into_iter().map(|line| line.trim().to_owned());
    Ok(lines.filter(|line| !line.is_empty()).collect())
}

/// The lines of a text file (or of standard input for `-`) as they are: line `n` is text `n`, empty or not.
pub fn read_texts(path: &Path) -> Result<Vec<String>, Failure> {
    let bytes = match path.to_str() {
        Some(input::STDIN) => input::read_stdin(input::Kind::Texts),
        _ => input::read(path, input::Kind::Texts),
    };
    let bytes = bytes.map_err(|error| failure::input(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::no("malformed", format!("`{}`: not UTF-8 at byte {at}", shown_path(path)))
            .hint("save the file as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(605_143_284), "605.1 MB");
        assert_eq!(millions(151_277_313), "151.3 M");
        assert_eq!(counted(1, "tensor"), "1 tensor");
        assert_eq!(counted(0, "tensor"), "0 tensors");
    }
}
