//! The weights of each output position, as Pillow computes them.

use std::f64::consts::PI;
use std::ops::Range;

use super::super::Interpolation;
use super::super::geometry::Axis;

/// Which input positions make up each output position of a window, and with what weight.
pub(super) struct Weights {
    /// First input position of each output position.
    first: Vec<usize>,
    /// Where the weights of each output position begin; one more entry for the end.
    offsets: Vec<usize>,
    /// The weights, which sum to 1 for each output position.
    values: Vec<f64>,
}

impl Weights {
    /// Computes the weights that bring `side` positions to `axis.resized`, for the window of `axis`.
    pub fn new(side: usize, axis: Axis, interpolation: Interpolation) -> Self {
        let scale = side as f64 / axis.resized as f64;
        let filter_scale = scale.max(1.0);
        let support = support(interpolation) * filter_scale;
        let inverse = 1.0 / filter_scale;
        let mut weights = Self {
            first: Vec::with_capacity(axis.count),
            offsets: Vec::with_capacity(axis.count + 1),
            values: Vec::new(),
        };
        weights.offsets.push(0);
        for position in axis.start..axis.start + axis.count {
            let center = (position as f64 + 0.5) * scale;
            // `as usize` cuts towards zero and lifts negative values to 0.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(side);
            let begin = weights.values.len();
            let mut sum = 0.0;
            for input in first..end {
                let weight = filter(interpolation, (input as f64 - center + 0.5) * inverse);
                weights.values.push(weight);
                sum += weight;
            }
            if sum != 0.0 {
                for weight in &mut weights.values[begin..] {
                    *weight /= sum;
                }
            }
            weights.first.push(first);
            weights.offsets.push(weights.values.len());
        }
        weights
    }

    /// Counts the output positions.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Gives the input positions of an output position.
    pub fn inputs(&self, position: usize) -> Range<usize> {
        let first = self.first[position];
        first..first + self.offsets[position + 1] - self.offsets[position]
    }

    /// Gives the weights of an output position.
    pub fn values(&self, position: usize) -> &[f64] {
        &self.values[self.offsets[position]..self.offsets[position + 1]]
    }

    /// Counts input positions from `positions` further right.
    pub fn moved_left(mut self, positions: usize) -> Self {
        for first in &mut self.first {
            *first -= positions;
        }
        self
    }

    /// Gives the input positions that any output position needs.
    pub fn span(&self) -> Range<usize> {
        let last = self.len() - 1;
        self.first[0]..self.inputs(last).end
    }
}

/// Gives the reach of a filter in output positions.
fn support(interpolation: Interpolation) -> f64 {
    match interpolation {
        Interpolation::Nearest | Interpolation::Box => 0.5,
        Interpolation::Bilinear | Interpolation::Hamming => 1.0,
        Interpolation::Bicubic => 2.0,
        Interpolation::Lanczos => 3.0,
    }
}

/// Gives the value of a filter at a distance from its centre.
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
