//! Checks that the parts of a tensor cover it exactly once.

use super::Part;
use crate::error::{Code, FormatError, Place};
use crate::shape::shown_shape;
use crate::tensor::TensorInfo;

/// Maximum number of pairs of parts that are compared in one checkpoint. Parts along one dimension, as FSDP makes them,
/// need one comparison each.
const MOST_COMPARISONS: usize = 1 << 24;

/// Comparisons that are left.
pub(super) struct Work(usize);

impl Work {
    pub(super) fn new() -> Work {
        Work(MOST_COMPARISONS)
    }
}

/// Sorts the parts of a tensor by their offsets, and checks that each is inside, that no two overlap, and that together
/// they have every element.
pub(super) fn check_parts(info: &TensorInfo, parts: &mut [Part], work: &mut Work) -> Result<(), FormatError> {
    let refuse = |code, cause: String| Err(FormatError::new(code, Place::Tensor(info.name.clone()), cause));
    let mut covered: usize = 0;
    for part in parts.iter() {
        let is_inside =
            part.offsets.len() == info.shape.len()
                && part.sizes.len() == info.shape.len()
                && part.offsets.iter().zip(&part.sizes).zip(&info.shape).all(
                    |((&offset, &size), &length)| offset.checked_add(size).is_some_and(|end| end <= length),
                );
        if !is_inside {
            let [offsets, sizes, shape] =
                [&part.offsets, &part.sizes, &info.shape].map(|lengths| shown_shape(lengths));
            return refuse(
                Code::Malformed,
                format!(
                    "a part of shape {sizes} from {offsets} on is not inside the tensor of shape {shape}"
                ),
            );
        }
        let elements: usize = part.sizes.iter().product();
        if (elements * info.dtype.size()) as u64 > part.length {
            let cause = format!("a part of {elements} elements in only {} bytes", part.length);
            return refuse(Code::Malformed, cause);
        }
        covered = covered.saturating_add(elements);
    }
    parts.sort_by(|a, b| a.offsets.cmp(&b.offsets));
    for (index, part) in parts.iter().enumerate() {
        for later in &parts[index + 1..] {
            let end = part.offsets.first().zip(part.sizes.first()).map(|(offset, size)| offset + size);
            if later.offsets.first().copied() >= end && end.is_some() {
                break;
            }
            match work.0.checked_sub(1) {
                Some(left) => work.0 = left,
                None => {
                    let cause = format!("more than {MOST_COMPARISONS} pairs of parts lie side by side");
                    return refuse(Code::TooLarge, cause);
                }
            }
            if overlap(part, later) {
                return refuse(Code::Malformed, "two parts overlap".to_owned());
            }
        }
    }
    if covered != info.elements() {
        let cause = format!("the parts have {covered} of {} elements", info.elements());
        return refuse(Code::Missing, cause);
    }
    Ok(())
}

/// Whether two boxes have an element in common.
fn overlap(a: &Part, b: &Part) -> bool {
    let in_dimension = |dimension: usize| {
        let [a, b] = [a, b].map(|part| {
            let start = part.offsets[dimension];
            start..start + part.sizes[dimension]
        });
        a.start.max(b.start) < a.end.min(b.end)
    };
    (0..a.offsets.len()).all(in_dimension)
}
