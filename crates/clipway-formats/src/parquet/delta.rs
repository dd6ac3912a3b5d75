//! Numbers as differences from the one before, packed in blocks (`DELTA_BINARY_PACKED`): lengths of texts.

use super::hybrid::Bits;
use super::refusal::{Refusal, ended_early, malformed};
use super::thrift::ThriftReader;

/// Most numbers of a block, more than any writer takes.
const MOST_IN_BLOCK: u64 = 1 << 20;

/// Lengths, one after another.
#[derive(Clone)]
pub(super) struct Delta<'a> {
    /// What follows the blocks that were begun.
    bytes: &'a [u8],
    per_mini: u64,
    minis: usize,
    /// Numbers that were not given out yet.
    left: u64,
    last: i64,
    /// Least difference of the block.
    least: i64,
    /// Widths of the block's parts that were not begun.
    widths: &'a [u8],
    /// The part at hand: its bits, their width, and numbers left in it.
    part: (Bits<'a>, u32, u64),
    is_first: bool,
}

impl<'a> Delta<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Delta<'a>, Refusal> {
        let mut reader = ThriftReader::new(bytes);
        let (block, minis, count) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let last = reader.integer()?;
        let is_sound = (1..=MOST_IN_BLOCK).contains(&block)
            && (1..=block).contains(&minis)
            && block.is_multiple_of(minis)
            && (block / minis).is_multiple_of(8);
        if !is_sound {
            return Err(malformed(format!("blocks of {block} numbers in {minis} parts")));
        }
        Ok(Delta {
            bytes: &bytes[reader.position()..],
            per_mini: block / minis,
            minis: minis as usize,
            left: count,
            last,
            least: 0,
            widths: &[],
            part: (Bits::new(&[]), 0, 0),
            is_first: true,
        })
    }

    /// The next number.
    pub(super) fn next(&mut self) -> Result<usize, Refusal> {
        self.left = self.left.checked_sub(1).ok_or_else(ended_early)?;
        if !std::mem::take(&mut self.is_first) {
            if self.part.2 == 0 {
                self.begin_part()?;
            }
            let (bits, width, left) = &mut self.part;
            *left -= 1;
            let difference = self.least.wrapping_add(bits.next(*width) as i64);
            self.last = self.last.wrapping_add(difference);
        }
        usize::try_from(self.last).map_err(|_| malformed(format!("the length {}", self.last)))
    }

    /// Begins the next part, and before it the next block if the last one is over.
    fn begin_part(&mut self) -> Result<(), Refusal> {
        if self.widths.is_empty() {
            let mut reader = ThriftReader::new(self.bytes);
            self.least = reader.integer()?;
            let rest = &self.bytes[reader.position()..];
            (self.widths, self.bytes) = rest.split_at_checked(self.minis).ok_or_else(ended_early)?;
        }
        let (width, widths) = self.widths.split_first().ok_or_else(ended_early)?;
        self.widths = widths;
        let width = u32::from(*width);
        if width > u64::BITS {
            return Err(malformed(format!("numbers of {width} bits")));
        }
        let size = (self.per_mini / 8) as usize * width as usize;
        let (part, rest) = self.bytes.split_at_checked(size).ok_or_else(ended_early)?;
        self.bytes = rest;
        self.part = (Bits::new(part), width, self.per_mini);
        Ok(())
    }

    /// The bytes after all numbers, of which there are `most` at most.
    pub(super) fn after(&self, most: usize) -> Result<&'a [u8], Refusal> {
        if self.left > most as u64 {
            return Err(malformed(format!("{} lengths of {most} values", self.left)));
        }
        let mut end = self.clone();
        while end.left > 0 {
            end.next()?;
        }
        Ok(end.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_add_up() {
        // The specification's second example, 7 5 3 1 2 3 4 5: differences of two bits above -2.
        let mut bytes = vec![0x80, 0x01, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b11_1111];
        bytes.resize(12 + 6, 0);
        bytes.push(99);
        let mut delta = Delta::new(&bytes).unwrap();
        assert_eq!(delta.after(8).unwrap(), [99]);
        assert!(delta.after(7).is_err());
        assert_eq!((0..8).map(|_| delta.next().unwrap()).collect::<Vec<_>>(), [7, 5, 3, 1, 2, 3, 4, 5]);
        assert!(delta.next().is_err());
    }

    #[test]
    fn blocks_that_are_no_blocks_are_refused() {
        for bad in [[0, 4, 8, 14], [0x7f, 0, 8, 14], [0x7f, 4, 8, 14], [8, 2, 8, 14]] {
            assert!(Delta::new(&bad).is_err(), "{bad:?}");
        }
        // A length below zero.
        assert!(Delta::new(&[8, 1, 1, 1]).unwrap().next().is_err());
    }
}
