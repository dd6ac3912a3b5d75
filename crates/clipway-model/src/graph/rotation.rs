//! Rotary position embeddings over a grid of patches (RoFormer, <https://arxiv.org/abs/2104.09864>, on two axes).

/// How the heads of queries and keys are rotated by their position on a grid.
///
/// A head of width `4 n` is split into `2 n` pairs. Pair `p` of a token is rotated by a coordinate of its patch times
/// frequency `p mod n`. The first `n` pairs use one axis, the rest the other. On a line, all pairs use the only axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotation {
    /// Rows and columns of patches; tokens are in row-major order.
    pub grid: [usize; 2],
    /// Number of tokens before the patch tokens; they are not rotated.
    pub skip: usize,
    /// How coordinates are computed.
    pub coordinates: Coordinates,
    /// Whether the first half of the pairs uses the column and the second half the row.
    pub columns_first: bool,
    /// Base: frequency `j` of `n` is this to the power of `-j / n`.
    pub temperature: f32,
    /// Which elements form a pair.
    pub pairs: Pairs,
}

/// Coordinates of patches along one axis, before multiplication by the frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coordinates {
    /// Patch `i` of `count` has `(i + offset) / count * reference`, or `i + offset` without a reference.
    Index {
        /// Added to the index.
        offset: f32,
        /// The reference grid that coordinates are stretched over, rows and columns.
        reference: Option<[usize; 2]>,
    },
    /// Patch `i` of `count` has `2π (2 (i + 1/2) / count - 1)` (DINOv3, <https://arxiv.org/abs/2508.10104>).
    Centerd,
    /// Token `i` of a text has `i`, for all pairs: the grid is one column of as many rows as there can be tokens, and
    /// frequency `j` of all `n` pairs is the temperature to the power of `-j / n`.
    Line,
}

/// Which elements of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// Elements `2 p` and `2 p + 1`.
    Neighbors,
    /// Elements `p` and `p` plus half the width.
    Halves,
}

impl Rotation {
    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.skip + self.grid[0] * self.grid[1]
    }

    /// Width of the smallest head that can be rotated.
    pub(super) fn smallest_head(&self) -> usize {
        if self.coordinates == Coordinates::Line { 2 } else { 4 }
    }

    /// The angles `[tokens, pairs]` for heads with this many pairs.
    ///
    /// Coordinates, frequencies and their products are rounded to f32, as in training.
    pub fn angles(&self, pairs: usize) -> Vec<f32> {
        let used = if self.coordinates == Coordinates::Line { 1 } else { 2 };
        let bands = pairs / used;
        let frequency = |band: usize| match self.coordinates {
            Coordinates::Index { .. } | Coordinates::Line => 1.0 / self.power(band as f32 / bands as f32),
            Coordinates::Centerd => self.power(2.0 * band as f32 / pairs as f32),
        };
        let frequencies: Vec<f32> = (0..bands).map(frequency).collect();
        let mut angles = vec![0.0; self.skip * pairs];
        for row in 0..self.grid[0] {
            for column in 0..self.grid[1] {
                let axes = [(row, 0), (column, 1)];
                let (first, second) =
                    if self.columns_first { (axes[1], axes[0]) } else { (axes[0], axes[1]) };
                for (index, axis) in [first, second].into_iter().take(used) {
                    let coordinate = self.coordinate(index, axis);
                    angles.extend(frequencies.iter().map(|frequency| match self.coordinates {
                        Coordinates::Index { .. } | Coordinates::Line => coordinate * frequency,
                        Coordinates::Centerd => coordinate / frequency,
                    }));
                }
            }
        }
        angles
    }

    fn power(&self, exponent: f32) -> f32 {
        f64::from(self.temperature).powf(f64::from(exponent)) as f32
    }

    fn coordinate(&self, index: usize, axis: usize) -> f32 {
        let count = self.grid[axis] as f32;
        match self.coordinates {
            Coordinates::Line => index as f32,
            Coordinates::Index { offset, reference: None } => index as f32 + offset,
            Coordinates::Index { offset, reference: Some(reference) } => {
                (index as f32 + offset) / count * reference[axis] as f32
            }
            Coordinates::Centerd => {
                (2.0 * std::f64::consts::PI * f64::from(2.0 * ((index as f32 + 0.5) / count) - 1.0)) as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Coordinates, Pairs, Rotation};

    const ROTATION: Rotation = Rotation {
        grid: [2, 3],
        skip: 1,
        coordinates: Coordinates::Index { offset: 1.0, reference: Some([4, 4]) },
        columns_first: true,
        temperature: 100.0,
        pairs: Pairs::Neighbors,
    };

    #[test]
    fn angles_are_products_of_coordinates_and_frequencies() {
        let angles = ROTATION.angles(4);
        assert_eq!(angles.len(), 7 * 4);
        assert_eq!(angles[..4], [0.0; 4]);
        // Row 1, column 2: coordinates 2 / 2 * 4 and 3 / 3 * 4, frequencies 1 and 1 / 10.
        assert_eq!(angles[24..], [4.0, 0.4, 4.0, 0.4]);
        // Row 0, column 2.
        assert_eq!(angles[12..16], [4.0, 0.4, 2.0, 0.2]);
        let rows_first = Rotation { columns_first: false, ..ROTATION };
        assert_eq!(rows_first.angles(4)[12..16], [2.0, 0.2, 4.0, 0.4]);
    }

    #[test]
    fn on_a_line_all_pairs_use_the_token_s_place() {
        let line = Rotation {
            grid: [3, 1],
            skip: 0,
            coordinates: Coordinates::Line,
            columns_first: false,
            ..ROTATION
        };
        assert_eq!(line.angles(2), [0.0, 0.0, 1.0, 0.1, 2.0, 0.2]);
        // An odd number of pairs, of which two axes would leave one out.
        assert_eq!(line.angles(3).len(), 9);
    }

    #[test]
    fn centered_coordinates_lie_between_half_turns() {
        let rotation =
            Rotation { skip: 0, coordinates: Coordinates::Centerd, columns_first: false, ..ROTATION };
        let angles = rotation.angles(4);
        let half_turn = std::f32::consts::PI;
        let expected = [-half_turn, -half_turn / 10.0, -2.0 * half_turn / 1.5, -2.0 * half_turn / 15.0];
        for (found, expected) in angles.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
