//! Products in parts: rows times a panel of weights, tile by tile, and how the parts are spread over threads.

use crate::epilogue::{Epilogue, Place};
use crate::isa::{Ahead, Kernel, MAX_TILE, Multiply, Simd, Tile, Widening};
use crate::matrix::{Matrix, MatrixMut, SharedMatrix};
use crate::pack::{PackedMatrix, Panel, PanelElement};
use crate::threads::Kernels;
use std::ops::Range;

/// Most rows in a task: enough to read a panel of weights from memory once for many rows.
const MOST_ROWS: usize = 128;

/// Fewest rows in a task when rows are split to keep all threads busy.
const FEWEST_ROWS: usize = 32;

/// Tasks per thread, so that all threads finish at about the same time.
const TASKS_A_THREAD: usize = 8;

/// Packed weights, with their way to be multiplied.
pub(crate) trait PackedWeights: Sync + Sized {
    /// Returns the length of a row of the input.
    fn inputs(&self) -> usize;

    /// Returns the length of a row of the output.
    fn outputs(&self) -> usize;

    /// Returns the number of panels.
    fn panels(&self) -> usize;

    /// Returns the rough cost of one output before its epilogue, in f32 operations.
    fn work(&self) -> usize;

    /// Checks that the weights are packed for these kernels.
    fn check(&self, kernels: &Kernels);

    /// Computes a product on all threads.
    fn multiply(product: Product<'_, Self>);

    /// Computes the product of one task.
    fn multiply_rows(product: RowsProduct<'_, Self>);
}

/// A type of weights with a way to multiply them.
pub(crate) trait Products: PanelElement {
    /// Computes a product on all threads.
    fn multiply(product: Product<'_, PackedMatrix<Self>>);

    /// Computes the product of one task.
    fn multiply_rows(product: RowsProduct<'_, PackedMatrix<Self>>);
}

/// All rows times all panels of some weights.
pub(crate) struct Product<'a, W> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) x: Matrix<'a>,
    pub(crate) weight: &'a W,
    pub(crate) epilogue: &'a Epilogue<'a>,
    pub(crate) out: SharedMatrix<'a>,
}

impl<W: PackedWeights> Product<'_, W> {
    /// Returns the rough cost in f32 operations.
    pub(crate) fn work(&self) -> usize {
        self.x.rows() * self.weight.outputs() * (self.weight.work() + self.epilogue.work())
    }
}

impl<E: Products> Product<'_, PackedMatrix<E>> {
    /// Computes it in f32.
    pub(crate) fn widen(self) {
        let (isa, work) = (self.kernels.isa(), self.work());
        let Product { kernels, x, weight, epilogue, out } = self;
        kernels.by_panels(isa.tile_rows(), x.rows(), weight.panels(), work, |rows, panel| {
            isa.run(Block::of(x, rows, 0, weight.panel(panel), 0, epilogue, out));
        });
    }
}

/// Some rows of one task times some panels.
pub(crate) struct RowsProduct<'a, W> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) x: Matrix<'a>,
    /// The output row for row 0 of `x`.
    pub(crate) first_row: usize,
    pub(crate) weight: &'a W,
    pub(crate) panels: Range<usize>,
    /// The output column for column 0 of the weights.
    pub(crate) column: usize,
    pub(crate) epilogue: &'a Epilogue<'a>,
    /// No other thread touches these rows in the panels' columns.
    pub(crate) out: SharedMatrix<'a>,
}

impl<E: PanelElement> RowsProduct<'_, PackedMatrix<E>> {
    /// Computes it in f32.
    pub(crate) fn widen(self) {
        let RowsProduct { kernels, x, first_row, weight, panels, column, epilogue, out } = self;
        for index in panels {
            let panel = weight.panel(index);
            kernels.isa().run(Block::of(x, 0..x.rows(), first_row, panel, column, epilogue, out));
        }
    }
}

impl Kernels {
    /// Writes `epilogue(x · Wᵀ)` to `out`.
    ///
    /// # Panics
    /// If sizes differ, or the weights were packed for other kernels.
    pub(crate) fn product<W: PackedWeights>(
        &self,
        x: Matrix<'_>,
        weight: &W,
        epilogue: &Epilogue<'_>,
        out: MatrixMut<'_>,
    ) {
        weight.check(self);
        assert_eq!(x.columns(), weight.inputs(), "x has a column for each input");
        assert_eq!((out.rows(), out.columns()), (x.rows(), weight.outputs()), "the output's size");
        epilogue.check(out.rows(), out.columns());
        W::multiply(Product { kernels: self, x, weight, epilogue, out: out.share() });
    }

    /// Runs the tasks of a product, each for some rows, in whole tiles, and one panel. `work` is the rough cost of all, in f32
    /// operations.
    pub(crate) fn by_panels(
        &self,
        tile_rows: usize,
        rows: usize,
        panels: usize,
        work: usize,
        task: impl Fn(Range<usize>, usize) + Sync,
    ) {
        let block = rows_of_a_task(rows, panels, self.threads(), tile_rows);
        let blocks = rows.div_ceil(block.max(1));
        self.parallel(blocks * panels, work, |index| {
            let first = index / panels * block;
            task(first..rows.min(first + block), index % panels);
        });
    }
}

/// Returns the rows per task, in whole tiles; each task takes one panel.
fn rows_of_a_task(rows: usize, panels: usize, threads: usize, tile_rows: usize) -> usize {
    let wanted = (TASKS_A_THREAD * threads).div_ceil(panels.max(1));
    let blocks = rows.div_ceil(MOST_ROWS).max(wanted.min(rows.div_ceil(FEWEST_ROWS)));
    rows.div_ceil(blocks.max(1)).next_multiple_of(tile_rows)
}

/// Some rows of the input times one panel.
pub(crate) struct Block<'a, A, B> {
    /// The input from row 0 on.
    pub(crate) a: &'a [A],
    /// The distance between row starts of the input, in values.
    pub(crate) stride: usize,
    /// Values of a row, in whole groups.
    pub(crate) depth: usize,
    /// The rows of the input.
    pub(crate) rows: Range<usize>,
    /// The output row for row 0 of the input.
    pub(crate) first_row: usize,
    pub(crate) panel: Panel<'a, B>,
    /// The output column for column 0 of the weights.
    pub(crate) column: usize,
    pub(crate) epilogue: &'a Epilogue<'a>,
    /// No other thread touches the block's rows and columns.
    pub(crate) out: SharedMatrix<'a>,
}

/// Sums of one tile, on a cache line.
#[repr(align(64))]
pub(crate) struct TileSums(pub(crate) [f32; MAX_TILE]);

impl<'a, B> Block<'a, f32, B> {
    /// Some rows of a matrix times one panel.
    fn of(
        x: Matrix<'a>,
        rows: Range<usize>,
        first_row: usize,
        panel: Panel<'a, B>,
        column: usize,
        epilogue: &'a Epilogue<'a>,
        out: SharedMatrix<'a>,
    ) -> Self {
        let (a, stride, depth) = (x.data(), x.stride(), x.columns());
        Block { a, stride, depth, rows, first_row, panel, column, epilogue, out }
    }
}

impl<E: PanelElement> Kernel for Block<'_, f32, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.multiply(Widening::with(simd));
    }
}

impl<A: Copy, B: Copy> Block<'_, A, B> {
    /// Multiplies tile by tile.
    #[inline(always)]
    pub(crate) fn multiply<M: Multiply<A = A, B = B>>(self, with: M) {
        let Self { a, stride, depth, rows, first_row, panel, column, epilogue, out } = self;
        let column = column + panel.column;
        let mut sums = TileSums([0.0; MAX_TILE]);
        let width = panel.vectors * M::Simd::LANES;
        let mut fetched = 0;
        let mut row = rows.start;
        while row < rows.end {
            let count = (rows.end - row).min(M::Simd::TILE_ROWS);
            let tile = Tile {
                ahead: Ahead::of(panel.next, fetched),
                a: &a[row * stride..],
                a_stride: stride,
                rows: count,
                b: panel.data,
                vectors: panel.vectors,
                depth,
            };
            tile.multiply(with, &mut sums.0, width);
            fetched += depth / M::GROUP;
            let place = Place { row: first_row + row, rows: count, column, columns: panel.columns };
            #[allow(unsafe_code)]
            // SAFETY: the rows and columns of a block belong to one task only.
            unsafe {
                epilogue.store_tile(with.simd(), &sums.0, place, out);
            }
            row += count;
        }
    }
}
