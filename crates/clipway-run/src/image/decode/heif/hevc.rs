//! Items that are HEVC pictures (ISO/IEC 14496-15, 8.3), decoded by the `heic-decoder` crate.

use heic_decoder::{DecodeOptions, DecodedImage, HeifError, decode_with};

use super::super::{DecodeLimits, ImageError};
use super::boxes::{Cursor, FORMAT, corrupt, truncated, unsupported};
use super::budget::Budget;
use super::container::container;
use super::items::Items;
use super::picture::{Chroma, Codec, Picture, Plane};
use super::property::Properties;
use super::sps::Sps;

/// Bytes that decoding takes for each pixel at most: the decoder keeps three samples of four bytes, with a mark for each,
/// and copies them once.
const PIXEL_BYTES: u64 = 28;
/// Maximum number of sets of parameters: each unit of a picture is compared with them.
const MOST_SETS: usize = 16;

/// The units that this reader tells apart (ITU-T H.265, table 7-1): those below are slices.
const FIRST_SET: u8 = 32;
const SEQUENCE_SET: u8 = 33;
const PICTURE_SET: u8 = 34;

/// The configuration of a picture's decoder, `hvcC`.
struct Configuration<'a> {
    bytes: &'a [u8],
    /// Bytes of the length in front of each unit of the picture.
    length_size: usize,
    /// Sets of parameters.
    sets: Vec<&'a [u8]>,
    sps: Sps,
}

/// A coded picture, before it is decoded.
pub(super) struct Coded<'a> {
    id: u32,
    configuration: Configuration<'a>,
}

impl<'a> Coded<'a> {
    /// Reads what an item says about its picture.
    ///
    /// # Errors
    /// Its configuration is missing, invalid or not supported, or states more pixels than the limits allow.
    pub fn read(id: u32, properties: &Properties<'a>, limits: &DecodeLimits) -> Result<Self, ImageError> {
        let Some(configuration) = properties.configuration else {
            return Err(corrupt(format!("item {id} has no property `hvcC`")));
        };
        let configuration = Configuration::read(configuration)?;
        let (width, height) = configuration.sps.coded;
        limits.check_bytes(FORMAT, width as u64, height as u64, PIXEL_BYTES)?;
        let coded = Coded { id, configuration };
        let (width, height) = coded.size();
        match properties.size {
            Some(stated) if (stated.0 as usize, stated.1 as usize) != (width, height) => {
                Err(corrupt(format!(
                    "item {id}: its stream has {width} x {height} pixels, its property `ispe` {} x {}",
                    stated.0, stated.1
                )))
            }
            _ => Ok(coded),
        }
    }

    /// The size of the picture.
    pub fn size(&self) -> (usize, usize) {
        self.configuration.sps.shown
    }

    /// Decodes the picture.
    ///
    /// # Errors
    /// Its data is truncated, invalid or not supported, or needs more work than is left.
    pub fn decode(&self, items: &Items<'_>, budget: &mut Budget) -> Result<Picture, ImageError> {
        let Configuration { bytes, length_size, sets, sps } = &self.configuration;
        let data = items.data(self.id)?;
        let pixels = sps.coded.0 as u64 * sps.coded.1 as u64;
        budget.spend(pixels, bytes.len() + data.len())?;
        check_slices(&data, *length_size, sets)?;
        let options = DecodeOptions { apply_transforms: false };
        let decoded = decode_with(&container(bytes, &data), &options).map_err(error)?;
        picture(decoded, sps)
    }
}

impl<'a> Configuration<'a> {
    fn read(mut body: Cursor<'a>) -> Result<Configuration<'a>, ImageError> {
        let bytes = body.rest();
        let version = body.byte()?;
        if version != 1 {
            return Err(unsupported(format!("`hvcC` of version {version}")));
        }
        body.take(20)?;
        let length_size = usize::from(body.byte()? & 3) + 1;
        let mut sets: Vec<&[u8]> = Vec::new();
        for _ in 0..body.byte()? {
            body.byte()?;
            for _ in 0..body.short_number()? {
                let length = usize::from(body.short_number()?);
                let unit = body.take(length)?;
                if Unit::of(unit)?.is_set() {
                    sets.push(unit);
                }
                if sets.len() > MOST_SETS {
                    return Err(unsupported(format!("more than {MOST_SETS} parameter sets")));
                }
            }
        }
        // The decoder would take the first one, whatever a slice names.
        let only = |wanted: u8| {
            let mut found = sets.iter().filter(|set| set[0] >> 1 & 0x3f == wanted);
            match (found.next(), found.next()) {
                (Some(set), None) => Ok(*set),
                (None, _) => Err(corrupt("its `hvcC` lacks a parameter set")),
                _ => Err(unsupported("several parameter sets of one kind")),
            }
        };
        only(PICTURE_SET)?;
        let sps = Sps::read(only(SEQUENCE_SET)?)?;
        Ok(Configuration { bytes, length_size, sets, sps })
    }
}

/// The header of a unit.
struct Unit {
    kind: u8,
    layer: u8,
}

impl Unit {
    fn of(unit: &[u8]) -> Result<Unit, ImageError> {
        match unit {
            [first, second, ..] => {
                Ok(Unit { kind: first >> 1 & 0x3f, layer: (first & 1) << 5 | second >> 3 })
            }
            _ => Err(corrupt("a unit of its stream has no header")),
        }
    }

    /// Further layers, of stereo pictures, are other images.
    fn is_set(&self) -> bool {
        (FIRST_SET..=PICTURE_SET).contains(&self.kind) && self.layer == 0
    }

    fn is_slice(&self) -> bool {
        self.kind < FIRST_SET && self.layer == 0
    }
}

/// Checks that data is the slices of one picture.
fn check_slices(data: &[u8], length_size: usize, sets: &[&[u8]]) -> Result<(), ImageError> {
    let mut rest = Cursor::data(data, *b"hvc1");
    let mut slices = 0;
    while !rest.rest().is_empty() {
        let length = rest.number(length_size)?;
        let unit = rest.take(length as usize)?;
        let head = Unit::of(unit)?;
        if head.is_set() && !sets.contains(&unit) {
            return Err(unsupported("parameter sets among the slices of a picture"));
        }
        if head.is_slice() {
            let is_first = unit.get(2).is_some_and(|byte| byte & 0x80 != 0);
            if is_first != (slices == 0) {
                return Err(unsupported("an item of several pictures, or slices out of order"));
            }
            slices += 1;
        }
    }
    match slices {
        0 => Err(truncated("an item holds no slice of a picture")),
        _ => Ok(()),
    }
}

/// Takes the samples of a decoded picture, which must be as the set says.
fn picture(decoded: DecodedImage, sps: &Sps) -> Result<Picture, ImageError> {
    let (width, height) = sps.shown;
    let (across, down) = sps.chroma.steps();
    let most = (1 << sps.depth) - 1;
    let plane = |samples: Vec<i32>, width: usize, height: usize| {
        let is_whole = samples.len() == width * height;
        let samples = samples.into_iter().map(|sample| sample.clamp(0, most) as u16).collect();
        is_whole.then_some(Plane { width, height, samples })
    };
    let DecodedImage { y, cb, cr, bit_depth_luma, .. } = decoded;
    let luma = plane(y, width, height);
    let colors = match sps.chroma {
        Chroma::None => Some(None),
        _ => {
            let (width, height) = (width.div_ceil(across), height.div_ceil(down));
            plane(cb, width, height).zip(plane(cr, width, height)).map(|(cb, cr)| Some([cb, cr]))
        }
    };
    match (luma, colors) {
        (Some(luma), Some(colors)) if bit_depth_luma == u32::from(sps.depth) => {
            let Sps { depth, chroma, coding, .. } = *sps;
            Ok(Picture { codec: Codec::Hevc, depth, chroma, luma, colors, coding })
        }
        _ => Err(corrupt("the decoder returned an unexpected layout")),
    }
}

fn error(error: HeifError) -> ImageError {
    match error {
        HeifError::Truncated { .. } => truncated("a slice ends before its last block"),
        HeifError::Unsupported(feature) => unsupported(feature.trim_start_matches("decode: ")),
        other => corrupt(other.to_string()),
    }
}
