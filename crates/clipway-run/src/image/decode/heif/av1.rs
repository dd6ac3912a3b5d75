//! Items that are AV1 pictures (AV1 Image File Format, 2.1), decoded by the `oxideav-av1` crate.

use std::borrow::Cow;

use oxideav_av1::decoder::{SpecDecodeSession, SpecFrame};
use oxideav_av1::{Error, ObuIter, ObuType, SequenceHeader, parse_sequence_header};

use super::super::{DecodeLimits, ImageError};
use super::boxes::{FORMAT, corrupt, truncated, unsupported};
use super::budget::Budget;
use super::color::Coding;
use super::items::Items;
use super::picture::{Chroma, Codec, Picture, Plane};
use super::property::Properties;

/// Bytes that decoding takes for each pixel at most: the decoder keeps three samples of four bytes with what it knows of
/// their blocks, and returns samples of two bytes, which are copied once.
const PIXEL_BYTES: u64 = 32;

/// A coded picture, before it is decoded.
pub(super) struct Coded<'a> {
    data: Cow<'a, [u8]>,
    size: (usize, usize),
    chroma: Chroma,
    depth: u8,
    coding: Coding,
}

impl<'a> Coded<'a> {
    /// Reads what an item says about its picture.
    ///
    /// # Errors
    /// Its data is missing, invalid or not supported, or states more pixels than the limits allow.
    pub fn read(
        id: u32,
        properties: &Properties<'a>,
        items: &Items<'a>,
        limits: &DecodeLimits,
    ) -> Result<Self, ImageError> {
        let data = items.data(id)?;
        let header = header(&data)?;
        let size =
            (header.max_frame_width_minus_1 as usize + 1, header.max_frame_height_minus_1 as usize + 1);
        limits.check_bytes(FORMAT, size.0 as u64, size.1 as u64, PIXEL_BYTES)?;
        if let Some(stated) =
            properties.size.filter(|&(width, height)| (width as usize, height as usize) != size)
        {
            return Err(corrupt(format!(
                "item {id}: its stream has {} x {} pixels, its property `ispe` {} x {}",
                size.0, size.1, stated.0, stated.1
            )));
        }
        let colors = &header.color_config;
        let chroma = match (colors.mono_chrome, colors.subsampling_x, colors.subsampling_y) {
            (true, ..) => Chroma::None,
            (_, true, true) => Chroma::Quarter,
            (_, true, false) => Chroma::Half,
            _ => Chroma::Full,
        };
        let coding = Coding { matrix: colors.matrix_coefficients.into(), is_full: colors.color_range };
        Ok(Coded { data, size, chroma, depth: colors.bit_depth, coding })
    }

    /// The size of the picture.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Decodes the picture.
    ///
    /// # Errors
    /// Its data is truncated, invalid or not supported, or needs more work than is left.
    pub fn decode(&self, budget: &mut Budget) -> Result<Picture, ImageError> {
        let pixels = self.size.0 * self.size.1;
        budget.spend(pixels as u64, self.data.len())?;
        let mut session = SpecDecodeSession::new();
        session.set_max_picture_size(u32::try_from(pixels).unwrap_or(u32::MAX));
        let mut frames = session.decode_temporal_unit(&self.data).map_err(error)?;
        match (frames.pop(), frames.is_empty()) {
            (Some(frame), true) => self.picture(frame),
            (None, _) => Err(truncated("the tiles of a picture are incomplete")),
            _ => Err(several()),
        }
    }

    /// Takes the samples of a decoded picture, which must be as the header says.
    fn picture(&self, frame: SpecFrame) -> Result<Picture, ImageError> {
        let (width, height) = self.size;
        if (frame.width as usize, frame.height as usize) != self.size {
            return Err(unsupported("a frame that is smaller than its sequence"));
        }
        let (across, down) = self.chroma.steps();
        let depth = frame.bit_depth;
        let plane = |bytes: Vec<u8>, width: usize, height: usize| {
            let samples: Vec<u16> = match depth {
                8 => bytes.into_iter().map(u16::from).collect(),
                _ => bytes.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes)).collect(),
            };
            (samples.len() == width * height).then_some(Plane { width, height, samples })
        };
        let mut planes = frame.planes.into_iter();
        let mut next = |width, height| planes.next().and_then(|bytes| plane(bytes, width, height));
        let luma = next(width, height);
        let colors = match self.chroma {
            Chroma::None => Some(None),
            _ => {
                let (width, height) = (width.div_ceil(across), height.div_ceil(down));
                next(width, height).zip(next(width, height)).map(|(cb, cr)| Some([cb, cr]))
            }
        };
        match (luma, colors) {
            (Some(luma), Some(colors)) if depth == self.depth => {
                let (chroma, coding) = (self.chroma, self.coding);
                Ok(Picture { codec: Codec::Av1, depth, chroma, luma, colors, coding })
            }
            _ => Err(corrupt("the decoder returned an unexpected layout")),
        }
    }
}

/// Reads the header of a stream, and checks that it holds one frame: the work for more could not be foreseen.
fn header(data: &[u8]) -> Result<SequenceHeader, ImageError> {
    let mut header = None;
    let mut frames = 0;
    for unit in ObuIter::new(data) {
        let unit = unit.map_err(error)?;
        match unit.obu_type {
            ObuType::SequenceHeader if header.is_some() => {
                return Err(unsupported("several sequence headers in a picture"));
            }
            ObuType::SequenceHeader => header = Some(parse_sequence_header(unit.payload).map_err(error)?),
            ObuType::Frame | ObuType::FrameHeader => frames += 1,
            ObuType::TileList => return Err(unsupported("lists of tiles")),
            _ => {}
        }
    }
    match (header, frames) {
        (Some(header), 1) => Ok(header),
        (None, _) => Err(corrupt("a picture has no sequence header")),
        (_, 0) => Err(truncated("an item holds no frame")),
        _ => Err(several()),
    }
}

fn several() -> ImageError {
    unsupported("an item of several pictures")
}

fn error(error: Error) -> ImageError {
    match error {
        Error::UnexpectedEnd => truncated("the stream of a picture ends too early"),
        Error::MissingSizeField => unsupported("units that do not state their length"),
        other => corrupt(other.to_string().trim_start_matches("oxideav-av1: ")),
    }
}
