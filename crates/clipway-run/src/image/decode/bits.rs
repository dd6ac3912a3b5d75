//! Samples smaller or larger than a byte, and palettes.

use super::ImageError;
use crate::image::Samples;

/// Unpacks rows of samples with `bits` bits (1, 2, 4 or 8), high bits first, to one byte each.
///
/// Rows start at byte boundaries, `row_bytes` apart in `packed`.
pub(super) fn unpack(packed: &[u8], row_bytes: usize, width: usize, bits: u8) -> Vec<u8> {
    let per_byte = usize::from(8 / bits);
    let mask = (1_u16 << bits) - 1;
    let mut out = Vec::with_capacity(packed.len() / row_bytes.max(1) * width);
    for row in packed.chunks_exact(row_bytes) {
        for x in 0..width {
            let shift = 8 - usize::from(bits) * (x % per_byte + 1);
            out.push((u16::from(row[x / per_byte]) >> shift & mask) as u8);
        }
    }
    out
}

/// Scales the values 0 to 2^bits - 1 to 0 to 255.
pub(super) fn widen(samples: &mut [u8], bits: u8) {
    let factor = match bits {
        1 => 255,
        2 => 85,
        4 => 17,
        _ => 1,
    };
    for sample in samples {
        *sample *= factor;
    }
}

/// Takes the high byte of 16-bit samples.
pub(super) fn high_bytes(samples: &[u16]) -> Vec<u8> {
    samples.iter().map(|&sample| (sample >> 8) as u8).collect()
}

/// Combines indices and colors, checking that every index has a color.
///
/// # Errors
/// [`ImageError::Corrupt`] for an index past the palette's end. Pillow and libpng show black or gray there; the file
/// states no color, so it is an error here.
pub(super) fn palette(
    format: &'static str,
    indices: Vec<u8>,
    palette: &[[u8; 3]],
) -> Result<Samples, ImageError> {
    let mut colors = Box::new([[0; 3]; 256]);
    for (color, &stated) in colors.iter_mut().zip(palette) {
        *color = stated;
    }
    if let Some(&index) = indices.iter().max().filter(|&&index| usize::from(index) >= palette.len()) {
        let detail = format!("a pixel has color {index}, but the palette has {} colors", palette.len());
        return Err(ImageError::Corrupt { format, detail });
    }
    Ok(Samples::Palette { indices, colors })
}
