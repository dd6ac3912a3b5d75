//! The properties of an item (ISO/IEC 23008-12, 6.5).

use super::super::ImageError;
use super::boxes::{Cursor, Kind, Part, corrupt, shown, unsupported};
use super::color::Coding;
use super::items::Items;

/// Properties that say nothing about the samples: pixel depth and proportions, and the light of a display.
const WITHOUT_EFFECT: [&Kind; 8] = [b"pixi", b"pasp", b"clli", b"mdcv", b"cclv", b"amve", b"ndwt", b"free"];

/// The configuration of an AV1 decoder, which the stream repeats.
const AV1_CONFIGURATION: &Kind = b"av1C";

/// Kinds of auxiliary images that are alpha.
const ALPHA: [&[u8]; 3] = [
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha",
    b"urn:mpeg:hevc:2015:auxid:1",
    b"urn:mpeg:avc:2015:auxid:1",
];

/// Maximum number of changes of an item; each copies the picture.
const MOST_CHANGES: usize = 8;

/// A change of a decoded image, in the order of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Quarter turns against the clock.
    Turn(u8),
    /// Left and right swapped.
    MirrorAcross,
    /// Top and bottom swapped.
    MirrorDown,
    Crop(Window),
}

/// A clean aperture: width, height, and the place of its center from the image's, each a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    size: [(u32, u32); 2],
    center: [(i32, u32); 2],
}

impl Window {
    /// The first and last kept column (`axis` 0) or row (1) of `length`, rounded as in libheif.
    ///
    /// # Errors
    /// None is kept.
    pub fn range(&self, axis: usize, length: usize) -> Result<(usize, usize), ImageError> {
        let (size, size_parts) = (i128::from(self.size[axis].0), i128::from(self.size[axis].1));
        let (center, center_parts) = (i128::from(self.center[axis].0), i128::from(self.center[axis].1));
        // center + (length - 1) / 2 - (size - 1) / 2, over one denominator.
        let parts = 2 * center_parts * size_parts;
        let first = 2 * center * size_parts + (length as i128 * size_parts - size) * center_parts;
        let first = if axis == 0 { first / parts } else { (first + parts / 2) / parts };
        let last = (size + (first - 1) * size_parts + size_parts / 2) / size_parts;
        let (first, last) = (first.max(0), last.min(length as i128 - 1));
        if first > last {
            return Err(corrupt(format!("its clean aperture keeps nothing of {length} pixels")));
        }
        Ok((first as usize, last as usize))
    }
}

/// What a property says about the coding of the colors.
#[derive(Debug, Clone, Copy)]
struct Stated {
    coding: Coding,
    /// Whether that is nothing but the range.
    is_unspecified: bool,
}

/// The properties of an item.
#[derive(Debug, Default)]
pub(super) struct Properties<'a> {
    /// Width and height, before any change.
    pub size: Option<(u32, u32)>,
    /// The configuration of the HEVC decoder, `hvcC`.
    pub configuration: Option<Cursor<'a>>,
    coding: Option<Stated>,
    pub changes: Vec<Change>,
    /// Whether it is the alpha of another item.
    pub is_alpha: bool,
}

impl<'a> Properties<'a> {
    /// Reads the properties of an item.
    ///
    /// # Errors
    /// One is invalid, or is essential and not understood.
    pub fn of(items: &Items<'a>, id: u32) -> Result<Properties<'a>, ImageError> {
        let mut found = Properties::default();
        for (is_essential, Part { kind, mut body }) in items.properties(id)? {
            match &kind {
                b"ispe" => {
                    body.version()?;
                    let size = (body.long_number()?, body.long_number()?);
                    once(found.size.replace(size), kind, id)?;
                }
                b"hvcC" => once(found.configuration.replace(body), kind, id)?,
                b"colr" => found.coding = color(body)?.or(found.coding),
                b"irot" => found.changes.push(Change::Turn(body.byte()? & 3)),
                b"imir" => {
                    let is_across = body.byte()? & 1 == 1;
                    found.changes.push(if is_across { Change::MirrorAcross } else { Change::MirrorDown });
                }
                b"clap" => found.changes.push(Change::Crop(window(body)?)),
                b"auxC" => {
                    body.version()?;
                    let name = body.rest().split(|&byte| byte == 0).next().unwrap_or_default();
                    found.is_alpha = ALPHA.contains(&name);
                }
                _ if WITHOUT_EFFECT.contains(&&kind) || &kind == AV1_CONFIGURATION => {}
                // A scaled image is another one, whether the file calls this essential or not.
                _ if is_essential || &kind == b"iscl" => {
                    return Err(unsupported(format!("the property `{}` of item {id}", shown(kind))));
                }
                _ => {}
            }
        }
        if found.changes.len() > MOST_CHANGES {
            return Err(unsupported(format!(
                "more than {MOST_CHANGES} turns, mirrors and crops of an image"
            )));
        }
        Ok(found)
    }

    /// The EXIF orientation that does what its turn and its mirror do, which is the order in which a file has them.
    #[cfg(feature = "avif")]
    pub fn orientation(&self) -> Option<u8> {
        let turn = self.changes.iter().find_map(|change| match change {
            Change::Turn(quarters) => Some(*quarters),
            _ => None,
        });
        let is_across = self.changes.iter().find_map(|change| match change {
            Change::MirrorAcross => Some(true),
            Change::MirrorDown => Some(false),
            _ => None,
        });
        match (turn.unwrap_or(0), is_across) {
            (0, None) => None,
            (1, None) => Some(8),
            (2, None) => Some(3),
            (_, None) => Some(6),
            (0, Some(true)) | (2, Some(false)) => Some(2),
            (0, Some(false)) | (2, Some(true)) => Some(4),
            (1, Some(false)) | (3, Some(true)) => Some(5),
            (_, Some(_)) => Some(7),
        }
    }

    /// How colors are coded, by libheif's reading: a property of nothing but unspecified values is none.
    pub fn hevc_coding(&self) -> Option<Coding> {
        self.coding.filter(|stated| !stated.is_unspecified).map(|stated| stated.coding)
    }

    /// How colors are coded, by libavif's reading.
    #[cfg(feature = "avif")]
    pub fn av1_coding(&self) -> Option<Coding> {
        self.coding.map(|stated| stated.coding)
    }
}

fn once<T>(previous: Option<T>, kind: Kind, id: u32) -> Result<(), ImageError> {
    match previous {
        Some(_) => Err(corrupt(format!("item {id} has two properties `{}`", shown(kind)))),
        None => Ok(()),
    }
}

/// The coding of the colors; `None` for an ICC profile, which Pillow leaves to its caller.
fn color(mut body: Cursor<'_>) -> Result<Option<Stated>, ImageError> {
    let kind = body.take(4)?;
    if kind != b"nclx" {
        return Ok(None);
    }
    let primaries = body.short_number()?;
    let transfer = body.short_number()?;
    let matrix = body.short_number()?;
    let is_full = body.byte()? & 0x80 != 0;
    let is_unspecified = (primaries, transfer, matrix, is_full) == (2, 2, 2, true);
    Ok(Some(Stated { coding: Coding { matrix, is_full }, is_unspecified }))
}

fn window(mut body: Cursor<'_>) -> Result<Window, ImageError> {
    let mut numbers = [0; 8];
    for number in &mut numbers {
        *number = body.long_number()?;
    }
    let [width, width_parts, height, height_parts, across, across_parts, down, down_parts] = numbers;
    if [width_parts, height_parts, across_parts, down_parts].contains(&0) {
        return Err(corrupt(format!("byte {}: a clean aperture with a denominator of 0", body.at())));
    }
    Ok(Window {
        size: [(width, width_parts), (height, height_parts)],
        center: [(across as i32, across_parts), (down as i32, down_parts)],
    })
}
