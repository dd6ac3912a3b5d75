//! GIF: the first frame on its screen, decoded by the `gif` crate.

use std::num::NonZeroU64;

use gif::{DecodeOptions, DecodingError, MemoryLimit};

use super::{DecodeLimits, ImageError, bits};
use crate::image::{Image, Samples, Transparency};

const FORMAT: &str = "GIF";

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    let mut options = DecodeOptions::new();
    if let Some(bytes) = NonZeroU64::new(limits.max_pixels) {
        options.set_memory_limit(MemoryLimit::Bytes(bytes));
    }
    let mut decoder = options.read_info(bytes).map_err(error)?;
    let screen = (decoder.width(), decoder.height());
    let frame = decoder.next_frame_info().map_err(error)?.ok_or_else(|| corrupt("it has no frames"))?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let local = frame.palette.clone();
    let transparent = frame.transparent;
    let background = transparent.unwrap_or(0);
    // A frame that reaches beyond the screen enlarges the screen, as in Pillow.
    let width = usize::from(screen.0).max(left + frame_width);
    let height = usize::from(screen.1).max(top + frame_height);
    let (width, height) = limits.check(FORMAT, width as u64, height as u64)?;
    limits.check(FORMAT, frame_width as u64, frame_height as u64)?;

    let mut pixels = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut pixels).map_err(error)?;
    let indices = if (frame_width, frame_height) == (width, height) {
        pixels
    } else {
        let mut indices = vec![background; width * height];
        for (row, pixels) in indices.chunks_exact_mut(width).skip(top).zip(pixels.chunks_exact(frame_width)) {
            row[left..left + frame_width].copy_from_slice(pixels);
        }
        indices
    };
    let palette = local.or_else(|| decoder.global_palette().map(<[u8]>::to_vec));
    let samples = match palette {
        Some(palette) if !is_gray_ramp(&palette) => bits::palette(FORMAT, indices, palette.as_chunks().0)?,
        _ => Samples::Gray(indices),
    };
    // Pillow reports the index of the transparent color; for a gray file, as its value.
    let transparency = transparent.map(|index| match &samples {
        Samples::Palette { .. } => {
            let mut alphas = Box::new([255; 256]);
            alphas[usize::from(index)] = 0;
            Transparency::Alphas(alphas)
        }
        _ => Transparency::Color([index; 3]),
    });
    Ok(Image { width, height, orientation: None, transparency, samples })
}

/// Whether each index is its own color: Pillow reads such a file as gray.
fn is_gray_ramp(palette: &[u8]) -> bool {
    let colors = palette.as_chunks::<3>().0;
    colors.iter().enumerate().all(|(index, color)| color.iter().all(|&value| usize::from(value) == index))
}

fn error(error: DecodingError) -> ImageError {
    match error {
        DecodingError::UnexpectedEof => {
            ImageError::Truncated { format: FORMAT, detail: "it ends inside its first frame".into() }
        }
        other => corrupt(other.to_string()),
    }
}

fn corrupt(detail: impl Into<String>) -> ImageError {
    ImageError::Corrupt { format: FORMAT, detail: detail.into() }
}
