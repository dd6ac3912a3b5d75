//! Sizes of tensors, without overflow.

use crate::dtype::Dtype;

/// Highest number of dimensions that is accepted; PyTorch and numpy take at most 64.
pub(crate) const MOST_DIMENSIONS: usize = 64;

/// Most dimensions of a shape that a message repeats.
const SHOWN_DIMENSIONS: usize = 16;

/// A shape from a file, for a message: `[2, 3]`, cut where it is long.
pub(crate) fn shown_shape(shape: &[usize]) -> String {
    let shown: Vec<String> = shape.iter().take(SHOWN_DIMENSIONS).map(usize::to_string).collect();
    match shape.len().saturating_sub(shown.len()) {
        0 => format!("[{}]", shown.join(", ")),
        more => format!("[{}, … and {more} more]", shown.join(", ")),
    }
}

/// Bytes of a contiguous tensor, or `None` where an address could not hold it.
///
/// A dimension of 0 makes the tensor empty, but does not excuse the others: their product must fit too, since
/// strides are computed from it.
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
