//! HEVC: from luma and color samples to Pillow's modes, with libheif's arithmetic: nearest color samples, and for the most
//! frequent kind of file whole numbers.

use super::super::ImageError;
use super::boxes::unsupported;
use super::color::{Alpha, Coding};
use super::picture::{Chroma, Picture};
use crate::image::Samples;

/// How much of Cb and Cr is in red, green and blue.
#[derive(Debug, Clone, Copy)]
struct Weights {
    red_cr: f32,
    green_cb: f32,
    green_cr: f32,
    blue_cb: f32,
}

/// Converts a picture to the mode that Pillow has for it: `L`, `I;16`, `RGB` or `RGBA`.
///
/// # Errors
/// Its colors are coded in a way that is not supported.
pub(super) fn samples(picture: Picture, alpha: Option<Alpha>) -> Result<Samples, ImageError> {
    let Some(colors) = &picture.colors else { return Ok(gray(picture, alpha)) };
    let coding = picture.coding;
    let weights = Weights::of(coding)?;
    // libheif drops the low bits first where it has a conversion for 8 bits, and last elsewhere.
    let is_whole = picture.chroma == Chroma::Quarter && coding.is_full && coding.matrix != 0;
    let (across, down) = picture.chroma.steps();
    let luma = &picture.luma;
    let to_rgb = Converter { weights, coding, depth: picture.depth };
    let step = if alpha.is_some() { 4 } else { 3 };
    let mut out = Vec::with_capacity(luma.samples.len() * step);
    for y in 0..luma.height {
        let (blue, red) = (colors[0].row(y / down), colors[1].row(y / down));
        for (x, &light) in luma.row(y).iter().enumerate() {
            let sample = [light, blue[x / across], red[x / across]];
            out.extend(if is_whole { to_rgb.whole(sample) } else { to_rgb.real(sample) });
            if let Some(alpha) = &alpha {
                out.push(alpha.byte(x, y));
            }
        }
    }
    Ok(if alpha.is_some() { Samples::Rgba(out) } else { Samples::Rgb(out) })
}

fn gray(picture: Picture, alpha: Option<Alpha>) -> Samples {
    let Picture { luma, depth, .. } = picture;
    match alpha {
        // Pillow's mode for 16 bits has no alpha, and pillow-heif reads such a file as RGBA.
        Some(alpha) => {
            let mut out = Vec::with_capacity(luma.samples.len() * 4);
            for y in 0..luma.height {
                for (x, &light) in luma.row(y).iter().enumerate() {
                    let light = (light >> (depth - 8)) as u8;
                    out.extend([light, light, light, alpha.byte(x, y)]);
                }
            }
            Samples::Rgba(out)
        }
        None if depth == 8 => Samples::Gray(luma.samples.iter().map(|&light| light as u8).collect()),
        None => Samples::Gray16(luma.samples.iter().map(|&light| light << (16 - depth)).collect()),
    }
}

impl Weights {
    /// The weights for a coding.
    ///
    /// # Errors
    /// Its coefficients are reserved, or no weighted sum.
    fn of(coding: Coding) -> Result<Weights, ImageError> {
        let (red, blue) = match (coding.shares(), coding.matrix) {
            (Some(shares), _) => shares,
            // Samples that are green, blue and red have no weights; unspecified ones have those of BT.601.
            (None, 0 | 2) => {
                return Ok(Weights {
                    red_cr: 1.402,
                    green_cb: -0.344_136,
                    green_cr: -0.714_136,
                    blue_cb: 1.772,
                });
            }
            (None, matrix) => return Err(unsupported(format!("colors of matrix coefficients {matrix}"))),
        };
        Ok(Weights {
            red_cr: 2.0 * (-red + 1.0),
            green_cb: 2.0 * blue * (-blue + 1.0) / (blue + red - 1.0),
            green_cr: 2.0 * red * (-red + 1.0) / (blue + red - 1.0),
            blue_cb: 2.0 * (-blue + 1.0),
        })
    }
}

/// Converts pixels: luma, Cb and Cr.
struct Converter {
    weights: Weights,
    coding: Coding,
    depth: u8,
}

impl Converter {
    /// With weights of 8 bits.
    fn whole(&self, sample: [u16; 3]) -> [u8; 3] {
        let [light, cb, cr] = sample.map(|value| i32::from(value >> (self.depth - 8)));
        let (cb, cr) = (cb - 128, cr - 128);
        let weight = |weight: f32| (256.0 * weight).round() as i32;
        let Weights { red_cr, green_cb, green_cr, blue_cb } = self.weights;
        let byte = |sum: i32| (light + ((sum + 128) >> 8)).clamp(0, 255) as u8;
        [
            byte(weight(red_cr) * cr),
            byte(weight(green_cb) * cb + weight(green_cr) * cr),
            byte(weight(blue_cb) * cb),
        ]
    }

    /// With weights in single precision.
    fn real(&self, sample: [u16; 3]) -> [u8; 3] {
        // The steps of full range in one of limited range, for light and for colors, as libheif rounds them.
        const LIGHT: f32 = 1.1689;
        const COLOR: f32 = 1.1429;
        let most = (1 << self.depth) - 1;
        let low = f32::from(16_u16 << (self.depth - 8));
        let byte = |value: f32| (((value + 0.5) as i32).clamp(0, most) >> (self.depth - 8)) as u8;
        if self.coding.matrix == 0 {
            let [green, blue, red] = sample;
            return match self.coding.is_full {
                true => [red, green, blue].map(|value| (value >> (self.depth - 8)) as u8),
                false => [
                    byte((f32::from(red) - low) * COLOR),
                    byte((f32::from(green) - low) * LIGHT),
                    byte((f32::from(blue) - low) * COLOR),
                ],
            };
        }
        let half = 1 << (self.depth - 1);
        let [mut light, mut cb, mut cr] = [
            f32::from(sample[0]),
            (i32::from(sample[1]) - half) as f32,
            (i32::from(sample[2]) - half) as f32,
        ];
        if !self.coding.is_full {
            (light, cb, cr) = ((light - low) * LIGHT, cb * COLOR, cr * COLOR);
        }
        let Weights { red_cr, green_cb, green_cr, blue_cb } = self.weights;
        [byte(light + red_cr * cr), byte(light + green_cb * cb + green_cr * cr), byte(light + blue_cb * cb)]
    }
}
