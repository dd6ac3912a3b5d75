//! Splits cleaned text into words like CLIP's regular expression.

use std::sync::LazyLock;

use crate::text::characters::{in_ranges, is_space};
use crate::text::tables::classes::{LETTERS, NUMBERS};

/// The special tokens, as open_clip spells them in texts.
const START: &str = "<start_of_text>";
const END: &str = "<end_of_text>";

/// One word of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word<'a> {
    /// The start token, spelled out.
    Start,
    /// The end token, spelled out.
    End,
    /// Letters, one number, other characters, or the end of a contraction.
    Text(&'a str),
}

/// The words of a text.
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// Starts to split a text.
    pub fn new(text: &'a str) -> Self {
        Words { rest: text }
    }

    /// Takes the first `length` bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        loop {
            let (class, length) = first_class(self.rest.as_bytes(), self.rest)?;
            match class {
                Class::Skipped => {
                    self.take(length);
                }
                Class::Letter => {
                    let length = run(self.rest, Class::Letter);
                    return Some(Word::Text(self.take(length)));
                }
                Class::Number => return Some(Word::Text(self.take(length))),
                Class::Other => {
                    if self.rest.starts_with('<')
                        && let Some(length) = special(self.rest)
                    {
                        // In another case it is not the token, but still one word.
                        return Some(match self.take(length) {
                            START => Word::Start,
                            END => Word::End,
                            other => Word::Text(other),
                        });
                    }
                    let length = contraction(self.rest).unwrap_or_else(|| run(self.rest, Class::Other));
                    return Some(Word::Text(self.take(length)));
                }
            }
        }
    }
}

/// Classes of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Whitespace, and U+0345, which the expression matches nowhere: its capital is a letter.
    Skipped,
    Letter,
    Number,
    Other,
}

/// Code points below this use a lookup table.
const LOOKED_UP: usize = 0x10000;

/// Classes of the first characters of Unicode.
static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    (0..LOOKED_UP as u32).map(|code| char::from_u32(code).map_or(Class::Other, classify)).collect()
});

/// The class of an ASCII character.
const fn ascii_class(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
        b'0'..=b'9' => Class::Number,
        b' ' | b'\t'..=b'\r' => Class::Skipped,
        _ => Class::Other,
    }
}

/// The class of any character, from the tables.
fn classify(character: char) -> Class {
    if character.is_ascii() {
        ascii_class(character as u8)
    } else if in_ranges(&LETTERS, character) {
        Class::Letter
    } else if in_ranges(&NUMBERS, character) {
        Class::Number
    } else if is_space(character) || character == '\u{345}' {
        Class::Skipped
    } else {
        Class::Other
    }
}

/// The class and the length in bytes of the first character.
fn first_class(bytes: &[u8], text: &str) -> Option<(Class, usize)> {
    match *bytes.first()? {
        byte @ 0..=0x7f => Some((ascii_class(byte), 1)),
        _ => {
            let character = text.chars().next()?;
            let class = CLASSES.get(character as usize).copied().unwrap_or_else(|| classify(character));
            Some((class, character.len_utf8()))
        }
    }
}

/// Length of the run of one class at the start of a text.
fn run(text: &str, class: Class) -> usize {
    let mut length = 0;
    while let Some((found, bytes)) = first_class(&text.as_bytes()[length..], &text[length..]) {
        if found != class {
            break;
        }
        length += bytes;
    }
    length
}

/// Length of a special token at the start of a text, in any case.
fn special(text: &str) -> Option<usize> {
    [START, END].iter().find_map(|token| {
        let mut length = 0;
        for expected in token.chars() {
            let found = text[length..].chars().next()?;
            // The long s is another case of s.
            let same = found.eq_ignore_ascii_case(&expected) || (expected == 's' && found == '\u{17f}');
            if !same {
                return None;
            }
            length += found.len_utf8();
        }
        Some(length)
    })
}

/// Length of the end of an English contraction at the start of a text: `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d`,
/// in any case.
fn contraction(text: &str) -> Option<usize> {
    let mut letters = text.strip_prefix('\'')?.chars();
    let first = letters.next()?;
    match first.to_ascii_lowercase() {
        's' | 't' | 'm' | 'd' | '\u{17f}' => Some(1 + first.len_utf8()),
        letter @ ('r' | 'v' | 'l') => {
            let second = if letter == 'l' { 'l' } else { 'e' };
            (letters.next()?.to_ascii_lowercase() == second).then_some(3)
        }
        _ => None,
    }
}
