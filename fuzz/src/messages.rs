//! Rules for every error message: short lines, not too many, and nothing that controls a terminal.

use std::fmt::Display;

use clipway_formats::is_invisible;

/// Maximum bytes of a line, and of a message that lists everything wrong.
const LONGEST_LINE: usize = 2000;
const LONGEST: usize = 100_000;

/// Checks a message.
///
/// # Panics
/// If it is empty, too long, or contains a control character or an invisible one that reorders text.
pub fn check_message(error: &dyn Display) {
    let message = error.to_string();
    assert!(!message.is_empty(), "an empty message");
    let longest = message.lines().map(str::len).max().unwrap_or_default();
    assert!(longest <= LONGEST_LINE, "a line of {longest} bytes: {message}");
    assert!(message.len() <= LONGEST, "a message of {} bytes: {message}", message.len());
    assert!(!message.contains(|c| is_invisible(c) && c != '\n'), "not escaped: {message:?}");
}
