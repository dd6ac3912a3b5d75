//! What a search needs of scores: their sums, and which exceed their threshold.

use super::super::dot::{Dot, DotKernel};
use super::RowScores;
use crate::isa::{Isa, Simd};

/// Rows whose scores are summed side by side: one query fills vectors too, which are no wider.
const ROWS_ABREAST: usize = 16;

const _: () = assert!(ROWS_ABREAST.is_multiple_of(Isa::Avx512.lanes()), "whole vectors");

/// Vectors that are summed side by side: a sum waits for the one before it.
const ABREAST: usize = 4;

/// Lines of scores that are summed in f32 before they are added in f64.
const SUMMED_LINES: usize = 32;

/// Sums over the scores, and which exceed their threshold.
pub(super) struct Survey<'a> {
    pub(super) thresholds: &'a [f32],
    pub(super) scores: &'a mut RowScores,
}

impl<T> DotKernel<T> for Survey<'_> {
    #[inline(always)]
    fn run<D: Dot<Value = T>>(self, dot: D) {
        let Survey { thresholds, scores: RowScores { scores, above, sums, squares } } = self;
        let count = thresholds.len();
        // Rows are summed side by side, the same ones for any number of queries, so that these do not change the sums.
        let lanes = count * ROWS_ABREAST;
        let limits = thresholds.repeat(ROWS_ABREAST);
        let (mut lane_sums, mut lane_squares) = (vec![0.0_f64; lanes], vec![0.0_f64; lanes]);
        let mut partial =
            Partial { sums: vec![0.0; lanes], squares: vec![0.0; lanes], most: vec![0.0; lanes] };
        let (mut last_line, mut exceeding) = (Vec::new(), Vec::new());
        for (block, scores) in scores.chunks(SUMMED_LINES * lanes).enumerate() {
            let lines = scores.chunks_exact(lanes);
            // Zeros change no sum.
            last_line.clear();
            last_line.extend_from_slice(lines.remainder());
            last_line.resize(last_line.len().next_multiple_of(lanes), 0.0);
            partial.sum(dot.float(), &scores[..lines.len() * lanes], &last_line);
            let all =
                lane_sums.iter_mut().zip(&mut lane_squares).zip(partial.sums.iter().zip(&partial.squares));
            for ((sum, square), (partial_sum, partial_square)) in all {
                *sum += f64::from(*partial_sum);
                *square += f64::from(*partial_square);
            }
            exceeding.clear();
            let all = partial.most.chunks_exact(ROWS_ABREAST).zip(limits.chunks_exact(ROWS_ABREAST));
            for (chunk, (most, limits)) in all.enumerate() {
                // Without an early end, so that it is done in vectors.
                if most.iter().zip(limits).fold(false, |any, (most, limit)| any | (most > limit)) {
                    let lanes = (0..ROWS_ABREAST).filter(|lane| most[*lane] > limits[*lane]);
                    exceeding.extend(lanes.map(|lane| chunk * ROWS_ABREAST + lane));
                }
            }
            if !exceeding.is_empty() {
                for (line, scores) in scores.chunks(lanes).enumerate() {
                    let first = (block * SUMMED_LINES + line) * lanes;
                    let here = exceeding.iter().take_while(|lane| **lane < scores.len());
                    let exceed = here.filter(|lane| scores[**lane] > limits[**lane]);
                    above.extend(exceed.map(|lane| (first + lane) as u32));
                }
            }
        }
        for (of_queries, lanes) in [(sums, lane_sums), (squares, lane_squares)] {
            for of_row in lanes.chunks_exact(count) {
                for (all, one) in of_queries.iter_mut().zip(of_row) {
                    *all += one;
                }
            }
        }
    }
}

/// Sums in f32 of some lines of scores, which are faster than in f64; their order does not depend on the instructions.
struct Partial {
    sums: Vec<f32>,
    squares: Vec<f32>,
    /// The greatest scores.
    most: Vec<f32>,
}

impl Partial {
    /// Sums lines of scores, and one more if there is one.
    #[inline(always)]
    fn sum<S: Simd>(&mut self, simd: S, lines: &[f32], last_line: &[f32]) {
        let lanes = self.sums.len();
        let many = lanes - lanes % (ABREAST * S::LANES);
        for lane in (0..many).step_by(ABREAST * S::LANES) {
            self.sum_lanes::<S, ABREAST>(simd, lines, last_line, lane);
        }
        for lane in (many..lanes).step_by(S::LANES) {
            self.sum_lanes::<S, 1>(simd, lines, last_line, lane);
        }
    }

    /// Sums some vectors of each line.
    #[inline(always)]
    // Indexed loops, for the same reason as in the f32 tile.
    #[allow(clippy::needless_range_loop)]
    fn sum_lanes<S: Simd, const V: usize>(&mut self, simd: S, lines: &[f32], last_line: &[f32], lane: usize) {
        let lanes = self.sums.len();
        let (mut sums, mut squares) = ([simd.splat(0.0); V], [simd.splat(0.0); V]);
        let mut most = [simd.splat(f32::NEG_INFINITY); V];
        for line in lines.chunks_exact(lanes).chain(last_line.chunks_exact(lanes)) {
            let line = &line[lane..][..V * S::LANES];
            for vector in 0..V {
                let scores = simd.load(&line[vector * S::LANES..]);
                sums[vector] = simd.add(sums[vector], scores);
                squares[vector] = simd.add(squares[vector], simd.mul(scores, scores));
                most[vector] = simd.max(scores, most[vector]);
            }
        }
        for vector in 0..V {
            let place = lane + vector * S::LANES;
            simd.store(&mut self.sums[place..], sums[vector]);
            simd.store(&mut self.squares[place..], squares[vector]);
            simd.store(&mut self.most[place..], most[vector]);
        }
    }
}
