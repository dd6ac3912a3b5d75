//! HEIC and AVIF: the image that a HEIF file shows, if it is coded by HEVC or AV1. Single pictures and grids of tiles, with
//! alpha.
//!
//! This is our own reader of the container; pictures are decoded by the crates `heic-decoder` and `oxideav-av1`. Pillow
//! decides what comes out. HEVC is read as by pillow-heif, which uses libheif: the file's turns, mirrors and crops are
//! applied, its EXIF orientation is not. AV1 is read as by Pillow itself, which uses libavif: turns and mirrors become the
//! orientation, and crops change nothing. Nor does an ICC profile, in either.

#[cfg(feature = "avif")]
mod av1;
#[cfg(feature = "avif")]
mod av1_color;
#[cfg(feature = "avif")]
mod av1_real;
mod boxes;
mod budget;
mod color;
mod container;
mod hevc;
mod hevc_color;
mod items;
mod picture;
mod property;
mod rbsp;
mod sps;

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{DecodeLimits, ImageError};
use crate::image::Image;
use boxes::{Cursor, FORMAT, Kind, corrupt, shown, unsupported};
use budget::Budget;
use color::{Alpha, Coding};
use items::Items;
use picture::{Codec, Picture};
use property::Properties;

/// Decodes a file; `format` is its name in errors.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits, format: &'static str) -> Result<Image, ImageError> {
    read(bytes, limits).map_err(|error| named(error, format))
}

fn read(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    let items = Items::read(bytes)?;
    let reader = Reader { items: &items, limits, file: bytes.len() };
    let id = items.primary;
    let picture = reader.item(id)?;
    let alpha = reader.alpha(id, &picture)?;
    let (width, height) = (picture.luma.width, picture.luma.height);
    let (samples, orientation) = match picture.codec {
        Codec::Hevc => (hevc_color::samples(picture, alpha)?, None),
        #[cfg(feature = "avif")]
        Codec::Av1 => (av1_color::samples(picture, alpha)?, Properties::of(&items, id)?.orientation()),
    };
    Ok(Image { width, height, orientation, transparency: None, samples })
}

/// An error of the container as one of the format that it was taken for.
fn named(mut error: ImageError, name: &'static str) -> ImageError {
    if let ImageError::Unsupported { format, .. }
    | ImageError::Truncated { format, .. }
    | ImageError::Corrupt { format, .. }
    | ImageError::TooMuchWork { format, .. } = &mut error
        && *format == FORMAT
    {
        *format = name;
    }
    error
}

/// The EXIF data of a file, if it has any.
pub(in crate::image) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    let items = Items::read(bytes).ok()?;
    let described = |id: &u32| items.referred(*id, b"cdsc").contains(&items.primary);
    let id = items.of_kind(*b"Exif").find(described)?;
    let Cow::Borrowed(data) = items.data(id).ok()? else { return None };
    // How many bytes stand before the header that EXIF data starts with.
    let (skipped, data) = data.split_first_chunk()?;
    data.get(u32::from_be_bytes(*skipped) as usize..)
}

/// Decodes the items of a file.
struct Reader<'a> {
    items: &'a Items<'a>,
    limits: &'a DecodeLimits,
    file: usize,
}

/// An image that is put together from tiles (ISO/IEC 23008-12, 6.6.2.3).
struct Grid<'a> {
    columns: usize,
    rows: usize,
    width: usize,
    height: usize,
    tiles: &'a [u32],
}

/// A coded picture, before it is decoded.
enum Coded<'a> {
    Hevc(hevc::Coded<'a>),
    #[cfg(feature = "avif")]
    Av1(av1::Coded<'a>),
}

impl Coded<'_> {
    fn size(&self) -> (usize, usize) {
        match self {
            Coded::Hevc(coded) => coded.size(),
            #[cfg(feature = "avif")]
            Coded::Av1(coded) => coded.size(),
        }
    }

    fn decode(&self, items: &Items<'_>, budget: &mut Budget) -> Result<Picture, ImageError> {
        match self {
            Coded::Hevc(coded) => coded.decode(items, budget),
            #[cfg(feature = "avif")]
            Coded::Av1(coded) => coded.decode(budget),
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads a picture, and how its properties say that its colors are coded; `what` it is, for messages.
    fn coded(
        &self,
        id: u32,
        kind: Kind,
        properties: &Properties<'a>,
        what: &str,
    ) -> Result<(Coded<'a>, Option<Coding>), ImageError> {
        match &kind {
            b"hvc1" => {
                let coded = hevc::Coded::read(id, properties, self.limits)?;
                Ok((Coded::Hevc(coded), properties.hevc_coding()))
            }
            #[cfg(feature = "avif")]
            b"av01" => {
                let coded = av1::Coded::read(id, properties, self.items, self.limits)?;
                Ok((Coded::Av1(coded), properties.av1_coding()))
            }
            #[cfg(not(feature = "avif"))]
            b"av01" => Err(super::sniff::without_avif()),
            _ => Err(unsupported(format!("{what} of the kind `{}`", shown(kind)))),
        }
    }

    /// Decodes an item, and makes its changes if it is HEVC.
    fn item(&self, id: u32) -> Result<Picture, ImageError> {
        let properties = Properties::of(self.items, id)?;
        let kind = self.items.kind(id)?;
        let (mut picture, coding) = match &kind {
            b"grid" => self.grid(id, &properties)?,
            _ => self.single(id, kind, &properties)?,
        };
        #[cfg(feature = "avif")]
        if picture.codec == Codec::Av1 {
            picture.coding = properties.av1_coding().or(coding).unwrap_or(picture.coding);
            return Ok(picture);
        }
        let (chroma, is_full) = (picture.chroma, picture.coding.is_full);
        for &change in &properties.changes {
            picture = picture.change(change)?;
        }
        if let Some(stated) = properties.hevc_coding().or(coding) {
            if picture.chroma != chroma && !is_full {
                // libheif widens the range with the colors, and then takes the property at its word.
                return Err(unsupported(
                    "a change of colors in limited range between the pixels of an odd size",
                ));
            }
            picture.coding = stated;
        }
        Ok(picture)
    }

    fn single(
        &self,
        id: u32,
        kind: Kind,
        properties: &Properties<'a>,
    ) -> Result<(Picture, Option<Coding>), ImageError> {
        let (coded, coding) = self.coded(id, kind, properties, "images")?;
        let (width, height) = coded.size();
        let picture = coded.decode(self.items, &mut Budget::new((width * height) as u64, self.file))?;
        Ok((picture, coding))
    }

    /// Decodes a grid; also returns how the properties of its tiles say that colors are coded.
    fn grid(&self, id: u32, properties: &Properties<'a>) -> Result<(Picture, Option<Coding>), ImageError> {
        let grid = self.layout(id, properties)?;
        let mut budget = Budget::new((grid.width * grid.height) as u64, self.file);
        let mut whole: Option<(Picture, Option<Coding>)> = None;
        let mut tile_size = (0, 0);
        for (at, &tile) in grid.tiles.iter().enumerate() {
            let (coded, coding) = self.tile(tile)?;
            if at == 0 {
                tile_size = coded.size();
                grid.check(tile_size)?;
            } else if coded.size() != tile_size {
                return Err(corrupt("the tiles of its grid have different sizes"));
            }
            let mut picture = coded.decode(self.items, &mut budget)?;
            picture.coding = coding.unwrap_or(picture.coding);
            let (left, top) = (at % grid.columns * tile_size.0, at / grid.columns * tile_size.1);
            let (canvas, _) =
                whole.get_or_insert_with(|| (picture.blank_like(grid.width, grid.height), coding));
            canvas.paste(&picture, left, top)?;
        }
        whole.ok_or_else(|| corrupt("its grid has no tiles"))
    }

    /// Reads a grid, and checks its size before anything is decoded.
    fn layout(&self, id: u32, properties: &Properties<'_>) -> Result<Grid<'a>, ImageError> {
        let data = self.items.data(id)?;
        let mut data = Cursor::data(&data, *b"grid");
        let version = data.byte()?;
        if version != 0 {
            return Err(unsupported(format!("grids of version {version}")));
        }
        let size = if data.byte()? & 1 == 0 { 2 } else { 4 };
        let (rows, columns) = (usize::from(data.byte()?) + 1, usize::from(data.byte()?) + 1);
        let (width, height) = (data.number(size)?, data.number(size)?);
        if properties.size.is_some_and(|stated| (u64::from(stated.0), u64::from(stated.1)) != (width, height))
        {
            return Err(corrupt(format!(
                "its grid has {width} x {height} pixels, its property `ispe` others"
            )));
        }
        let (width, height) = self.limits.check(FORMAT, width, height)?;
        let tiles = self.items.referred(id, b"dimg");
        if tiles.len() != rows * columns {
            return Err(corrupt(format!("its grid has {} tiles, expected {columns} x {rows}", tiles.len())));
        }
        let named: BTreeSet<u32> = tiles.iter().copied().collect();
        if self.alphas().any(|(_, of)| of.iter().any(|id| named.contains(id))) {
            return Err(unsupported("alpha of the tiles of a grid"));
        }
        Ok(Grid { columns, rows, width, height, tiles })
    }

    /// Reads a tile, and how its properties say that its colors are coded.
    fn tile(&self, id: u32) -> Result<(Coded<'a>, Option<Coding>), ImageError> {
        let properties = Properties::of(self.items, id)?;
        if !properties.changes.is_empty() {
            return Err(unsupported("tiles that are turned, mirrored or cropped"));
        }
        self.coded(id, self.items.kind(id)?, &properties, "tiles")
    }

    /// The references of auxiliary images.
    fn alphas(&self) -> impl Iterator<Item = (u32, &[u32])> {
        let is_alpha = |id| Properties::of(self.items, id).is_ok_and(|properties| properties.is_alpha);
        self.items.references(*b"auxl").filter(move |&(id, _)| is_alpha(id))
    }

    /// Decodes the alpha of an item, at the size of its picture.
    fn alpha(&self, of: u32, picture: &Picture) -> Result<Option<Alpha>, ImageError> {
        let found = self.alphas().filter(|(_, to)| to.contains(&of)).last();
        let Some((id, _)) = found else { return Ok(None) };
        if !self.items.referred(of, b"prem").is_empty() {
            return Err(unsupported("colors that are multiplied by their alpha"));
        }
        let found = self.item(id)?;
        if found.codec != picture.codec {
            return Err(unsupported("alpha that is coded otherwise than the colors"));
        }
        let (width, height) = (picture.luma.width, picture.luma.height);
        let is_same = (found.luma.width, found.luma.height) == (width, height);
        #[cfg(feature = "avif")]
        if found.codec == Codec::Av1 && (!is_same || found.depth != picture.depth) {
            return Err(corrupt("its alpha has another size or depth than its colors"));
        }
        let plane = if is_same { found.luma } else { found.luma.resized(width, height) };
        Ok(Some(Alpha {
            plane,
            depth: found.depth,
            #[cfg(feature = "avif")]
            is_full: found.coding.is_full,
        }))
    }
}

impl Grid<'_> {
    /// Checks that tiles of a size cover the image, and that each is needed.
    fn check(&self, tile: (usize, usize)) -> Result<(), ImageError> {
        let covers = |tile: usize, count: usize, length: usize| {
            (tile * count >= length, count == 1 || tile * (count - 1) < length)
        };
        let across = covers(tile.0, self.columns, self.width);
        let down = covers(tile.1, self.rows, self.height);
        match (across, down) {
            ((true, true), (true, true)) => Ok(()),
            _ => Err(corrupt(format!(
                "{} x {} tiles of {} x {} pixels do not fit an image of {} x {}",
                self.columns, self.rows, tile.0, tile.1, self.width, self.height
            ))),
        }
    }
}
