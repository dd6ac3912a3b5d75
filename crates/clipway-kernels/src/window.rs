//! Channels-last images, and windows that move over them.

/// How a window of `[height, width]` moves over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The window's size.
    pub kernel: [usize; 2],
    /// The stride of the window.
    pub stride: [usize; 2],
    /// Zeros before and after the image: `[[top, bottom], [left, right]]`.
    pub padding: [[usize; 2]; 2],
    /// The spacing of the window's taps.
    pub dilation: [usize; 2],
}

impl Window {
    /// Returns an undilated square window with the same stride and padding on all sides.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [[padding; 2]; 2], dilation: [1; 2] }
    }

    /// Returns the output's `[height, width]` for an image of `size`; 0 if the window does not fit.
    ///
    /// # Panics
    /// If the kernel, stride or dilation is 0.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        self.check();
        std::array::from_fn(|axis| {
            let window = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let padded = size[axis] + self.padding[axis][0] + self.padding[axis][1];
            if padded < window { 0 } else { (padded - window) / self.stride[axis] + 1 }
        })
    }

    /// Returns the number of taps in the window.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Returns the image position that a tap of an output's window sees along an axis, if within `size`.
    #[inline(always)]
    pub(crate) fn source(&self, axis: usize, output: usize, tap: usize, size: usize) -> Option<usize> {
        let place = output * self.stride[axis] + tap * self.dilation[axis];
        place.checked_sub(self.padding[axis][0]).filter(|&place| place < size)
    }

    pub(crate) fn check(&self) {
        let sizes = [self.kernel, self.stride, self.dilation];
        assert!(sizes.as_flattened().iter().all(|&size| size > 0), "the sizes of a window are positive");
    }
}

/// A batch of images `[batch, height, width, channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) batch: usize,
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
}

impl<'a> Image<'a> {
    /// Views a slice as images of size `[height, width]`.
    ///
    /// # Panics
    /// If the slice does not hold exactly those images.
    pub fn new(data: &'a [f32], batch: usize, size: [usize; 2], channels: usize) -> Self {
        assert_eq!(data.len(), batch * size[0] * size[1] * channels, "{batch} images of {size:?}");
        Self { data, batch, size, channels }
    }

    /// Returns the channels of a pixel.
    #[inline(always)]
    pub(crate) fn pixel(&self, batch: usize, y: usize, x: usize) -> &'a [f32] {
        &self.data[self.place(batch, y, x)..][..self.channels]
    }

    /// Returns where a pixel starts in the slice.
    #[inline(always)]
    pub(crate) fn place(&self, batch: usize, y: usize, x: usize) -> usize {
        ((batch * self.size[0] + y) * self.size[1] + x) * self.channels
    }
}
