//! The layout of a JPEG, walked before decoding: where it ends, and how much work its scans need.

use super::{DecodeLimits, ImageError};

const FORMAT: &str = "JPEG";

/// Block visits by scans, in addition to [`VISITS_PER_BLOCK`] per block: a small image may have many scans.
const FREE_VISITS: u64 = 1 << 22;
/// How often a file's scans may visit each block of the image. Encoders write about ten scans, of which six visit the
/// blocks of one component.
const VISITS_PER_BLOCK: u64 = 24;
/// Block visits by arithmetic scans, in addition to [`ARITHMETIC_VISITS_PER_BYTE`]: such a block may take no bits at
/// all, and still as much time as one with hundreds.
const FREE_ARITHMETIC_VISITS: u64 = 1 << 19;
/// Block visits by arithmetic scans per byte of the file.
const ARITHMETIC_VISITS_PER_BYTE: u64 = 2;

/// Block visits left for the scans of one file, which may contain several JPEG streams.
#[derive(Debug)]
pub(super) struct ScanBudget {
    visits: u64,
    arithmetic: u64,
}

impl ScanBudget {
    /// The budget of an image of `width` by `height` in a file of `bytes` bytes.
    pub fn new(width: usize, height: usize, bytes: usize) -> Self {
        // At most four components, each at full size.
        let blocks = 4 * width.div_ceil(8) as u64 * height.div_ceil(8) as u64;
        Self {
            visits: FREE_VISITS + VISITS_PER_BLOCK * blocks,
            arithmetic: FREE_ARITHMETIC_VISITS + ARITHMETIC_VISITS_PER_BYTE * bytes as u64,
        }
    }

    fn spend(&mut self, visits: u64, arithmetic: bool) -> Result<(), ImageError> {
        let detail = "its scans visit its blocks too often for its size";
        let left = self.visits.checked_sub(visits);
        let arithmetic = self.arithmetic.checked_sub(if arithmetic { visits } else { 0 });
        match (left, arithmetic) {
            (Some(visits), Some(arithmetic)) => {
                *self = Self { visits, arithmetic };
                Ok(())
            }
            _ => Err(ImageError::TooMuchWork { format: FORMAT, detail: detail.into() }),
        }
    }
}

/// Walks the markers up to the end of the image and returns its position.
///
/// The decoder would fill in the missing end of a progressive file; this detects it. The size is checked here as well,
/// before anything is allocated, and the work of the scans is checked against `budget`; if that is `None`, it becomes
/// the budget of the frame's own size.
pub(super) fn check(
    bytes: &[u8],
    limits: &DecodeLimits,
    budget: &mut Option<ScanBudget>,
) -> Result<usize, ImageError> {
    let cut = |at: usize| ImageError::Truncated {
        format: FORMAT,
        detail: format!("the file ends at byte {at} before its end marker"),
    };
    let (mut at, mut frame, mut scans) = (2, None, 0);
    loop {
        // Bytes outside of segments are skipped, as in libjpeg.
        let Some(skipped) = bytes.get(at..).and_then(|rest| memchr::memchr(0xff, rest)) else {
            return Err(cut(bytes.len()));
        };
        at += skipped + 1;
        let Some(&marker) = bytes.get(at) else { return Err(cut(bytes.len())) };
        match marker {
            0xff => continue,
            0x00 | 0x01 | 0xd0..=0xd8 => at += 1,
            0xd9 if scans == 0 => return Err(corrupt(format!("byte {at}: it ends without a scan"))),
            0xd9 => return Ok(at + 1),
            _ => {
                let length = bytes.get(at + 1..at + 3).ok_or_else(|| cut(bytes.len()))?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                if length < 2 {
                    return Err(corrupt(format!("byte {at}: a segment's length is {length}")));
                }
                let body = bytes.get(at + 3..at + 1 + length).ok_or_else(|| cut(bytes.len()))?;
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    let new = Frame::read(marker, body, limits)?;
                    budget.get_or_insert_with(|| ScanBudget::new(new.width, new.height, bytes.len()));
                    if frame.replace(new).is_some() {
                        return Err(corrupt(format!("byte {at}: a second frame")));
                    }
                }
                if marker == 0xda {
                    let (Some(frame), Some(budget)) = (&frame, budget.as_mut()) else {
                        return Err(corrupt(format!("byte {at}: a scan comes before the frame's header")));
                    };
                    budget.spend(frame.visits(body), frame.arithmetic)?;
                    scans += 1;
                }
                at += 1 + length;
            }
        }
    }
}

/// A frame's size and components.
struct Frame {
    width: usize,
    height: usize,
    arithmetic: bool,
    /// Identifier and sampling factors, horizontal and vertical.
    components: Vec<(u8, usize, usize)>,
}

impl Frame {
    /// Reads and checks a frame's header: kind, precision and size.
    fn read(marker: u8, body: &[u8], limits: &DecodeLimits) -> Result<Frame, ImageError> {
        if !matches!(marker, 0xc0..=0xc2 | 0xc9 | 0xca) {
            return Err(unsupported(format!("frames of kind SOF{}", marker & 0x0f)));
        }
        let &[precision, height_high, height_low, width_high, width_low, _, ref components @ ..] = body
        else {
            return Err(corrupt("the frame's header is too short"));
        };
        if precision != 8 {
            return Err(unsupported(format!("{precision} bits a sample")));
        }
        let height = u16::from_be_bytes([height_high, height_low]);
        let width = u16::from_be_bytes([width_high, width_low]);
        let (width, height) = limits.check(FORMAT, width.into(), height.into())?;
        let components: Vec<(u8, usize, usize)> = components
            .chunks_exact(3)
            .map(|component| (component[0], usize::from(component[1] >> 4), usize::from(component[1] & 15)))
            .collect();
        if components.iter().any(|&(_, across, down)| !(1..=4).contains(&across) || !(1..=4).contains(&down))
        {
            return Err(corrupt("a sampling factor is not from 1 to 4"));
        }
        Ok(Frame { width, height, arithmetic: marker >= 0xc9, components })
    }

    /// Counts the blocks visited by a scan, from the body of its header.
    fn visits(&self, scan: &[u8]) -> u64 {
        let widest = self.components.iter().map(|&(_, across, _)| across).max().unwrap_or(1);
        let tallest = self.components.iter().map(|&(_, _, down)| down).max().unwrap_or(1);
        let count = scan.first().map_or(0, |&count| usize::from(count));
        let named: Vec<_> = scan[scan.len().min(1)..]
            .chunks_exact(2)
            .take(count)
            .filter_map(|entry| self.components.iter().find(|(id, ..)| *id == entry[0]))
            .collect();
        let blocks = |&(_, across, down): &(u8, usize, usize)| match named.len() {
            // A single component has no blocks beyond its edge.
            1 => {
                (self.width * across).div_ceil(8 * widest) as u64
                    * (self.height * down).div_ceil(8 * tallest) as u64
            }
            _ => {
                let units = self.width.div_ceil(8 * widest) as u64 * self.height.div_ceil(8 * tallest) as u64;
                units * (across * down) as u64
            }
        };
        named.iter().copied().map(blocks).sum()
    }
}

fn corrupt(detail: impl Into<String>) -> ImageError {
    ImageError::Corrupt { format: FORMAT, detail: detail.into() }
}

fn unsupported(feature: String) -> ImageError {
    ImageError::Unsupported { format: FORMAT, feature }
}
