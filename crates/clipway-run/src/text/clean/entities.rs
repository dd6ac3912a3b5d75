//! HTML character references, interpreted like Python's `html.unescape` and like ftfy.

use crate::text::tables::entities::{HTML5, REMOVED, REPLACED, UPPERCASED};

/// Maximum length of a name, without `&`.
const LONGEST_NAME: usize = 32;

/// Maximum length of a name or number in ftfy, without `&`, `#` and `;`.
const LONGEST_STRICT: usize = 24;

/// Unescapes every reference that a browser would, even without a semicolon.
pub fn unescape(text: &str) -> String {
    replace(text, |rest| match rest.strip_prefix('#') {
        Some(number) => numeric(number).map(|(length, meaning)| (length + 1, meaning)),
        None => named(rest),
    })
}

/// Unescapes only complete references that end in a semicolon, and capitalized variants of some names.
pub fn unescape_strict(text: &str) -> String {
    replace(text, strict)
}

/// The replacement of a reference.
enum Meaning {
    Text(&'static str),
    Character(char),
    Nothing,
}

/// Replaces the references in `text`. `read` gets the text after an `&` and returns how many bytes of it belong to the
/// reference, and the replacement; `None` leaves the `&` as it is.
fn replace(text: &str, read: impl Fn(&str) -> Option<(usize, Meaning)>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        replaced.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let Some((length, meaning)) = read(rest) else {
            replaced.push('&');
            continue;
        };
        match meaning {
            Meaning::Text(text) => replaced.push_str(text),
            Meaning::Character(character) => replaced.push(character),
            Meaning::Nothing => {}
        }
        rest = &rest[length..];
    }
    replaced.push_str(rest);
    replaced
}

/// Reads a number after `&#`, decimal or, after an `x`, hexadecimal, and the semicolon if there is one.
fn numeric(text: &str) -> Option<(usize, Meaning)> {
    let (prefix, radix) = if text.starts_with(['x', 'X']) { (1, 16) } else { (0, 10) };
    let digits = text[prefix..].bytes().take_while(|&byte| (byte as char).is_digit(radix)).count();
    if digits == 0 {
        return None;
    }
    let end = prefix + digits;
    let length = end + usize::from(text[end..].starts_with(';'));
    let value = text[prefix..end].chars().filter_map(|digit| digit.to_digit(radix));
    let value = value.fold(0u32, |value, digit| value.saturating_mul(radix).saturating_add(digit));
    Some((length, number_meaning(value)))
}

/// The meaning of a number in a reference.
fn number_meaning(value: u32) -> Meaning {
    if let Ok(place) = REPLACED.binary_search_by_key(&value, |&(number, _)| number) {
        return Meaning::Character(REPLACED[place].1);
    }
    match char::from_u32(value) {
        None => Meaning::Character('\u{fffd}'),
        Some(_) if REMOVED.binary_search(&value).is_ok() => Meaning::Nothing,
        Some(character) => Meaning::Character(character),
    }
}

/// Reads the longest name after `&` that HTML5 knows.
fn named(text: &str) -> Option<(usize, Meaning)> {
    let ends = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\x0c' | b' ' | b'<' | b'&' | b'#' | b';');
    // Names are ASCII: text after another character cannot belong to one.
    let letters = text.bytes().take(LONGEST_NAME).take_while(|&byte| byte.is_ascii() && !ends(byte)).count();
    let whole = letters + usize::from(text[letters..].starts_with(';'));
    (2..=whole).rev().find_map(|length| Some((length, Meaning::Text(look_up(&HTML5, &text[..length])?))))
}

/// Reads a complete reference after `&`, up to its semicolon.
fn strict(text: &str) -> Option<(usize, Meaning)> {
    let name = text.strip_prefix('#').unwrap_or(text);
    let letters =
        name.bytes().take(LONGEST_STRICT + 1).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    if !(1..=LONGEST_STRICT).contains(&letters) || name.as_bytes().get(letters) != Some(&b';') {
        return None;
    }
    let length = text.len() - name.len() + letters + 1;
    if name.len() == text.len() {
        let known = look_up(&HTML5, &text[..length]).or_else(|| look_up(&UPPERCASED, &text[..length]));
        return known.map(|known| (length, Meaning::Text(known)));
    }
    let (read, meaning) = numeric(name)?;
    // A number that does not reach the semicolon, or means one, is left as it is.
    let semicolon = matches!(meaning, Meaning::Character(';'));
    (read == letters + 1 && !semicolon).then_some((length, meaning))
}

/// Finds a name in a sorted table.
fn look_up(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let place = table.binary_search_by_key(&name, |&(known, _)| known).ok()?;
    Some(table[place].1)
}
