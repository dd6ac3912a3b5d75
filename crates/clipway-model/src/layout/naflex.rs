//! The tensors of timm's `NaFlexVit` and those of a plain vision transformer, which has one size of images.

use clipway_formats::TensorInfo;

use crate::graph::{GridChange, GridFilter};
use crate::plan::{Converted, PlannedTensor, Step, StepError};

/// The patch embedding's names without `weight` or `bias`: of a plain tower, and of NaFlex.
const PATCHES: [&str; 2] = ["visual.trunk.patch_embed.proj.", "visual.trunk.embeds.proj."];

/// The position tables.
pub(super) const POSITIONS: [&str; 2] = ["visual.trunk.pos_embed", "visual.trunk.embeds.pos_embed"];

/// Tokens before those of the patches, in their order.
const PREFIX: [[&str; 2]; 2] = [
    ["visual.trunk.cls_token", "visual.trunk.embeds.cls_token"],
    ["visual.trunk.reg_token", "visual.trunk.embeds.reg_token"],
];

/// Where a plain tower has positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Positioned {
    /// For patches alone.
    Patches,
    /// For the tokens before them too. NaFlex has added these to the tokens, so they are zero.
    All,
}

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

/// The tensors of a tower for any proportions under a plain tower's names, at the size of its own position table, with
/// positions for the patches alone or for all tokens; none for tensors of another tower. Plain towers have these when they
/// were trained as NaFlex by open_clip's main branch (`force_naflex_vision`).
///
/// # Errors
/// A tensor of another shape.
pub(super) fn plain_forms(converted: &Converted) -> Result<Vec<Converted>, StepError> {
    let names = || converted.tensors.iter().map(|planned| planned.target.name.as_str());
    let Some(table) = converted.tensors.iter().find(|planned| planned.target.name == POSITIONS[1]) else {
        return Ok(Vec::new());
    };
    let [1, height, width, _] = table.target.shape[..] else { return Ok(Vec::new()) };
    let has_prefix = names().any(|name| PREFIX.iter().any(|[_, theirs]| *theirs == name));
    let kinds = if has_prefix { &[Positioned::All, Positioned::Patches][..] } else { &[Positioned::Patches] };
    let form = |kind: &Positioned| {
        let mut tensors = converted.tensors.clone();
        if *kind == Positioned::All {
            stack(&mut tensors)?;
        }
        let mut tensors = folded(&tensors, [height, width])?;
        for planned in &mut tensors {
            if let Some([ours, _]) = PREFIX.iter().find(|[_, theirs]| *theirs == planned.target.name) {
                planned.target.name = (*ours).to_owned();
            }
        }
        Ok(Converted { tensors, dropped: converted.dropped.clone() })
    };
    kinds.iter().map(form).collect()
}

/// The tensors with open_clip's own names of a vision transformer, where the names that have no other home are NaFlex's.
///
/// # Errors
/// A tensor of another shape.
pub(super) fn as_open_clip(mut converted: Converted) -> Result<Converted, StepError> {
    stack(&mut converted.tensors)?;
    for planned in &mut converted.tensors {
        let shape = planned.target.shape.clone();
        if let (Some(leaf), [width, values]) = (planned.target.name.strip_prefix(PATCHES[1]), &shape[..]) {
            if let Some(side) = patch_side(*values) {
                planned.target.name = format!("visual.conv1.{leaf}");
                planned.then(Step::Reshape { shape: vec![*width, side, side, CHANNELS] })?;
                planned.then(Step::Transpose { axes: vec![0, 3, 1, 2] })?;
            }
        } else if planned.target.name == POSITIONS[0] && shape.len() == 3 {
            planned.target.name = "visual.positional_embedding".to_owned();
            planned.then(Step::Reshape { shape: shape[1..].to_vec() })?;
        } else if planned.target.name == PREFIX[0][1] && shape.len() == 3 {
            planned.target.name = "visual.class_embedding".to_owned();
            planned.then(Step::Reshape { shape: shape[2..].to_vec() })?;
        }
    }
    Ok(converted)
}

/// Moves the tokens before the patches into the position table, which becomes a plain tower's `[1, tokens, width]`, and leaves
/// zeros in their place: their sum is the same. Tensors of other shapes stay as they are.
fn stack(tensors: &mut [PlannedTensor]) -> Result<(), StepError> {
    let place = |name: &str| tensors.iter().position(|planned| planned.target.name == name);
    let Some(table) = place(POSITIONS[1]) else { return Ok(()) };
    let before: Vec<usize> = PREFIX.iter().filter_map(|[_, theirs]| place(theirs)).collect();
    let [1, _, _, width] = tensors[table].target.shape[..] else { return Ok(()) };
    let fits = |&at: &usize| {
        let planned = &tensors[at];
        let is_row = matches!(planned.target.shape[..], [1, _, last] if last == width);
        is_row && planned.steps.is_empty() && planned.target.dtype == tensors[table].target.dtype
    };
    if before.is_empty() || !before.iter().all(fits) || !tensors[table].steps.is_empty() {
        return Ok(());
    }
    let places = before.iter().chain([&table]);
    let sources: Vec<TensorInfo> = places.flat_map(|&at| tensors[at].sources.clone()).collect();
    let target = TensorInfo { name: POSITIONS[0].to_owned(), ..tensors[table].target.clone() };
    let mut made = PlannedTensor { target, sources, steps: Vec::new() };
    made.then(Step::Stack { row: width })?;
    let shape = [&[1], &made.target.shape[..]].concat();
    made.then(Step::Reshape { shape })?;
    tensors[table] = made;
    for at in before {
        let TensorInfo { name, dtype, shape } = tensors[at].target.clone();
        tensors[at] = PlannedTensor::filled(name, 0, dtype, &shape)?;
    }
    Ok(())
}
