//! The numbers of a rotation.

use clipway_kernels::Rotary;
use clipway_model::graph::{Pairs, Rotation};

/// Cosines and sines of a rotation's angles.
pub(super) struct Turn {
    cosines: Vec<f32>,
    sines: Vec<f32>,
    halves: bool,
}

impl Turn {
    /// Computes them for heads of this width.
    pub fn new(rotation: &Rotation, head_width: usize) -> Turn {
        let angles = rotation.angles(head_width / 2);
        Turn {
            cosines: angles.iter().map(|angle| f64::from(*angle).cos() as f32).collect(),
            sines: angles.iter().map(|angle| f64::from(*angle).sin() as f32).collect(),
            halves: rotation.pairs == Pairs::Halves,
        }
    }

    /// The rotation in the kernels' form.
    pub fn rotary(&self) -> Rotary<'_> {
        Rotary { cosines: &self.cosines, sines: &self.sines, halves: self.halves }
    }
}
