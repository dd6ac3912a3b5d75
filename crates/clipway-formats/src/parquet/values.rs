//! The values of a page, one after another.

use half::f16;

use super::delta::Delta;
use super::hybrid::Hybrid;
use super::pages::Page;
use super::refusal::{Refusal, ended_early, malformed};
use super::schema::{Leaf, Stored};
use super::{DELTA_BYTES, DELTA_LENGTHS, PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY, SPLIT};
use crate::error::Code;

/// A value.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Number(f32),
    Bytes(&'a [u8]),
}

/// The values that pages refer to by their places.
pub(super) enum Dictionary {
    Numbers(Vec<f32>),
    /// Bytes of all, and the end of each.
    Bytes(Vec<u8>, Vec<usize>),
}

impl Dictionary {
    pub(super) fn of(page: &Page, stored: Stored) -> Result<Dictionary, Refusal> {
        let mut values = Values::plain(&page.bytes, stored);
        if stored != Stored::Bytes {
            if page.values.checked_mul(stored.size()) != Some(page.bytes.len()) {
                let (count, bytes) = (page.values, page.bytes.len());
                return Err(malformed(format!("a dictionary of {count} values in {bytes} bytes")));
            }
            let number = |_| match values.next()? {
                Value::Number(number) => Ok(number),
                Value::Bytes(_) => Err(malformed("a dictionary of other values")),
            };
            return (0..page.values).map(number).collect::<Result<_, _>>().map(Dictionary::Numbers);
        }
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..page.values {
            if let Value::Bytes(value) = values.next()? {
                bytes.extend_from_slice(value);
            }
            ends.push(bytes.len());
        }
        Ok(Dictionary::Bytes(bytes, ends))
    }

    fn get(&self, place: u32) -> Result<Value<'_>, Refusal> {
        let place = place as usize;
        let found = match self {
            Dictionary::Numbers(numbers) => numbers.get(place).map(|number| Value::Number(*number)),
            Dictionary::Bytes(bytes, ends) => ends.get(place).map(|end| {
                let start = if place == 0 { 0 } else { ends[place - 1] };
                Value::Bytes(&bytes[start..*end])
            }),
        };
        found.ok_or_else(|| malformed(format!("place {place} of a dictionary, beyond its end")))
    }
}

/// The values that are not null.
pub(super) enum Values<'a> {
    Plain {
        bytes: &'a [u8],
        stored: Stored,
    },
    Indexed {
        places: Hybrid<'a>,
        dictionary: &'a Dictionary,
    },
    /// The first bytes of all numbers, then their second bytes, and so on.
    Split {
        bytes: &'a [u8],
        stored: Stored,
        at: usize,
    },
    Lengths {
        lengths: Delta<'a>,
        bytes: &'a [u8],
    },
    /// Each begins as the one before.
    Prefixed {
        prefixes: Delta<'a>,
        lengths: Delta<'a>,
        bytes: &'a [u8],
        last: Vec<u8>,
    },
}

impl<'a> Values<'a> {
    fn plain(bytes: &'a [u8], stored: Stored) -> Values<'a> {
        Values::Plain { bytes, stored }
    }

    /// The values of a page, in its last bytes.
    pub(super) fn of(
        page: &Page,
        bytes: &'a [u8],
        stored: Stored,
        dictionary: Option<&'a Dictionary>,
    ) -> Result<Values<'a>, Refusal> {
        let is_text = stored == Stored::Bytes;
        match page.encoding {
            PLAIN => Ok(Values::plain(bytes, stored)),
            PLAIN_DICTIONARY | RLE_DICTIONARY => {
                let dictionary =
                    dictionary.ok_or_else(|| malformed("places of a dictionary that is missing"))?;
                // A page of nulls alone may have nothing here.
                let (width, places) = bytes.split_first().unwrap_or((&0, &[]));
                Ok(Values::Indexed { places: Hybrid::new(places, u32::from(*width))?, dictionary })
            }
            SPLIT if !is_text => {
                if !bytes.len().is_multiple_of(stored.size()) {
                    return Err(malformed(format!("{} bytes of split numbers", bytes.len())));
                }
                Ok(Values::Split { bytes, stored, at: 0 })
            }
            DELTA_LENGTHS if is_text => {
                let lengths = Delta::new(bytes)?;
                Ok(Values::Lengths { bytes: lengths.after(page.values)?, lengths })
            }
            DELTA_BYTES if is_text => {
                let prefixes = Delta::new(bytes)?;
                let lengths = Delta::new(prefixes.after(page.values)?)?;
                Ok(Values::Prefixed {
                    bytes: lengths.after(page.values)?,
                    prefixes,
                    lengths,
                    last: Vec::new(),
                })
            }
            other => Err(Refusal::new(Code::Unsupported, format!("values in the encoding {other}"))),
        }
    }

    pub(super) fn next(&mut self) -> Result<Value<'_>, Refusal> {
        match self {
            Values::Plain { bytes, stored: Stored::Bytes } => {
                let (length, rest) = bytes.split_at_checked(4).ok_or_else(ended_early)?;
                let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
                let (value, rest) = rest.split_at_checked(length).ok_or_else(ended_early)?;
                *bytes = rest;
                Ok(Value::Bytes(value))
            }
            Values::Plain { bytes, stored } => {
                let (value, rest) = bytes.split_at_checked(stored.size()).ok_or_else(ended_early)?;
                *bytes = rest;
                number(value)
            }
            Values::Indexed { places, dictionary } => dictionary.get(places.next()?),
            Values::Split { bytes, stored, at } => {
                let (size, count) = (stored.size(), bytes.len() / stored.size());
                if *at == count {
                    return Err(ended_early());
                }
                let mut value = [0; 8];
                for (place, byte) in value[..size].iter_mut().enumerate() {
                    *byte = bytes[place * count + *at];
                }
                *at += 1;
                number(&value[..size])
            }
            Values::Lengths { lengths, bytes } => {
                let (value, rest) = bytes.split_at_checked(lengths.next()?).ok_or_else(ended_early)?;
                *bytes = rest;
                Ok(Value::Bytes(value))
            }
            Values::Prefixed { prefixes, lengths, bytes, last } => {
                let (prefix, length) = (prefixes.next()?, lengths.next()?);
                let (value, rest) = bytes.split_at_checked(length).ok_or_else(ended_early)?;
                if prefix > last.len() {
                    return Err(malformed(format!("{prefix} bytes of a value of {}", last.len())));
                }
                *bytes = rest;
                last.truncate(prefix);
                last.extend_from_slice(value);
                Ok(Value::Bytes(last))
            }
        }
    }
}

/// A number of 16, 32 or 64 bits.
fn number(bytes: &[u8]) -> Result<Value<'static>, Refusal> {
    let number = match *bytes {
        [a, b] => f16::from_le_bytes([a, b]).to_f32(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        _ => return Err(malformed("a number of another size")),
    };
    Ok(Value::Number(number))
}

/// The levels of a page and its values.
pub(super) struct Levels<'a> {
    pub(super) repetition: Option<Hybrid<'a>>,
    pub(super) definition: Option<Hybrid<'a>>,
    /// The bytes after the levels.
    pub(super) rest: &'a [u8],
}

impl<'a> Levels<'a> {
    pub(super) fn of(page: &'a Page, leaf: &Leaf) -> Result<Levels<'a>, Refusal> {
        let mut rest = page.bytes.as_slice();
        let mut levels = [None, None];
        for (place, highest) in [leaf.repetition, leaf.definition].into_iter().enumerate() {
            let length = match page.levels {
                Some(lengths) => lengths[place],
                None if highest == 0 => continue,
                None => {
                    let (length, after) = rest.split_at_checked(4).ok_or_else(ended_early)?;
                    rest = after;
                    u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize
                }
            };
            let (bytes, after) = rest.split_at_checked(length).ok_or_else(ended_early)?;
            rest = after;
            if highest > 0 {
                levels[place] = Some(Hybrid::new(bytes, u32::BITS - highest.leading_zeros())?);
            }
        }
        let [repetition, definition] = levels;
        Ok(Levels { repetition, definition, rest })
    }
}
