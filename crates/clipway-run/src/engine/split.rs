//! Splits a batch into passes with a bounded number of rows.
//!
//! A pass with few rows reads the weights from memory for little work; one with many rows evicts values from the caches
//! between steps.

use super::program::Program;
use super::shape::Rows;
use super::steps::Op;

/// Number of rows per pass that was measured to be fast.
const ROWS: usize = 400;

/// Maximum size of a pass's largest value.
const VALUES: usize = 2 << 20;

/// Number of images in each pass, as even as possible.
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

/// Number of texts in each pass, given the computed tokens of each.
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
