//! Two-dimensional convolution, channels last: rows of patches times packed weights.

use crate::depthwise::{DepthwiseWeight, MOST_COPIES};
use crate::epilogue::Epilogue;
use crate::linear::Block;
use crate::matrix::{Matrix, MatrixMut, SharedMatrix};
use crate::pack::{PackedMatrix, WeightLayout};
use crate::threads::Kernels;
use crate::window::{Image, Window};

/// Values of gathered patches that a task holds: half of a common second-level cache.
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
enum Weight {
    /// A matrix for each group, whose inputs are `[kernel height, kernel width, channels]`.
    Groups(Vec<PackedMatrix>),
    /// A group for each channel, with few outputs.
    Depthwise(DepthwiseWeight),
}

impl PackedConv {
    /// Returns the window.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Returns the channels of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the channels of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the memory that the packed weights take.
    pub fn bytes(&self) -> usize {
        match &self.weight {
            Weight::Groups(groups) => groups.iter().map(PackedMatrix::bytes).sum(),
            Weight::Depthwise(weight) => weight.bytes(),
        }
    }
}

impl Kernels {
    /// Packs the weights `[outputs, inputs / groups, kernel height, kernel width]` of a convolution.
    ///
    /// # Panics
    /// Where the sizes do not fit.
    pub fn pack_conv2d(
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
            Weight::Depthwise(DepthwiseWeight::new(weight, taps, copies))
        } else {
            let depth = channels * taps;
            let rows = outputs / groups;
            let mut reordered = vec![0.0; depth];
            let pack = |group: usize| {
                let mut builder = self.linear_builder(rows, depth, WeightLayout::OutIn);
                for row in weight.chunks_exact(depth.max(1)).skip(group * rows).take(rows) {
                    for (channel, window) in row.chunks_exact(taps).enumerate() {
                        for (tap, &value) in window.iter().enumerate() {
                            reordered[tap * channels + channel] = value;
                        }
                    }
                    builder.push(&reordered);
                }
                builder.finish()
            };
            Weight::Groups((0..groups).map(pack).collect())
        };
        PackedConv { window, inputs, outputs, weight }
    }

    /// Writes `epilogue(convolution)` to `out`, `[batch, height, width, outputs]` with the epilogue's rows
    /// being pixels.
    ///
    /// # Panics
    /// Where sizes differ, or the weights were packed for another instruction set.
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
            Weight::Groups(groups) => match &groups[..] {
                [weight] if conv.window == Window::square(1, 1, 0) => {
                    self.linear(Matrix::new(x.data, rows, x.channels), weight, epilogue, out);
                }
                groups => {
                    let patches =
                        Patches { x, window: &conv.window, size, channels: conv.inputs / groups.len() };
                    self.gathered(patches, groups, rows, &epilogue, out.share());
                }
            },
        }
    }

    /// Multiplies patches, gathered into rows task by task, with the weights of each group.
    fn gathered(
        &self,
        patches: Patches<'_>,
        groups: &[PackedMatrix],
        rows: usize,
        epilogue: &Epilogue<'_>,
        out: SharedMatrix<'_>,
    ) {
        let (depth, outputs) = (groups[0].inputs(), groups[0].outputs());
        let work = rows * out.columns() * (2 * depth + epilogue.work());
        let fitting = (TASK_VALUES / depth.max(1)).clamp(8, 128).next_multiple_of(self.isa().tile_rows());
        // Few rows: every task takes some of the panels, and gathers its rows again.
        let parts = if rows.div_ceil(fitting) >= 2 * self.threads() { 1 } else { 2 * self.threads() };
        let parts = parts.min(groups[0].panels()).max(1);
        let blocks = rows.div_ceil(fitting);
        self.parallel(blocks * parts * groups.len(), work, |task| {
            let (group, task) = (task % groups.len(), task / groups.len());
            let (part, block) = (task % parts, task / parts);
            let first = block * fitting;
            let count = fitting.min(rows - first);
            let weight = &groups[group];
            let panels = weight.panels() * part / parts..weight.panels() * (part + 1) / parts;
            self.with_scratch(count * depth, |scratch| {
                patches.gather(group, first, scratch, depth);
                let x = Matrix::new(scratch, count, depth);
                for index in panels {
                    let panel = weight.panel(index);
                    let column = group * outputs;
                    self.isa().run(Block {
                        x,
                        rows: 0..count,
                        first_row: first,
                        panel,
                        column,
                        epilogue,
                        out,
                    });
                }
            });
        });
    }
}

/// The windows of an image as rows of a matrix.
struct Patches<'a> {
    x: Image<'a>,
    window: &'a Window,
    /// The output's `[height, width]`.
    size: [usize; 2],
    /// Channels of a group.
    channels: usize,
}

impl Patches<'_> {
    /// Writes the windows of outputs from `first` on, one a row of `depth` values.
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
