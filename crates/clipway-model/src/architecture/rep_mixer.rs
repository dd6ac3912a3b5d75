//! Blocks that mix places by a convolution trained as several branches: FastViT's RepMixer
//! (<https://arxiv.org/abs/2303.14189>), with timm's names.

use crate::graph::{Activation, Conv2d, FoldTerm, GraphBuilder, GraphError, ParameterId, Scope, ValueId};

use super::mobile_one::{Branch, ConvNorm, ConvSize, Form, MobileOneBranches, sum};

/// Mixes the places of each channel: `x + scale · (mixer(x) - norm(x))`.
pub(super) struct RepMixer {
    path: String,
    kind: RepMixerKind,
}

enum RepMixerKind {
    Trained { norm: Vec<Branch>, mixer: Vec<Branch>, layer_scale: ParameterId },
    Folded(Conv2d),
}

impl RepMixer {
    /// Declares a mixer with this kernel; `scale_branch` says whether `mixer` has a pointwise branch.
    pub(super) fn declare(
        mut scope: Scope<'_>,
        channels: usize,
        kernel: [usize; 2],
        scale_branch: bool,
        form: Form,
    ) -> RepMixer {
        let size = ConvSize::depthwise(channels, kernel);
        let trained = |scope: &mut Scope<'_>| {
            let norm = MobileOneBranches { size, convs: 0, scale: false };
            let mixer = MobileOneBranches { size, convs: 1, scale: scale_branch };
            let norm = norm.declare(&mut scope.child("norm"));
            let mixer = mixer.declare(&mut scope.child("mixer"));
            let layer_scale = scope.child("layer_scale").parameter("gamma", &[channels, 1, 1]);
            (norm, mixer, layer_scale)
        };
        let kind = match form {
            Form::Branches => {
                let (norm, mixer, layer_scale) = trained(&mut scope);
                RepMixerKind::Trained { norm, mixer, layer_scale }
            }
            Form::Folded => RepMixerKind::Folded(size.folded(&mut scope, |mut scope| {
                let (norm, mixer, layer_scale) = trained(&mut scope);
                let scaled = |branch: &Branch, negative| FoldTerm {
                    scale: Some(layer_scale),
                    negative,
                    ..branch.term()
                };
                let mixed = mixer.iter().map(|branch| scaled(branch, false));
                let normed = norm.iter().map(|branch| scaled(branch, true));
                [FoldTerm::default()].into_iter().chain(mixed).chain(normed).collect()
            })),
        };
        RepMixer { path: scope.path().to_owned(), kind }
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        match &self.kind {
            RepMixerKind::Folded(conv) => graph.conv2d(x, conv),
            RepMixerKind::Trained { norm, mixer, layer_scale } => {
                let mixed = sum(graph, mixer, x)?;
                let normed = sum(graph, norm, x)?;
                let change = graph.subtract(mixed, normed)?;
                let change = graph.scale(change, *layer_scale)?;
                graph.add(x, change)
            }
        }
    }
}

/// A depthwise convolution, then an MLP at each place (`conv`, `fc1`, `fc2`).
pub(super) struct ConvMlp {
    path: String,
    conv: ConvNorm,
    fc1: Conv2d,
    fc2: Conv2d,
}

impl ConvMlp {
    pub(super) fn declare(
        mut scope: Scope<'_>,
        channels: usize,
        hidden: usize,
        kernel: [usize; 2],
    ) -> ConvMlp {
        ConvMlp {
            path: scope.path().to_owned(),
            conv: ConvNorm::declare(scope.child("conv"), ConvSize::depthwise(channels, kernel)),
            fc1: Conv2d::with_bias(scope.child("fc1"), channels, hidden, [1, 1]),
            fc2: Conv2d::with_bias(scope.child("fc2"), hidden, channels, [1, 1]),
        }
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let x = self.conv.forward(graph, x)?;
        let x = graph.conv2d(x, &self.fc1)?;
        let x = graph.activation(x, Activation::Gelu);
        graph.conv2d(x, &self.fc2)
    }
}

/// A block of the image tower and of Apple's smallest text tower: RepMixer, then a convolutional MLP.
pub(super) struct RepMixerBlock {
    path: String,
    mixer: RepMixer,
    mlp: ConvMlp,
    layer_scale: ParameterId,
}

/// Sizes of a [`RepMixerBlock`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RepMixerBlockOptions {
    pub(super) channels: usize,
    /// Channels within the MLP.
    pub(super) hidden: usize,
    /// Kernel of the mixer.
    pub(super) mixer_kernel: [usize; 2],
    /// Whether the mixer has a pointwise branch.
    pub(super) scale_branch: bool,
    /// Kernel of the MLP's convolution.
    pub(super) mlp_kernel: [usize; 2],
}

impl RepMixerBlock {
    pub(super) fn declare(mut scope: Scope<'_>, options: RepMixerBlockOptions, form: Form) -> RepMixerBlock {
        let RepMixerBlockOptions { channels, hidden, mixer_kernel, scale_branch, mlp_kernel } = options;
        RepMixerBlock {
            path: scope.path().to_owned(),
            mixer: RepMixer::declare(scope.child("token_mixer"), channels, mixer_kernel, scale_branch, form),
            mlp: ConvMlp::declare(scope.child("mlp"), channels, hidden, mlp_kernel),
            layer_scale: scope.child("layer_scale").parameter("gamma", &[channels, 1, 1]),
        }
    }

    /// Maps to the same shape.
    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let x = self.mixer.forward(graph, x)?;
        let change = self.mlp.forward(graph, x)?;
        graph.scope(self.path.as_str());
        let change = graph.scale(change, self.layer_scale)?;
        graph.add(x, change)
    }
}
