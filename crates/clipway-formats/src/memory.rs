//! Memory whose size a file says: asked for, and never taken for granted.

use crate::error::{Code, FormatError, Place};

/// Makes room for `additional` more elements.
///
/// # Errors
/// `Code::NoMemory` if the allocator does not give it.
pub fn reserve<T>(
    out: &mut Vec<T>,
    additional: usize,
    place: impl FnOnce() -> Place,
) -> Result<(), FormatError> {
    out.try_reserve_exact(additional)
        .map_err(|_| no_memory(additional.saturating_mul(size_of::<T>()), place()))
}

/// Checks that the allocator gives `bytes` bytes at once, and returns them. Work that takes as much in parts, and cannot
/// report that an allocation fails, asks this first.
///
/// # Errors
/// `Code::NoMemory` if the allocator does not give them.
pub fn check_room(bytes: usize, place: impl FnOnce() -> Place) -> Result<(), FormatError> {
    reserve(&mut Vec::<u8>::new(), bytes, place)
}

/// This many bytes, all zero.
///
/// # Errors
/// `Code::NoMemory` if the allocator does not give them.
pub(crate) fn zeros(length: usize, place: impl FnOnce() -> Place) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    reserve(&mut bytes, length, place)?;
    bytes.resize(length, 0);
    Ok(bytes)
}

fn no_memory(bytes: usize, place: Place) -> FormatError {
    FormatError::new(Code::NoMemory, place, format!("no memory for {bytes} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_memory_can_hold_is_an_error() {
        let place = || Place::Byte(9);
        let error = reserve(&mut vec![0u64], usize::MAX / 16, place).unwrap_err();
        assert_eq!((error.code, error.place.clone()), (Code::NoMemory, Place::Byte(9)));
        assert_eq!(error.cause, format!("no memory for {} bytes", usize::MAX / 16 * 8));
        assert_eq!(zeros(usize::MAX, place).unwrap_err().code, Code::NoMemory);
        assert_eq!(check_room(1 << 62, place).unwrap_err().code, Code::NoMemory);
        assert_eq!(zeros(3, place).unwrap(), [0; 3]);
    }
}
