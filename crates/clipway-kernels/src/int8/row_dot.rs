//! Products along a row: whole vectors of a row times whole vectors of a query.

/// Instructions that multiply runs of int8; a value of the type is proof that the processor has them.
pub(super) trait RowDot: Copy {
    /// A vector of sums.
    type RowSums: Copy;
    /// Values of a row, ready to be multiplied.
    type RowRun: Copy;
    /// Values of a query, ready to be multiplied.
    type QueryRun: Copy;
    /// Values per run; divides 64.
    const RUN: usize;

    /// Returns zeroed sums.
    fn no_sums(self) -> Self::RowSums;

    /// Loads values of a row, as the bytes of int8.
    ///
    /// # Safety
    /// `values` points to `RUN` readable bytes.
    #[allow(unsafe_code)]
    unsafe fn row_run(self, values: *const u8) -> Self::RowRun;

    /// Loads values of a query.
    ///
    /// # Safety
    /// `values` points to `RUN` readable values.
    #[allow(unsafe_code)]
    unsafe fn query_run(self, values: *const i8) -> Self::QueryRun;

    /// Adds the products of a run, wrapping. Where a path has an input offset, the row's values have it.
    fn add_run(self, sums: Self::RowSums, row: Self::RowRun, query: Self::QueryRun) -> Self::RowSums;

    /// Adds up the sums, wrapping.
    fn total(self, sums: Self::RowSums) -> i32;
}
