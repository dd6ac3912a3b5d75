//! Unicode normalization form C, in the Unicode version of Python's `unicodedata`.

use std::borrow::Cow;

use crate::text::characters::{find, in_ranges};
use crate::text::tables::normalization::{COMBINING, COMPOSED, DECOMPOSED, TOUCHED};

/// First code points and numbers of Hangul syllables and their parts.
const SYLLABLES: (u32, u32) = (0xac00, 11172);
const LEADS: (u32, u32) = (0x1100, 19);
const VOWELS: (u32, u32) = (0x1161, 21);
/// The first trailing consonant is at 1: 0 means none.
const TRAILS: (u32, u32) = (0x11a7, 28);

/// Normalizes a text to form C.
pub fn nfc(text: &str) -> Cow<'_, str> {
    let touched = |character: char| character >= '\u{300}' && in_ranges(&TOUCHED, character);
    if !text.contains(touched) {
        return Cow::Borrowed(text);
    }
    let mut decomposed = Vec::with_capacity(text.len());
    for character in text.chars() {
        decompose(character, &mut decomposed);
    }
    order(&mut decomposed);
    Cow::Owned(compose(&decomposed))
}

/// Appends the canonical decomposition of a character, with combining classes.
fn decompose(character: char, parts: &mut Vec<(char, u8)>) {
    let code = character as u32;
    let mut push = |part: char| parts.push((part, combining_class(part)));
    if let Some(place) = within(code, SYLLABLES) {
        let (lead, rest) = (place / (VOWELS.1 * TRAILS.1), place % (VOWELS.1 * TRAILS.1));
        let (vowel, trail) = (rest / TRAILS.1, rest % TRAILS.1);
        let codes = [LEADS.0 + lead, VOWELS.0 + vowel, TRAILS.0 + trail];
        let count = if trail == 0 { 2 } else { 3 };
        codes[..count].iter().filter_map(|&code| char::from_u32(code)).for_each(push);
    } else if let Some(decomposed) = find(&DECOMPOSED, character) {
        decomposed.chars().for_each(push);
    } else {
        push(character);
    }
}

/// Looks up a character's canonical combining class.
fn combining_class(character: char) -> u8 {
    let code = character as u32;
    if code < 0x300 {
        return 0;
    }
    let after = COMBINING.partition_point(|&(start, _, _)| start <= code);
    match after.checked_sub(1).map(|place| COMBINING[place]) {
        Some((_, end, class)) if code <= end => class,
        _ => 0,
    }
}

/// Sorts each run of combining characters by class, stably.
fn order(parts: &mut [(char, u8)]) {
    for run in parts.split_mut(|&(_, class)| class == 0) {
        run.sort_by_key(|&(_, class)| class);
    }
}

/// Joins each starter with the following characters that compose with it and are not blocked.
fn compose(parts: &[(char, u8)]) -> String {
    let mut composed: Vec<char> = Vec::with_capacity(parts.len());
    let mut starter = None;
    let mut last_class = None;
    for &(character, class) in parts {
        let blocked = last_class.is_some_and(|last| last >= class);
        let joined = match starter {
            Some(place) if !blocked => join(composed[place], character).map(|whole| (place, whole)),
            _ => None,
        };
        if let Some((place, whole)) = joined {
            composed[place] = whole;
            continue;
        }
        if class == 0 {
            starter = Some(composed.len());
            last_class = None;
        } else {
            last_class = Some(class);
        }
        composed.push(character);
    }
    composed.into_iter().collect()
}

/// Composes two characters, if they have a composition.
fn join(first: char, second: char) -> Option<char> {
    let (a, b) = (first as u32, second as u32);
    if let (Some(lead), Some(vowel)) = (within(a, LEADS), within(b, VOWELS)) {
        return char::from_u32(SYLLABLES.0 + (lead * VOWELS.1 + vowel) * TRAILS.1);
    }
    if let (Some(place), Some(trail)) = (within(a, SYLLABLES), within(b, TRAILS))
        && place % TRAILS.1 == 0
        && trail > 0
    {
        return char::from_u32(a + trail);
    }
    let place = COMPOSED.binary_search_by_key(&(a, b), |&(first, second, _)| (first, second)).ok()?;
    char::from_u32(COMPOSED[place].2)
}

/// The position of a code point in a block of (first, count).
fn within(code: u32, (first, count): (u32, u32)) -> Option<u32> {
    code.checked_sub(first).filter(|&place| place < count)
}
