//! Sizes of tensors, without overflow.

use crate::dtype::Dtype;

/// Maximum number of dimensions; PyTorch and numpy allow at most 64.
pub(crate) const MOST_DIMENSIONS: usize = 64;

/// Maximum number of dimensions shown in a message.
const SHOWN_DIMENSIONS: usize = 16;

/// A shape from a file, for messages: `[2, 3]`, shortened if it is long.
pub(crate) fn shown_shape(shape: &[usize]) -> String {
    let shown: Vec<String> = shape.iter().take(SHOWN_DIMENSIONS).map(usize::to_string).collect();
    match shape.len().saturating_sub(shown.len()) {
        0 => format!("[{}]", shown.join(", ")),
        more => format!("[{}, … and {more} more]", shown.join(", ")),
    }
}

/// Size of a contiguous tensor in bytes, or `None` if it exceeds the address space.
///
/// A dimension of 0 makes the tensor empty, but the product of the others must fit too, since strides are computed from
/// it.
pub(crate) fn contiguous_bytes(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let extent = shape.iter().try_fold(dtype.size(), |bytes, &length| bytes.checked_mul(length.max(1)))?;
    if isize::try_from(extent).is_err() {
        return None;
    }
    Some(if shape.contains(&0) { 0 } else { extent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_shape_is_cut_in_a_message() {
        assert_eq!(shown_shape(&[]), "[]");
        assert_eq!(shown_shape(&[2, 3]), "[2, 3]");
        assert_eq!(shown_shape(&[1; 18]), format!("[{}1, … and 2 more]", "1, ".repeat(15)));
    }
}
