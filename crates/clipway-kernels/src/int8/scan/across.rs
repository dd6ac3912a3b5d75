//! Many queries: tiles of rows and queries, with a query in each lane.

use super::super::dot::{Dot, DotKernel};
use super::super::path::Int8Path;
use super::super::quantize::Quantized;
use crate::buffer::{AlignedBuffer, LINE, Plain};
use crate::isa::{Ahead, Simd, store};

/// Values of a row that lie side by side; those of the tile's next row follow. At a fixed distance the addresses of all rows need
/// no arithmetic, which would take the place of products.
const RUN: usize = 512;

/// Queries packed for one path, panel after panel of `[groups, vectors * lanes, group]`: the inputs of a group are adjacent.
pub(super) struct Panels {
    path: Int8Path,
    count: usize,
    stride: usize,
    data: AlignedBuffer<i8>,
    /// What the sums of each query begin with, up to a whole vector.
    starts: Vec<i32>,
}

/// One panel: up to a tile's width of queries.
#[derive(Clone, Copy)]
struct Panel<'a> {
    data: &'a [i8],
    starts: &'a [i32],
    /// The first query.
    first: usize,
    queries: usize,
}

impl Panels {
    /// Packs queries, `[queries, stride]`. `corrections` has for each what the input offset adds to its sums.
    pub(super) fn of(path: Int8Path, queries: &[i8], stride: usize, corrections: &[i32]) -> Panels {
        let (lanes, group) = (path.isa().lanes(), path.group());
        let count = corrections.len();
        let padded = count.next_multiple_of(lanes);
        let mut starts: Vec<i32> = corrections.iter().map(|correction| correction.wrapping_neg()).collect();
        starts.resize(padded, 0);
        let mut panels = Panels { path, count, stride, data: AlignedBuffer::zeroed(padded * stride), starts };
        for (query, values) in queries.chunks_exact(stride).enumerate() {
            let first = query - query % panels.width();
            let width = panels.width().min(padded - first);
            let start = first * stride + (query - first) * group;
            for (index, values) in values.chunks_exact(group).enumerate() {
                panels.data[start + index * width * group..][..group].copy_from_slice(values);
            }
        }
        panels
    }

    /// The path that the queries are packed for.
    pub(super) fn path(&self) -> Int8Path {
        self.path
    }

    /// Room for the values of a tile's rows.
    pub(super) fn values(&self) -> usize {
        self.path.scan_tile().0 * self.stride.next_multiple_of(RUN)
    }

    /// Queries of a whole panel.
    fn width(&self) -> usize {
        self.path.scan_tile().1 * self.path.isa().lanes()
    }

    fn panels(&self) -> usize {
        self.count.div_ceil(self.width())
    }

    #[inline(always)]
    fn panel(&self, index: usize) -> Panel<'_> {
        let first = index * self.width();
        let end = self.starts.len().min(first + self.width());
        Panel {
            data: &self.data[first * self.stride..end * self.stride],
            starts: &self.starts[first..end],
            first,
            queries: end.min(self.count) - first,
        }
    }
}

/// Rows times the queries of all panels.
pub(super) struct Across<'a, T> {
    pub(super) rows: &'a [u8],
    pub(super) scales: &'a [f32],
    pub(super) panels: &'a Panels,
    /// Room for the rows of a tile, `[runs, rows, RUN]`.
    pub(super) values: &'a mut [T],
    /// `[rows, queries]`.
    pub(super) scores: &'a mut [f32],
}

impl<T: Plain + Quantized> DotKernel<T> for Across<'_, T> {
    #[inline(always)]
    fn run<D: Dot<Value = T>>(self, dot: D) {
        match D::PATH.scan_tile().0 {
            4 => self.tiles::<D, 4>(dot),
            6 => self.tiles::<D, 6>(dot),
            12 => self.tiles::<D, 12>(dot),
            other => unreachable!("no tile has {other} rows"),
        }
    }
}

impl<T: Plain + Quantized> Across<'_, T> {
    #[inline(always)]
    fn tiles<D: Dot<Value = T>, const R: usize>(self, dot: D) {
        let Across { rows: all, scales, panels, values, scores } = self;
        let (stride, count) = (panels.stride, panels.count);
        let block = R * stride;
        let groups = stride / D::GROUP;
        // The next rows are fetched meanwhile: a line with each group of each panel, or with every second one if that is enough.
        let is_second = usize::from(block.div_ceil(LINE) <= panels.panels() * groups / 2);
        let parts = all.chunks(block).zip(scales.chunks(R)).zip(scores.chunks_mut(R * count));
        for (index, ((rows, scales), scores)) in parts.enumerate() {
            // Of fewer rows, the tile's others are left from before, and their sums are not used.
            for (row, bytes) in rows.chunks_exact(stride).enumerate() {
                for (run, bytes) in bytes.chunks(RUN).enumerate() {
                    let values = &mut values[(run * R + row) * RUN..][..bytes.len()];
                    for (value, byte) in values.iter_mut().zip(bytes) {
                        *value = T::of(byte.cast_signed());
                    }
                }
            }
            let next = all.get((index + 1) * block..).unwrap_or_default();
            let next = &next[..next.len().min(block)];
            let mut fetched = 0;
            for panel in 0..panels.panels() {
                let panel = panels.panel(panel);
                let ahead = Ahead::of(next, fetched);
                let tile = Tile { values, stride, panel, ahead, is_second, scales, count, scores };
                match panel.starts.len() / D::Float::LANES {
                    1 => tile.multiply::<D, R, 1>(dot),
                    2 => tile.multiply::<D, R, 2>(dot),
                    3 if const { D::PATH.scan_tile().1 >= 3 } => tile.multiply::<D, R, 3>(dot),
                    4 if const { D::PATH.scan_tile().1 >= 4 } => tile.multiply::<D, R, 4>(dot),
                    other => unreachable!("a panel has no {other} vectors"),
                }
                fetched += groups >> is_second;
            }
        }
    }
}

/// Some rows times one panel.
struct Tile<'a, T> {
    values: &'a [T],
    stride: usize,
    panel: Panel<'a>,
    /// The lines to fetch meanwhile.
    ahead: Ahead,
    /// 1 if a line is fetched with every second group, 0 if with each.
    is_second: usize,
    /// One for each row, of which there may be fewer than in a whole tile.
    scales: &'a [f32],
    /// All queries.
    count: usize,
    /// `[rows, count]`.
    scores: &'a mut [f32],
}

impl<T: Plain> Tile<'_, T> {
    #[inline(always)]
    #[allow(unsafe_code)]
    // Indexed loops, for the same reason as in the f32 tile.
    #[allow(clippy::needless_range_loop)]
    fn multiply<D: Dot<Value = T>, const R: usize, const V: usize>(self, dot: D) {
        let Tile { values, stride, panel, ahead, is_second, scales, count, scores } = self;
        let (lanes, float) = (D::Float::LANES, dot.float());
        let width = V * lanes;
        assert!(RUN.is_multiple_of(D::GROUP) && stride.is_multiple_of(D::GROUP), "whole groups");
        assert!(values.len() >= R * stride.next_multiple_of(RUN), "R rows");
        assert!(panel.data.len() >= width * stride && panel.starts.len() >= width, "V vectors of queries");
        let (values, data) = (values.as_ptr(), panel.data.as_ptr());
        let mut sums = [[dot.zero(); V]; R];
        for vector in 0..V {
            // SAFETY: by the asserted length, there are `LANES` starts for each vector.
            let start = unsafe { dot.load(panel.starts.as_ptr().add(vector * lanes)) };
            for row in 0..R {
                sums[row][vector] = start;
            }
        }
        for run in 0..stride.div_ceil(RUN) {
            let first = run * (RUN / D::GROUP);
            for group in 0..(stride - run * RUN).min(RUN) / D::GROUP {
                if group & is_second == 0 {
                    ahead.fetch((first + group) >> is_second);
                }
                // SAFETY: by the asserted lengths, `values` holds R rows of each run, and `data` as many groups of `width`
                // queries.
                unsafe {
                    let values = values.add(run * R * RUN + group * D::GROUP);
                    let data = data.add((first + group) * width * D::GROUP);
                    let mut queries = [dot.weights(data); V];
                    for vector in 1..V {
                        queries[vector] = dot.weights(data.add(vector * lanes * D::GROUP));
                    }
                    for row in 0..R {
                        let value = dot.group(values.add(row * RUN));
                        for vector in 0..V {
                            sums[row][vector] = dot.add(sums[row][vector], value, queries[vector]);
                        }
                    }
                }
            }
        }
        for row in 0..R {
            if let Some(scale) = scales.get(row) {
                let scores = &mut scores[row * count + panel.first..][..panel.queries];
                for vector in 0..V {
                    let products = float.mul(dot.floats(sums[row][vector]), float.splat(*scale));
                    store(float, &mut scores[vector * lanes..], products);
                }
            }
        }
    }
}
