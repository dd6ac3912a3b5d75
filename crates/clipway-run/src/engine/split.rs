//! How a batch is cut into passes of a bounded number of rows.
//!
//! A pass of few rows reads the weights from memory for little work; one of many rows drives the values out of
//! the caches between one step and the next.

use super::program::Program;
use super::shape::Rows;
use super::steps::Op;

/// Rows of a pass that were measured to be fast.
const ROWS: usize = 400;

/// Most values of the largest value of a pass.
const VALUES: usize = 2 << 20;

/// Numbers of images of each pass, as even as can be.
pub(super) fn images(program: &Program, samples: usize) -> Vec<usize> {
    let mut widest = 1;
    let mut longest = 1;
    for node in &program.nodes {
        if let (Rows::Fixed(rows), false) = (node.shape.rows, matches!(node.op, Op::Pixels(_))) {
            widest = widest.max(rows * node.shape.width);
            if matches!(node.op, Op::Attention(_)) {
                longest = longest.max(rows);
            }
        }
    }
    let most = (ROWS / longest).min(VALUES / widest).clamp(1, 8);
    let passes = samples.div_ceil(most);
    (0..passes).map(|pass| samples * (pass + 1) / passes - samples * pass / passes).collect()
}

/// Numbers of texts of each pass, given the tokens that are computed of each.
pub(super) fn texts(computed: &[usize]) -> Vec<usize> {
    let total: usize = computed.iter().sum();
    let passes = total.div_ceil(ROWS).max(1);
    let target = total.div_ceil(passes);
    let mut sizes = Vec::new();
    let (mut samples, mut rows) = (0, 0);
    for tokens in computed {
        if samples > 0 && rows + tokens / 2 >= target {
            sizes.push(samples);
            (samples, rows) = (0, 0);
        }
        samples += 1;
        rows += tokens;
    }
    if samples > 0 {
        sizes.push(samples);
    }
    sizes
}
