//! Pixels `[batch, 3, height, width]` as rows.

use rayon::prelude::*;

/// Colors of an image.
pub(super) const CHANNELS: usize = 3;

/// Stores each place's three colors together: `[batch, height, width, 3]`.
pub(super) fn to_rows(values: &[f32], size: [usize; 2], out: &mut [f32]) {
    let places = size[0] * size[1];
    let images = values.chunks_exact(CHANNELS * places);
    for (image, out) in images.zip(out.chunks_exact_mut(CHANNELS * places)) {
        let (red, rest) = image.split_at(places);
        let (green, blue) = rest.split_at(places);
        for (place, out) in out.chunks_exact_mut(CHANNELS).enumerate() {
            out.copy_from_slice(&[red[place], green[place], blue[place]]);
        }
    }
}

/// The order of a patch's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchOrder {
    /// `[3, height, width]`, as the filters of a convolution.
    ChannelsFirst,
    /// `[height, width, 3]`.
    ChannelsLast,
}

/// Writes each patch as a row, after `leading` zero rows per image.
///
/// Pixels past the last whole patch are skipped, as in a convolution.
pub(super) fn patches(
    values: &[f32],
    size: [usize; 2],
    (kernel, order): ([usize; 2], PatchOrder),
    leading: usize,
    out: &mut [f32],
) {
    let across = size[1] / kernel[1];
    let width = CHANNELS * kernel[0] * kernel[1];
    let rows = leading + (size[0] / kernel[0]) * across;
    let images = values.par_chunks_exact(CHANNELS * size[0] * size[1]);
    images.zip(out.par_chunks_exact_mut(rows * width)).for_each(|(image, out)| {
        let (zeros, out) = out.split_at_mut(leading * width);
        zeros.fill(0.0);
        for (patch, row) in out.chunks_exact_mut(width).enumerate() {
            let (top, left) = (patch / across * kernel[0], patch % across * kernel[1]);
            let line = |channel: usize, y: usize| {
                let start = (channel * size[0] + top + y) * size[1] + left;
                &image[start..start + kernel[1]]
            };
            match order {
                PatchOrder::ChannelsFirst => {
                    for (index, part) in row.chunks_exact_mut(kernel[1]).enumerate() {
                        part.copy_from_slice(line(index / kernel[0], index % kernel[0]));
                    }
                }
                PatchOrder::ChannelsLast => {
                    for (y, part) in row.chunks_exact_mut(CHANNELS * kernel[1]).enumerate() {
                        for channel in 0..CHANNELS {
                            let places = part[channel..].iter_mut().step_by(CHANNELS);
                            places.zip(line(channel, y)).for_each(|(place, value)| *place = *value);
                        }
                    }
                }
            }
        }
    });
}
