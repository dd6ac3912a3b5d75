//! Colors of AV1 pictures in single precision (ITU-T H.273, 8.3), in libavif's order of operations.

use super::super::ImageError;
use super::boxes::unsupported;
use super::color::Coding;
use super::picture::{Chroma, Picture, Plane, sides};

/// How light and colors make red, green and blue.
#[derive(Debug, Clone, Copy)]
enum Mode {
    /// They are green, blue and red.
    Identity,
    /// YCgCo.
    Differences,
    /// YCgCo-Re: of 10 bits, which hold 8 without loss.
    Reversible,
    /// Weighted sums.
    Weights { red: f32, blue: f32 },
}

/// A conversion with what each sample stands for.
pub(super) struct Real {
    mode: Mode,
    /// Light from 0 to 1, by sample.
    light: Vec<f32>,
    /// Colors around 0, by sample.
    color: Vec<f32>,
    most: u16,
}

impl Real {
    /// The conversion for a picture.
    ///
    /// # Errors
    /// libavif has none.
    pub fn of(picture: &Picture) -> Result<Real, ImageError> {
        let (coding, depth) = (picture.coding, picture.depth);
        // What is not stated is taken as BT.601.
        let stated = if coding.matrix == 2 { Coding { matrix: 6, ..coding } } else { coding };
        let mode = match (coding.matrix, stated.shares()) {
            (0, _) if matches!(picture.chroma, Chroma::Full | Chroma::None) => Mode::Identity,
            (8, _) if coding.is_full => Mode::Differences,
            (16, _) if coding.is_full && depth == 10 => Mode::Reversible,
            (1..=9, Some((red, blue))) => Mode::Weights { red, blue },
            (matrix, _) => return Err(unsupported(format!("colors of matrix coefficients {matrix}"))),
        };
        let most = ((1_u32 << depth) - 1) as u16;
        let scale = f32::from(1_u16 << (depth - 8));
        let (low, light_range, color_range) = match coding.is_full {
            true => (0.0, f32::from(most), f32::from(most)),
            false => (16.0 * scale, 219.0 * scale, 224.0 * scale),
        };
        let half = f32::from(1_u16 << (depth - 1));
        let table = |low: f32, range: f32| (0..=most).map(|value| (f32::from(value) - low) / range).collect();
        let light = table(low, light_range);
        let color = match mode {
            Mode::Identity => table(low, light_range),
            _ => table(half, color_range),
        };
        Ok(Real { mode, light, color, most })
    }

    /// The light of a picture.
    pub fn gray(&self, picture: &Picture) -> Vec<u8> {
        picture.luma.samples.iter().map(|&sample| byte(self.light[usize::from(sample)])).collect()
    }

    /// Converts the pixels of a picture, with alpha in bytes.
    pub fn pixels(&self, picture: &Picture, alpha: Option<&[u8]>) -> Vec<u8> {
        let luma = &picture.luma;
        let (across, down) = picture.chroma.steps();
        let mut out = Vec::with_capacity(luma.samples.len() * if alpha.is_some() { 4 } else { 3 });
        for y in 0..luma.height {
            let rows = sides(y, luma.height, down);
            for (x, &light) in luma.row(y).iter().enumerate() {
                let columns = sides(x, luma.width, across);
                out.extend(match &picture.colors {
                    Some(planes) => {
                        let [cb, cr] = planes.each_ref().map(|plane| self.between(plane, columns, rows));
                        self.pixel(light, cb, cr)
                    }
                    None => [byte(self.light[usize::from(light)]); 3],
                });
                out.extend(alpha.map(|alpha| alpha[y * luma.width + x]));
            }
        }
        out
    }

    /// The color between samples, as [`Plane::between`](super::picture::Plane) weighs them.
    fn between(&self, plane: &Plane, columns: (usize, usize), rows: (usize, usize)) -> f32 {
        let at = |x: usize, y: usize| self.color[usize::from(plane.row(y)[x])];
        if columns.0 == columns.1 && rows.0 == rows.1 {
            return at(columns.0, rows.0);
        }
        at(columns.0, rows.0) * (9.0 / 16.0)
            + at(columns.1, rows.0) * (3.0 / 16.0)
            + at(columns.0, rows.1) * (3.0 / 16.0)
            + at(columns.1, rows.1) * (1.0 / 16.0)
    }

    fn pixel(&self, sample: u16, cb: f32, cr: f32) -> [u8; 3] {
        let light = self.light[usize::from(sample)];
        match self.mode {
            Mode::Identity => [byte(cr), byte(light), byte(cb)],
            Mode::Differences => {
                let rest = light - cb;
                [byte(rest + cr), byte(light + cb), byte(rest - cr)]
            }
            Mode::Reversible => {
                let whole = |color: f32| (color * f32::from(self.most) + 0.5).floor() as i32;
                let (cg, co) = (whole(cb), whole(cr));
                let rest = i32::from(sample) - (cg >> 1);
                let blue = (rest - (co >> 1)).clamp(0, 255);
                [(blue + co).clamp(0, 255), (rest + cg).clamp(0, 255), blue].map(|value| value as u8)
            }
            Mode::Weights { red, blue } => {
                let green = 1.0 - red - blue;
                let green_part = (2.0 * ((red * (1.0 - red) * cr) + (blue * (1.0 - blue) * cb))) / green;
                [
                    byte(light + (2.0 * (1.0 - red)) * cr),
                    byte(light - green_part),
                    byte(light + (2.0 * (1.0 - blue)) * cb),
                ]
            }
        }
    }
}

/// A part of 1 as a byte.
fn byte(part: f32) -> u8 {
    (0.5 + part.clamp(0.0, 1.0) * 255.0) as u8
}
