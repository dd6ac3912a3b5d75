//! Properties of characters, in the Unicode version of the Python that open_clip is compared with.

use super::tables::{case, classes};

/// Whether `character` is in one of the sorted, inclusive `ranges`.
pub fn in_ranges(ranges: &[(u32, u32)], character: char) -> bool {
    let code = character as u32;
    let after = ranges.partition_point(|&(start, _)| start <= code);
    after > 0 && code <= ranges[after - 1].1
}

/// Looks up `character` in a sorted table.
pub fn find<V: Copy>(table: &[(u32, V)], character: char) -> Option<V> {
    let place = table.binary_search_by_key(&(character as u32), |&(code, _)| code).ok()?;
    Some(table[place].1)
}

/// Whether Python's `str.split` splits at `character`.
pub fn is_space(character: char) -> bool {
    match character as u32 {
        0x21..=0x7e => false,
        0x20 | 0x09..=0x0d => true,
        0xa1..=0x167f | 0x3001.. => false,
        _ => in_ranges(&classes::SPACES, character),
    }
}

/// Whether `character` is a decimal digit in Python's `re`.
pub fn is_digit(character: char) -> bool {
    if character.is_ascii() { character.is_ascii_digit() } else { in_ranges(&classes::DIGITS, character) }
}

/// Whether `character` is a word character in Python's `re`.
pub fn is_word(character: char) -> bool {
    in_ranges(&classes::WORD, character)
}

/// Whether a byte is a printable character of Latin-1, which stands for itself in vocabularies of byte pairs.
pub fn is_own_letter(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The letters that stand for bytes in vocabularies of byte pairs (GPT-2's and CLIP's): the printable ones for themselves, and
/// for the others, in their order, the letters from `Ā` on.
pub fn byte_letters() -> [char; 256] {
    let mut substitutes = '\u{100}'..;
    let letter = |byte: u8| match is_own_letter(byte) {
        true => char::from(byte),
        false => substitutes.next().unwrap_or(char::from(byte)),
    };
    let mut letters = ['\0'; 256];
    letters.iter_mut().zip((0..=u8::MAX).map(letter)).for_each(|(place, letter)| *place = letter);
    letters
}

/// Lower-cases `text` like Python's `str.lower`.
pub fn lowercase(text: &str) -> String {
    let mut lower = String::with_capacity(text.len());
    for (offset, character) in text.char_indices() {
        match character {
            '\0'..='\x7f' => lower.push(character.to_ascii_lowercase()),
            '\u{130}' => lower.push_str("i\u{307}"),
            // No character in these blocks, mainly CJK, has another case.
            '\u{2e80}'..='\u{a63f}' | '\u{ac00}'..='\u{faff}' => lower.push(character),
            '\u{3a3}' => lower.push(if ends_word(text, offset) { '\u{3c2}' } else { '\u{3c3}' }),
            _ => lower.push(find(&case::LOWER, character).and_then(char::from_u32).unwrap_or(character)),
        }
    }
    lower
}

/// Whether the capital sigma at `offset` ends a word: a cased letter before it, none after it.
fn ends_word(text: &str, offset: usize) -> bool {
    let ignored = |character: &char| in_ranges(&case::CASE_IGNORABLE, *character);
    let cased = |character: char| in_ranges(&case::CASED, character);
    let before = text[..offset].chars().rev().find(|character| !ignored(character));
    let after = text[offset + '\u{3a3}'.len_utf8()..].chars().find(|character| !ignored(character));
    before.is_some_and(cased) && !after.is_some_and(cased)
}
