//! Bits and prefix codes of lossless WebP data.

/// The data ends early or is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended;

/// A bit reader, lowest bits first.
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Bits { rest: bytes, held: 0, count: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 56
            && let [byte, rest @ ..] = self.rest
        {
            self.held |= u64::from(*byte) << self.count;
            self.count += 8;
            self.rest = rest;
        }
    }

    /// Takes a number of up to 32 bits.
    pub fn take(&mut self, count: u32) -> Result<u32, Ended> {
        self.fill();
        self.count = self.count.checked_sub(count).ok_or(Ended)?;
        let value = self.held & ((1 << count) - 1);
        self.held >>= count;
        Ok(value as u32)
    }
}

/// Order of the code lengths of the code length code.
const ORDER: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Maximum code length, in bits.
const LONGEST: u32 = 15;

/// A prefix code: for each run of `bits` bits its symbol, and in the bits above that the symbol's length.
pub(super) struct Code {
    bits: u32,
    table: Vec<u32>,
}

impl Code {
    /// Reads a code for an alphabet of `symbols` symbols.
    pub fn read(bits: &mut Bits<'_>, symbols: usize) -> Result<Code, Ended> {
        if bits.take(1)? == 1 {
            let two = bits.take(1)? == 1;
            let wide = bits.take(1)?;
            let first = bits.take(1 + 7 * wide)?;
            if !two {
                return Ok(Code { bits: 0, table: vec![first] });
            }
            let second = bits.take(8)?;
            return Ok(Code { bits: 1, table: vec![1 << 16 | first, 1 << 16 | second] });
        }
        let mut lengths = [0; ORDER.len()];
        let count = 4 + bits.take(4)? as usize;
        for &place in &ORDER[..count] {
            lengths[place] = bits.take(3)?;
        }
        let code = Code::of_lengths(&lengths)?;
        let mut left = symbols;
        if bits.take(1)? == 1 {
            let width = 2 + 2 * bits.take(3)?;
            left = 2 + bits.take(width)? as usize;
        }
        let mut lengths = Vec::with_capacity(symbols);
        let mut previous = 8;
        while lengths.len() < symbols && left > 0 {
            left -= 1;
            let (length, repeats) = match code.symbol(bits)? {
                16 => (previous, 3 + bits.take(2)?),
                17 => (0, 3 + bits.take(3)?),
                18 => (0, 11 + bits.take(7)?),
                length => (length, 1),
            };
            if length != 0 {
                previous = length;
            }
            lengths.extend(std::iter::repeat_n(length, repeats as usize));
        }
        if lengths.len() > symbols {
            return Err(Ended);
        }
        Code::of_lengths(&lengths)
    }

    /// Builds the canonical code for these symbol lengths, which must be complete.
    fn of_lengths(lengths: &[u32]) -> Result<Code, Ended> {
        let mut used = lengths.iter().enumerate().filter(|&(_, &length)| length > 0);
        if let (Some((symbol, _)), None) = (used.next(), used.next()) {
            return Ok(Code { bits: 0, table: vec![symbol as u32] });
        }
        let bits = lengths.iter().copied().max().unwrap_or(0);
        let room: u32 =
            lengths.iter().filter(|&&length| length > 0).map(|&length| 1 << (LONGEST - length)).sum();
        if room != 1 << LONGEST {
            return Err(Ended);
        }
        let mut table = vec![0; 1 << bits];
        let mut next = 0_u32;
        for length in 1..=bits {
            for (symbol, _) in lengths.iter().enumerate().filter(|&(_, &found)| found == length) {
                // Codes are written starting with their highest bit, and read starting with the lowest.
                let start = (next.reverse_bits() >> (32 - length)) as usize;
                for place in (start..table.len()).step_by(1 << length) {
                    table[place] = length << 16 | symbol as u32;
                }
                next += 1;
            }
            next <<= 1;
        }
        Ok(Code { bits, table })
    }

    /// Reads one symbol.
    pub fn symbol(&self, bits: &mut Bits<'_>) -> Result<u32, Ended> {
        bits.fill();
        let entry = self.table[(bits.held & ((1 << self.bits) - 1)) as usize];
        bits.take(entry >> 16)?;
        Ok(entry & 0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_from_the_lowest_on() {
        let mut bits = Bits::new(&[0b1010_0110, 0xff]);
        assert_eq!([bits.take(1), bits.take(2), bits.take(5)], [Ok(0), Ok(3), Ok(0b10100)]);
        assert_eq!((bits.take(8), bits.take(0), bits.take(1)), (Ok(255), Ok(0), Err(Ended)));
    }

    #[test]
    fn codes_are_canonical_and_complete() {
        // Lengths 1, 2, 2: the codes 0, 10, 11, each starting with its highest bit.
        let code = Code::of_lengths(&[0, 2, 1, 2]).unwrap();
        let mut bits = Bits::new(&[0b01110]);
        assert_eq!(
            [code.symbol(&mut bits), code.symbol(&mut bits), code.symbol(&mut bits)],
            [Ok(2), Ok(3), Ok(1)]
        );
        assert!(Code::of_lengths(&[2, 2, 2]).is_err(), "a code with a gap");
        assert!(Code::of_lengths(&[1, 1, 1]).is_err(), "a code of too many");
        assert_eq!(Code::of_lengths(&[0, 0, 5]).unwrap().symbol(&mut Bits::new(&[])), Ok(2));
    }
}
