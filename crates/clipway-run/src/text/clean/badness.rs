//! Detects mojibake: text that was decoded with the wrong encoding.
//!
//! Follows ftfy 6.3.1 (Robyn Speer, Apache-2.0): characters belong to sets, and certain sequences of sets do not occur
//! in good text. The rules are data: each is a sequence of places, one per character.

use crate::text::characters::{find, is_space, is_word};
use crate::text::tables::mojibake::*;

/// What may be at one place of a rule.
enum Place {
    /// A character of any of these sets.
    Sets(u64),
    /// Any of these characters.
    Listed(&'static str),
    /// A character of these sets, or any of these characters.
    Either(u64, &'static str),
    /// Whitespace.
    Space,
    /// A word character.
    Word,
    /// Anything but an unaccented Latin letter.
    NotAsciiLetter,
    /// Anything but a newline.
    NotLineEnd,
}

use Place::{Either, Listed, NotAsciiLetter, NotLineEnd, Sets, Space, Word};

/// The sets of unaccented Latin letters, on top of [`SETS`].
const ASCII_LOWER: u64 = 1 << 32;
const ASCII_UPPER: u64 = 1 << 33;

/// Accented letters.
const ACCENTED: u64 = LOWER_ACCENTED | UPPER_ACCENTED;
/// Characters that occur beside a "bad" character only in mojibake.
const BESIDE_BAD: u64 = ACCENTED | BOX | START_PUNCTUATION | END_PUNCTUATION | CURRENCY | NUMERIC | LAW;
/// Characters that follow Ø and Ù in Arabic text decoded as Windows-1252.
const AFTER_ARABIC_LEAD: Place = Either(COMMON | CURRENCY | BAD | NUMERIC | START_PUNCTUATION, "ŸŠ®°µ»");
/// Characters between two Cyrillic or Greek lead characters of mojibake.
const BETWEEN_LEADS: u64 = C1 | BAD | START_PUNCTUATION | END_PUNCTUATION | CURRENCY;

/// Sequences that mark a text as mojibake wherever they occur.
static RULES: [&[Place]; 37] = [
    &[Sets(C1)],
    &[Sets(BAD | BESIDE_BAD), Sets(BAD)],
    &[Sets(ASCII_LOWER | ASCII_UPPER), Sets(LOWER_COMMON | UPPER_COMMON), Sets(BAD)],
    &[Sets(BAD), Sets(BESIDE_BAD)],
    &[Sets(LOWER_ACCENTED | LOWER_COMMON | BOX | END_PUNCTUATION | CURRENCY | NUMERIC), Sets(UPPER_ACCENTED)],
    &[Sets(BOX | END_PUNCTUATION | CURRENCY | NUMERIC), Sets(LOWER_ACCENTED)],
    &[Sets(LOWER_ACCENTED | BOX | END_PUNCTUATION), Sets(CURRENCY)],
    &[Space, Sets(UPPER_ACCENTED), Sets(CURRENCY)],
    &[Sets(UPPER_ACCENTED | BOX), Sets(NUMERIC | LAW)],
    &[Sets(ACCENTED | BOX | CURRENCY | END_PUNCTUATION), Sets(START_PUNCTUATION), Sets(NUMERIC)],
    &[Sets(ACCENTED | CURRENCY | NUMERIC | BOX | LAW), Sets(END_PUNCTUATION), Sets(START_PUNCTUATION)],
    &[Sets(CURRENCY | NUMERIC | BOX), Sets(START_PUNCTUATION)],
    &[Sets(ASCII_LOWER), Sets(UPPER_ACCENTED), Sets(START_PUNCTUATION | CURRENCY)],
    &[Sets(BOX), Sets(KAOMOJI)],
    &[Sets(ACCENTED | CURRENCY | NUMERIC | START_PUNCTUATION | END_PUNCTUATION | LAW), Sets(BOX)],
    &[Sets(BOX), Sets(END_PUNCTUATION)],
    &[Sets(ACCENTED), Sets(START_PUNCTUATION | END_PUNCTUATION), Word],
    // A ligature that represents one byte, unless a Latin letter follows.
    &[Listed("Œœ"), NotAsciiLetter],
    &[Sets(UPPER_ACCENTED), Listed("°")],
    // Two-byte UTF-8, read as Windows-1252.
    &[Listed("ÂÃÎÐ"), Either(START_PUNCTUATION | END_PUNCTUATION, "€œŠš¢£Ÿž\u{a0}\u{ad}®°·»–—´")],
    &[Listed("×"), Listed("²³")],
    &[Listed("ØÙ"), AFTER_ARABIC_LEAD, Listed("ØÙ"), AFTER_ARABIC_LEAD],
    &[Listed("à"), Listed("²µ¹¼½¾")],
    // UTF-8 read as Mac Roman.
    &[Listed("√"), Listed("±∂†≠®™´≤≥¥µø")],
    &[Listed("≈"), Listed("°¢")],
    &[Listed("‚"), Listed("Ä"), Listed("ìîïòôúùû†°¢π")],
    &[Listed("‚"), Listed("âó"), Listed("àä°ê")],
    // UTF-8 read as Windows-1251.
    &[Listed("в"), Listed("Ђ")],
    &[Listed("ВГРС"), Either(BETWEEN_LEADS, "°µ"), Listed("ВГРС")],
    &[
        Listed("Г"),
        Listed("ў"),
        Listed("В"),
        Listed("Ђ"),
        Listed("В"),
        NotLineEnd,
        Either(ASCII_LOWER | ASCII_UPPER, " "),
    ],
    // UTF-8 of à, á and the no-break space, read as Windows-1252.
    &[Listed("Ã"), Listed("\u{a0}¡")],
    &[Sets(ASCII_LOWER), Listed("ÃÂ"), Listed(" ")],
    &[Sets(ASCII_LOWER), Space, Listed("ÃÂ"), Listed(" ")],
    &[
        Either(ASCII_LOWER | END_PUNCTUATION, ".,?!"),
        Listed("Â"),
        Either(START_PUNCTUATION | END_PUNCTUATION, " "),
    ],
    // UTF-8 read as Windows-1253 and Windows-1257.
    &[Listed("β"), Listed("€"), Listed("™\u{a0}Ά\u{ad}®°")],
    &[Listed("ΒΓΞΟ"), Either(BETWEEN_LEADS, "°"), Listed("ΒΓΞΟ")],
    &[Listed("ā"), Listed("€")],
];

/// No rule has more places than this before the first one that needs a non-ASCII character.
const BEFORE_TELLING: usize = 2;

/// Whether a text contains a character that every rule needs: a quick no for most texts.
pub fn may_be_bad(text: &str) -> bool {
    !text.is_ascii() && text.chars().any(|character| !character.is_ascii() && sets_of(character) != 0)
}

/// Whether a text looks like mojibake.
pub fn is_bad(text: &[char]) -> bool {
    if matches!(text, ['Ã' | 'Â', ' ', ..]) {
        return true;
    }
    let sets: Vec<u64> = text.iter().map(|&character| sets_of(character)).collect();
    let mut next = 0;
    for telling in 0..text.len() {
        if sets[telling] == 0 || text[telling].is_ascii() {
            continue;
        }
        let starts = next.max(telling.saturating_sub(BEFORE_TELLING))..=telling;
        next = telling + 1;
        for start in starts {
            if RULES.iter().any(|rule| fits(rule, &text[start..], &sets[start..])) {
                return true;
            }
        }
    }
    false
}

/// The sets that a character belongs to.
pub fn sets_of(character: char) -> u64 {
    match character {
        'a'..='z' => ASCII_LOWER,
        'A'..='Z' => ASCII_UPPER,
        // Scripts that never occur in mojibake.
        '\u{5d0}'..='\u{1fff}' | '\u{2600}'..='\u{f8fe}' => 0,
        _ => find(&SETS, character).unwrap_or(0),
    }
}

/// Whether a text starts with what a rule describes.
fn fits(rule: &[Place], text: &[char], sets: &[u64]) -> bool {
    let admits = |(place, (&character, &sets)): (&Place, (&char, &u64))| match *place {
        Sets(wanted) => sets & wanted != 0,
        Listed(listed) => listed.contains(character),
        Either(wanted, listed) => sets & wanted != 0 || listed.contains(character),
        Space => is_space(character),
        Word => is_word(character),
        NotAsciiLetter => !character.is_ascii_alphabetic(),
        NotLineEnd => character != '\n',
    };
    text.len() >= rule.len() && rule.iter().zip(text.iter().zip(sets)).all(admits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Assumptions of the quick checks.
    #[test]
    fn every_rule_soon_needs_a_character_beyond_ascii() {
        for rule in &RULES {
            let tells = |place: &Place| match place {
                Sets(sets) => sets & (ASCII_LOWER | ASCII_UPPER) == 0,
                Listed(listed) => {
                    listed.chars().all(|character| !character.is_ascii() && sets_of(character) != 0)
                }
                _ => false,
            };
            assert!(rule.iter().take(BEFORE_TELLING + 1).any(tells));
        }
    }

    #[test]
    fn skipped_scripts_have_no_sets() {
        for &(code, _) in &SETS {
            let character = char::from_u32(code).unwrap();
            assert!(character.is_ascii() || sets_of(character) != 0, "U+{code:04X}");
        }
    }
}
