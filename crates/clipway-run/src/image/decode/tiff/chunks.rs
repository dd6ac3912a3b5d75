//! Assembles strips and tiles.

use super::super::ImageError;
use super::super::bits;
use super::super::jpeg_layout::ScanBudget;
use super::compression::{self, Compression, Expander};
use super::directory::{Directory, tag};
use super::{Extra, Layout, Meaning, NumberKind};

/// The stored pixels, row by row.
pub(super) enum Planes {
    /// Interleaved samples: one byte each up to 8 bits, otherwise 2 or 4 bytes in the file's byte order.
    Stored(Vec<u8>),
    /// RGB bytes from the JPEG decoder.
    Rgb(Vec<u8>),
}

/// Maximum number of strips or tiles: each costs a decoder start, however little it contains.
const MOST_CHUNKS: usize = 1 << 18;
/// Maximum number of strips or tiles of JPEG data.
const MOST_JPEG_CHUNKS: usize = 1 << 15;
/// Number of bytes that the strips or tiles may expand to, in addition to [`MOST_EXPANDED`] times the image's: a tile
/// may be larger than a small image.
const FREELY_EXPANDED: u64 = 64 << 20;
/// How many times the image's size the strips or tiles may expand to.
const MOST_EXPANDED: u64 = 4;
/// How many times the file's size the strips or tiles may use, if several share the same bytes.
const MOST_SHARED: u64 = 2;

/// Maximum size of the tables shared by strips or tiles of JPEG data; each reads the tables again.
const LARGEST_TABLES: usize = 4096;

/// The image without pixels.
pub(super) fn none_of(layout: &Layout) -> Planes {
    match (layout.compression, layout.meaning) {
        (Compression::Jpeg, Meaning::YCbCr | Meaning::Rgb) => Planes::Rgb(Vec::new()),
        _ => Planes::Stored(Vec::new()),
    }
}

/// Where the strips or tiles are in the image and in the file.
struct Grid {
    width: usize,
    height: usize,
    across: usize,
    down: usize,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
    tiled: bool,
}

/// Reads every strip or tile.
pub(super) fn read(directory: &Directory<'_>, layout: &Layout) -> Result<Planes, ImageError> {
    let grid = grid(directory, layout)?;
    check_work(directory, layout, &grid)?;
    if layout.compression == Compression::Jpeg {
        return read_jpeg(directory, layout, &grid);
    }
    if layout.meaning == Meaning::YCbCr {
        return Err(directory.reader.unsupported("YCbCr samples that are not JPEG data"));
    }
    let planes = if layout.planar { layout.samples } else { 1 };
    let samples = layout.samples / planes;
    let sample_bytes = usize::from(layout.bits.max(8)) / 8;
    let mut out = vec![0; layout.width * layout.height * layout.samples * sample_bytes];
    let mut expander = Expander::new(layout.compression);
    for (index, (&offset, &length)) in grid.offsets.iter().zip(&grid.lengths).enumerate() {
        let (plane, cell) = (index / (grid.across * grid.down), index % (grid.across * grid.down));
        let (left, top) = (cell % grid.across * grid.width, cell / grid.across * grid.height);
        let rows = grid.height.min(layout.height - top);
        let columns = grid.width.min(layout.width - left);
        let row_bytes = row_bytes(layout, &grid);
        let stored_rows = if grid.tiled { grid.height } else { rows };
        let data = directory.reader.slice(offset, length)?;
        let mut data = expander.expand(data, row_bytes * stored_rows, &directory.reader)?;
        if layout.predictor {
            undo_differences(directory, layout, &mut data, row_bytes, samples)?;
        }
        let wide = if layout.bits < 8 {
            bits::unpack(&data, row_bytes, grid.width * samples, layout.bits)
        } else {
            data
        };
        let pixel = samples * sample_bytes;
        for (y, row) in wide.chunks_exact(grid.width * pixel).take(rows).enumerate() {
            let start = ((top + y) * layout.width + left) * layout.samples * sample_bytes;
            if planes == 1 {
                out[start..start + columns * pixel].copy_from_slice(&row[..columns * pixel]);
            } else {
                let stride = layout.samples * sample_bytes;
                for (x, sample) in row.chunks_exact(sample_bytes).take(columns).enumerate() {
                    let at = start + x * stride + plane * sample_bytes;
                    out[at..at + sample_bytes].copy_from_slice(sample);
                }
            }
        }
    }
    Ok(Planes::Stored(out))
}

fn read_jpeg(directory: &Directory<'_>, layout: &Layout, grid: &Grid) -> Result<Planes, ImageError> {
    let channels = match layout.meaning {
        Meaning::YCbCr | Meaning::Rgb => 3,
        Meaning::BlackIsZero => 1,
        other => return Err(directory.reader.unsupported(format!("JPEG data of {other:?}"))),
    };
    let plain = layout.bits == 8 && layout.kind == NumberKind::Unsigned && layout.extra == Extra::None;
    if !plain || layout.planar {
        return Err(directory.reader.unsupported("JPEG data with other than 8-bit interleaved samples"));
    }
    let tables = directory.bytes(tag::JPEG_TABLES)?;
    if tables.len() > LARGEST_TABLES {
        return Err(directory.reader.corrupt(format!("JPEG tables of {} bytes", tables.len())));
    }
    let mut budget = Some(ScanBudget::new(layout.width, layout.height, directory.reader.bytes.len()));
    let mut out = vec![0; layout.width * layout.height * channels];
    for (cell, (&offset, &length)) in grid.offsets.iter().zip(&grid.lengths).enumerate() {
        let (left, top) = (cell % grid.across * grid.width, cell / grid.across * grid.height);
        let rows = grid.height.min(layout.height - top);
        let columns = grid.width.min(layout.width - left);
        let data = directory.reader.slice(offset, length)?;
        let largest = (grid.width, grid.height);
        let chunk = compression::jpeg(data, tables, layout.meaning, largest, &mut budget, &directory.reader)?;
        if chunk.width < columns || chunk.height < rows {
            return Err(directory.reader.corrupt("JPEG data smaller than its strip or tile"));
        }
        for (y, row) in chunk.data.chunks_exact(chunk.width * channels).take(rows).enumerate() {
            let start = ((top + y) * layout.width + left) * channels;
            out[start..start + columns * channels].copy_from_slice(&row[..columns * channels]);
        }
    }
    Ok(if channels == 3 { Planes::Rgb(out) } else { Planes::Stored(out) })
}

/// Number of bytes in a row of a strip or tile.
fn row_bytes(layout: &Layout, grid: &Grid) -> usize {
    let samples = if layout.planar { 1 } else { layout.samples };
    (grid.width * samples * usize::from(layout.bits)).div_ceil(8)
}

/// Checks the total size of the strips or tiles before the first is expanded.
///
/// # Errors
/// [`ImageError::TooMuchWork`] for strips or tiles that expand to far more than the image, or use the same bytes of the
/// file repeatedly.
fn check_work(directory: &Directory<'_>, layout: &Layout, grid: &Grid) -> Result<(), ImageError> {
    let too_much = |detail: String| Err(ImageError::TooMuchWork { format: directory.reader.format, detail });
    let image =
        (layout.width * layout.height) as u64 * (layout.samples * usize::from(layout.bits)) as u64 / 8;
    // The last strip ends with the image; tiles do not.
    let rows = if grid.tiled { grid.down * grid.height } else { layout.height };
    let planes = if layout.planar { layout.samples } else { 1 };
    let expanded = (row_bytes(layout, grid) * grid.across * planes) as u64 * rows as u64;
    let most = image * MOST_EXPANDED + FREELY_EXPANDED;
    if expanded > most {
        return too_much(format!(
            "its {} strips or tiles expand to {expanded} bytes, but the image has {image}",
            grid.offsets.len()
        ));
    }
    let bytes = directory.reader.bytes.len() as u64;
    // One that reaches past the end of the file is found truncated when it is read.
    let inside = |(&offset, &length): (&u64, &u64)| length.min(bytes.saturating_sub(offset));
    let used: u64 = grid.offsets.iter().zip(&grid.lengths).map(inside).sum();
    if used > bytes * MOST_SHARED {
        return too_much(format!("its strips or tiles use {used} bytes of a file of {bytes}"));
    }
    Ok(())
}

/// Locates the strips or tiles and checks that there are as many as the image needs.
fn grid(directory: &Directory<'_>, layout: &Layout) -> Result<Grid, ImageError> {
    let reader = &directory.reader;
    let tiled = directory.number(tag::TILE_WIDTH)?.is_some();
    let (width, height, offsets, lengths) = if tiled {
        let width = directory.number(tag::TILE_WIDTH)?.unwrap_or(0);
        let height = directory.number(tag::TILE_HEIGHT)?.unwrap_or(0);
        (width, height, tag::TILE_OFFSETS, tag::TILE_BYTES)
    } else {
        let rows = directory.number(tag::ROWS_PER_STRIP)?.unwrap_or(u64::MAX);
        (layout.width as u64, rows.min(layout.height as u64), tag::STRIP_OFFSETS, tag::STRIP_BYTES)
    };
    // A tile may be larger than the image, within limits.
    let widest = (layout.width as u64).next_multiple_of(1024);
    let tallest = (layout.height as u64).next_multiple_of(1024);
    if width == 0 || height == 0 || width > widest || height > tallest {
        return Err(reader.corrupt(format!("its strips or tiles are {width} x {height}")));
    }
    let (width, height) = (width as usize, height as usize);
    let (across, down) = (layout.width.div_ceil(width), layout.height.div_ceil(height));
    let planes = if layout.planar { layout.samples } else { 1 };
    let expected = across * down * planes;
    let most = if layout.compression == Compression::Jpeg { MOST_JPEG_CHUNKS } else { MOST_CHUNKS };
    if expected > most {
        let detail = format!("{expected} strips or tiles; the limit is {most}");
        return Err(ImageError::TooMuchWork { format: reader.format, detail });
    }
    let wrong = |offsets: u64, lengths: u64| {
        let detail =
            format!("it states {offsets} offsets and {lengths} lengths for {expected} strips or tiles");
        reader.corrupt(detail)
    };
    if directory.count(offsets) != expected as u64 || directory.count(lengths) > expected as u64 {
        return Err(wrong(directory.count(offsets), directory.count(lengths)));
    }
    let offsets = directory.numbers(offsets)?;
    let mut lengths = directory.numbers(lengths)?;
    if lengths.is_empty() && layout.compression == Compression::None && offsets.len() == 1 {
        lengths = offsets.iter().map(|&offset| (reader.bytes.len() as u64).saturating_sub(offset)).collect();
    }
    if lengths.len() != expected {
        return Err(wrong(offsets.len() as u64, lengths.len() as u64));
    }
    Ok(Grid { width, height, across, down, offsets, lengths, tiled })
}

/// Adds to each sample the previous one in its row.
fn undo_differences(
    directory: &Directory<'_>,
    layout: &Layout,
    data: &mut [u8],
    row_bytes: usize,
    samples: usize,
) -> Result<(), ImageError> {
    let little_endian = directory.reader.little_endian;
    let size = match layout.bits {
        8 => 1,
        16 => 2,
        32 => 4,
        bits => return Err(directory.reader.unsupported(format!("differences of {bits} bits"))),
    };
    for row in data.chunks_exact_mut(row_bytes) {
        for at in (samples * size..row.len()).step_by(size) {
            let before = at - samples * size;
            // Add with carry, starting at the lowest byte.
            let mut carry = 0;
            for step in 0..size {
                let byte = if little_endian { step } else { size - 1 - step };
                let sum = u16::from(row[at + byte]) + u16::from(row[before + byte]) + carry;
                row[at + byte] = sum as u8;
                carry = sum >> 8;
            }
        }
    }
    Ok(())
}
