//! Small numbers as runs of equal ones and as packed bits, in turns: levels, and places in a dictionary.

use super::refusal::{Refusal, ended_early, malformed};
use super::thrift::ThriftReader;

/// Numbers of a few bits each.
pub(super) struct Hybrid<'a> {
    bytes: &'a [u8],
    width: u32,
    run: Run<'a>,
}

enum Run<'a> {
    Equal { value: u32, left: u64 },
    Packed { bits: Bits<'a>, left: u64 },
}

impl<'a> Hybrid<'a> {
    /// Numbers of `width` bits, 32 at most.
    pub(super) fn new(bytes: &'a [u8], width: u32) -> Result<Hybrid<'a>, Refusal> {
        if width > u32::BITS {
            return Err(malformed(format!("numbers of {width} bits")));
        }
        Ok(Hybrid { bytes, width, run: Run::Equal { value: 0, left: 0 } })
    }

    pub(super) fn next(&mut self) -> Result<u32, Refusal> {
        loop {
            match &mut self.run {
                Run::Equal { value, left } if *left > 0 => {
                    *left -= 1;
                    return Ok(*value);
                }
                Run::Packed { bits, left } if *left > 0 => {
                    *left -= 1;
                    return Ok(bits.next(self.width) as u32);
                }
                _ => self.run = self.begin()?,
            }
        }
    }

    /// Begins the next run.
    fn begin(&mut self) -> Result<Run<'a>, Refusal> {
        let mut reader = ThriftReader::new(self.bytes);
        let header = reader.varint()?;
        let (count, rest) = (header >> 1, &self.bytes[reader.position()..]);
        if header & 1 == 0 {
            let size = self.width.div_ceil(8) as usize;
            let (value, rest) = rest.split_at_checked(size).ok_or_else(ended_early)?;
            self.bytes = rest;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            return Ok(Run::Equal { value, left: count });
        }
        let size = count.checked_mul(u64::from(self.width)).ok_or_else(ended_early)?;
        // Some writers cut the last run after its last value.
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        let (packed, rest) = rest.split_at(size);
        self.bytes = rest;
        let held = if self.width == 0 { u64::MAX } else { packed.len() as u64 * 8 / u64::from(self.width) };
        Ok(Run::Packed { bits: Bits::new(packed), left: count.saturating_mul(8).min(held) })
    }
}

/// Packed bits, the lowest first.
#[derive(Clone)]
pub(super) struct Bits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    held: u128,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes: bytes.iter(), held: 0, count: 0 }
    }

    /// The next number of `width` bits, 64 at most; zeros after the last bit.
    pub(super) fn next(&mut self, width: u32) -> u64 {
        while self.count < width {
            self.held |= u128::from(self.bytes.next().copied().unwrap_or_default()) << self.count;
            self.count += 8;
        }
        let value = self.held & ((1_u128 << width) - 1);
        self.held >>= width;
        self.count -= width;
        value as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_in_turns() {
        // Three times 5, then eight numbers of three bits from 0 to 7: the specification's own example.
        let bytes = [6, 5, 3, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let mut hybrid = Hybrid::new(&bytes, 3).unwrap();
        let found: Vec<u32> = (0..11).map(|_| hybrid.next().unwrap()).collect();
        assert_eq!(found, [5, 5, 5, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(hybrid.next().is_err());
    }

    #[test]
    fn widths_from_none_to_all_bits() {
        let mut none = Hybrid::new(&[8], 0).unwrap();
        assert_eq!((0..4).map(|_| none.next().unwrap()).collect::<Vec<_>>(), [0; 4]);
        assert!(none.next().is_err());
        let mut all = Hybrid::new(&[2, 0xef, 0xbe, 0xad, 0xde], 32).unwrap();
        assert_eq!(all.next().unwrap(), 0xdead_beef);
        assert!(Hybrid::new(&[], 33).is_err());
        // A last run that is cut: two numbers of four bits of the eight that are stated.
        let mut cut = Hybrid::new(&[3, 0x21], 4).unwrap();
        assert_eq!([cut.next().unwrap(), cut.next().unwrap()], [1, 2]);
        assert!(cut.next().is_err());
    }
}
