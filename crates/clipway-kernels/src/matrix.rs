//! Views of a slice as rows.

use std::marker::PhantomData;

/// A read-only matrix `[rows, columns]` whose rows start `stride` values apart in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a> Matrix<'a> {
    /// Views a slice as contiguous rows.
    ///
    /// # Panics
    /// If the slice does not hold exactly `rows * columns` values.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(columns), "the slice holds [{rows}, {columns}]");
        Self { data, rows, columns, stride: columns }
    }

    /// Views a slice as rows that start `stride` values apart.
    ///
    /// # Panics
    /// If the slice is too short, or `stride` is less than `columns`.
    pub fn with_stride(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        check(data.len(), rows, columns, stride);
        Self { data, rows, columns, stride }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the distance between row starts, in values.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Returns one row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [f32] {
        assert!(row < self.rows);
        &self.data[row * self.stride..][..self.columns]
    }

    /// Returns the slice from the start of the first row on.
    #[inline(always)]
    pub(crate) fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Returns the slice from the start of a row on.
    #[inline(always)]
    pub(crate) fn rows_from(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..]
    }
}

/// A writable matrix `[rows, columns]` whose rows start `stride` values apart in a slice.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// Views a slice as contiguous rows.
    ///
    /// # Panics
    /// If the slice does not hold exactly `rows * columns` values.
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(columns), "the slice holds [{rows}, {columns}]");
        Self { data, rows, columns, stride: columns }
    }

    /// Views a slice as rows that start `stride` values apart.
    ///
    /// # Panics
    /// If the slice is too short, or `stride` is less than `columns`.
    pub fn with_stride(data: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        check(data.len(), rows, columns, stride);
        Self { data, rows, columns, stride }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Shares the matrix so that several threads can write to disjoint parts.
    pub(crate) fn share(self) -> SharedMatrix<'a> {
        SharedMatrix {
            start: self.data.as_mut_ptr(),
            rows: self.rows,
            columns: self.columns,
            stride: self.stride,
            lifetime: PhantomData,
        }
    }
}

/// Checks that a slice of `len` values holds the rows.
fn check(len: usize, rows: usize, columns: usize, stride: usize) {
    assert!(stride >= columns, "rows of {columns} values do not fit a stride of {stride}");
    // Saturating, so that no size, however absurd, seems to fit.
    let needed = if rows == 0 { 0 } else { (rows - 1).saturating_mul(stride).saturating_add(columns) };
    assert!(len >= needed, "[{rows}, {columns}] with stride {stride} needs {needed} values, found {len}");
}

/// A writable matrix from which threads take disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct SharedMatrix<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

#[allow(unsafe_code)]
// SAFETY: the matrix is borrowed mutably for the lifetime, and the callers of `part` ensure that parts are disjoint.
unsafe impl Send for SharedMatrix<'_> {}
#[allow(unsafe_code)]
// SAFETY: as for `Send`.
unsafe impl Sync for SharedMatrix<'_> {}

impl<'a> SharedMatrix<'a> {
    /// Returns the number of columns.
    #[inline(always)]
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Returns `count` values of a row, starting at a column.
    ///
    /// # Safety
    /// No overlapping part may exist while this one lives.
    ///
    /// # Panics
    /// If the part is not within the matrix.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) unsafe fn part(&self, row: usize, column: usize, count: usize) -> &'a mut [f32] {
        assert!(row < self.rows && column <= self.columns && count <= self.columns - column);
        // SAFETY: the part lies within the matrix (asserted), which is borrowed mutably for the lifetime, and the
        // caller promises that no other part overlaps it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride + column), count) }
    }
}
