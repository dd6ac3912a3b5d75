//! Sizes of images that keep their proportions (NaFlex, <https://arxiv.org/abs/2502.14786>).

use serde::{Deserialize, Serialize};

/// The sizes of images that keep their proportions: whole square patches, up to a maximum number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchGrids {
    /// Side of a patch, in pixels.
    pub side: usize,
    /// Maximum number of patches.
    pub most: usize,
}

/// Interval of scales at which the bisection ends. Of large images it decides the size.
const PRECISION: f64 = 1e-5;

impl PatchGrids {
    /// Height and width, in pixels, that an image is resized to: the largest scale at which its patches are no more than
    /// the maximum, found by bisection between 1e-6 and 100 down to an interval of 1e-5, as in timm and transformers.
    pub fn size_of(self, height: usize, width: usize) -> [usize; 2] {
        let side = self.side as f64;
        let scaled = |scale: f64| {
            [height, width].map(|length| {
                let whole = (length as f64 * scale / side).ceil() * side;
                whole.max(side) as usize
            })
        };
        let (mut low, mut high) = (PRECISION / 10.0, 100.0);
        while high - low >= PRECISION {
            let middle = (low + high) / 2.0;
            let [height, width] = scaled(middle);
            if (height / self.side).saturating_mul(width / self.side) <= self.most {
                low = middle;
            } else {
                high = middle;
            }
        }
        scaled(low)
    }

    /// The longest side that an image can get, in pixels.
    pub fn longest_side(self) -> usize {
        self.side * self.most
    }

    /// Number of values in the pixels of the largest images.
    pub fn most_values(self) -> usize {
        3 * self.side * self.side * self.most
    }
}
