//! Repairs text like ftfy 6.3.1 (Robyn Speer, Apache-2.0) by default; a new implementation from its behavior.

use std::borrow::Cow;

use super::badness::{is_bad, may_be_bad, sets_of};
use super::encodings::{ENCODINGS, Encoding, decode_utf_8};
use super::entities::unescape_strict;
use super::normalize::nfc;
use super::substitute::{substitute, windows_1252};
use crate::text::tables::mojibake::{
    UTF8_CONTINUATION, UTF8_CONTINUATION_STRICT, UTF8_FIRST_OF_2, UTF8_FIRST_OF_3, UTF8_FIRST_OF_4,
};

/// Lines longer than this many characters are repaired in pieces.
const LONGEST_SEGMENT: usize = 1_000_000;

/// Maximum number of characters that all rounds of repair may look at, and minimum number of rounds. Only nested
/// references need many rounds; the limits prevent quadratic time for those.
const MOST_WORK: usize = 1 << 25;
const LEAST_ROUNDS: usize = 64;

/// Repairs a text, line by line.
///
/// HTML references are unescaped up to the first line that contains a `<`: from there on, the text may be HTML.
pub fn fix_text(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    let mut resolve = true;
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while !rest.is_empty() {
            let end = rest.char_indices().nth(LONGEST_SEGMENT).map_or(rest.len(), |(offset, _)| offset);
            let (segment, after) = rest.split_at(end);
            resolve &= !segment.contains('<');
            fixed.push_str(&fix_segment(segment, resolve));
            rest = after;
        }
    }
    fixed
}

/// Repairs one piece of text until nothing changes.
fn fix_segment(segment: &str, resolve: bool) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(segment);
    for _ in 0..LEAST_ROUNDS.max(MOST_WORK / segment.len().max(1)) {
        let fixed = {
            let resolved = match resolve && text.contains('&') {
                true => Cow::Owned(unescape_strict(&text)),
                false => Cow::Borrowed(&*text),
            };
            let decoded = fix_encoding(resolved);
            let substituted = substitute(&decoded);
            let normalized = nfc(&substituted);
            if *normalized == *text {
                break;
            }
            normalized.into_owned()
        };
        text = Cow::Owned(fixed);
    }
    text
}

/// Undoes wrong decodings, one after the other.
fn fix_encoding(mut text: Cow<'_, str>) -> Cow<'_, str> {
    while let Some(fixed) = fix_encoding_once(&text) {
        text = Cow::Owned(fixed);
    }
    text
}

/// Undoes one wrong decoding; `None` if there is none that can be undone.
fn fix_encoding_once(text: &str) -> Option<String> {
    if !may_be_bad(text) {
        return None;
    }
    let characters: Vec<char> = text.chars().collect();
    if !is_bad(&characters) {
        return None;
    }
    let changed = |fixed: String| (fixed != text).then_some(fixed);
    if let Some(fixed) = ENCODINGS.iter().find_map(|encoding| decode_again(text, encoding)) {
        return changed(fixed);
    }
    if let Some(fixed) = changed(fix_embedded(&characters)) {
        return Some(fixed);
    }
    // What remains may be Windows-1252 that was read as Latin-1.
    let control = |character: char| ('\u{80}'..='\u{9f}').contains(&character);
    let replaced = |character: char| if control(character) { windows_1252(character) } else { character };
    changed(characters.into_iter().map(replaced).collect())
}

/// Reads a text as UTF-8 that was decoded with `encoding`.
fn decode_again(text: &str, encoding: &Encoding) -> Option<String> {
    let mut bytes = encoding.encode(text)?;
    if !encoding.macintosh && (0..bytes.len()).any(|place| spaced_sequence(&bytes[place..]).is_some()) {
        bytes = restore_spaces(&bytes);
    }
    if encoding.sloppy {
        bytes = replace_lossy(&bytes);
    }
    decode_utf_8(&bytes)
}

/// Restores the no-break space, byte 0xA0, where an ordinary space replaced it within UTF-8.
fn restore_spaces(bytes: &[u8]) -> Vec<u8> {
    const PORTUGUESE: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut spaced = Vec::with_capacity(bytes.len() + 16);
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        spaced.push(byte);
        rest = after;
        // The letter à often ends a word: keep the space after it.
        if byte == 0xc3
            && let Some(next) = rest.strip_prefix(b" ")
            && !PORTUGUESE.iter().any(|word| next.starts_with(word))
        {
            spaced.extend([0xa0, b' ']);
            rest = next;
        }
    }
    let mut place = 0;
    while place < spaced.len() {
        let length = spaced_sequence(&spaced[place..]).unwrap_or(0);
        for byte in &mut spaced[place..place + length] {
            if *byte == b' ' {
                *byte = 0xa0;
            }
        }
        place += length.max(1);
    }
    spaced
}

/// Detects UTF-8 in which one 0xA0 became a space, at the start of `bytes`; returns its length.
fn spaced_sequence(bytes: &[u8]) -> Option<usize> {
    let continuation = |byte: u8| (0x80..=0xbf).contains(&byte);
    let likely = |byte: u8| continuation(byte) && byte != 0x85 && byte != 0xa0;
    match *bytes {
        [0xc2 | 0xc3 | 0xc5 | 0xce | 0xd0 | 0xd9, b' ', ..] => Some(2),
        [0xe2 | 0xe3, b' ', third, ..] if likely(third) => Some(3),
        [0xe0..=0xe3, second, b' ', ..] if likely(second) => Some(3),
        [0xf0, b' ', third, fourth, ..] if continuation(third) && continuation(fourth) => Some(4),
        [0xf0, second, b' ', fourth, ..] if continuation(second) && continuation(fourth) => Some(4),
        [0xf0, second, third, b' ', ..] if continuation(second) && continuation(third) => Some(4),
        _ => None,
    }
}

/// Replaces UTF-8 with lost bytes, now 0x1A or a question mark, by U+FFFD.
fn replace_lossy(bytes: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        match lossy_sequence(rest) {
            Some(length) => {
                replaced.extend("\u{fffd}".as_bytes());
                rest = &rest[length..];
            }
            None => {
                replaced.push(first);
                rest = &rest[1..];
            }
        }
    }
    replaced
}

/// Detects UTF-8 with lost bytes at the start of `bytes`; returns its length.
fn lossy_sequence(bytes: &[u8]) -> Option<usize> {
    let lost = |byte: u8| matches!(byte, 0x1a | b'?');
    let kept = |byte: u8| (0x80..=0xbf).contains(&byte);
    let dubious = |byte: u8| byte == 0x1a || kept(byte);
    let any = |byte: u8| lost(byte) || kept(byte);
    match *bytes {
        [0x1a, ..] => Some(1),
        [0xc2..=0xdf, 0x1a, ..] | [0xc2 | 0xc3, b'?', ..] => Some(2),
        [0xed, 0xa0..=0xaf, second, 0xed, 0xb0..=0xbf, last, ..]
            if (lost(second) && any(last)) || (any(second) && lost(last)) =>
        {
            Some(6)
        }
        [0xe0..=0xef, second, third, ..]
            if (lost(second) && dubious(third)) || (dubious(second) && lost(third)) =>
        {
            Some(3)
        }
        [0xf0..=0xf4, second, third, fourth, ..] => {
            let row = [second, third, fourth];
            let lost_at = |place: usize| {
                row.iter().enumerate().all(|(at, &byte)| if at == place { lost(byte) } else { dubious(byte) })
            };
            (0..3).any(lost_at).then_some(4)
        }
        _ => None,
    }
}

/// Repairs parts that look like UTF-8 in another encoding, within a text that does not as a whole.
fn fix_embedded(text: &[char]) -> String {
    let mut fixed = String::with_capacity(text.len());
    let mut place = 0;
    while place < text.len() {
        let inside = place > 0 && sets_of(text[place - 1]) & UTF8_CONTINUATION_STRICT != 0;
        let length = if inside { 0 } else { mixed_up_length(&text[place..]) };
        let stretch = &text[place..place + length.max(1)];
        if length > 0 && length < text.len() && is_bad(stretch) {
            fixed.push_str(&fix_encoding(Cow::Owned(stretch.iter().collect())));
        } else {
            fixed.extend(stretch);
        }
        place += length.max(1);
    }
    fixed
}

/// Counts how many characters at the start of `text` look like UTF-8 in a single-byte encoding.
fn mixed_up_length(text: &[char]) -> usize {
    let mut length = 0;
    let leads = [(UTF8_FIRST_OF_2, 2), (UTF8_FIRST_OF_3, 3), (UTF8_FIRST_OF_4, 4)];
    loop {
        let rest = &text[length..];
        let fits = |&&(lead, count): &&(u64, usize)| {
            rest.len() >= count
                && sets_of(rest[0]) & lead != 0
                && rest[1..count].iter().all(|&character| sets_of(character) & UTF8_CONTINUATION != 0)
        };
        match leads.iter().find(fits) {
            Some((_, count)) => length += count,
            None => return length,
        }
    }
}
