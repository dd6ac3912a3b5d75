//! AV1: from luma and color samples to Pillow's modes, with the arithmetic of libavif as Pillow calls it: always to 8 bits,
//! color samples interpolated. It uses whole numbers where libyuv has a conversion, and single precision elsewhere.

use super::super::ImageError;
use super::av1_real::Real;
use super::color::{Alpha, Coding};
use super::picture::{Chroma, Picture, Plane, sides};
use crate::image::Samples;

/// Converts a picture to the mode that Pillow has for it: `L`, `RGB` or `RGBA`.
///
/// # Errors
/// Its colors are coded in a way that is not supported.
pub(super) fn samples(picture: Picture, alpha: Option<Alpha>) -> Result<Samples, ImageError> {
    let alpha = alpha.map(widened_alpha);
    let real = Real::of(&picture)?;
    let is_gray = picture.colors.is_none();
    let whole = Whole::of(picture.coding, is_gray);
    let Some(alpha) = alpha else {
        return Ok(match whole {
            _ if is_gray => Samples::Gray(real.gray(&picture)),
            Some(whole) => Samples::Rgb(whole.pixels(narrowed(picture), None)),
            None => Samples::Rgb(real.pixels(&picture, None)),
        });
    };
    let bytes = alpha_bytes(&alpha);
    Ok(Samples::Rgba(match (whole, picture.depth, picture.chroma) {
        (None, ..) => real.pixels(&picture, Some(&bytes)),
        // There are conversions of 10 bits with alpha, and of 12 bits to pixels that could have some.
        (Some(whole), 10, Chroma::Quarter | Chroma::Half | Chroma::Full) => {
            whole.pixels(picture, Some(&high_bits(&alpha.plane, 10)))
        }
        (Some(whole), 12, Chroma::Quarter) => whole.pixels(nearest(picture), Some(&bytes)),
        (Some(whole), _, Chroma::None) => whole.pixels(narrowed(picture), Some(&bytes)),
        (Some(whole), depth, _) => whole.pixels(narrowed(picture), Some(&high_bits(&alpha.plane, depth))),
    }))
}

/// Alpha in full range.
fn widened_alpha(mut alpha: Alpha) -> Alpha {
    if !alpha.is_full {
        let most = (1 << alpha.depth) - 1;
        let (low, range) = (16 << (alpha.depth - 8), 219 << (alpha.depth - 8));
        for sample in &mut alpha.plane.samples {
            let wide = ((i32::from(*sample) - low) * most + range / 2) / range;
            *sample = wide.clamp(0, most) as u16;
        }
    }
    alpha
}

/// Alpha as bytes, rounded.
fn alpha_bytes(alpha: &Alpha) -> Vec<u8> {
    let most = ((1_u32 << alpha.depth) - 1) as f32;
    let byte = |&sample: &u16| match alpha.depth {
        8 => sample as u8,
        _ => (0.5 + f32::from(sample) / most * 255.0) as u8,
    };
    alpha.plane.samples.iter().map(byte).collect()
}

fn high_bits(plane: &Plane, depth: u8) -> Vec<u8> {
    plane.samples.iter().map(|&sample| (sample >> (depth - 8)) as u8).collect()
}

/// A picture's 8 high bits.
fn narrowed(mut picture: Picture) -> Picture {
    let shift = picture.depth - 8;
    if shift > 0 {
        let colors = picture.colors.iter_mut().flatten();
        for plane in colors.chain([&mut picture.luma]) {
            plane.samples.iter_mut().for_each(|sample| *sample >>= shift);
        }
    }
    Picture { depth: 8, ..picture }
}

/// A picture with a color sample for each pixel, the nearest one.
fn nearest(picture: Picture) -> Picture {
    let (across, down) = picture.chroma.steps();
    picture.spread(|x| (x / across, x / across), |y| (y / down, y / down))
}

/// A picture with a color sample for each pixel, interpolated as in libyuv: in the last column always the nearest one.
fn interpolated(picture: Picture) -> Picture {
    let (width, height) = (picture.luma.width, picture.luma.height);
    let (across, down) = picture.chroma.steps();
    if (across, down) == (1, 1) {
        return picture;
    }
    let last = (width - 1) / across;
    let columns = |x: usize| if x + 1 == width { (last, last) } else { sides(x, width, across) };
    picture.spread(columns, |y| sides(y, height, down))
}

/// A conversion with weights of 6 bits.
#[derive(Debug, Clone, Copy)]
struct Whole {
    /// The weight of light, of 16 bits, for samples that are stretched to 16 bits.
    light: u32,
    /// What is added to it.
    offset: i32,
    blue_cb: i32,
    green_cb: i32,
    green_cr: i32,
    red_cr: i32,
}

impl Whole {
    /// The conversion for a coding, if libyuv has one.
    fn of(coding: Coding, is_gray: bool) -> Option<Whole> {
        let matrix = if is_gray && coding.matrix == 0 { 6 } else { coding.matrix };
        let [blue_cb, green_cb, green_cr, red_cr] = match (matrix, coding.is_full) {
            (1, false) => [128, 14, 34, 115],
            (1, true) => [119, 12, 30, 101],
            (2 | 5 | 6, false) => [128, 25, 52, 102],
            (2 | 5 | 6, true) => [113, 22, 46, 90],
            (9, false) => [128, 12, 42, 107],
            (9, true) => [120, 11, 37, 94],
            _ => return None,
        };
        let (light, offset) = match (matrix, coding.is_full) {
            (_, true) => (16320, 32),
            (9, false) => (19003, -1160),
            (_, false) => (18997, -1160),
        };
        Some(Whole { light, offset, blue_cb, green_cb, green_cr, red_cr })
    }

    /// Converts the pixels of a picture of 8, 10 or 12 bits, with alpha in bytes.
    fn pixels(&self, picture: Picture, alpha: Option<&[u8]>) -> Vec<u8> {
        let Picture { luma, colors, depth, .. } = interpolated(picture);
        let mut out = Vec::with_capacity(luma.samples.len() * if alpha.is_some() { 4 } else { 3 });
        for (at, &light) in luma.samples.iter().enumerate() {
            let [cb, cr] = match &colors {
                Some(planes) => planes.each_ref().map(|plane| plane.samples[at] >> (depth - 8)),
                None => [128; 2],
            };
            out.extend(self.pixel(light, depth, cb, cr));
            out.extend(alpha.map(|alpha| alpha[at]));
        }
        out
    }

    fn pixel(&self, light: u16, depth: u8, cb: u16, cr: u16) -> [u8; 3] {
        let light = u32::from(light);
        // The highest bits stand for the missing low ones.
        let stretched = light << (16 - depth) | light >> (2 * depth - 16);
        let light = ((stretched * self.light) >> 16) as i32 + self.offset;
        let (cb, cr) = (i32::from(cb.min(255)) - 128, i32::from(cr.min(255)) - 128);
        let byte = |sum: i32| (sum >> 6).clamp(0, 255) as u8;
        [
            byte(light + self.red_cr * cr),
            byte(light - self.green_cb * cb - self.green_cr * cr),
            byte(light + self.blue_cb * cb),
        ]
    }
}
