//! What every refusal must be: one short line without anything that a terminal would obey.

use std::fmt::Display;

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
    let is_wild = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!message.contains(is_wild), "not escaped: {message:?}");
}
