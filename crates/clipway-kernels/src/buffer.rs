//! Memory for packed weights and scratch: zeroed, and aligned to a cache line.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes of a cache line, and of the widest vector.
const ALIGNMENT: usize = 64;

/// A fixed number of f32, zero at first, that start on a cache line.
pub(crate) struct AlignedBuffer {
    start: NonNull<f32>,
    len: usize,
}

#[allow(unsafe_code)]
// SAFETY: the buffer owns its memory and hands it out by the rules of references.
unsafe impl Send for AlignedBuffer {}
#[allow(unsafe_code)]
// SAFETY: as for `Send`.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// Allocates `len` zeros.
    #[allow(unsafe_code)]
    pub(crate) fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self { start: NonNull::dangling(), len };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout is not empty; zero bytes are valid f32.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start.cast()).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, len }
    }

    fn layout(len: usize) -> Layout {
        let bytes = len.checked_mul(size_of::<f32>()).expect("the length fits the address space");
        Layout::from_size_align(bytes, ALIGNMENT).expect("the length fits the address space")
    }
}

#[allow(unsafe_code)]
impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: `zeroed` allocated the memory with the same layout.
            unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.len)) }
        }
    }
}

#[allow(unsafe_code)]
impl Deref for AlignedBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `start` points to `len` initialized values that the buffer owns.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

#[allow(unsafe_code)]
impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}
