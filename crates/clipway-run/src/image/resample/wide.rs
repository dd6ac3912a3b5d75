//! Resizing of samples wider than a byte, in `f64`.

use super::super::Interpolation;
use super::super::geometry::Axis;
use super::weights::Weights;
use super::{Arithmetic, Passes, Source, copy_window, passes};

/// A sample that is accumulated in `f64` and rounded after each pass.
pub(crate) trait WideSample: Copy + Default {
    /// Converts to the sum's type.
    fn widen(self) -> f64;
    /// Rounds a sum as Pillow does for this type.
    fn narrow(sum: f64) -> Self;
}

impl WideSample for u16 {
    fn widen(self) -> f64 {
        f64::from(self)
    }

    fn narrow(sum: f64) -> Self {
        round_half_away(sum).clamp(0, i32::from(u16::MAX)) as u16
    }
}

impl WideSample for i32 {
    fn widen(self) -> f64 {
        f64::from(self)
    }

    fn narrow(sum: f64) -> Self {
        round_half_away(sum)
    }
}

impl WideSample for f32 {
    fn widen(self) -> f64 {
        f64::from(self)
    }

    fn narrow(sum: f64) -> Self {
        sum as f32
    }
}

fn round_half_away(sum: f64) -> i32 {
    (if sum >= 0.0 { sum + 0.5 } else { sum - 0.5 }) as i32
}

/// Resizes a plane of samples and returns the window, `[y.count, x.count]`.
pub(crate) fn resize_wide<T: WideSample>(
    source: Source<'_, T>,
    x: Axis,
    y: Axis,
    interpolation: Interpolation,
) -> Vec<T> {
    match passes(source.width, source.height, x, y, interpolation, Arithmetic::Pillow) {
        Passes::Copy => copy_window(source, x, y, 1),
        Passes::Horizontal(weights) => horizontal(source, y.start..y.start + y.count, &weights),
        Passes::Vertical(weights) => vertical(source, x.start..x.start + x.count, 0, &weights),
        Passes::HorizontalFirst(across, down) => {
            let span = down.span();
            let between = horizontal(source, span.clone(), &across);
            let between = Source { samples: &between, width: across.len(), height: span.len() };
            vertical(between, 0..across.len(), span.start, &down)
        }
        Passes::VerticalFirst(down, across) => {
            let span = across.span();
            let between = vertical(source, span.clone(), 0, &down);
            let between = Source { samples: &between, width: span.len(), height: down.len() };
            horizontal(between, 0..down.len(), &across.moved_left(span.start))
        }
    }
}

fn horizontal<T: WideSample>(
    source: Source<'_, T>,
    rows: std::ops::Range<usize>,
    weights: &Weights,
) -> Vec<T> {
    let mut out = Vec::with_capacity(rows.len() * weights.len());
    for row in source.samples.chunks_exact(source.width).skip(rows.start).take(rows.len()) {
        for position in 0..weights.len() {
            let inputs = &row[weights.inputs(position)];
            let sum = inputs
                .iter()
                .zip(weights.values(position))
                .fold(0.0, |sum, (&sample, &weight)| sum + sample.widen() * weight);
            out.push(T::narrow(sum));
        }
    }
    out
}

fn vertical<T: WideSample>(
    source: Source<'_, T>,
    columns: std::ops::Range<usize>,
    skipped: usize,
    weights: &Weights,
) -> Vec<T> {
    let mut out = Vec::with_capacity(weights.len() * columns.len());
    let mut sums = vec![0.0; columns.len()];
    for position in 0..weights.len() {
        sums.fill(0.0);
        let first = weights.inputs(position).start - skipped;
        let rows = source.samples.chunks_exact(source.width).skip(first);
        for (row, &weight) in rows.zip(weights.values(position)) {
            for (sum, &sample) in sums.iter_mut().zip(&row[columns.clone()]) {
                *sum += sample.widen() * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| T::narrow(sum)));
    }
    out
}
