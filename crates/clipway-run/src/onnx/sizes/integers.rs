//! The elements of small tensors of integers, of which exporters compute shapes.

use clipway_formats::OnnxOperation;

use super::shapes;
use super::size::Size;

/// The elements of a node's first output, where they follow from what is known.
pub(super) fn integers_of(node: &OnnxOperation, inputs: &[Option<&Size>], output: &Size) -> Option<Vec<i64>> {
    let size = |index: usize| inputs.get(index).copied().flatten();
    let known = |index: usize| size(index)?.integers.as_deref();
    match node.operator.as_str() {
        "Shape" => {
            let dims = size(0)?.dims.as_deref()?;
            let dims = &dims[shapes::shape_range(node, dims.len())];
            dims.iter().map(|length| i64::try_from(*length).ok()).collect()
        }
        "Size" => Some(vec![i64::try_from(size(0)?.elements).ok()?]),
        "Constant" => {
            match (node.constant("value"), node.integers("value_ints"), node.integer("value_int")) {
                (Some(tensor), _, _) => tensor.integers.clone(),
                (None, Some(integers), _) => Some(integers.to_vec()),
                (None, None, integer) => Some(vec![integer?]),
            }
        }
        "Identity" | "Cast" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => Some(known(0)?.to_vec()),
        "Neg" => known(0)?.iter().map(|value| value.checked_neg()).collect(),
        "Add" => elementwise(inputs, output, i64::checked_add),
        "Sub" => elementwise(inputs, output, i64::checked_sub),
        "Mul" => elementwise(inputs, output, i64::checked_mul),
        "Div" => elementwise(inputs, output, i64::checked_div),
        "Mod" => elementwise(inputs, output, i64::checked_rem),
        "Max" => elementwise(inputs, output, |a, b| Some(a.max(b))),
        "Min" => elementwise(inputs, output, |a, b| Some(a.min(b))),
        "Equal" => elementwise(inputs, output, |a, b| Some(i64::from(a == b))),
        "Where" => {
            let (condition, yes, no) = (known(0)?, known(1)?, known(2)?);
            let of = |index: usize| {
                Some(if *at(condition, index)? != 0 { *at(yes, index)? } else { *at(no, index)? })
            };
            (0..usize::try_from(output.elements).ok()?).map(of).collect()
        }
        "Concat" => {
            let parts: Option<Vec<&[i64]>> = (0..inputs.len()).map(known).collect();
            // Along the only dimension.
            (output.dims.as_ref()?.len() == 1).then(|| parts.map(|parts| parts.concat()))?
        }
        "Gather" => {
            let (values, places) = (known(0)?, known(1)?);
            let place = |place: &i64| {
                let place = if *place < 0 { *place + values.len() as i64 } else { *place };
                values.get(usize::try_from(place).ok()?).copied()
            };
            (size(0)?.dims.as_ref()?.len() == 1).then(|| places.iter().map(place).collect())?
        }
        "Slice" => {
            let range = shapes::slice_range(node, inputs)?;
            let values = known(0)?;
            (size(0)?.dims.as_ref()?.len() == 1)
                .then(|| range.map(|place| values.get(place).copied()).collect())?
        }
        "ConstantOfShape" => {
            let value = node
                .constant("value")
                .map_or(Some(0), |tensor| tensor.integers.as_ref()?.first().copied())?;
            Some(vec![value; usize::try_from(output.elements).ok()?])
        }
        "Expand" | "Tile" => match known(0)? {
            [value] => Some(vec![*value; usize::try_from(output.elements).ok()?]),
            _ => None,
        },
        "Range" => {
            let (start, step) = (*known(0)?.first()?, *known(2)?.first()?);
            let value = |index: u64| start.checked_add(step.checked_mul(i64::try_from(index).ok()?)?);
            (0..output.elements).map(value).collect()
        }
        "ReduceProd" => {
            Some(vec![known(0)?.iter().try_fold(1i64, |product, value| product.checked_mul(*value))?])
        }
        _ => None,
    }
}

/// Combines two tensors, of which one may be a single element.
fn elementwise(
    inputs: &[Option<&Size>],
    output: &Size,
    combine: impl Fn(i64, i64) -> Option<i64>,
) -> Option<Vec<i64>> {
    let known = |index: usize| inputs.get(index).copied().flatten()?.integers.as_deref();
    let (left, right) = (known(0)?, known(1)?);
    let value = |index: usize| combine(*at(left, index)?, *at(right, index)?);
    (inputs.len() == 2).then(|| (0..usize::try_from(output.elements).ok()?).map(value).collect())?
}

/// An element, or the only one.
fn at(values: &[i64], index: usize) -> Option<&i64> {
    match values {
        [value] => Some(value),
        values => values.get(index),
    }
}
