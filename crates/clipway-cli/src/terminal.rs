//! Questions that a terminal answers.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::{Errno, read, write};
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

/// Asks for the kind of terminal and what it can do: primary device attributes.
const ATTRIBUTES: &[u8] = b"\x1b[c";

/// The attribute of sixel graphics.
const SIXEL: &str = "4";

/// Time for an answer. Nearly every terminal has one, though it may be far away.
const TIME: Duration = Duration::from_millis(500);

/// Time of one read, in tenths of a second.
const READ_TENTHS: u8 = 1;

/// Most bytes of an answer, and of what was typed before it.
const MOST_BYTES: usize = 4096;

/// How the terminal was set before it was asked.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Puts the terminal back to how it was before a question, on every way out.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
}

/// Whether the terminal of standard input and output says that it shows sixel graphics.
pub fn shows_sixels() -> bool {
    std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && answer().is_some_and(|answer| has_attribute(&answer, SIXEL))
}

/// The terminal's answer, and what was typed before.
fn answer() -> Option<Vec<u8>> {
    let (input, output) = (std::io::stdin(), std::io::stdout());
    // In the background a change of the terminal would stop the process. Without job control nothing would.
    if tcgetpgrp(&input).is_ok_and(|group| group != getpgrp()) {
        return None;
    }
    let before = tcgetattr(&input).ok()?;
    let mut asking = before.clone();
    // Interrupts stay.
    asking.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    asking.special_codes[SpecialCodeIndex::VMIN] = 0;
    asking.special_codes[SpecialCodeIndex::VTIME] = READ_TENTHS;
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    let answer = tcsetattr(&input, OptionalActions::Now, &asking)
        .and_then(|()| write(&output, ATTRIBUTES))
        .is_ok()
        .then(|| read_answer(&input));
    restore();
    answer
}

/// Reads up to the end of an answer, or for as long as there is time for one.
fn read_answer(input: &std::io::Stdin) -> Vec<u8> {
    let (started, mut answer, mut piece) = (Instant::now(), Vec::new(), [0; 64]);
    while started.elapsed() < TIME && answer.len() < MOST_BYTES && attributes(&answer).is_none() {
        match read(input, &mut piece) {
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    answer
}

/// The attributes in an answer, `ESC [ ? 62 ; 4 c`.
fn attributes(answer: &[u8]) -> Option<&str> {
    let start = answer.windows(3).position(|bytes| bytes == b"\x1b[?")? + 3;
    let end = start + answer[start..].iter().position(|byte| *byte == b'c')?;
    std::str::from_utf8(&answer[start..end]).ok()
}

/// Whether an answer has an attribute. The first one is the kind of terminal.
fn has_attribute(answer: &[u8], attribute: &str) -> bool {
    attributes(answer).is_some_and(|attributes| attributes.split(';').skip(1).any(|one| one == attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixel_is_one_of_the_attributes() {
        for (answer, expected) in [
            ("\x1b[?62;4c", true),
            ("\x1b[?62;4;22c", true),
            ("typed\x1b[?64;1;2;4c", true),
            ("\x1b[?4c", false),
            ("\x1b[?62;22c", false),
            ("\x1b[?62;14c", false),
            ("\x1b[?62;4", false),
            ("4c", false),
            ("", false),
        ] {
            assert_eq!(has_attribute(answer.as_bytes(), SIXEL), expected, "{answer:?}");
        }
    }
}
