//! The layout of a WebP, read before decoding: how many groups of prefix codes its lossless data has.
//!
//! Each pixel of a lossless image selects a group of five codes, and the decoder builds tables for all groups up to the
//! highest number, whether used or not. A group takes some bytes of the file and up to 20 kB of memory. The number of
//! groups is known only from an image inside the stream, so everything before it is decoded here: the data of the
//! transforms, and that image. Source: RFC 9649.

use super::ImageError;
use super::webp_bits::{Bits, Code, Ended};

const FORMAT: &str = "WebP";

/// Maximum number of groups of prefix codes. The reference encoder creates at most 2600, the most blocks it divides an
/// image into.
const MOST_GROUPS: u32 = 2600;

/// Checks every lossless stream of a file: the image, its transparency, and those of the first frame.
///
/// # Errors
/// [`ImageError::TooMuchWork`] for more groups than any encoder creates. Damage is left to the decoder, which stops at
/// the same place.
pub(super) fn check(bytes: &[u8]) -> Result<(), ImageError> {
    let mut canvas = (0, 0);
    let mut frames = 0;
    for (kind, data) in Chunks(bytes.get(12..).unwrap_or_default()) {
        match kind {
            b"VP8X" => canvas = (size_at(data, 4), size_at(data, 7)),
            b"ANMF" if frames == 0 => {
                frames += 1;
                let frame = (size_at(data, 6), size_at(data, 9));
                for (kind, data) in Chunks(data.get(16..).unwrap_or_default()) {
                    check_chunk(kind, data, frame)?;
                }
            }
            _ => check_chunk(kind, data, canvas)?,
        }
    }
    Ok(())
}

/// Checks a chunk, if it holds lossless data.
fn check_chunk(kind: &[u8; 4], data: &[u8], size: (usize, usize)) -> Result<(), ImageError> {
    let stream = match (kind, data) {
        (b"VP8L", _) => Stream::with_header(data),
        (b"ALPH", [head, data @ ..]) if head & 3 == 1 => {
            Ok(Stream { bits: Bits::new(data), width: size.0, height: size.1 })
        }
        _ => return Ok(()),
    };
    match stream.and_then(Stream::groups) {
        Ok(groups) if groups > MOST_GROUPS => {
            let detail = format!("{groups} groups of prefix codes; the limit is {MOST_GROUPS}");
            Err(ImageError::TooMuchWork { format: FORMAT, detail })
        }
        Ok(_) | Err(Ended) => Ok(()),
    }
}

/// Reads a 24-bit number, one less than a side.
fn size_at(data: &[u8], at: usize) -> usize {
    data.get(at..at + 3)
        .map_or(0, |size| 1 + (usize::from(size[0]) | usize::from(size[1]) << 8 | usize::from(size[2]) << 16))
}

/// The chunks of a RIFF file or of a frame.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = (&'a [u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, rest) = self.0.split_first_chunk::<4>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        let (data, rest) = rest.split_at(size.min(rest.len()));
        self.0 = rest.get(size % 2..).unwrap_or_default();
        Some((kind, data))
    }
}

/// A lossless stream, after its header.
struct Stream<'a> {
    bits: Bits<'a>,
    width: usize,
    height: usize,
}

impl<'a> Stream<'a> {
    fn with_header(data: &'a [u8]) -> Result<Self, Ended> {
        let mut bits = Bits::new(data);
        if bits.take(8)? != 0x2f {
            return Err(Ended);
        }
        let (width, height) = (bits.take(14)? as usize + 1, bits.take(14)? as usize + 1);
        // Whether transparency is used, and the version.
        bits.take(4)?;
        Ok(Stream { bits, width, height })
    }

    /// Counts the groups of the image's prefix codes.
    fn groups(mut self) -> Result<u32, Ended> {
        let mut width = self.width;
        let mut seen = [false; 4];
        while self.bits.take(1)? == 1 {
            let kind = self.bits.take(2)? as usize;
            if std::mem::replace(&mut seen[kind], true) {
                return Err(Ended);
            }
            match kind {
                0 | 1 => {
                    let bits = self.bits.take(3)? + 2;
                    self.image(blocks(width, bits), blocks(self.height, bits))?;
                }
                3 => {
                    let colors = self.bits.take(8)? as usize + 1;
                    self.image(colors, 1)?;
                    let packed = match colors {
                        1..=2 => 3,
                        3..=4 => 2,
                        5..=16 => 1,
                        _ => 0,
                    };
                    width = blocks(width, packed);
                }
                _ => {}
            }
        }
        self.cache_bits()?;
        if self.bits.take(1)? == 0 {
            return Ok(1);
        }
        let bits = self.bits.take(3)? + 2;
        let groups = self.image(blocks(width, bits), blocks(self.height, bits))?;
        Ok(1 + groups.into_iter().map(|pixel| pixel >> 8 & 0xffff).max().unwrap_or(0))
    }

    fn cache_bits(&mut self) -> Result<u32, Ended> {
        if self.bits.take(1)? == 0 {
            return Ok(0);
        }
        match self.bits.take(4)? {
            bits @ 1..=11 => Ok(bits),
            _ => Err(Ended),
        }
    }

    /// Decodes an image inside the stream: its pixels as ARGB, highest byte first.
    fn image(&mut self, width: usize, height: usize) -> Result<Vec<u32>, Ended> {
        let cache_bits = self.cache_bits()?;
        let mut cache = vec![0_u32; if cache_bits > 0 { 1 << cache_bits } else { 0 }];
        let slot = |pixel: u32| (pixel.wrapping_mul(0x1e35_a7bd) >> (32 - cache_bits)) as usize;
        let mut code = |symbols: usize| Code::read(&mut self.bits, symbols);
        let (green, red, blue) = (code(256 + 24 + cache.len())?, code(256)?, code(256)?);
        let (alpha, distances) = (code(256)?, code(40)?);
        let bits = &mut self.bits;
        let wanted = width * height;
        let mut pixels: Vec<u32> = Vec::new();
        while pixels.len() < wanted {
            let from = pixels.len();
            match green.symbol(bits)? {
                literal @ ..256 => {
                    let (red, blue, alpha) = (red.symbol(bits)?, blue.symbol(bits)?, alpha.symbol(bits)?);
                    pixels.push(alpha << 24 | red << 16 | literal << 8 | blue);
                }
                length @ 256..280 => {
                    let length = number(bits, length - 256)?;
                    let prefix = distances.symbol(bits)?;
                    let distance = number(bits, prefix)?;
                    let distance = nearby(distance, width);
                    if distance > from || from + length > wanted {
                        return Err(Ended);
                    }
                    (0..length).for_each(|_| pixels.push(pixels[pixels.len() - distance]));
                }
                cached => pixels.push(*cache.get(cached as usize - 280).ok_or(Ended)?),
            }
            if cache_bits > 0 {
                pixels[from..].iter().for_each(|&pixel| cache[slot(pixel)] = pixel);
            }
        }
        Ok(pixels)
    }
}

/// Counts the blocks of `1 << bits` pixels along a side.
fn blocks(side: usize, bits: u32) -> usize {
    side.div_ceil(1 << bits)
}

/// Reads the number that a prefix and the following bits represent.
fn number(bits: &mut Bits<'_>, prefix: u32) -> Result<usize, Ended> {
    if prefix < 4 {
        return Ok(prefix as usize + 1);
    }
    let extra = (prefix - 2) >> 1;
    Ok((((2 + (prefix & 1)) << extra) + bits.take(extra)? + 1) as usize)
}

/// Turns a distance code into a distance in pixels: the lowest 120 represent nearby offsets, horizontal and vertical.
fn nearby(distance: usize, width: usize) -> usize {
    match distance.checked_sub(NEAR.len() + 1) {
        Some(far) => far + 1,
        None => {
            let (across, down) = NEAR[distance - 1];
            (down as isize * width as isize + across as isize).max(1) as usize
        }
    }
}

/// Offsets of the nearby distances, left and up.
const NEAR: [(i8, i8); 120] = [
    (0, 1),
    (1, 0),
    (1, 1),
    (-1, 1),
    (0, 2),
    (2, 0),
    (1, 2),
    (-1, 2),
    (2, 1),
    (-2, 1),
    (2, 2),
    (-2, 2),
    (0, 3),
    (3, 0),
    (1, 3),
    (-1, 3),
    (3, 1),
    (-3, 1),
    (2, 3),
    (-2, 3),
    (3, 2),
    (-3, 2),
    (0, 4),
    (4, 0),
    (1, 4),
    (-1, 4),
    (4, 1),
    (-4, 1),
    (3, 3),
    (-3, 3),
    (2, 4),
    (-2, 4),
    (4, 2),
    (-4, 2),
    (0, 5),
    (3, 4),
    (-3, 4),
    (4, 3),
    (-4, 3),
    (5, 0),
    (1, 5),
    (-1, 5),
    (5, 1),
    (-5, 1),
    (2, 5),
    (-2, 5),
    (5, 2),
    (-5, 2),
    (4, 4),
    (-4, 4),
    (3, 5),
    (-3, 5),
    (5, 3),
    (-5, 3),
    (0, 6),
    (6, 0),
    (1, 6),
    (-1, 6),
    (6, 1),
    (-6, 1),
    (2, 6),
    (-2, 6),
    (6, 2),
    (-6, 2),
    (4, 5),
    (-4, 5),
    (5, 4),
    (-5, 4),
    (3, 6),
    (-3, 6),
    (6, 3),
    (-6, 3),
    (0, 7),
    (7, 0),
    (1, 7),
    (-1, 7),
    (5, 5),
    (-5, 5),
    (7, 1),
    (-7, 1),
    (4, 6),
    (-4, 6),
    (6, 4),
    (-6, 4),
    (2, 7),
    (-2, 7),
    (7, 2),
    (-7, 2),
    (3, 7),
    (-3, 7),
    (7, 3),
    (-7, 3),
    (5, 6),
    (-5, 6),
    (6, 5),
    (-6, 5),
    (8, 0),
    (4, 7),
    (-4, 7),
    (7, 4),
    (-7, 4),
    (8, 1),
    (8, 2),
    (6, 6),
    (-6, 6),
    (8, 3),
    (5, 7),
    (-5, 7),
    (7, 5),
    (-7, 5),
    (8, 4),
    (6, 7),
    (-6, 7),
    (7, 6),
    (-7, 6),
    (8, 5),
    (7, 7),
    (-7, 7),
    (8, 6),
    (8, 7),
];
