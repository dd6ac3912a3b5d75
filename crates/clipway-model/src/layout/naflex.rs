//! The tensors of timm's `NaFlexVit` and those of a plain vision transformer, which has one size of images.

use crate::graph::{GridChange, GridFilter};
use crate::plan::{Converted, PlannedTensor, Step, StepError};

/// The patch embedding's names without `weight` or `bias`: of a plain tower, and of NaFlex.
const PATCHES: [&str; 2] = ["visual.trunk.patch_embed.proj.", "visual.trunk.embeds.proj."];

/// The position tables.
pub(super) const POSITIONS: [&str; 2] = ["visual.trunk.pos_embed", "visual.trunk.embeds.pos_embed"];

/// Channels of an image.
const CHANNELS: usize = 3;

/// Side of a square patch of this many values; `None` where there is none.
pub(super) fn patch_side(values: usize) -> Option<usize> {
    let side = (values / CHANNELS).isqrt();
    (side > 0 && side * side * CHANNELS == values).then_some(side)
}

/// Gives tensors with a plain tower's names those of NaFlex: a linear layer of patches `[height, width, channels]` and a
/// square position table. What does not fit stays as it is, and is reported.
pub(super) fn named(mut converted: Converted) -> Result<Converted, StepError> {
    for planned in &mut converted.tensors {
        let name = &planned.target.name;
        if let Some(leaf) = name.strip_prefix(PATCHES[0]) {
            planned.target.name = format!("{}{leaf}", PATCHES[1]);
        } else if name == POSITIONS[0] {
            planned.target.name = POSITIONS[1].to_owned();
            if let [1, rows, width] = planned.target.shape[..] {
                let side = rows.isqrt();
                if side * side == rows && rows > 0 {
                    planned.then(Step::Reshape { shape: vec![1, side, side, width] })?;
                }
            }
        }
    }
    Ok(converted)
}

/// Gives NaFlex's tensors the form of a plain tower for a grid of patches: the linear layer becomes a convolution, and the
/// positions are resampled. Casts stay last.
///
/// # Errors
/// A tensor of another shape.
pub(crate) fn folded(tensors: &[PlannedTensor], grid: [usize; 2]) -> Result<Vec<PlannedTensor>, StepError> {
    tensors.iter().map(|planned| fold(planned, grid)).collect()
}

fn fold(planned: &PlannedTensor, [rows, columns]: [usize; 2]) -> Result<PlannedTensor, StepError> {
    let mut planned = planned.clone();
    let name = planned.target.name.clone();
    if let Some(leaf) = name.strip_prefix(PATCHES[1]) {
        planned.target.name = format!("{}{leaf}", PATCHES[0]);
        if let [width, values] = planned.target.shape[..]
            && let Some(side) = patch_side(values)
        {
            planned.then(Step::Reshape { shape: vec![width, side, side, CHANNELS] })?;
            planned.then(Step::Transpose { axes: vec![0, 3, 1, 2] })?;
        }
    } else if name == POSITIONS[1]
        && let [1, height, across, width] = planned.target.shape[..]
    {
        planned.target.name = POSITIONS[0].to_owned();
        let (from, to, filter) = ([height, across], [rows, columns], GridFilter::Bilinear);
        let dtype = planned.target.dtype;
        if from != to {
            planned.then(Step::Reshape { shape: vec![height * across, width] })?;
            planned.then(Step::ResampleGrid(GridChange { prefix: 0, from, to, filter, square: false }))?;
        }
        planned.then(Step::Reshape { shape: vec![1, rows * columns, width] })?;
        if planned.target.dtype != dtype {
            planned.then(Step::Cast { to: dtype })?;
        }
    }
    Ok(planned)
}
