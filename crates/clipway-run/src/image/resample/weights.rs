//! The weights of each output position, computed as in Pillow.

use std::f64::consts::PI;
use std::ops::Range;

use super::super::Interpolation;
use super::super::geometry::Axis;

/// Which input positions contribute to each output position of a window, and with what weight.
pub(super) struct Weights {
    /// First input position of each output position.
    first: Vec<usize>,
    /// Where the weights of each output position start, with one more entry for the end.
    offsets: Vec<usize>,
    /// The weights, which sum to 1 for each output position.
    values: Vec<f64>,
}

impl Weights {
    /// Computes the weights that resize `side` positions to `axis.resized`, for the window of `axis`.
    pub fn new(side: usize, axis: Axis, interpolation: Interpolation) -> Self {
        let scale = Scale::new(side, axis.resized, interpolation);
        let mut weights = Self {
            first: Vec::with_capacity(axis.count),
            offsets: Vec::with_capacity(axis.count + 1),
            values: Vec::new(),
        };
        weights.offsets.push(0);
        for position in axis.start..axis.start + axis.count {
            weights.first.push(scale.push(position, &mut weights.values));
            weights.offsets.push(weights.values.len());
        }
        weights
    }

    /// Returns the largest weight of any output position on an axis, inside the window or not; 0 if none is positive.
    pub fn largest(side: usize, resized: usize, interpolation: Interpolation) -> f64 {
        let scale = Scale::new(side, resized, interpolation);
        let mut values = Vec::new();
        let mut largest = 0.0;
        for position in 0..resized {
            values.clear();
            scale.push(position, &mut values);
            largest = values.iter().copied().fold(largest, f64::max);
        }
        largest
    }

    /// Number of output positions.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Returns the input positions of an output position.
    pub fn inputs(&self, position: usize) -> Range<usize> {
        let first = self.first[position];
        first..first + self.offsets[position + 1] - self.offsets[position]
    }

    /// Returns the weights of an output position.
    pub fn values(&self, position: usize) -> &[f64] {
        &self.values[self.offsets[position]..self.offsets[position + 1]]
    }

    /// Shifts input positions by `positions`.
    pub fn moved_left(mut self, positions: usize) -> Self {
        for first in &mut self.first {
            *first -= positions;
        }
        self
    }

    /// Returns the range of input positions that any output position needs.
    pub fn span(&self) -> Range<usize> {
        let last = self.len() - 1;
        self.first[0]..self.inputs(last).end
    }
}

/// How the positions of an axis relate to each other.
struct Scale {
    side: usize,
    interpolation: Interpolation,
    scale: f64,
    support: f64,
    inverse: f64,
}

impl Scale {
    fn new(side: usize, resized: usize, interpolation: Interpolation) -> Scale {
        let scale = side as f64 / resized as f64;
        let filter_scale = scale.max(1.0);
        let support = support(interpolation) * filter_scale;
        Scale { side, interpolation, scale, support, inverse: 1.0 / filter_scale }
    }

    /// Adds the weights of an output position and returns its first input position.
    fn push(&self, position: usize, values: &mut Vec<f64>) -> usize {
        let center = (position as f64 + 0.5) * self.scale;
        // `as usize` truncates towards zero and turns negative values into 0.
        let first = (center - self.support + 0.5) as usize;
        let end = ((center + self.support + 0.5) as usize).min(self.side);
        let begin = values.len();
        let mut sum = 0.0;
        for input in first..end {
            let weight = filter(self.interpolation, (input as f64 - center + 0.5) * self.inverse);
            values.push(weight);
            sum += weight;
        }
        if sum != 0.0 {
            for weight in &mut values[begin..] {
                *weight /= sum;
            }
        }
        first
    }
}

/// Returns the support of a filter in output positions.
fn support(interpolation: Interpolation) -> f64 {
    match interpolation {
        Interpolation::Nearest | Interpolation::Box => 0.5,
        Interpolation::Bilinear | Interpolation::Hamming => 1.0,
        Interpolation::Bicubic => 2.0,
        Interpolation::Lanczos => 3.0,
    }
}

/// Returns the value of a filter at a distance from its center.
fn filter(interpolation: Interpolation, x: f64) -> f64 {
    match interpolation {
        Interpolation::Nearest | Interpolation::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
        Interpolation::Bilinear => (1.0 - x.abs()).max(0.0),
        Interpolation::Hamming => match x.abs() {
            0.0 => 1.0,
            distance if distance < 1.0 => {
                let angle = distance * PI;
                angle.sin() / angle * (f64::from(0.54_f32) + f64::from(0.46_f32) * angle.cos())
            }
            _ => 0.0,
        },
        Interpolation::Bicubic => {
            const A: f64 = -0.5;
            let x = x.abs();
            if x < 1.0 {
                ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
            } else if x < 2.0 {
                (((x - 5.0) * x + 8.0) * x - 4.0) * A
            } else {
                0.0
            }
        }
        Interpolation::Lanczos => {
            if (-3.0..3.0).contains(&x) {
                sinc(x) * sinc(x / 3.0)
            } else {
                0.0
            }
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}
