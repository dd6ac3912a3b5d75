//! Shapes of outputs, operator by operator. `None` means that the shape is not known, or that the inputs do not fit; the
//! runtime then says why.

use std::collections::HashMap;
use std::ops::Range;

use clipway_formats::OnnxOperation;

use super::size::{Size, product};

/// Lengths of a tensor of integers; negative ones count as 1, which keeps a dimension in `Expand`.
pub(super) fn lengths(integers: &[i64]) -> Vec<u64> {
    integers.iter().map(|length| u64::try_from(*length).unwrap_or(1)).collect()
}

pub(super) fn broadcast(left: &[u64], right: &[u64]) -> Option<Vec<u64>> {
    let rank = left.len().max(right.len());
    let at =
        |dims: &[u64], index: usize| (index + dims.len()).checked_sub(rank).map_or(1, |index| dims[index]);
    let length = |index| match (at(left, index), at(right, index)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    };
    (0..rank).map(length).collect()
}

pub(super) fn matrix_product(left: &[u64], right: &[u64]) -> Option<Vec<u64>> {
    match (left, right) {
        ([.., _], [_]) => Some(left[..left.len() - 1].to_vec()),
        ([_], [outer @ .., _, columns]) => Some([outer, &[*columns]].concat()),
        ([a @ .., rows, _], [b @ .., _, columns]) => {
            let mut dims = broadcast(a, b)?;
            dims.extend([*rows, *columns]);
            Some(dims)
        }
        _ => None,
    }
}

pub(super) fn gemm(node: &OnnxOperation, left: &[u64], right: &[u64]) -> Option<Vec<u64>> {
    let side = |dims: &[u64], name: &str, index: usize| {
        let is_turned = node.integer(name).unwrap_or(0) != 0;
        dims.get(if is_turned { 1 - index } else { index }).copied()
    };
    Some(vec![side(left, "transA", 0)?, side(right, "transB", 1)?])
}

/// An entry of an attribute that is a list of lengths.
fn entry(node: &OnnxOperation, name: &str, index: usize, otherwise: u64) -> u64 {
    node.integers(name).and_then(|all| all.get(index)).map_or(otherwise, |value| (*value).max(0) as u64)
}

/// The product of some lengths; `None` if it is too large.
fn whole_product(lengths: &[u64]) -> Option<u64> {
    lengths.iter().try_fold(1u64, |product, length| product.checked_mul(*length))
}

/// Length of a dimension after windows of `size` move over it; padding that is only known to the runtime counts in full.
fn windows(node: &OnnxOperation, length: u64, size: u64, index: usize, count: usize) -> Option<u64> {
    let of = |name, index, otherwise| entry(node, name, index, otherwise);
    let (stride, dilation) = (of("strides", index, 1).max(1), of("dilations", index, 1).max(1));
    if matches!(node.text("auto_pad"), Some("SAME_UPPER" | "SAME_LOWER")) {
        return Some(length.div_ceil(stride));
    }
    let pads = of("pads", index, 0).checked_add(of("pads", index + count, 0))?;
    let window = size.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    let free = length.checked_add(pads)?.checked_sub(window)?;
    let rounded = if node.integer("ceil_mode") == Some(1) { free.div_ceil(stride) } else { free / stride };
    Some(rounded + 1)
}

pub(super) fn conv(node: &OnnxOperation, input: &[u64], weight: &[u64]) -> Option<Vec<u64>> {
    let [batch, _, spatial @ ..] = input else { return None };
    let [channels, _, kernel @ ..] = weight else { return None };
    if spatial.len() != kernel.len() {
        return None;
    }
    let mut dims = vec![*batch, *channels];
    for (index, (length, size)) in spatial.iter().zip(kernel).enumerate() {
        dims.push(windows(node, *length, *size, index, kernel.len())?);
    }
    Some(dims)
}

pub(super) fn conv_transposed(node: &OnnxOperation, input: &[u64], weight: &[u64]) -> Option<Vec<u64>> {
    let [batch, _, spatial @ ..] = input else { return None };
    let [_, channels, kernel @ ..] = weight else { return None };
    let of = |name, index, otherwise| entry(node, name, index, otherwise);
    let groups = node.integer("group").map_or(1, |groups| groups.max(1) as u64);
    let mut dims = vec![*batch, channels.checked_mul(groups)?];
    for (index, (length, size)) in spatial.iter().zip(kernel).enumerate() {
        if node.integers("output_shape").is_some() {
            return None;
        }
        let moved = length.saturating_sub(1).checked_mul(of("strides", index, 1))?;
        let window = size.checked_mul(of("dilations", index, 1))?;
        dims.push(moved.checked_add(window)?.checked_add(of("output_padding", index, 0))?);
    }
    Some(dims)
}

pub(super) fn pool(node: &OnnxOperation, input: &[u64]) -> Option<Vec<u64>> {
    let [batch, channels, spatial @ ..] = input else { return None };
    let kernel = lengths(node.integers("kernel_shape")?);
    let mut dims = vec![*batch, *channels];
    for (index, (length, size)) in spatial.iter().zip(&kernel).enumerate() {
        dims.push(windows(node, *length, *size, index, kernel.len())?);
    }
    (dims.len() == input.len()).then_some(dims)
}

pub(super) fn global_pool(input: &[u64]) -> Option<Vec<u64>> {
    let [batch, channels, spatial @ ..] = input else { return None };
    Some([&[*batch, *channels][..], &vec![1; spatial.len()]].concat())
}

pub(super) fn reshape(node: &OnnxOperation, input: &Size, shape: &[i64]) -> Option<Vec<u64>> {
    let copies = node.integer("allowzero").unwrap_or(0) == 0;
    let mut dims = Vec::with_capacity(shape.len());
    let mut open = None;
    for (index, length) in shape.iter().enumerate() {
        dims.push(match length {
            -1 => {
                open = Some(index);
                1
            }
            0 if copies => *input.dims.as_ref()?.get(index)?,
            length => u64::try_from(*length).ok()?,
        });
    }
    let known = whole_product(&dims)?;
    if let Some(index) = open {
        dims[index] = input.elements.checked_div(known)?;
    }
    // No reshape makes elements.
    (whole_product(&dims)? <= input.elements).then_some(dims)
}

pub(super) fn transpose(node: &OnnxOperation, input: &[u64]) -> Option<Vec<u64>> {
    match node.integers("perm") {
        Some(order) => order.iter().map(|from| input.get(usize::try_from(*from).ok()?).copied()).collect(),
        None => Some(input.iter().rev().copied().collect()),
    }
}

/// The axes of a node: an attribute, or since operator set 13 an input.
pub(super) fn axes<'a>(node: &'a OnnxOperation, input: Option<&'a Size>) -> Option<&'a [i64]> {
    node.integers("axes").or_else(|| input?.integers.as_deref())
}

fn place(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

pub(super) fn unsqueeze(input: &[u64], axes: &[i64]) -> Option<Vec<u64>> {
    let rank = input.len() + axes.len();
    let axes = axes.iter().map(|axis| place(*axis, rank)).collect::<Option<Vec<_>>>()?;
    let mut left = input.iter();
    (0..rank).map(|index| if axes.contains(&index) { Some(1) } else { left.next().copied() }).collect()
}

pub(super) fn squeeze(input: &[u64], axes: Option<&[i64]>) -> Option<Vec<u64>> {
    let Some(axes) = axes else { return Some(input.iter().copied().filter(|length| *length != 1).collect()) };
    let axes = axes.iter().map(|axis| place(*axis, input.len())).collect::<Option<Vec<_>>>()?;
    let kept = input.iter().enumerate().filter(|(index, _)| !axes.contains(index));
    Some(kept.map(|(_, length)| *length).collect())
}

pub(super) fn flatten(node: &OnnxOperation, input: &[u64]) -> Option<Vec<u64>> {
    let axis = node.integer("axis").unwrap_or(1);
    let axis = if axis == input.len() as i64 { input.len() } else { place(axis, input.len())? };
    Some(vec![whole_product(&input[..axis])?, whole_product(&input[axis..])?])
}

pub(super) fn concat(node: &OnnxOperation, inputs: &[&[u64]]) -> Option<Vec<u64>> {
    let mut dims = inputs.first()?.to_vec();
    let axis = place(node.integer("axis")?, dims.len())?;
    dims[axis] = inputs.iter().try_fold(0u64, |sum, input| sum.checked_add(*input.get(axis)?))?;
    Some(dims)
}

pub(super) fn split(node: &OnnxOperation, inputs: &[Option<&Size>]) -> Option<Vec<Vec<u64>>> {
    let input = inputs.first().copied().flatten()?.dims.as_deref()?;
    let axis = place(node.integer("axis").unwrap_or(0), input.len())?;
    let stated = node.integers("split").or_else(|| inputs.get(1).copied().flatten()?.integers.as_deref());
    let parts = match stated {
        Some(parts) => parts.iter().map(|part| u64::try_from(*part).ok()).collect::<Option<Vec<_>>>()?,
        None => {
            let count = node.outputs.len() as u64;
            vec![input[axis].div_ceil(count.max(1)); node.outputs.len()]
        }
    };
    let part = |length: &u64| {
        let mut dims = input.to_vec();
        dims[axis] = *length.min(&input[axis]);
        dims
    };
    Some(parts.iter().map(part).collect())
}

/// Starts, ends, axes and steps of a slice: inputs, or attributes before operator set 10.
fn slices(
    node: &OnnxOperation,
    inputs: &[Option<&Size>],
    rank: usize,
) -> Option<Vec<(usize, i64, i64, i64)>> {
    let from = |index: usize, name: &str| {
        node.integers(name).or_else(|| inputs.get(index).copied().flatten()?.integers.as_deref())
    };
    let (starts, ends) = (from(1, "starts")?, from(2, "ends")?);
    let (axes, steps) = (from(3, "axes"), from(4, "steps"));
    let slice = |(index, start): (usize, &i64)| {
        let axis = match axes {
            Some(axes) => place(*axes.get(index)?, rank)?,
            None => index,
        };
        let step = match steps {
            Some(steps) => *steps.get(index)?,
            None => 1,
        };
        (axis < rank && step != 0).then_some((axis, *start, *ends.get(index)?, step))
    };
    starts.iter().enumerate().map(slice).collect()
}

/// First place and number of places of a slice along a dimension.
fn bounds(length: u64, start: i64, end: i64, step: i64) -> Option<(i64, u64)> {
    let length = i64::try_from(length).ok()?;
    if length == 0 {
        return Some((0, 0));
    }
    let inside = |place: i64, least: i64, most: i64| {
        let place = if place < 0 { place.saturating_add(length) } else { place };
        place.clamp(least, most)
    };
    let (start, end) = match step > 0 {
        true => (inside(start, 0, length), inside(end, 0, length)),
        false => {
            (inside(start, 0, length - 1), if end == i64::MIN { -1 } else { inside(end, -1, length - 1) })
        }
    };
    let distance = if step > 0 { end - start } else { start - end };
    Some((start, (distance.max(0) as u64).div_ceil(step.unsigned_abs())))
}

pub(super) fn slice(node: &OnnxOperation, inputs: &[Option<&Size>]) -> Option<Vec<u64>> {
    let mut dims = inputs.first().copied().flatten()?.dims.clone()?;
    for (axis, start, end, step) in slices(node, inputs, dims.len())? {
        dims[axis] = bounds(dims[axis], start, end, step)?.1;
    }
    Some(dims)
}

/// The places that a slice of a tensor of one dimension takes.
pub(super) fn slice_range(
    node: &OnnxOperation,
    inputs: &[Option<&Size>],
) -> Option<impl Iterator<Item = usize> + use<>> {
    let dims = inputs.first().copied().flatten()?.dims.as_deref()?;
    let [(0, start, end, step)] = slices(node, inputs, dims.len())?[..] else { return None };
    let (first, count) = bounds(*dims.first()?, start, end, step)?;
    Some((0..count as i64).filter_map(move |index| usize::try_from(first + index * step).ok()))
}

pub(super) fn gather(node: &OnnxOperation, input: &[u64], places: &[u64]) -> Option<Vec<u64>> {
    let axis = place(node.integer("axis").unwrap_or(0), input.len())?;
    Some([&input[..axis], places, &input[axis + 1..]].concat())
}

pub(super) fn gather_nd(node: &OnnxOperation, input: &[u64], places: &[u64]) -> Option<Vec<u64>> {
    let batch = usize::try_from(node.integer("batch_dims").unwrap_or(0)).ok()?;
    let (depth, outer) = places.split_last()?;
    Some([outer, input.get(batch.checked_add(usize::try_from(*depth).ok()?)?..)?].concat())
}

pub(super) fn tile(input: &[u64], repeats: &[i64]) -> Option<Vec<u64>> {
    let repeated = |(length, times): (&u64, &i64)| length.checked_mul(u64::try_from(*times).ok()?);
    (input.len() == repeats.len()).then(|| input.iter().zip(repeats).map(repeated).collect())?
}

pub(super) fn range(start: &Size, end: &Size, step: &Size) -> Option<Vec<u64>> {
    let only = |size: &Size| size.integers.as_ref()?.first().copied();
    let (start, end, step) = (only(start)?, only(end)?, only(step)?);
    let distance = if step > 0 { end.checked_sub(start)? } else { start.checked_sub(end)? };
    (step != 0).then(|| vec![(distance.max(0) as u64).div_ceil(step.unsigned_abs())])
}

pub(super) fn pad(node: &OnnxOperation, inputs: &[Option<&Size>]) -> Option<Vec<u64>> {
    let size = |index: usize| inputs.get(index).copied().flatten();
    let mut dims = size(0)?.dims.clone()?;
    let pads = node.integers("pads").or_else(|| size(1)?.integers.as_deref())?;
    let axes = match size(3) {
        Some(axes) => {
            axes.integers.as_ref()?.iter().map(|axis| place(*axis, dims.len())).collect::<Option<_>>()?
        }
        None => (0..dims.len()).collect::<Vec<_>>(),
    };
    for (index, axis) in axes.iter().enumerate() {
        let added = [*pads.get(index)?, *pads.get(index + axes.len())?];
        dims[*axis] = added.iter().try_fold(dims[*axis], |length, pad| length.checked_add_signed(*pad))?;
    }
    Some(dims)
}

pub(super) fn resize(input: &[u64], sizes: &[i64]) -> Option<Vec<u64>> {
    (input.len() == sizes.len()).then(|| lengths(sizes))
}

pub(super) fn one_hot(node: &OnnxOperation, input: &[u64], depth: &[i64]) -> Option<Vec<u64>> {
    let axis = place(node.integer("axis").unwrap_or(-1), input.len() + 1)?;
    let mut dims = input.to_vec();
    dims.insert(axis, u64::try_from(*depth.first()?).ok()?);
    Some(dims)
}

/// The dimensions that `Shape` gives.
pub(super) fn shape_range(node: &OnnxOperation, rank: usize) -> Range<usize> {
    let place = |name: &str, otherwise: i64| {
        let place = node.integer(name).unwrap_or(otherwise);
        let place = if place < 0 { place.saturating_add(rank as i64) } else { place };
        place.clamp(0, rank as i64) as usize
    };
    let (start, end) = (place("start", 0), place("end", rank as i64));
    start..end.max(start)
}

pub(super) fn reduced(input: &[u64], axes: Option<&[i64]>, keeps: bool) -> Option<Vec<u64>> {
    let axes = match axes {
        Some(axes) => axes.iter().map(|axis| place(*axis, input.len())).collect::<Option<Vec<_>>>()?,
        None => (0..input.len()).collect(),
    };
    let dims = input.iter().enumerate();
    Some(match keeps {
        true => dims.map(|(index, length)| if axes.contains(&index) { 1 } else { *length }).collect(),
        false => dims.filter(|(index, _)| !axes.contains(index)).map(|(_, length)| *length).collect(),
    })
}

pub(super) fn top_k(node: &OnnxOperation, input: &[u64], count: &[i64]) -> Option<Vec<u64>> {
    let mut dims = input.to_vec();
    let axis = place(node.integer("axis").unwrap_or(-1), dims.len())?;
    dims[axis] = u64::try_from(*count.first()?).ok()?;
    Some(dims)
}

/// The lengths of the letters of an equation, and its output's letters.
fn letters<'a>(node: &'a OnnxOperation, inputs: &[&[u64]]) -> Option<(HashMap<char, u64>, &'a str)> {
    let (left, output) = node.text("equation")?.split_once("->")?;
    let mut lengths = HashMap::new();
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != inputs.len() {
        return None;
    }
    for (term, dims) in terms.into_iter().zip(inputs) {
        let names: Vec<char> = term.chars().filter(|name| *name != ' ').collect();
        if names.len() != dims.len() {
            return None;
        }
        for (name, length) in names.into_iter().zip(*dims) {
            let known: &mut u64 = lengths.entry(name).or_insert(1);
            *known = (*known).max(*length);
        }
    }
    Some((lengths, output))
}

pub(super) fn einsum(node: &OnnxOperation, inputs: &[&[u64]]) -> Option<Vec<u64>> {
    let (lengths, output) = letters(node, inputs)?;
    output.chars().filter(|name| *name != ' ').map(|name| lengths.get(&name).copied()).collect()
}

/// Terms that each element of the output sums up.
pub(super) fn einsum_terms(node: &OnnxOperation, inputs: &[Option<&[u64]>]) -> Option<u64> {
    let inputs: Vec<&[u64]> = inputs.iter().flatten().copied().collect();
    let (lengths, output) = letters(node, &inputs)?;
    let summed = lengths.iter().filter(|(name, _)| !output.contains(**name));
    Some(product(summed.map(|(_, length)| length)))
}
