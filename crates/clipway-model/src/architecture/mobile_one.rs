//! Blocks trained as several branches that add up to one convolution: MobileOne (<https://arxiv.org/abs/2206.04040>),
//! with timm's names.
//!
//! Each is declared in one of two forms: as trained, a sum of branches with batch norms, or folded for inference into
//! the convolution they add up to (`reparam_conv`).

use crate::graph::{Activation, BatchNorm, Conv2d, FoldTerm, GraphBuilder, GraphError, Scope, ValueId};

/// PyTorch's default for batch norms.
pub(super) const EPSILON: f64 = 1e-5;

/// Name of a folded convolution.
const FOLDED: &str = "reparam_conv";

/// Whether a tensor with this name exists only in folded form.
pub fn is_folded_name(name: &str) -> bool {
    name.rsplit('.').nth(1) == Some(FOLDED)
}

/// Whether branches are in their training form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As trained.
    Branches,
    /// Each sum of branches folded into one convolution.
    Folded,
}

impl Form {
    pub(super) fn of(folded: bool) -> Form {
        if folded { Form::Folded } else { Form::Branches }
    }
}

/// Sizes of a convolution that keeps the map's size except for the stride.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvSize {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Height and width of the window, both odd.
    pub(super) kernel: [usize; 2],
    pub(super) stride: usize,
    pub(super) groups: usize,
}

impl ConvSize {
    /// A depthwise convolution.
    pub(super) fn depthwise(channels: usize, kernel: [usize; 2]) -> ConvSize {
        ConvSize { inputs: channels, outputs: channels, kernel, stride: 1, groups: channels }
    }

    /// A pointwise convolution.
    pub(super) fn pointwise(inputs: usize, outputs: usize) -> ConvSize {
        ConvSize { inputs, outputs, kernel: [1, 1], stride: 1, groups: 1 }
    }

    /// The same with another kernel.
    pub(super) fn with_kernel(self, kernel: [usize; 2]) -> ConvSize {
        ConvSize { kernel, ..self }
    }

    fn keeps_shape(&self) -> bool {
        self.inputs == self.outputs && self.stride == 1
    }

    fn weight(&self) -> [usize; 4] {
        [self.outputs, self.inputs / self.groups, self.kernel[0], self.kernel[1]]
    }

    fn place(&self, conv: Conv2d) -> Conv2d {
        let [height, width] = self.kernel;
        Conv2d { groups: self.groups, ..conv.stride([self.stride; 2]).padding([height / 2, width / 2]) }
    }

    /// Declares a convolution of this size without bias.
    pub(super) fn conv(&self, scope: Scope<'_>) -> Conv2d {
        self.place(Conv2d::new(scope, self.inputs / self.groups, self.outputs, self.kernel))
    }

    /// Declares a convolution of this size with bias.
    pub(super) fn conv_with_bias(&self, scope: Scope<'_>) -> Conv2d {
        self.place(Conv2d::with_bias(scope, self.inputs / self.groups, self.outputs, self.kernel))
    }

    /// Declares the convolution that the branches add up to.
    pub(super) fn folded(
        &self,
        scope: &mut Scope<'_>,
        declare: impl FnOnce(Scope<'_>) -> Vec<FoldTerm>,
    ) -> Conv2d {
        self.place(scope.folded_conv2d(FOLDED, self.weight(), self.groups, declare))
    }
}

/// A convolution (`conv`) and its batch norm (`bn`).
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    pub(super) fn declare(mut scope: Scope<'_>, size: ConvSize) -> ConvNorm {
        ConvNorm {
            conv: size.conv(scope.child("conv")),
            norm: BatchNorm::new(scope.child("bn"), size.outputs, EPSILON),
        }
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let x = graph.conv2d(x, &self.conv)?;
        graph.batch_norm(x, &self.norm)
    }
}

/// One branch of a sum.
#[derive(Clone, Copy, Debug)]
pub(super) enum Branch {
    /// The input itself, normalized.
    Identity(BatchNorm),
    /// A convolution of the input, then a norm.
    Conv(ConvNorm),
}

impl Branch {
    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            Branch::Identity(norm) => graph.batch_norm(x, norm),
            Branch::Conv(conv) => conv.forward(graph, x),
        }
    }

    /// What the branch contributes to a folded convolution.
    pub(super) fn term(&self) -> FoldTerm {
        match *self {
            Branch::Identity(norm) => FoldTerm { norm: Some(norm), ..FoldTerm::default() },
            Branch::Conv(ConvNorm { conv, norm }) => {
                FoldTerm { filters: Some(conv.weight), norm: Some(norm), ..FoldTerm::default() }
            }
        }
    }
}

/// A sum of branches, or the convolution they fold into.
pub(super) enum Sum {
    Branches(Vec<Branch>),
    Folded(Conv2d),
}

impl Sum {
    /// Declares the sum of the branches declared by `branches`.
    pub(super) fn declare(
        scope: &mut Scope<'_>,
        size: ConvSize,
        form: Form,
        branches: impl FnOnce(&mut Scope<'_>) -> Vec<Branch>,
    ) -> Sum {
        match form {
            Form::Branches => Sum::Branches(branches(scope)),
            Form::Folded => Sum::Folded(
                size.folded(scope, |mut trained| branches(&mut trained).iter().map(Branch::term).collect()),
            ),
        }
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            Sum::Folded(conv) => graph.conv2d(x, conv),
            Sum::Branches(branches) => sum(graph, branches, x),
        }
    }
}

/// The sum of the branches' outputs.
pub(super) fn sum(
    graph: &mut GraphBuilder<'_>,
    branches: &[Branch],
    x: ValueId,
) -> Result<ValueId, GraphError> {
    let mut total = None;
    for branch in branches {
        let value = branch.forward(graph, x)?;
        total = Some(match total {
            None => value,
            Some(total) => graph.add(total, value)?,
        });
    }
    Ok(total.unwrap_or(x))
}

/// Which branches a MobileOne block was trained with, besides the identity where shapes allow it.
#[derive(Clone, Copy, Debug)]
pub(super) struct MobileOneBranches {
    pub(super) size: ConvSize,
    /// Number of convolutions with the full kernel (`conv_kxk`).
    pub(super) convs: usize,
    /// Whether there is a pointwise one (`conv_scale`), if that is smaller.
    pub(super) scale: bool,
}

impl MobileOneBranches {
    /// Declares the branches in a scope.
    pub(super) fn declare(&self, scope: &mut Scope<'_>) -> Vec<Branch> {
        let size = self.size;
        let mut branches = Vec::new();
        if size.keeps_shape() {
            branches.push(Branch::Identity(BatchNorm::new(scope.child("identity"), size.outputs, EPSILON)));
        }
        for index in 0..self.convs {
            let scope = scope.child(format!("conv_kxk.{index}"));
            branches.push(Branch::Conv(ConvNorm::declare(scope, size)));
        }
        if self.scale && size.kernel != [1, 1] {
            let scope = scope.child("conv_scale");
            branches.push(Branch::Conv(ConvNorm::declare(scope, size.with_kernel([1, 1]))));
        }
        branches
    }
}

/// A MobileOne block: a sum of branches, an optional squeeze-excite, an activation.
pub(super) struct MobileOne {
    path: String,
    sum: Sum,
    squeeze_excite: Option<SqueezeExcite>,
    activation: Activation,
}

impl MobileOne {
    /// Declares a block with the usual branches; `squeezed` is the number of channels within its squeeze-excite.
    pub(super) fn declare(
        mut scope: Scope<'_>,
        branches: MobileOneBranches,
        squeezed: Option<usize>,
        form: Form,
    ) -> MobileOne {
        let size = branches.size;
        let squeeze_excite =
            squeezed.map(|within| SqueezeExcite::declare(scope.child("se"), size.outputs, within));
        let sum = Sum::declare(&mut scope, size, form, |scope| branches.declare(scope));
        MobileOne { path: scope.path().to_owned(), sum, squeeze_excite, activation: Activation::Gelu }
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let mut x = self.sum.forward(graph, x)?;
        if let Some(squeeze_excite) = &self.squeeze_excite {
            x = squeeze_excite.forward(graph, x)?;
        }
        Ok(graph.activation(x, self.activation))
    }
}

/// Squeeze-excite: weights channels by the whole map's content (<https://arxiv.org/abs/1709.01507>).
pub(super) struct SqueezeExcite {
    path: String,
    fc1: Conv2d,
    fc2: Conv2d,
}

impl SqueezeExcite {
    pub(super) fn declare(mut scope: Scope<'_>, channels: usize, within: usize) -> SqueezeExcite {
        SqueezeExcite {
            path: scope.path().to_owned(),
            fc1: Conv2d::with_bias(scope.child("fc1"), channels, within, [1, 1]),
            fc2: Conv2d::with_bias(scope.child("fc2"), within, channels, [1, 1]),
        }
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let gate = graph.mean_map(x)?;
        let gate = graph.conv2d(gate, &self.fc1)?;
        let gate = graph.activation(gate, Activation::Relu);
        let gate = graph.conv2d(gate, &self.fc2)?;
        let gate = graph.activation(gate, Activation::Sigmoid);
        graph.gate(x, gate)
    }
}
