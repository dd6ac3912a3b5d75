//! The matrix product with packed weights.

use crate::epilogue::{Epilogue, Place};
use crate::isa::{Ahead, Kernel, MAX_TILE, Simd, Tile};
use crate::matrix::{Matrix, MatrixMut, SharedMatrix};
use crate::pack::{PackedMatrix, Panel, PanelElement};
use crate::threads::Kernels;

/// Most rows in a task: enough to read a panel of weights from memory once for many rows.
const MOST_ROWS: usize = 128;

/// Fewest rows in a task when rows are split to keep all threads busy.
const FEWEST_ROWS: usize = 32;

/// Tasks per thread, so that all threads finish at about the same time.
const TASKS_A_THREAD: usize = 8;

impl Kernels {
    /// Writes `epilogue(x · Wᵀ)` to `out`: `[rows, inputs]` to `[rows, outputs]`.
    ///
    /// # Panics
    /// If sizes differ, or the weights were packed for another instruction set.
    pub fn linear<E: PanelElement>(
        &self,
        x: Matrix<'_>,
        weight: &PackedMatrix<E>,
        epilogue: Epilogue<'_>,
        out: MatrixMut<'_>,
    ) {
        assert_eq!(weight.isa(), self.isa(), "the weights are packed for these kernels");
        assert_eq!(x.columns(), weight.inputs(), "x has a column for each input");
        assert_eq!((out.rows(), out.columns()), (x.rows(), weight.outputs()), "the output's size");
        epilogue.check(out.rows(), out.columns());
        let rows = x.rows();
        let work = rows * weight.outputs() * (2 * weight.inputs() + epilogue.work());
        let panels = weight.panels();
        let block = rows_of_a_task(rows, panels, self.threads(), self.isa().tile_rows());
        let blocks = rows.div_ceil(block.max(1));
        let out = out.share();
        self.parallel(blocks * panels, work, |task| {
            let panel = weight.panel(task % panels);
            let first = task / panels * block;
            let rows = first..rows.min(first + block);
            self.isa().run(Block { x, rows, first_row: 0, panel, column: 0, epilogue: &epilogue, out });
        });
    }
}

/// Returns the rows per task, in whole tiles; each task takes one panel.
pub(crate) fn rows_of_a_task(rows: usize, panels: usize, threads: usize, tile_rows: usize) -> usize {
    let wanted = (TASKS_A_THREAD * threads).div_ceil(panels.max(1));
    let blocks = rows.div_ceil(MOST_ROWS).max(wanted.min(rows.div_ceil(FEWEST_ROWS)));
    rows.div_ceil(blocks.max(1)).next_multiple_of(tile_rows)
}

/// Some rows of the input times one panel.
pub(crate) struct Block<'a, E> {
    pub(crate) x: Matrix<'a>,
    /// The rows of `x`.
    pub(crate) rows: std::ops::Range<usize>,
    /// The output row for row 0 of `x`.
    pub(crate) first_row: usize,
    pub(crate) panel: Panel<'a, E>,
    /// The output column for column 0 of the weights.
    pub(crate) column: usize,
    pub(crate) epilogue: &'a Epilogue<'a>,
    /// No other thread touches the block's rows and columns.
    pub(crate) out: SharedMatrix<'a>,
}

/// Sums of one tile, on a cache line.
#[repr(align(64))]
pub(crate) struct TileSums(pub(crate) [f32; MAX_TILE]);

impl<E: PanelElement> Kernel for Block<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x, rows, first_row, panel, column, epilogue, out } = self;
        let column = column + panel.column;
        let mut sums = TileSums([0.0; MAX_TILE]);
        let width = panel.vectors * S::LANES;
        let mut fetched = 0;
        let mut row = rows.start;
        while row < rows.end {
            let count = (rows.end - row).min(S::TILE_ROWS);
            let tile = Tile {
                ahead: Ahead::of(panel.next, fetched),
                a: x.rows_from(row),
                a_stride: x.stride(),
                rows: count,
                b: panel.data,
                vectors: panel.vectors,
                depth: x.columns(),
            };
            tile.multiply(simd, &mut sums.0, width);
            fetched += x.columns();
            let place = Place { row: first_row + row, rows: count, column, columns: panel.columns };
            #[allow(unsafe_code)]
            // SAFETY: the rows and columns of a block belong to one task only.
            unsafe {
                epilogue.store_tile(simd, &sums.0, place, out);
            }
            row += count;
        }
    }
}
