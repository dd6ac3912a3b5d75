//! A decoded picture: planes of samples, and what a file does with them.

use super::super::ImageError;
use super::boxes::corrupt;
use super::color::Coding;
use super::property::Change;

/// By what a picture is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Hevc,
    #[cfg(feature = "avif")]
    Av1,
}

/// How many color samples there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chroma {
    /// None: the picture is gray.
    None,
    /// One for two columns and two rows, 4:2:0.
    Quarter,
    /// One for two columns, 4:2:2.
    Half,
    /// One for each pixel, 4:4:4.
    Full,
}

impl Chroma {
    /// How many columns and rows share a color sample.
    pub fn steps(self) -> (usize, usize) {
        match self {
            Chroma::None | Chroma::Full => (1, 1),
            Chroma::Quarter => (2, 2),
            Chroma::Half => (2, 1),
        }
    }
}

/// A plane of samples, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plane {
    pub width: usize,
    pub height: usize,
    pub samples: Vec<u16>,
}

impl Plane {
    fn blank(width: usize, height: usize) -> Plane {
        Plane { width, height, samples: vec![0; width * height] }
    }

    pub fn row(&self, y: usize) -> &[u16] {
        &self.samples[y * self.width..(y + 1) * self.width]
    }

    /// Makes a plane from the sample of this one for each column and row.
    fn gather(&self, width: usize, height: usize, from: impl Fn(usize, usize) -> (usize, usize)) -> Plane {
        let mut samples = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let (x, y) = from(x, y);
                samples.push(self.samples[y * self.width + x]);
            }
        }
        Plane { width, height, samples }
    }

    /// Turned by quarters against the clock.
    fn turned(&self, quarters: u8) -> Plane {
        let (width, height) = (self.width, self.height);
        match quarters {
            1 => self.gather(height, width, |x, y| (width - 1 - y, x)),
            2 => self.gather(width, height, |x, y| (width - 1 - x, height - 1 - y)),
            3 => self.gather(height, width, |x, y| (y, height - 1 - x)),
            _ => self.clone(),
        }
    }

    fn cropped(&self, columns: (usize, usize), rows: (usize, usize)) -> Plane {
        let (width, height) = (columns.1 - columns.0 + 1, rows.1 - rows.0 + 1);
        self.gather(width, height, |x, y| (x + columns.0, y + rows.0))
    }

    /// Resized, each sample from the nearest one as libheif finds it.
    pub fn resized(&self, width: usize, height: usize) -> Plane {
        self.gather(width, height, |x, y| (x * self.width / width, y * self.height / height))
    }

    /// The value between samples, three times as near to the first column and row of each pair as to the second.
    fn between(&self, columns: (usize, usize), rows: (usize, usize)) -> u16 {
        let at = |x: usize, y: usize| u32::from(self.samples[y * self.width + x]);
        let near = 3 * at(columns.0, rows.0) + at(columns.1, rows.0);
        let far = 3 * at(columns.0, rows.1) + at(columns.1, rows.1);
        ((3 * near + far + 8) / 16) as u16
    }

    /// Copies as much of another plane as there is room for.
    fn paste(&mut self, other: &Plane, left: usize, top: usize) {
        let width = other.width.min(self.width.saturating_sub(left));
        let height = other.height.min(self.height.saturating_sub(top));
        for y in 0..height {
            let at = (top + y) * self.width + left;
            self.samples[at..at + width].copy_from_slice(&other.row(y)[..width]);
        }
    }
}

/// A decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    pub codec: Codec,
    /// Bits per sample.
    pub depth: u8,
    pub chroma: Chroma,
    pub luma: Plane,
    /// Cb and Cr, unless the picture is gray.
    pub colors: Option<[Plane; 2]>,
    /// How the colors are coded, by what is known of the picture itself.
    pub coding: Coding,
}

impl Picture {
    /// A picture of another size with this one's kind of samples, all 0.
    pub fn blank_like(&self, width: usize, height: usize) -> Picture {
        let (across, down) = self.chroma.steps();
        let colors = || Plane::blank(width.div_ceil(across), height.div_ceil(down));
        Picture {
            luma: Plane::blank(width, height),
            colors: self.colors.as_ref().map(|_| [colors(), colors()]),
            ..*self
        }
    }

    /// Copies a tile, as much of it as there is room for.
    ///
    /// # Errors
    /// Its samples are of another kind.
    pub fn paste(&mut self, tile: &Picture, left: usize, top: usize) -> Result<(), ImageError> {
        if (tile.codec, tile.depth, tile.chroma) != (self.codec, self.depth, self.chroma) {
            return Err(corrupt("the tiles of its grid have samples of different kinds"));
        }
        self.luma.paste(&tile.luma, left, top);
        let (across, down) = self.chroma.steps();
        if let (Some(colors), Some(others)) = (&mut self.colors, &tile.colors) {
            for (plane, other) in colors.iter_mut().zip(others) {
                plane.paste(other, left.div_ceil(across), top.div_ceil(down));
            }
        }
        Ok(())
    }

    /// Makes a change. Where color samples would no longer lie between the same pixels, there is one for each pixel
    /// afterwards, as in libheif.
    ///
    /// # Errors
    /// Nothing would be left.
    pub fn change(self, change: Change) -> Result<Picture, ImageError> {
        let odd = (self.luma.width % 2 == 1, self.luma.height % 2 == 1);
        let (is_quarter, is_half) = (self.chroma == Chroma::Quarter, self.chroma == Chroma::Half);
        let (columns, rows) = match change {
            Change::Crop(window) => (window.range(0, self.luma.width)?, window.range(1, self.luma.height)?),
            _ => ((0, 0), (0, 0)),
        };
        let must_widen = match change {
            Change::Turn(0) => false,
            Change::Turn(1) => is_half || (is_quarter && odd.0),
            Change::Turn(2) => (is_half && odd.1) || (is_quarter && (odd.0 || odd.1)),
            Change::Turn(_) => is_half || (is_quarter && odd.1),
            Change::MirrorAcross => (is_half && odd.0) || (is_quarter && (odd.0 || odd.1)),
            Change::MirrorDown => is_quarter && (odd.0 || odd.1),
            Change::Crop(_) => {
                let odd = (columns.0 % 2 == 1, rows.0 % 2 == 1);
                (is_half && odd.0) || (is_quarter && (odd.0 || odd.1))
            }
        };
        let whole = if must_widen { self.widened() } else { self };
        let made = |plane: &Plane, across: usize, down: usize| match change {
            Change::Turn(quarters) => plane.turned(quarters),
            Change::MirrorAcross => plane.gather(plane.width, plane.height, |x, y| (plane.width - 1 - x, y)),
            Change::MirrorDown => plane.gather(plane.width, plane.height, |x, y| (x, plane.height - 1 - y)),
            Change::Crop(_) => {
                let kept = |range: (usize, usize), step| (range.0 / step, range.1 / step);
                plane.cropped(kept(columns, across), kept(rows, down))
            }
        };
        let (across, down) = whole.chroma.steps();
        Ok(Picture {
            luma: made(&whole.luma, 1, 1),
            colors: whole
                .colors
                .as_ref()
                .map(|planes| planes.each_ref().map(|plane| made(plane, across, down))),
            ..whole
        })
    }

    /// The same picture with a color sample for each pixel, interpolated as in libheif.
    fn widened(self) -> Picture {
        let (width, height) = (self.luma.width, self.luma.height);
        let (across, down) = self.chroma.steps();
        // libheif states then what it assumed before.
        let matrix = if self.coding.matrix == 2 { 6 } else { self.coding.matrix };
        let coding = Coding { matrix, ..self.coding };
        let picture = self.spread(|x| sides(x, width, across), |y| sides(y, height, down));
        Picture { coding, ..picture }
    }

    /// The same picture with a color sample for each pixel, from those of two columns and two rows, the near ones first.
    pub fn spread(
        self,
        columns: impl Fn(usize) -> (usize, usize),
        rows: impl Fn(usize) -> (usize, usize),
    ) -> Picture {
        let (width, height) = (self.luma.width, self.luma.height);
        let spread = |plane: &Plane| {
            let mut samples = Vec::with_capacity(width * height);
            for y in 0..height {
                let rows = rows(y);
                samples.extend((0..width).map(|x| plane.between(columns(x), rows)));
            }
            Plane { width, height, samples }
        };
        let colors = self.colors.as_ref().map(|planes| planes.each_ref().map(spread));
        Picture { chroma: Chroma::Full, colors, ..self }
    }
}

/// The color samples on both sides of a pixel, the near one first. At a border they are the same.
pub(super) fn sides(place: usize, length: usize, step: usize) -> (usize, usize) {
    match place {
        _ if step == 1 => (place, place),
        0 => (0, 0),
        _ if place == length - 1 && length.is_multiple_of(2) => (place / 2, place / 2),
        _ if place % 2 == 1 => (place / 2, place / 2 + 1),
        _ => (place / 2, place / 2 - 1),
    }
}
