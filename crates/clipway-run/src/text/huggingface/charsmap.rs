//! SentencePiece's precompiled character map: a trie in an array, and the replacements it points to.

use std::collections::VecDeque;

use super::json::Node;
use crate::text::TokenizerError;

/// Maximum length of a replacement, in bytes. Those of Unicode's compatibility forms have at most 33.
const LONGEST_REPLACEMENT: usize = 256;

/// Checks a map, given in base 64: every step in the trie stays in the array, and every value points to a replacement.
/// Returns how many times longer a replacement may be than what it replaces.
///
/// # Errors
/// [`TokenizerError::File`] for an invalid map.
pub fn check(node: &Node) -> Result<u64, TokenizerError> {
    Charsmap::read(node).map(|map| map.growth)
}

/// A checked map.
#[derive(Debug)]
pub struct Charsmap {
    units: Vec<u32>,
    replacements: String,
    /// How many times longer a replacement may be than what it replaces.
    growth: u64,
}

impl Charsmap {
    /// Reads a map like [`check`].
    pub fn read(node: &Node) -> Result<Charsmap, TokenizerError> {
        let bytes = decode_base_64(node.string()?).ok_or_else(|| node.error("not base 64"))?;
        let (size, rest) =
            bytes.split_first_chunk::<4>().ok_or_else(|| node.error("shorter than its header"))?;
        let size = u32::from_le_bytes(*size) as usize;
        if size == 0 || !size.is_multiple_of(4) || size > rest.len() {
            let found = format!("the trie should take {size} bytes of {}", rest.len());
            return Err(node.error(found));
        }
        let (trie, replacements) = rest.split_at(size);
        let replacements = std::str::from_utf8(replacements).map_err(|error| {
            node.error(format!("the replacements are not UTF-8 at byte {}", error.valid_up_to()))
        })?;
        let units: Vec<u32> = trie.as_chunks::<4>().0.iter().map(|&unit| u32::from_le_bytes(unit)).collect();
        let growth = walk(&units, replacements).map_err(|cause| node.error(cause))?;
        Ok(Charsmap { units, replacements: replacements.to_owned(), growth })
    }

    /// Replaces the map's entries like SentencePiece: the longest one at each position.
    ///
    /// The tokenizers library looks at whole grapheme clusters instead, and gives another result for some of them.
    pub fn normalize(&self, text: &str) -> String {
        let mut normal = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match self.longest(rest.as_bytes()) {
                Some((length, value)) if rest.is_char_boundary(length) => {
                    let replacement = self.replacements.get(value..).unwrap_or_default();
                    normal.push_str(replacement.split('\0').next().unwrap_or_default());
                    rest = &rest[length..];
                }
                _ => {
                    normal.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        normal
    }

    /// The longest entry at the start of the bytes: its length, and where its replacement starts.
    fn longest(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let mut found = None;
        let mut node = offset(self.units[0]);
        for (place, &byte) in bytes.iter().enumerate() {
            node ^= usize::from(byte);
            let Some(&unit) = self.units.get(node) else { break };
            if unit & LABEL != u32::from(byte) {
                break;
            }
            node ^= offset(unit);
            if unit >> 8 & 1 == 1
                && let Some(&leaf) = self.units.get(node)
            {
                found = Some((place + 1, (leaf & !(1 << 31)) as usize));
            }
        }
        found
    }
}

/// The label of a unit, and the leaf flag, which no label has.
const LABEL: u32 = 1 << 31 | 0xff;

/// Offset from a unit to its children.
fn offset(unit: u32) -> usize {
    (unit as usize >> 10) << ((unit as usize & (1 << 9)) >> 6)
}

/// Follows every path through the trie, like a search.
fn walk(units: &[u32], replacements: &str) -> Result<u64, String> {
    let mut seen = vec![false; units.len()];
    let mut growth = 1;
    // Nearest first, so that each unit is found on its shortest path.
    let mut open = VecDeque::from([(offset(units[0]), 1)]);
    while let Some((node, depth)) = open.pop_front() {
        for label in 1..=255usize {
            let place = node ^ label;
            let Some(&unit) = units.get(place) else {
                return Err(format!("the trie leads to unit {place} of {}", units.len()));
            };
            if unit & LABEL != label as u32 || std::mem::replace(&mut seen[place], true) {
                continue;
            }
            let child = place ^ offset(unit);
            if unit >> 8 & 1 == 1 {
                let value = units.get(child).map(|&leaf| (leaf & !(1 << 31)) as usize);
                if !value
                    .is_some_and(|value| value <= replacements.len() && replacements.is_char_boundary(value))
                {
                    return Err(format!("unit {place} of the trie points to no replacement"));
                }
                let rest = value.and_then(|value| replacements.as_bytes().get(value..)).unwrap_or_default();
                let length = rest.iter().take(LONGEST_REPLACEMENT + 1).take_while(|&&byte| byte != 0).count();
                if length > LONGEST_REPLACEMENT {
                    return Err(format!("a replacement of more than {LONGEST_REPLACEMENT} bytes"));
                }
                growth = growth.max(length.div_ceil(depth) as u64);
            }
            open.push_back((child, depth + 1));
        }
    }
    Ok(growth)
}

/// Decodes base 64 with padding.
fn decode_base_64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for letter in body.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_entry_is_replaced_at_each_place() {
        // `a` becomes `x`, `ab` becomes `y`. The children of the root are around 256.
        let mut units = vec![0; 360];
        units[0] = 256 << 10;
        for (place, label, leaf, value) in [(256 ^ 97, b'a', 352, 0), (352 ^ 98, b'b', 259, 2)] {
            units[place] = u32::from(label) | 1 << 8 | ((place ^ leaf) as u32) << 10;
            units[leaf] = value | 1 << 31;
        }
        let map = Charsmap { units, replacements: "x\0y\0".to_owned(), growth: 1 };
        assert_eq!(map.normalize("aabba é"), "xybx é");
        assert_eq!(map.normalize(""), "");
    }
}
