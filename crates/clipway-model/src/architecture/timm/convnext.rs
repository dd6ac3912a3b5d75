//! ConvNeXt (<https://arxiv.org/abs/2201.03545>): stages of blocks that mix places by a large depthwise convolution and
//! channels by an MLP. V2 (<https://arxiv.org/abs/2301.00808>) has a response norm within the MLP in place of the layer
//! scale after it.
//!
//! Figures come from timm 1.0 (Apache-2.0), `timm/models/convnext.py`.

use crate::graph::{
    Activation, Conv2d, GraphBuilder, GraphError, LayerNorm, Linear, ParameterId, ResponseNorm, Scope,
    ValueId,
};

use super::layers::join;
use super::map_pool::{ClassifierHead, MapPool, NormHead, NormHeadOptions};
use super::request::{DeclaredTrunk, Trunk, TrunkRequest};

/// Ratio of an MLP's inner channels to its outer channels.
const MLP_RATIO: usize = 4;

/// Added to the mean length in a response norm.
const RESPONSE_EPSILON: f64 = 1e-6;

/// What distinguishes the trunks.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of each stage.
    widths: [usize; 4],
    /// Kernel sizes of the stages.
    kernels: [usize; 4],
    stem: StemKind,
    /// Whether the MLP's matrices are stored as pointwise convolutions.
    conv_mlp: bool,
    /// Whether the MLP holds a response norm, and then there is no layer scale.
    response_norm: bool,
    /// Whether the last norm comes before the pool instead of after it.
    norm_first: bool,
    /// Width of a layer before the classifier.
    head_hidden: Option<usize>,
    activation: Activation,
    epsilon: f64,
    /// Side of the last map for images of timm's default size.
    map: usize,
}

/// What shrinks the image to a map of a quarter of its sides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StemKind {
    /// One convolution without overlap.
    Patches,
    /// Two overlapping convolutions, with this many channels between them.
    Overlap(usize),
}

const SMALL: Variant = Variant {
    name: "",
    depths: [2, 2, 6, 2],
    widths: [40, 80, 160, 320],
    kernels: [7; 4],
    stem: StemKind::Patches,
    conv_mlp: true,
    response_norm: false,
    norm_first: false,
    head_hidden: None,
    activation: Activation::Gelu,
    epsilon: 1e-6,
    map: 7,
};
const FEMTO: Variant = Variant { widths: [48, 96, 192, 384], ..SMALL };
const PICO: Variant = Variant { widths: [64, 128, 256, 512], ..SMALL };
const NANO: Variant = Variant { depths: [2, 2, 8, 2], widths: [80, 160, 320, 640], ..SMALL };
const TINY: Variant = Variant { depths: [3, 3, 9, 3], widths: [96, 192, 384, 768], conv_mlp: false, ..SMALL };
const BASE: Variant = Variant { depths: [3, 3, 27, 3], widths: [128, 256, 512, 1024], ..TINY };
const LARGE: Variant = Variant { widths: [192, 384, 768, 1536], ..BASE };
const TEST: Variant = Variant {
    depths: [1; 4],
    widths: [32, 64, 96, 128],
    activation: Activation::GeluTanh,
    epsilon: 1e-5,
    map: 5,
    ..TINY
};

const VARIANTS: [Variant; 28] = [
    Variant { name: "convnext_atto", ..SMALL },
    Variant { name: "convnext_atto_ols", stem: StemKind::Overlap(24), ..SMALL },
    Variant { name: "convnext_femto", ..FEMTO },
    Variant { name: "convnext_femto_ols", stem: StemKind::Overlap(24), ..FEMTO },
    Variant { name: "convnext_pico", ..PICO },
    Variant { name: "convnext_pico_ols", stem: StemKind::Overlap(32), ..PICO },
    Variant { name: "convnext_nano", ..NANO },
    Variant { name: "convnext_nano_ols", stem: StemKind::Overlap(80), ..NANO },
    Variant { name: "convnext_tiny", ..TINY },
    Variant { name: "convnext_tiny_hnf", conv_mlp: true, norm_first: true, ..TINY },
    Variant { name: "convnext_small", depths: [3, 3, 27, 3], ..TINY },
    Variant { name: "convnext_base", ..BASE },
    Variant { name: "convnext_large", ..LARGE },
    Variant { name: "convnext_large_mlp", head_hidden: Some(1536), map: 10, ..LARGE },
    Variant { name: "convnext_xlarge", widths: [256, 512, 1024, 2048], ..BASE },
    Variant {
        name: "convnext_xxlarge",
        depths: [3, 4, 30, 3],
        widths: [384, 768, 1536, 3072],
        epsilon: 1e-5,
        map: 8,
        ..BASE
    },
    Variant { name: "convnextv2_atto", response_norm: true, ..SMALL },
    Variant { name: "convnextv2_femto", response_norm: true, ..FEMTO },
    Variant { name: "convnextv2_pico", response_norm: true, ..PICO },
    Variant { name: "convnextv2_nano", response_norm: true, ..NANO },
    Variant { name: "convnextv2_tiny", response_norm: true, ..TINY },
    Variant { name: "convnextv2_small", depths: [3, 3, 27, 3], response_norm: true, ..TINY },
    Variant { name: "convnextv2_base", response_norm: true, ..BASE },
    Variant { name: "convnextv2_large", response_norm: true, ..LARGE },
    Variant { name: "convnextv2_huge", widths: [352, 704, 1408, 2816], response_norm: true, ..BASE },
    Variant { name: "test_convnext", depths: [1, 2, 4, 2], widths: [24, 32, 48, 64], ..TEST },
    Variant { name: "test_convnext2", ..TEST },
    Variant { name: "test_convnext3", kernels: [7, 5, 5, 3], activation: Activation::Silu, ..TEST },
];

/// The family's names.
pub(super) fn names() -> Vec<&'static str> {
    VARIANTS.iter().map(|variant| variant.name).collect()
}

struct ConvNext {
    image_size: [usize; 2],
    path: String,
    stem: Vec<Conv2d>,
    stem_norm: LayerNorm,
    stages: Vec<Stage>,
    map: usize,
    head: Head,
}

/// Blocks on maps of one size.
struct Stage {
    downsample: Option<Downsample>,
    blocks: Vec<Block>,
}

/// A norm, and a convolution that halves the map.
struct Downsample {
    path: String,
    norm: LayerNorm,
    conv: Conv2d,
}

/// `x + gamma · mlp(norm(window(x)))`; the response norm stands between the MLP's matrices, after the activation.
struct Block {
    path: String,
    window: Conv2d,
    norm: LayerNorm,
    mlp: [Pointwise; 2],
    response_norm: Option<ResponseNorm>,
    activation: Activation,
    gamma: Option<ParameterId>,
}

/// A matrix applied to the channels of each place.
enum Pointwise {
    Linear(Linear),
    Conv(Conv2d),
}

enum Head {
    NormFirst(String, LayerNorm, ClassifierHead),
    NormAfterPool(NormHead),
}

/// Declares the tensors of a trunk.
pub(super) fn declare(request: &TrunkRequest<'_>, mut scope: Scope<'_>) -> DeclaredTrunk {
    let variant = VARIANTS.iter().find(|variant| variant.name == request.name);
    let variant = variant.ok_or_else(|| request.unknown_trunk())?;
    let epsilon = variant.epsilon;
    let path = scope.path().to_owned();
    let (stem, stem_norm) = declare_stem(scope.child("stem"), variant);
    let mut inputs = variant.widths[0];
    let mut stages = Vec::new();
    for (index, &outputs) in variant.widths.iter().enumerate() {
        stages.push(Stage::declare(scope.child(format!("stages.{index}")), variant, index, inputs));
        inputs = outputs;
    }
    let features = inputs;
    let head = if variant.norm_first {
        let norm = scope.child("norm_pre");
        let path = norm.path().to_owned();
        let norm = LayerNorm::new(norm, features, true, epsilon);
        let head = ClassifierHead::declare(scope.child("head"), request, features, MapPool::Mean)?;
        Head::NormFirst(path, norm, head)
    } else {
        let options = NormHeadOptions { channels: features, hidden: variant.head_hidden, epsilon };
        Head::NormAfterPool(NormHead::declare(scope.child("head"), request, options)?)
    };
    let (image_size, map) = (request.image_size, variant.map);
    Ok(Box::new(ConvNext { image_size, path, stem, stem_norm, stages, map, head }))
}

fn declare_stem(mut scope: Scope<'_>, variant: &Variant) -> (Vec<Conv2d>, LayerNorm) {
    let width = variant.widths[0];
    let convs = match variant.stem {
        StemKind::Patches => vec![Conv2d::with_bias(scope.child("0"), 3, width, [4, 4]).stride([4, 4])],
        StemKind::Overlap(between) => {
            let conv = |scope: Scope<'_>, inputs: usize, outputs: usize| {
                Conv2d::with_bias(scope, inputs, outputs, [3, 3]).stride([2, 2]).padding([1, 1])
            };
            vec![conv(scope.child("0"), 3, between), conv(scope.child("1"), between, width)]
        }
    };
    let norm = LayerNorm::new(scope.child(convs.len()), width, true, variant.epsilon);
    (convs, norm)
}

impl Trunk for ConvNext {
    fn features(&self) -> usize {
        match &self.head {
            Head::NormFirst(_, _, head) => head.features(),
            Head::NormAfterPool(head) => head.features(),
        }
    }

    fn map_size(&self) -> Option<[usize; 2]> {
        Some([self.map; 2])
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        let [height, width] = self.image_size;
        graph.scope(format!("{}.stem", self.path));
        let mut x = graph.pixels(height, width);
        for conv in &self.stem {
            x = graph.conv2d(x, conv)?;
        }
        x = graph.layer_norm(x, &self.stem_norm)?;
        for stage in &self.stages {
            if let Some(Downsample { path, norm, conv }) = &stage.downsample {
                graph.scope(path.as_str());
                x = graph.layer_norm(x, norm)?;
                x = graph.conv2d(x, conv)?;
            }
            for block in &stage.blocks {
                x = block.forward(graph, x)?;
            }
        }
        match &self.head {
            Head::NormAfterPool(head) => head.forward(graph, x),
            Head::NormFirst(path, norm, head) => {
                graph.scope(path.as_str());
                x = graph.layer_norm(x, norm)?;
                head.forward(graph, x)
            }
        }
    }
}

impl Stage {
    fn declare(mut scope: Scope<'_>, variant: &Variant, index: usize, inputs: usize) -> Stage {
        let outputs = variant.widths[index];
        let downsample = (index > 0).then(|| {
            let mut scope = scope.child("downsample");
            Downsample {
                path: scope.path().to_owned(),
                norm: LayerNorm::new(scope.child("0"), inputs, true, variant.epsilon),
                conv: Conv2d::with_bias(scope.child("1"), inputs, outputs, [2, 2]).stride([2, 2]),
            }
        });
        let mut list = scope.child("blocks");
        let blocks = 0..variant.depths[index];
        let kernel = variant.kernels[index];
        let blocks =
            blocks.map(|block| Block::declare(list.child(block), variant, outputs, kernel)).collect();
        Stage { downsample, blocks }
    }
}

impl Block {
    fn declare(mut scope: Scope<'_>, variant: &Variant, width: usize, kernel: usize) -> Block {
        let hidden = MLP_RATIO * width;
        let pointwise = |scope: Scope<'_>, inputs: usize, outputs: usize| {
            if variant.conv_mlp {
                Pointwise::Conv(Conv2d::with_bias(scope, inputs, outputs, [1, 1]))
            } else {
                Pointwise::Linear(Linear::new(scope, inputs, outputs, true))
            }
        };
        let path = scope.path().to_owned();
        let window = Conv2d::depthwise_with_bias(scope.child("conv_dw"), width, kernel);
        let norm = LayerNorm::new(scope.child("norm"), width, true, variant.epsilon);
        let first = pointwise(scope.child("mlp.fc1"), width, hidden);
        let response_norm = variant
            .response_norm
            .then(|| ResponseNorm::new(scope.child("mlp.grn"), hidden, RESPONSE_EPSILON));
        let mlp = [first, pointwise(scope.child("mlp.fc2"), hidden, width)];
        let gamma = (!variant.response_norm).then(|| scope.parameter("gamma", &[width]));
        Block { path, window, norm, mlp, response_norm, activation: variant.activation, gamma }
    }

    /// Maps to the same shape.
    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let mut branch = graph.conv2d(x, &self.window)?;
        branch = graph.layer_norm(branch, &self.norm)?;
        branch = self.mlp[0].forward(graph, branch)?;
        branch = graph.activation(branch, self.activation);
        if let Some(norm) = &self.response_norm {
            branch = graph.response_norm(branch, norm)?;
        }
        branch = self.mlp[1].forward(graph, branch)?;
        join(graph, x, branch, self.gamma)
    }
}

impl Pointwise {
    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            Pointwise::Conv(conv) => graph.conv2d(x, conv),
            Pointwise::Linear(linear) => {
                // If there is none, `flatten` reports the error.
                let size = graph.map_size(x).unwrap_or_default();
                let x = graph.flatten(x)?;
                let x = graph.linear(x, linear)?;
                graph.unflatten(x, size)
            }
        }
    }
}
