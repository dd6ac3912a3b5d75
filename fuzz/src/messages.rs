//! What every refusal must be: one short line without anything that a terminal would obey.

use std::fmt::Display;

use clipway_formats::is_invisible;

/// Most bytes of a message.
const LONGEST: usize = 2000;

/// Checks a message.
///
/// # Panics
/// If it is empty, too long, or has a control character or an invisible one that reorders text.
pub fn check_message(error: &dyn Display) {
    let message = error.to_string();
    assert!(!message.is_empty(), "an empty message");
    assert!(message.len() <= LONGEST, "a message of {} bytes: {message}", message.len());
    assert!(!message.contains(|c| is_invisible(c) && c != '\n'), "not escaped: {message:?}");
}
