//! Rotary position embeddings: pairs of values in a head are rotated by position-dependent angles.

use crate::matrix::MatrixMut;
use crate::threads::Kernels;

/// Rows per task.
const TASK_ROWS: usize = 16;

/// Cosines and sines of the angles by position.
#[derive(Clone, Copy, Debug)]
pub struct Rotary<'a> {
    /// Cosines, `[positions, pairs]`.
    pub cosines: &'a [f32],
    /// Sines, `[positions, pairs]`.
    pub sines: &'a [f32],
    /// Whether values `p` and `p + pairs` form a pair, instead of `2 p` and `2 p + 1`.
    pub halves: bool,
}

impl Rotary<'_> {
    /// Checks the sizes for a head width and a number of positions.
    pub(crate) fn check(&self, head_width: usize, positions: usize) {
        assert_eq!(self.cosines.len(), self.sines.len(), "as many cosines as sines");
        assert!(head_width.is_multiple_of(2), "a head of {head_width} values has pairs");
        assert!(self.cosines.len() >= positions * (head_width / 2), "angles for {positions} positions");
    }

    /// Writes the values of a head, rotated by the angles of a position.
    #[inline(always)]
    pub(crate) fn turn(&self, position: usize, values: &[f32], out: &mut [f32]) {
        let pairs = values.len() / 2;
        let cosines = &self.cosines[position * pairs..][..pairs];
        let sines = &self.sines[position * pairs..][..pairs];
        if self.halves {
            let (first, second) = values.split_at(pairs);
            let (out_first, out_second) = out.split_at_mut(pairs);
            for pair in 0..pairs {
                out_first[pair] = first[pair] * cosines[pair] - second[pair] * sines[pair];
                out_second[pair] = second[pair] * cosines[pair] + first[pair] * sines[pair];
            }
        } else {
            let (values, _) = values.as_chunks::<2>();
            let (out, _) = out.as_chunks_mut::<2>();
            for (pair, ([a, b], out)) in values.iter().zip(out).enumerate() {
                *out = [a * cosines[pair] - b * sines[pair], b * cosines[pair] + a * sines[pair]];
            }
        }
    }
}

impl Kernels {
    /// Rotates every head of every row in place; each sequence has `positions` rows.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub fn rotate(&self, rotary: Rotary<'_>, head_width: usize, positions: usize, rows: MatrixMut<'_>) {
        rotary.check(head_width, positions);
        let (count, width) = (rows.rows(), rows.columns());
        assert!(width.is_multiple_of(head_width) && positions > 0, "rows of heads of {head_width} values");
        let out = rows.share();
        self.parallel(count.div_ceil(TASK_ROWS), count * width * 4, |task| {
            let mut turned = vec![0.0; head_width];
            for row in task * TASK_ROWS..count.min((task + 1) * TASK_ROWS) {
                #[allow(unsafe_code)]
                // SAFETY: the row belongs to this task only.
                let values = unsafe { out.part(row, 0, width) };
                for head in values.chunks_exact_mut(head_width) {
                    rotary.turn(row % positions, head, &mut turned);
                    head.copy_from_slice(&turned);
                }
            }
        });
    }
}
