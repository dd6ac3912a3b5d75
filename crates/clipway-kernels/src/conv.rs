//! Two-dimensional convolution, channels last: rows of patches times packed weights.

use crate::depthwise::{DepthwiseWeight, MOST_COPIES};
use crate::epilogue::Epilogue;
use crate::int8::PackedInt8;
use crate::matrix::{Matrix, MatrixMut, SharedMatrix};
use crate::pack::{PackedMatrix, WeightLayout};
use crate::product::{PackedWeights, Product, Products, RowsProduct};
use crate::threads::Kernels;
use crate::window::{Image, Window};
use crate::winograd::WinogradWeight;
use half::bf16;

/// Values of gathered patches that a task holds: half of a typical second-level cache.
const TASK_VALUES: usize = 128 * 1024;

/// The packed weights of a convolution.
#[derive(Debug)]
pub struct PackedConv {
    window: Window,
    inputs: usize,
    outputs: usize,
    weight: Weight,
}

#[derive(Debug)]
pub(crate) enum Weight {
    /// One matrix per group, with inputs ordered `[kernel height, kernel width, channels]`.
    F32(Vec<PackedMatrix>),
    /// The same in bf16.
    Bf16(Vec<PackedMatrix<bf16>>),
    /// The same in int8.
    Int8(Vec<PackedInt8>),
    /// One group per channel, with few outputs.
    Depthwise(DepthwiseWeight),
    /// Windows of 3 by 3 over many channels.
    Winograd(WinogradWeight),
}

/// A type of weights that a convolution can have.
pub(crate) trait ConvElement: Products {
    /// Wraps a matrix for each group.
    fn of_conv(groups: Vec<PackedMatrix<Self>>) -> Weight;
}

impl ConvElement for f32 {
    fn of_conv(groups: Vec<PackedMatrix>) -> Weight {
        Weight::F32(groups)
    }
}

impl ConvElement for bf16 {
    fn of_conv(groups: Vec<PackedMatrix<bf16>>) -> Weight {
        Weight::Bf16(groups)
    }
}

impl PackedConv {
    /// Returns the window.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Returns the number of input channels.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the number of output channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the bytes taken by the packed weights.
    pub fn bytes(&self) -> usize {
        match &self.weight {
            Weight::F32(groups) => groups.iter().map(PackedMatrix::bytes).sum(),
            Weight::Bf16(groups) => groups.iter().map(PackedMatrix::bytes).sum(),
            Weight::Int8(groups) => groups.iter().map(PackedInt8::bytes).sum(),
            Weight::Depthwise(weight) => weight.bytes(),
            Weight::Winograd(weight) => weight.bytes(),
        }
    }
}

/// Reorders one output's weights from `[channels, taps]` to the order of gathered patches, `[taps, channels]`.
fn reorder<T: Copy>(row: &[T], taps: usize, reordered: &mut [T]) {
    let channels = reordered.len() / taps.max(1);
    for (channel, window) in row.chunks_exact(taps.max(1)).enumerate() {
        for (tap, &value) in window.iter().enumerate() {
            reordered[tap * channels + channel] = value;
        }
    }
}

impl Kernels {
    /// Packs convolution weights `[outputs, inputs / groups, kernel height, kernel width]`. With bf16, windows of a channel each
    /// and those computed by Winograd's way stay in f32.
    ///
    /// # Panics
    /// If the sizes do not fit.
    #[allow(private_bounds)]
    pub fn pack_conv2d<E: ConvElement>(
        &self,
        weight: &[f32],
        outputs: usize,
        inputs: usize,
        groups: usize,
        window: Window,
    ) -> PackedConv {
        window.check();
        let divides = |channels: usize| groups > 0 && channels.is_multiple_of(groups);
        assert!(divides(outputs) && divides(inputs), "{groups} groups divide the channels");
        let taps = window.taps();
        let channels = inputs / groups;
        assert_eq!(weight.len(), outputs * channels * taps, "[{outputs}, {channels}, {:?}]", window.kernel);
        let copies = outputs / groups;
        let weight = if groups == inputs && (1..=MOST_COPIES).contains(&copies) {
            Weight::Depthwise(DepthwiseWeight::new(weight, taps, copies, self.isa()))
        } else if WinogradWeight::fits(&window, inputs, outputs, groups) {
            Weight::Winograd(WinogradWeight::new(self, weight, outputs, inputs))
        } else {
            let depth = channels * taps;
            let rows = outputs / groups;
            let mut reordered = vec![0.0; depth];
            let pack = |group: usize| {
                let mut builder = self.linear_builder::<E>(rows, depth, WeightLayout::OutIn);
                for row in weight.chunks_exact(depth.max(1)).skip(group * rows).take(rows) {
                    reorder(row, taps, &mut reordered);
                    builder.push(&reordered);
                }
                builder.finish()
            };
            E::of_conv((0..groups).map(pack).collect())
        };
        PackedConv { window, inputs, outputs, weight }
    }

    /// Packs int8 convolution weights `[outputs, inputs / groups, kernel height, kernel width]`; each output is
    /// multiplied by its scale. Patches are quantized as they are gathered, each with its own scale.
    ///
    /// # Panics
    /// If the sizes do not fit, or a patch has more than [`MOST_INT8_INPUTS`](crate::MOST_INT8_INPUTS) values.
    pub fn pack_conv2d_int8(
        &self,
        weight: &[i8],
        scales: &[f32],
        inputs: usize,
        groups: usize,
        window: Window,
    ) -> PackedConv {
        window.check();
        let outputs = scales.len();
        let divides = |channels: usize| groups > 0 && channels.is_multiple_of(groups);
        assert!(divides(outputs) && divides(inputs), "{groups} groups divide the channels");
        let (taps, channels, rows) = (window.taps(), inputs / groups, outputs / groups);
        let depth = channels * taps;
        assert_eq!(weight.len(), outputs * depth, "[{outputs}, {channels}, {:?}]", window.kernel);
        let mut reordered = vec![0; depth];
        let pack = |group: usize| {
            let mut builder = self.int8_builder(rows, depth);
            for output in group * rows..(group + 1) * rows {
                reorder(&weight[output * depth..][..depth], taps, &mut reordered);
                builder.push(&reordered, scales[output]);
            }
            builder.finish()
        };
        let weight = Weight::Int8((0..groups).map(pack).collect());
        PackedConv { window, inputs, outputs, weight }
    }

    /// Writes `epilogue(convolution)` to `out`, `[batch, height, width, outputs]`; the epilogue's rows are pixels.
    ///
    /// # Panics
    /// If sizes differ, or the weights were packed for another instruction set.
    pub fn conv2d(&self, x: Image<'_>, conv: &PackedConv, epilogue: Epilogue<'_>, out: &mut [f32]) {
        assert_eq!(x.channels, conv.inputs, "the image has the convolution's channels");
        let size = conv.window.output_size(x.size);
        let rows = x.batch * size[0] * size[1];
        let out = MatrixMut::new(out, rows, conv.outputs);
        epilogue.check(rows, conv.outputs);
        match &conv.weight {
            Weight::Depthwise(weight) => {
                self.depthwise(x, weight, &conv.window, size, &epilogue, out.share())
            }
            Weight::Winograd(weight) => self.winograd(x, weight, &conv.window, size, &epilogue, out.share()),
            Weight::F32(groups) => self.conv_groups(x, groups, conv, size, &epilogue, out.share()),
            Weight::Bf16(groups) => self.conv_groups(x, groups, conv, size, &epilogue, out.share()),
            Weight::Int8(groups) => self.conv_groups(x, groups, conv, size, &epilogue, out.share()),
        }
    }

    /// Convolves with a matrix for each group.
    fn conv_groups<W: PackedWeights>(
        &self,
        x: Image<'_>,
        groups: &[W],
        conv: &PackedConv,
        size: [usize; 2],
        epilogue: &Epilogue<'_>,
        out: SharedMatrix<'_>,
    ) {
        let first_group = &groups[0];
        first_group.check(self);
        let rows = x.batch * size[0] * size[1];
        if groups.len() == 1 && conv.window == Window::square(1, 1, 0) {
            let x = Matrix::new(x.data, rows, x.channels);
            W::multiply(Product { kernels: self, x, weight: first_group, epilogue, out });
            return;
        }
        let patches = Patches::of(x, conv, size, groups.len());
        let size = [groups.len(), rows, first_group.inputs(), first_group.panels()];
        let work = rows * out.columns() * (first_group.work() + epilogue.work());
        self.gathered(patches, size, work, |Gathered { group, first, x, panels }| {
            let (weight, column) = (&groups[group], group * first_group.outputs());
            let (kernels, first_row) = (self, first);
            W::multiply_rows(RowsProduct { kernels, x, first_row, weight, panels, column, epilogue, out });
        });
    }

    /// Gathers patches into rows, task by task, and calls a function with them and the panels assigned to the task.
    /// `size` holds the number of groups, the number of rows, the length of a row and the number of panels in a group.
    fn gathered(
        &self,
        patches: Patches<'_>,
        [groups, rows, depth, panels]: [usize; 4],
        work: usize,
        multiply: impl Fn(Gathered<'_>) + Sync,
    ) {
        let fitting = (TASK_VALUES / depth.max(1)).clamp(8, 128).next_multiple_of(self.isa().tile_rows());
        let blocks = rows.div_ceil(fitting);
        let parts = self.parts(blocks, panels);
        self.parallel(blocks * parts * groups, work, |task| {
            let (group, task) = (task % groups, task / groups);
            let (part, block) = (task % parts, task / parts);
            let first = block * fitting;
            let count = fitting.min(rows - first);
            let panels = panels * part / parts..panels * (part + 1) / parts;
            self.with_scratch(count * depth, |scratch| {
                patches.gather(group, first, scratch, depth);
                multiply(Gathered { group, first, x: Matrix::new(scratch, count, depth), panels });
            });
        });
    }
}

/// Patches gathered by one task.
struct Gathered<'a> {
    group: usize,
    /// The output row of the first patch.
    first: usize,
    x: Matrix<'a>,
    /// The weight panels to multiply by.
    panels: std::ops::Range<usize>,
}

/// The windows of an image, as rows of a matrix.
struct Patches<'a> {
    x: Image<'a>,
    window: &'a Window,
    /// The output's `[height, width]`.
    size: [usize; 2],
    /// Channels of a group.
    channels: usize,
}

impl<'a> Patches<'a> {
    fn of(x: Image<'a>, conv: &'a PackedConv, size: [usize; 2], groups: usize) -> Patches<'a> {
        Patches { x, window: &conv.window, size, channels: conv.inputs / groups }
    }

    /// Writes the windows of the outputs from `first` on, one per row of `depth` values.
    fn gather(&self, group: usize, first: usize, rows: &mut [f32], depth: usize) {
        let [height, width] = self.window.kernel;
        for (index, row) in rows.chunks_exact_mut(depth.max(1)).enumerate() {
            let pixel = first + index;
            let (rest, x) = (pixel / self.size[1], pixel % self.size[1]);
            let (batch, y) = (rest / self.size[0], rest % self.size[0]);
            for (tap, part) in row.chunks_exact_mut(width * self.channels).enumerate().take(height) {
                match self.window.source(0, y, tap, self.x.size[0]) {
                    Some(source) => self.gather_line(group, batch, source, x, part),
                    None => part.fill(0.0),
                }
            }
        }
    }

    /// Writes one line of a window.
    #[inline]
    fn gather_line(&self, group: usize, batch: usize, y: usize, x: usize, part: &mut [f32]) {
        let window = self.window;
        let start = (x * window.stride[1]).checked_sub(window.padding[1][0]);
        let whole = self.channels == self.x.channels && window.dilation[1] == 1;
        if let Some(start) = start.filter(|start| whole && start + window.kernel[1] <= self.x.size[1]) {
            part.copy_from_slice(&self.x.data[self.x.place(batch, y, start)..][..part.len()]);
            return;
        }
        for (tap, part) in part.chunks_exact_mut(self.channels).enumerate() {
            match window.source(1, x, tap, self.x.size[1]) {
                Some(source) => {
                    let pixel = self.x.pixel(batch, y, source);
                    part.copy_from_slice(&pixel[group * self.channels..][..self.channels]);
                }
                None => part.fill(0.0),
            }
        }
    }
}
