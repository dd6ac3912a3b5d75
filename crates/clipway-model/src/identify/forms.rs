//! Equivalent forms of the same tensors: queries, keys and values split or joined, patches embedded by a linear layer.

use std::collections::HashMap;

use crate::plan::{FUSED, SPLIT, attention_part, is_patch_embedding};

/// Names and shapes.
pub(super) type Tensors = Vec<(String, Vec<usize>)>;

/// Prefix of timm towers, whose attentions use the name `qkv`.
const TIMM: &str = "visual.trunk.";

/// Channels of an image.
const CHANNELS: usize = 3;

pub(super) fn views(tensors: &Tensors) -> Vec<(&str, &[usize])> {
    tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect()
}

/// The tensors with joined attentions and convolutional patch embedding; `None` if they already are.
pub(super) fn joined(tensors: &[(&str, &[usize])]) -> Option<Tensors> {
    let shapes: HashMap<&str, &[usize]> = tensors.iter().copied().collect();
    changed(tensors, |name, shape| {
        if let Some(patches) = convolution(name, shape) {
            return Some(vec![(name.to_owned(), patches)]);
        }
        let (stem, kind) = attention_part(name, &SPLIT)?;
        let parts = SPLIT.map(|part| format!("{stem}{part}{kind}"));
        if !parts.iter().all(|part| shapes.get(part.as_str()) == Some(&shape)) {
            return None;
        }
        let (rows, columns) = shape.split_first()?;
        let fused = FUSED[usize::from(stem.starts_with(TIMM))];
        let whole = [&[rows.checked_mul(SPLIT.len())?], columns].concat();
        // The three are joined, at the position of the first.
        Some(if name == parts[0] { vec![(format!("{stem}{fused}{kind}"), whole)] } else { Vec::new() })
    })
}

/// The tensors with split attentions in timm towers and convolutional patch embedding; `None` if they already are.
/// open_clip's own towers are never split.
pub(super) fn split(tensors: &[(&str, &[usize])]) -> Option<Tensors> {
    changed(tensors, |name, shape| {
        if let Some(patches) = convolution(name, shape) {
            return Some(vec![(name.to_owned(), patches)]);
        }
        let (stem, kind) = attention_part(name, &FUSED).filter(|(stem, _)| stem.starts_with(TIMM))?;
        let (rows, columns) = shape.split_first()?;
        let third = [&[rows / SPLIT.len()], columns].concat();
        rows.is_multiple_of(SPLIT.len())
            .then(|| SPLIT.map(|part| (format!("{stem}{part}{kind}"), third.clone())).to_vec())
    })
}

/// The tensors after applying `change` to each; `None` if nothing changes.
fn changed(
    tensors: &[(&str, &[usize])],
    change: impl Fn(&str, &[usize]) -> Option<Tensors>,
) -> Option<Tensors> {
    let mut any = false;
    let mut found = Vec::new();
    for (name, shape) in tensors {
        match change(name, shape) {
            Some(made) => {
                any = true;
                found.extend(made);
            }
            None => found.push(((*name).to_owned(), shape.to_vec())),
        }
    }
    any.then_some(found)
}

/// The shape of the convolution equivalent to a linear layer on square patches.
fn convolution(name: &str, shape: &[usize]) -> Option<Vec<usize>> {
    let &[width, values] = shape else { return None };
    let side = (values / CHANNELS).isqrt();
    let is_square = side > 0 && side.checked_mul(side)?.checked_mul(CHANNELS)? == values;
    (is_patch_embedding(name) && is_square).then(|| vec![width, CHANNELS, side, side])
}
