//! Zeroed, cache-line-aligned memory for packed weights and scratch.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes in a cache line, and in the widest vector.
pub(crate) const LINE: usize = 64;

/// A number type for which every bit pattern is valid, zero bytes included.
///
/// # Safety
/// Every bit pattern is a valid value, and values have no padding.
#[allow(unsafe_code)]
pub(crate) unsafe trait Plain: Copy + Send + Sync + 'static {}

#[allow(unsafe_code)]
// SAFETY: plain numbers without padding.
mod plain {
    unsafe impl super::Plain for f32 {}
    unsafe impl super::Plain for half::bf16 {}
    unsafe impl super::Plain for i8 {}
    unsafe impl super::Plain for u8 {}
    unsafe impl super::Plain for i16 {}
}

/// A fixed number of values, initially zero, starting on a cache line.
pub(crate) struct AlignedBuffer<T: Plain> {
    start: NonNull<T>,
    len: usize,
}

/// Reinterprets a buffer of f32 that starts on a cache line as numbers that are no wider.
#[allow(unsafe_code)]
pub(crate) fn view<T: Plain>(values: &mut [f32]) -> &mut [T] {
    const { assert!(size_of::<T>() <= size_of::<f32>() && align_of::<T>() <= align_of::<f32>()) };
    let len = values.len() * (size_of::<f32>() / size_of::<T>());
    // SAFETY: the bytes belong to the slice, which is borrowed mutably; any bytes are valid for both types.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) }
}

/// Views numbers as bytes.
#[allow(unsafe_code)]
pub(crate) fn bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: the bytes belong to the slice, and numbers have no padding.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

#[allow(unsafe_code)]
// SAFETY: the buffer owns its memory and lends it out under the usual reference rules.
unsafe impl<T: Plain> Send for AlignedBuffer<T> {}
#[allow(unsafe_code)]
// SAFETY: as for `Send`.
unsafe impl<T: Plain> Sync for AlignedBuffer<T> {}

impl<T: Plain> AlignedBuffer<T> {
    /// Allocates `len` zeros.
    #[allow(unsafe_code)]
    pub(crate) fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self { start: NonNull::dangling(), len };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout is not empty; zero bytes are valid values.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start.cast()).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, len }
    }

    fn layout(len: usize) -> Layout {
        let bytes = len.checked_mul(size_of::<T>()).expect("the length fits the address space");
        Layout::from_size_align(bytes, LINE).expect("the length fits the address space")
    }
}

#[allow(unsafe_code)]
impl<T: Plain> Drop for AlignedBuffer<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: `zeroed` allocated the memory with the same layout.
            unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.len)) }
        }
    }
}

#[allow(unsafe_code)]
impl<T: Plain> Deref for AlignedBuffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` points to `len` initialized values that the buffer owns.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

#[allow(unsafe_code)]
impl<T: Plain> DerefMut for AlignedBuffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Asks for the line of the cache at an address, which may be any: nothing is read.
#[inline(always)]
pub(crate) fn prefetch(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    // SAFETY: every processor of this kind has the instruction, and it ignores addresses that cannot be read.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
