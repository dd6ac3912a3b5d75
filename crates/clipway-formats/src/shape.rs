//! Sizes of tensors, without overflow.

use crate::dtype::Dtype;

/// Highest number of dimensions that is accepted; PyTorch and numpy take at most 64.
pub(crate) const MOST_DIMENSIONS: usize = 64;

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
