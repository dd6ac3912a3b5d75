//! Four-component JPEGs that the decoder would combine incorrectly.
//!
//! It assumes that the fourth component has full size, and that the second and third have equal sizes. Here, each is
//! scaled to full size separately, with libjpeg's triangle filter.

use libjpeg_turbo_rs::{Decoder, FrameHeader};

use super::ImageError;

/// Whether the decoder's own path handles a frame with four components.
pub(super) fn is_ordinary(frame: &FrameHeader) -> bool {
    let factors = |index: usize| {
        let component = &frame.components[index];
        (component.horizontal_sampling, component.vertical_sampling)
    };
    let (wide, tall) = largest(frame);
    factors(0) == (wide, tall) && factors(3) == (wide, tall) && factors(1) == factors(2)
}

/// The largest sampling factors of a frame's components.
fn largest(frame: &FrameHeader) -> (u8, u8) {
    let wide = frame.components.iter().map(|component| component.horizontal_sampling).max().unwrap_or(1);
    let tall = frame.components.iter().map(|component| component.vertical_sampling).max().unwrap_or(1);
    (wide, tall)
}

/// Decodes the stored components, `[height, width, 4]`, without color conversion.
///
/// # Errors
/// [`ImageError::Unsupported`] for sampling factors other than 1:1, 2:1 and 2:2, and the result of `fail` for decoder
/// errors.
pub(super) fn decode(
    decoder: Decoder<'_>,
    format: &'static str,
    fail: impl Fn(libjpeg_turbo_rs::JpegError) -> ImageError,
) -> Result<Vec<u8>, ImageError> {
    let (wide, tall) = largest(decoder.header());
    let factors: Vec<(u8, u8)> = decoder
        .header()
        .components
        .iter()
        .map(|component| (component.horizontal_sampling, component.vertical_sampling))
        .collect();
    let (width, height) = decoder.header().dimensions();
    let raw = decoder.decode_raw().map_err(fail)?;
    let mut out = vec![0; width * height * 4];
    for (index, (horizontal, vertical)) in factors.into_iter().enumerate() {
        let plane = Plane {
            samples: &raw.planes[index],
            stride: raw.plane_widths[index],
            width: (width * usize::from(horizontal)).div_ceil(wide.into()),
            height: (height * usize::from(vertical)).div_ceil(tall.into()),
        };
        let unsupported = || ImageError::Unsupported {
            format,
            feature: format!("a component sampled {horizontal} x {vertical} of {wide} x {tall}"),
        };
        if wide % horizontal != 0 || tall % vertical != 0 {
            return Err(unsupported());
        }
        for y in 0..height {
            let row = match (wide / horizontal, tall / vertical) {
                (1, 1) => plane.row(y).to_vec(),
                (2, 1) => plane.wider(y),
                (2, 2) => plane.wider_and_taller(y),
                _ => return Err(unsupported()),
            };
            let pixels = out[y * width * 4..(y + 1) * width * 4].chunks_exact_mut(4);
            for (pixel, sample) in pixels.zip(row) {
                pixel[index] = sample;
            }
        }
    }
    Ok(out)
}

/// A component at its stored size.
struct Plane<'a> {
    samples: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
}

impl Plane<'_> {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..y * self.stride + self.width]
    }

    /// Doubles the width: three parts of the nearer sample and one of the farther.
    fn wider(&self, y: usize) -> Vec<u8> {
        let row = self.row(y);
        if self.width <= 2 {
            return row.iter().flat_map(|&sample| [sample; 2]).collect();
        }
        let at = |x: usize| u32::from(row[x]);
        let last = self.width - 1;
        let mut out = Vec::with_capacity(2 * self.width);
        for x in 0..self.width {
            let left = if x == 0 { at(0) } else { (3 * at(x) + at(x - 1) + 1) >> 2 };
            let right = if x == last { at(last) } else { (3 * at(x) + at(x + 1) + 2) >> 2 };
            out.extend([left as u8, right as u8]);
        }
        out
    }

    /// Doubles width and height.
    fn wider_and_taller(&self, y: usize) -> Vec<u8> {
        let near = y / 2;
        if self.width <= 2 {
            return self.row(near).iter().flat_map(|&sample| [sample; 2]).collect();
        }
        let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(self.height - 1) };
        let columns: Vec<u32> = self
            .row(near)
            .iter()
            .zip(self.row(far))
            .map(|(&near, &far)| 3 * u32::from(near) + u32::from(far))
            .collect();
        let last = self.width - 1;
        let mut out = Vec::with_capacity(2 * self.width);
        for x in 0..self.width {
            let here = columns[x];
            let left = if x == 0 { (4 * here + 8) >> 4 } else { (3 * here + columns[x - 1] + 8) >> 4 };
            let right = if x == last { (4 * here + 7) >> 4 } else { (3 * here + columns[x + 1] + 7) >> 4 };
            out.extend([left as u8, right as u8]);
        }
        out
    }
}

/// Converts pixels from YCCK to CMYK, in place.
pub(super) fn ycck_to_cmyk(pixels: &mut [u8]) {
    // libjpeg's constants, in 16-bit fixed point, with its rounding.
    const HALF: i32 = 1 << 15;
    for [luma, blueness, redness, _] in pixels.as_chunks_mut::<4>().0 {
        let (cb, cr) = (i32::from(*blueness) - 128, i32::from(*redness) - 128);
        let light = i32::from(*luma);
        let red = light + ((91_881 * cr + HALF) >> 16);
        let green = light + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
        let blue = light + ((116_130 * cb + HALF) >> 16);
        [*luma, *blueness, *redness] = [red, green, blue].map(|value| (255 - value).clamp(0, 255) as u8);
    }
}
