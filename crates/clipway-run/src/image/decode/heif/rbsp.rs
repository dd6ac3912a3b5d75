//! The bits of a parameter set of HEVC (ITU-T H.265, 7.2 and 9.2).

use super::super::ImageError;
use super::boxes::corrupt;

/// A reader of a unit's bits, highest first.
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// Bits read.
    at: usize,
    /// What is read, for messages.
    name: &'static str,
}

impl Bits {
    /// The bits of a unit behind its header, without the bytes that keep start codes out of it.
    pub fn of(unit: &[u8], name: &'static str) -> Bits {
        let mut bytes = Vec::with_capacity(unit.len());
        let mut zeros = 0;
        for &byte in unit.get(2..).unwrap_or_default() {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        Bits { bytes, at: 0, name }
    }

    pub fn flag(&mut self) -> Result<bool, ImageError> {
        let Some(byte) = self.bytes.get(self.at / 8) else {
            return Err(corrupt(format!("its {} ends after {} bytes", self.name, self.bytes.len())));
        };
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// Takes a number of up to 32 bits.
    pub fn number(&mut self, count: u32) -> Result<u32, ImageError> {
        let mut number = 0;
        for _ in 0..count {
            number = number << 1 | u32::from(self.flag()?);
        }
        Ok(number)
    }

    pub fn skip(&mut self, count: u32) -> Result<(), ImageError> {
        for _ in 0..count {
            self.flag()?;
        }
        Ok(())
    }

    /// Takes an Exp-Golomb number, and checks that it is at most `most`.
    pub fn golomb(&mut self, most: u32) -> Result<u32, ImageError> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(corrupt(format!("its {} has a number of more than 32 bits", self.name)));
            }
        }
        let number = (1_u32 << zeros) - 1 + self.number(zeros)?;
        match number <= most {
            true => Ok(number),
            false => Err(corrupt(format!(
                "its {} has {number} before bit {}, expected at most {most}",
                self.name, self.at
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_highest_bit_on() {
        // A header of two bytes, and a 3 behind two zeros that is no content: 1 010 011 00100 0000...
        let mut bits = Bits::of(&[0x42, 1, 0b1010_0110, 0b0100_0000, 0, 0, 3, 1], "set");
        let found = [bits.golomb(9), bits.golomb(9), bits.golomb(9), bits.golomb(9)];
        assert_eq!(found.map(Result::unwrap), [0, 1, 2, 3]);
        assert_eq!((bits.number(4).unwrap(), bits.number(16).unwrap(), bits.number(8).unwrap()), (0, 0, 1));
        assert!(bits.flag().is_err(), "the end");
        assert!(Bits::of(&[0x42, 1, 0b0010_1000], "set").golomb(2).is_err(), "4 is too much");
        assert!(Bits::of(&[0x42, 1, 0, 0, 0, 0, 1, 0xff], "set").golomb(u32::MAX).is_err());
    }
}
