//! Single-byte encodings that text gets mixed up with, and UTF-8 with its common deviations.

use std::sync::LazyLock;

use crate::text::tables::charmaps;

/// A single-byte encoding, defined by the characters of its bytes from 0x80.
pub struct Encoding {
    /// Whether its undefined bytes represent Latin-1 characters, and byte 0x1A represents U+FFFD.
    pub sloppy: bool,
    /// Whether it is Mac Roman, for which one repair is not tried.
    pub macintosh: bool,
    /// Characters from U+0080 with their bytes, sorted.
    bytes: Vec<(char, u8)>,
}

/// The encodings, in the order they are tried.
pub static ENCODINGS: LazyLock<[Encoding; 10]> = LazyLock::new(|| {
    let encoding = |high: &[u16; 128], sloppy: bool| {
        let codes = high.iter().zip(0x80..=0xffu8).map(|(&code, byte)| (u32::from(code), byte));
        let mut bytes: Vec<_> =
            codes.filter_map(|(code, byte)| Some((char::from_u32(code)?, byte))).collect();
        if sloppy {
            bytes.push(('\u{fffd}', 0x1a));
        }
        bytes.sort_unstable();
        Encoding { sloppy, macintosh: false, bytes }
    };
    [
        encoding(&charmaps::LATIN_1, false),
        encoding(&charmaps::WINDOWS_1252, true),
        encoding(&charmaps::WINDOWS_1251, true),
        encoding(&charmaps::WINDOWS_1250, true),
        encoding(&charmaps::WINDOWS_1253, true),
        encoding(&charmaps::WINDOWS_1254, true),
        encoding(&charmaps::WINDOWS_1257, true),
        encoding(&charmaps::ISO_8859_2, false),
        Encoding { macintosh: true, ..encoding(&charmaps::MACROMAN, false) },
        encoding(&charmaps::CP437, false),
    ]
});

impl Encoding {
    /// Encodes a text, if every character has a byte.
    pub fn encode(&self, text: &str) -> Option<Vec<u8>> {
        text.chars()
            .map(|character| match character {
                // In the sloppy encodings, this byte means U+FFFD and nothing else.
                '\x1a' if self.sloppy => None,
                '\0'..='\x7f' => Some(character as u8),
                _ => {
                    let place = self.bytes.binary_search_by_key(&character, |&(known, _)| known).ok()?;
                    Some(self.bytes[place].1)
                }
            })
            .collect()
    }
}

/// Decodes UTF-8. If lead bytes of its deviations occur, also decodes three-byte surrogate pairs (CESU-8) and Java's
/// two-byte zero. `None` if the bytes are neither.
pub fn decode_utf_8(bytes: &[u8]) -> Option<String> {
    if !bytes.iter().any(|byte| matches!(byte, 0xed | 0xc0)) {
        return std::str::from_utf8(bytes).ok().map(String::from);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut plain = 0;
    let mut place = 0;
    while place < bytes.len() {
        let Some((character, length)) = deviation(&bytes[place..]) else {
            place += 1;
            continue;
        };
        text.push_str(std::str::from_utf8(&bytes[plain..place]).ok()?);
        text.push(character);
        place += length;
        plain = place;
    }
    text.push_str(std::str::from_utf8(&bytes[plain..]).ok()?);
    Some(text)
}

/// Reads a deviation from UTF-8 at the start of `bytes`: the character and its length in bytes.
///
/// If the last byte is a newline, it counts as the missing last byte of a deviation, as in ftfy.
fn deviation(bytes: &[u8]) -> Option<(char, usize)> {
    let last = |place: usize| match bytes.get(place) {
        Some(byte @ 0x80..=0xbf) => Some(*byte),
        Some(b'\n') if bytes.len() == place + 1 => Some(b'\n'),
        _ => None,
    };
    match *bytes {
        [0xc0, 0x80, ..] | [0xc0, b'\n'] => Some(('\0', 2)),
        [0xed, high @ 0xa0..=0xaf, second @ 0x80..=0xbf, 0xed, low @ 0xb0..=0xbf, ..] => {
            let bits = [(high, 0x0f, 16), (second, 0x3f, 10), (low, 0x0f, 6), (last(5)?, 0x3f, 0)];
            let code = bits
                .iter()
                .fold(0x10000, |code, &(byte, mask, shift)| code + ((u32::from(byte) & mask) << shift));
            Some((char::from_u32(code)?, 6))
        }
        _ => None,
    }
}
