//! Convolution of 3 by 3 windows by Winograd's way: tiles of 2 by 2 outputs take 16 products in place of 36.
//!
//! Tiles of 4 by 4 pixels and the windows are turned by small matrices of 0, 1, -1 and 1/2 so that convolving becomes
//! multiplying value by value; over all channels that is a matrix product for each of the 16 places. Larger tiles need fewer
//! products, but their matrices hold larger numbers and the error grows tenfold; with these it stays that of a plain sum.

use std::ops::Range;

use crate::buffer::bytes;
use crate::epilogue::{Epilogue, Place};
use crate::isa::{Ahead, Kernel, MAX_TILE, Simd, Tile, Widening, load, store};
use crate::matrix::SharedMatrix;
use crate::pack::{PackedMatrix, WeightLayout};
use crate::product::TileSums;
use crate::threads::Kernels;
use crate::window::{Image, Window};

/// Places of a tile.
const PLACES: usize = 16;

/// Most tiles in a task: enough to read a panel of weights from memory once for many. The turned pixels of many channels
/// leave the second-level cache, but each is read once for a whole panel.
const MOST_TILES: usize = 64;

/// Fewest channels, in and out, for which the products outweigh the turning.
const FEWEST_CHANNELS: usize = 16;

/// The matrix that turns windows: the turned window is `G · window · Gᵀ`.
const WINDOW: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

/// Turned windows: for each place of a tile the weights of a linear layer over the channels.
#[derive(Debug)]
pub(crate) struct WinogradWeight {
    places: Vec<PackedMatrix>,
}

impl WinogradWeight {
    /// Returns whether a convolution is computed this way.
    pub(crate) fn fits(window: &Window, inputs: usize, outputs: usize, groups: usize) -> bool {
        let plain = window.kernel == [3, 3] && window.stride == [1, 1] && window.dilation == [1, 1];
        plain && groups == 1 && inputs.min(outputs) >= FEWEST_CHANNELS
    }

    /// Turns and packs weights `[outputs, inputs, 3, 3]`.
    pub(crate) fn new(kernels: &Kernels, weight: &[f32], outputs: usize, inputs: usize) -> Self {
        let place = |place: usize| {
            let (left, right) = (WINDOW[place / 4], WINDOW[place % 4]);
            let factors: [f64; 9] = std::array::from_fn(|tap| left[tap / 3] * right[tap % 3]);
            let mut builder = kernels.linear_builder(outputs, inputs, WeightLayout::OutIn);
            builder.push_with(outputs * inputs, &|start, values| {
                for (value, window) in values.iter_mut().zip(weight[9 * start..].chunks_exact(9)) {
                    let products = factors.iter().zip(window).map(|(factor, tap)| factor * f64::from(*tap));
                    *value = products.sum::<f64>() as f32;
                }
            });
            builder.finish()
        };
        Self { places: (0..PLACES).map(place).collect() }
    }

    /// Returns the bytes taken by the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.places.iter().map(PackedMatrix::bytes).sum()
    }
}

impl Kernels {
    /// Convolves tile by tile; each task computes some tiles, and of few tiles some outputs.
    pub(crate) fn winograd(
        &self,
        x: Image<'_>,
        weight: &WinogradWeight,
        window: &Window,
        size: [usize; 2],
        epilogue: &Epilogue<'_>,
        out: SharedMatrix<'_>,
    ) {
        let first = &weight.places[0];
        let grid = [size[0].div_ceil(2), size[1].div_ceil(2)];
        let tiles = x.batch * grid[0] * grid[1];
        let blocks = tiles.div_ceil(MOST_TILES);
        let fitting = tiles.div_ceil(blocks.max(1)).next_multiple_of(self.isa().tile_rows());
        let parts = self.parts(blocks, first.panels());
        let work = tiles * first.outputs() * (2 * PLACES * x.channels + 4 * epilogue.work());
        self.parallel(blocks * parts, work, |task| {
            let (part, block) = (task % parts, task / parts);
            let tiles = block * fitting..tiles.min((block + 1) * fitting);
            let panels = first.panels() * part / parts..first.panels() * (part + 1) / parts;
            let turned = PLACES * tiles.len() * x.channels;
            let sums = PLACES * tiles.len() * self.isa().panel_width();
            self.with_scratch(turned.next_multiple_of(16) + sums, |scratch| {
                let (turned, sums) = scratch.split_at_mut(turned.next_multiple_of(16));
                self.isa().run(Tiles {
                    x,
                    weight,
                    window,
                    size,
                    grid,
                    tiles,
                    panels,
                    turned,
                    sums,
                    epilogue,
                    out,
                });
            });
        });
    }
}

/// Some tiles times some panels of weights.
struct Tiles<'a> {
    x: Image<'a>,
    weight: &'a WinogradWeight,
    window: &'a Window,
    /// Height and width of the output.
    size: [usize; 2],
    /// Tiles of an image, down and across.
    grid: [usize; 2],
    tiles: Range<usize>,
    panels: Range<usize>,
    /// Space for turned pixels, `[places, tiles, channels]`.
    turned: &'a mut [f32],
    /// Space for the sums of a panel, `[places, tiles, columns]`.
    sums: &'a mut [f32],
    epilogue: &'a Epilogue<'a>,
    /// No other task touches these tiles in the panels' columns.
    out: SharedMatrix<'a>,
}

impl Kernel for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.turn(simd);
        for panel in self.panels.clone() {
            self.multiply(simd, panel);
            self.turn_back(simd, panel);
        }
    }
}

impl Tiles<'_> {
    /// Returns the image and the top left output of a tile.
    #[inline(always)]
    fn corner(&self, tile: usize) -> (usize, [usize; 2]) {
        let (rest, x) = (tile / self.grid[1], tile % self.grid[1]);
        (rest / self.grid[0], [2 * (rest % self.grid[0]), 2 * x])
    }

    /// Turns the pixels of all tiles.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    fn turn<S: Simd>(&mut self, simd: S) {
        let channels = self.x.channels;
        let plane = self.tiles.len() * channels;
        for index in 0..self.tiles.len() {
            let (batch, corner) = self.corner(self.tiles.start + index);
            let source =
                |axis: usize, tap: usize| self.window.source(axis, corner[axis], tap, self.x.size[axis]);
            let pixels: [[Option<&[f32]>; 4]; 4] = std::array::from_fn(|y| {
                std::array::from_fn(|x| Some(self.x.pixel(batch, source(0, y)?, source(1, x)?)))
            });
            for start in (0..channels).step_by(S::LANES) {
                let part = start..channels.min(start + S::LANES);
                // Down the columns, then along the lines. No closures: they would not be compiled for the instruction set.
                let mut lines = [[simd.splat(0.0); 4]; 4];
                for x in 0..4 {
                    let mut column = [simd.splat(0.0); 4];
                    for y in 0..4 {
                        if let Some(pixel) = pixels[y][x] {
                            column[y] = load(simd, &pixel[part.clone()]);
                        }
                    }
                    let column = turn_pixels(simd, column);
                    for y in 0..4 {
                        lines[y][x] = column[y];
                    }
                }
                for (y, line) in lines.into_iter().enumerate() {
                    for (x, value) in turn_pixels(simd, line).into_iter().enumerate() {
                        let place = (4 * y + x) * plane + index * channels;
                        store(simd, &mut self.turned[place..][part.clone()], value);
                    }
                }
            }
        }
    }

    /// Multiplies the turned pixels of all places by one panel of their weights.
    #[inline(always)]
    fn multiply<S: Simd>(&mut self, simd: S, index: usize) {
        let (tiles, channels) = (self.tiles.len(), self.x.channels);
        for (place, weight) in self.weight.places.iter().enumerate() {
            let panel = weight.panel(index);
            let next = self
                .weight
                .places
                .get(place + 1)
                .map_or(panel.next, |weight| bytes(weight.panel(index).data));
            let width = panel.vectors * S::LANES;
            for first in (0..tiles).step_by(S::TILE_ROWS) {
                let row = place * tiles + first;
                let tile = Tile {
                    ahead: Ahead::of(next, first / S::TILE_ROWS * channels),
                    a: &self.turned[row * channels..],
                    a_stride: channels,
                    rows: (tiles - first).min(S::TILE_ROWS),
                    b: panel.data,
                    vectors: panel.vectors,
                    depth: channels,
                };
                tile.multiply(Widening::with(simd), &mut self.sums[row * width..], width);
            }
        }
    }

    /// Turns the sums of a panel into outputs and stores them.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    fn turn_back<S: Simd>(&mut self, simd: S, panel: usize) {
        let panel = self.weight.places[0].panel(panel);
        let width = panel.vectors * S::LANES;
        let plane = self.tiles.len() * width;
        let mut outputs = TileSums([0.0; MAX_TILE]);
        for index in 0..self.tiles.len() {
            let (batch, corner) = self.corner(self.tiles.start + index);
            for start in (0..width).step_by(S::LANES) {
                let mut lines = [[simd.splat(0.0); 4]; 2];
                for x in 0..4 {
                    let mut column = [simd.splat(0.0); 4];
                    for y in 0..4 {
                        column[y] = simd.load(&self.sums[(4 * y + x) * plane + index * width + start..]);
                    }
                    let column = turn_sums(simd, column);
                    (lines[0][x], lines[1][x]) = (column[0], column[1]);
                }
                for (y, line) in lines.into_iter().enumerate() {
                    for (x, value) in turn_sums(simd, line).into_iter().enumerate() {
                        simd.store(&mut outputs.0[(2 * y + x) * width + start..], value);
                    }
                }
            }
            let place = Place {
                row: (batch * self.size[0] + corner[0]) * self.size[1] + corner[1],
                rows: 2.min(self.size[1] - corner[1]),
                column: panel.column,
                columns: panel.columns,
            };
            for line in 0..2.min(self.size[0] - corner[0]) {
                let place = Place { row: place.row + line * self.size[1], ..place };
                #[allow(unsafe_code)]
                // SAFETY: these outputs belong to this task only.
                unsafe {
                    self.epilogue.store_tile(simd, &outputs.0[2 * line * width..], place, self.out);
                }
            }
        }
    }
}

/// Turns four pixels of a line or column.
#[inline(always)]
fn turn_pixels<S: Simd>(simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 4] {
    [simd.sub(a, c), simd.add(b, c), simd.sub(c, b), simd.sub(b, d)]
}

/// Turns four sums of a line or column into two outputs.
#[inline(always)]
fn turn_sums<S: Simd>(simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 2] {
    [simd.add(simd.add(a, b), c), simd.sub(simd.sub(b, c), d)]
}
