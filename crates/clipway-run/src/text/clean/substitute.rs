//! Repairs that replace or remove characters one by one.

use std::borrow::Cow;

use crate::text::characters::{find, is_digit};
use crate::text::tables::{charmaps, substitutions};

/// Applies the replacements that follow the repair of encodings: Latin-1 control characters, ligatures, widths, quotes,
/// newlines, terminal escapes and unwanted control characters.
pub fn substitute(text: &str) -> Cow<'_, str> {
    if !text.contains(may_be_replaced) {
        return Cow::Borrowed(text);
    }
    let mut replaced = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                characters.next_if_eq(&'\n');
                replaced.push('\n');
            }
            '\0'..='\x7f' => replaced.push(character),
            '\u{80}'..='\u{9f}' => push_form(windows_1252(character), &mut replaced),
            _ => push_form(character, &mut replaced),
        }
    }
    if replaced.contains('\x1b') {
        replaced = remove_terminal_escapes(&replaced);
    }
    replaced.retain(|character| !is_unwanted(character));
    Cow::Owned(replaced)
}

/// Whether a character may be replaced or removed: a quick no for most.
fn may_be_replaced(character: char) -> bool {
    match character {
        ' '..='~' | '\t' | '\n' | '\x0c' => false,
        '\u{a0}'..='\u{131}' | '\u{3001}'..='\u{faff}' | '\u{10000}'.. => false,
        '\0'..='\u{9f}' | '\u{149}' | '\u{2bc}' => true,
        _ => {
            is_unwanted(character)
                || matches!(character, '\u{2018}'..='\u{201f}' | '\u{2028}' | '\u{2029}')
                || find(&substitutions::LIGATURES, character).is_some()
                || find(&substitutions::WIDTHS, character).is_some()
        }
    }
}

/// What a Latin-1 control character means in Windows-1252: itself if nothing else.
pub fn windows_1252(control: char) -> char {
    charmaps::WINDOWS_1252
        .get((control as usize).wrapping_sub(0x80))
        .and_then(|&code| char::from_u32(code.into()))
        .unwrap_or(control)
}

/// Appends a character, in its usual form if it is a ligature, has an unusual width, or is a curly quote or a rare
/// newline.
fn push_form(character: char, text: &mut String) {
    match character {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => text.push('\''),
        '\u{201c}'..='\u{201f}' => text.push('"'),
        '\u{2028}' | '\u{2029}' => text.push('\n'),
        // This digraph contains an apostrophe, which is straightened too.
        '\u{149}' => text.push_str("'n"),
        '\0'..='\u{131}' => text.push(character),
        _ => match find(&substitutions::LIGATURES, character).or(find(&substitutions::WIDTHS, character)) {
            Some(forms) => text.push_str(forms),
            None => text.push(character),
        },
    }
}

/// Removes sequences that color a terminal: escape, `[`, digits and semicolons, a letter.
fn remove_terminal_escapes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("\x1b[") {
        let parameters = &rest[start + 2..];
        let letter = parameters.find(|character| !(is_digit(character) || character == ';'));
        match letter {
            Some(end) if parameters.as_bytes()[end].is_ascii_alphabetic() => {
                kept.push_str(&rest[..start]);
                rest = &parameters[end + 1..];
            }
            _ => {
                kept.push_str(&rest[..start + 2]);
                rest = parameters;
            }
        }
    }
    kept.push_str(rest);
    kept
}

/// Whether a character is an invisible control character.
fn is_unwanted(character: char) -> bool {
    matches!(character,
        '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f' | '\u{206a}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffc}')
}
