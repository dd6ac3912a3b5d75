//! Layers: parameters declared together, in PyTorch's order and with PyTorch's names.

use clipway_formats::Dtype;

use super::parameters::{ParameterId, Scope};
use super::settings::{Rows, WeightLayout};

/// Parameters of `torch.nn.Linear`, or of a bare projection matrix.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// The matrix.
    pub weight: ParameterId,
    /// Bias, added to each row.
    pub bias: Option<ParameterId>,
    /// How the matrix is stored.
    pub layout: WeightLayout,
    /// Which outputs to compute; `None` for all.
    pub rows: Option<Rows>,
}

impl Linear {
    /// Declares `weight` `[out, in]` and optionally `bias` `[out]` in `scope`.
    pub fn new(mut scope: Scope<'_>, inputs: usize, outputs: usize, bias: bool) -> Linear {
        let weight = scope.parameter("weight", &[outputs, inputs]);
        let bias = bias.then(|| scope.parameter("bias", &[outputs]));
        Linear { weight, bias, layout: WeightLayout::OutIn, rows: None }
    }

    /// Declares a bare matrix `[in, out]` named `leaf`.
    pub fn projection(scope: &mut Scope<'_>, leaf: &str, inputs: usize, outputs: usize) -> Linear {
        let weight = scope.parameter(leaf, &[inputs, outputs]);
        Linear { weight, bias: None, layout: WeightLayout::InOut, rows: None }
    }

    /// The same with only the outputs `index * count` to `(index + 1) * count`.
    pub fn part(self, index: usize, count: usize) -> Linear {
        Linear { rows: Some(Rows { weight: index * count, bias: index * count, count }), ..self }
    }
}

/// Parameters of `torch.nn.LayerNorm`.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// Scale.
    pub weight: ParameterId,
    /// Shift.
    pub bias: Option<ParameterId>,
    /// Epsilon, added to the variance.
    pub epsilon: f64,
}

impl LayerNorm {
    /// Declares `weight` and optionally `bias`, both `[width]`.
    pub fn new(mut scope: Scope<'_>, width: usize, bias: bool, epsilon: f64) -> LayerNorm {
        let weight = scope.parameter("weight", &[width]);
        let bias = bias.then(|| scope.parameter("bias", &[width]));
        LayerNorm { weight, bias, epsilon }
    }
}

/// Parameters of a root-mean-square norm.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    /// Scale.
    pub weight: ParameterId,
    /// Epsilon, added to the mean square.
    pub epsilon: f64,
}

impl RmsNorm {
    /// Declares `weight` `[width]`.
    pub fn new(mut scope: Scope<'_>, width: usize, epsilon: f64) -> RmsNorm {
        RmsNorm { weight: scope.parameter("weight", &[width]), epsilon }
    }
}

/// Parameters of timm's `GlobalResponseNorm`.
#[derive(Clone, Copy, Debug)]
pub struct ResponseNorm {
    /// Factor of each channel's share.
    pub weight: ParameterId,
    /// Added to each channel.
    pub bias: ParameterId,
    /// Added to the mean length.
    pub epsilon: f64,
}

impl ResponseNorm {
    /// Declares `weight` and `bias` `[channels]`.
    pub fn new(mut scope: Scope<'_>, channels: usize, epsilon: f64) -> ResponseNorm {
        let weight = scope.parameter("weight", &[channels]);
        ResponseNorm { weight, bias: scope.parameter("bias", &[channels]), epsilon }
    }
}

/// Parameters of `torch.nn.BatchNorm2d`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Scale.
    pub weight: ParameterId,
    /// Shift.
    pub bias: ParameterId,
    /// Stored mean.
    pub mean: ParameterId,
    /// Stored variance.
    pub variance: ParameterId,
    /// Epsilon, added to the variance.
    pub epsilon: f64,
}

impl BatchNorm {
    /// Declares scale, shift, running statistics and the batch counter.
    pub fn new(mut scope: Scope<'_>, channels: usize, epsilon: f64) -> BatchNorm {
        let weight = scope.parameter("weight", &[channels]);
        let bias = scope.parameter("bias", &[channels]);
        let mean = scope.buffer("running_mean", &[channels], Dtype::F32);
        let variance = scope.buffer("running_var", &[channels], Dtype::F32);
        scope.buffer("num_batches_tracked", &[], Dtype::I64);
        BatchNorm { weight, bias, mean, variance, epsilon }
    }
}

/// Parameters of `torch.nn.Conv2d`.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d {
    /// The filters, `[out, in / groups, kernel, kernel]`.
    pub weight: ParameterId,
    /// Bias, added to each channel.
    pub bias: Option<ParameterId>,
    /// Stride, vertical and horizontal.
    pub stride: [usize; 2],
    /// Zero padding, vertical and horizontal.
    pub padding: [usize; 2],
    /// Number of channel groups.
    pub groups: usize,
}

impl Conv2d {
    /// Declares `weight` for a kernel `[height, width]`, without bias, stride 1, no padding, one group.
    pub fn new(mut scope: Scope<'_>, inputs: usize, outputs: usize, kernel: [usize; 2]) -> Conv2d {
        let weight = scope.parameter("weight", &[outputs, inputs, kernel[0], kernel[1]]);
        Conv2d { weight, bias: None, stride: [1, 1], padding: [0, 0], groups: 1 }
    }

    /// Declares `weight` and `bias`, like [`Conv2d::new`].
    pub fn with_bias(mut scope: Scope<'_>, inputs: usize, outputs: usize, kernel: [usize; 2]) -> Conv2d {
        let weight = scope.parameter("weight", &[outputs, inputs, kernel[0], kernel[1]]);
        let bias = Some(scope.parameter("bias", &[outputs]));
        Conv2d { weight, bias, stride: [1, 1], padding: [0, 0], groups: 1 }
    }

    /// Declares `weight` and `bias` of a depthwise convolution that keeps the map's size.
    pub fn depthwise_with_bias(mut scope: Scope<'_>, channels: usize, kernel: usize) -> Conv2d {
        let weight = scope.parameter("weight", &[channels, 1, kernel, kernel]);
        let bias = Some(scope.parameter("bias", &[channels]));
        Conv2d { weight, bias, stride: [1, 1], padding: [kernel / 2; 2], groups: channels }
    }

    /// The same with this stride.
    pub fn stride(self, stride: [usize; 2]) -> Conv2d {
        Conv2d { stride, ..self }
    }

    /// The same with this padding.
    pub fn padding(self, padding: [usize; 2]) -> Conv2d {
        Conv2d { padding, ..self }
    }
}
