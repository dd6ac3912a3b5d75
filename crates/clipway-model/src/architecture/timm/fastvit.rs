//! FastViT (<https://arxiv.org/abs/2303.14189>) and MobileCLIP's image towers built from it (`mci`,
//! <https://arxiv.org/abs/2311.17049>): stages of RepMixer blocks, the last ones with attention.

use crate::architecture::mobile_one::{
    Branch, ConvNorm, ConvSize, EPSILON, Form, MobileOne, MobileOneBranches, SqueezeExcite, Sum,
};
use crate::architecture::rep_mixer::{ConvMlp, RepMixerBlock, RepMixerBlockOptions};
use crate::graph::{
    Activation, BatchNorm, Conv2d, FoldTerm, GraphBuilder, GraphError, LayerNorm, Linear, Mask, ParameterId,
    Scope, ValueId,
};

use super::map_pool::{ClassifierHead, MapPool};
use super::request::{DeclaredTrunk, Trunk, TrunkRequest};

/// Head width of the attention.
const HEAD_WIDTH: usize = 32;
/// Kernel of the mixers.
const MIXER_KERNEL: [usize; 2] = [3, 3];
/// Kernel of the MLPs' convolutions and of the positional encodings.
const LARGE_KERNEL: [usize; 2] = [7, 7];
/// Second, smaller kernel where a stage shrinks the map.
const SMALL_KERNEL: [usize; 2] = [3, 3];
/// Ratio of the last convolution's channels to the last stage's.
const LAST_EXPANSION: usize = 2;

/// What distinguishes the trunks.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    /// Blocks of each stage.
    layers: &'static [usize],
    /// Channels of each stage.
    widths: &'static [usize],
    /// Ratio of the MLPs' inner channels to their outer channels.
    mlp_ratio: usize,
    /// The first stage with attention and positional encoding; past the last for none.
    attention: usize,
    /// The first stage that shrinks the map with squeeze-excite; past the last for none.
    squeeze_excite: usize,
    /// Whether an activation follows the large convolution where a stage shrinks the map.
    activation: bool,
    /// Whether the norm before the attention is a layer norm instead of a batch norm.
    layer_norm: bool,
    /// Whether the stem has pointwise branches.
    stem_scale: bool,
}

const NONE: usize = usize::MAX;

const FASTVIT: Variant = Variant {
    name: "",
    layers: &[],
    widths: &[64, 128, 256, 512],
    mlp_ratio: 4,
    attention: NONE,
    squeeze_excite: NONE,
    activation: false,
    layer_norm: false,
    stem_scale: true,
};

const MCI: Variant = Variant { mlp_ratio: 3, attention: 3, squeeze_excite: 2, activation: true, ..FASTVIT };

const MCI_LARGE: Variant =
    Variant { mlp_ratio: 4, squeeze_excite: NONE, layer_norm: true, stem_scale: false, ..MCI };

const VARIANTS: [Variant; 12] = [
    Variant {
        name: "fastvit_t8",
        layers: &[2, 2, 4, 2],
        widths: &[48, 96, 192, 384],
        mlp_ratio: 3,
        ..FASTVIT
    },
    Variant { name: "fastvit_t12", layers: &[2, 2, 6, 2], mlp_ratio: 3, ..FASTVIT },
    Variant { name: "fastvit_s12", layers: &[2, 2, 6, 2], ..FASTVIT },
    Variant { name: "fastvit_sa12", layers: &[2, 2, 6, 2], attention: 3, ..FASTVIT },
    Variant { name: "fastvit_sa24", layers: &[4, 4, 12, 4], attention: 3, ..FASTVIT },
    Variant { name: "fastvit_sa36", layers: &[6, 6, 18, 6], attention: 3, ..FASTVIT },
    Variant {
        name: "fastvit_ma36",
        layers: &[6, 6, 18, 6],
        widths: &[76, 152, 304, 608],
        attention: 3,
        ..FASTVIT
    },
    Variant { name: "fastvit_mci0", layers: &[2, 6, 10, 2], ..MCI },
    Variant { name: "fastvit_mci1", layers: &[4, 12, 20, 4], ..MCI },
    Variant { name: "fastvit_mci2", layers: &[4, 12, 24, 4], widths: &[80, 160, 320, 640], ..MCI },
    Variant {
        name: "fastvit_mci3",
        layers: &[2, 12, 24, 4, 2],
        widths: &[96, 192, 384, 768, 1536],
        ..MCI_LARGE
    },
    Variant {
        name: "fastvit_mci4",
        layers: &[2, 12, 24, 4, 4],
        widths: &[128, 256, 512, 1024, 2048],
        ..MCI_LARGE
    },
];

/// The family's names.
pub(super) fn names() -> Vec<&'static str> {
    VARIANTS.iter().map(|variant| variant.name).collect()
}

struct FastVit {
    image_size: [usize; 2],
    stem: [MobileOne; 3],
    stages: Vec<Stage>,
    final_conv: MobileOne,
    head: ClassifierHead,
}

/// Blocks on maps of one size.
struct Stage {
    downsample: Option<Downsample>,
    positions: Option<Positions>,
    blocks: Vec<Block>,
}

enum Block {
    RepMixer(RepMixerBlock),
    Attention(AttentionBlock),
}

/// Halves a map and increases its channels: a large depthwise convolution, then a pointwise one.
struct Downsample {
    path: String,
    large: Sum,
    squeeze_excite: Option<SqueezeExcite>,
    activation: bool,
    pointwise: MobileOne,
}

/// Positional encoding by a depthwise convolution added to the map (<https://arxiv.org/abs/2102.10882>).
struct Positions {
    path: String,
    kind: PositionsKind,
}

enum PositionsKind {
    Trained(Conv2d),
    Folded(Conv2d),
}

/// Attention and MLP, each with its own scale.
struct AttentionBlock {
    path: String,
    norm: Norm,
    map: [usize; 2],
    heads: usize,
    qkv: Linear,
    output: Linear,
    layer_scale_1: ParameterId,
    mlp: ConvMlp,
    layer_scale_2: ParameterId,
}

enum Norm {
    Batch(BatchNorm),
    Layer(LayerNorm),
}

/// Declares the tensors of a trunk.
pub(super) fn declare(request: &TrunkRequest<'_>, mut scope: Scope<'_>) -> DeclaredTrunk {
    let variant = VARIANTS.iter().find(|variant| variant.name == request.name);
    let variant = variant.ok_or_else(|| request.unknown_trunk())?;
    let form = Form::of(request.folded);
    let width = variant.widths[0];
    let stem_convs = [
        ConvSize { inputs: 3, outputs: width, kernel: [3, 3], stride: 2, groups: 1 },
        ConvSize { stride: 2, ..ConvSize::depthwise(width, [3, 3]) },
        ConvSize::pointwise(width, width),
    ];
    let mut index = 0;
    let stem = stem_convs.map(|size| {
        let branches = MobileOneBranches { size, convs: 1, scale: variant.stem_scale };
        index += 1;
        MobileOne::declare(scope.child(format!("stem.{}", index - 1)), branches, None, form)
    });
    // The stem's first two convolutions halve the map, and so does every stage but the first.
    let mut map = request.image_size.map(|side| side.div_ceil(2).div_ceil(2));
    let mut inputs = width;
    let mut stages = Vec::new();
    for (index, &outputs) in variant.widths.iter().enumerate() {
        if index > 0 {
            map = map.map(|side| side.div_ceil(2));
        }
        let scope = scope.child(format!("stages.{index}"));
        stages.push(Stage::declare(scope, variant, index, [inputs, outputs], map, form));
        inputs = outputs;
    }
    let features = inputs * LAST_EXPANSION;
    let size = ConvSize { inputs, outputs: features, kernel: [3, 3], stride: 1, groups: inputs };
    let last = MobileOneBranches { size, convs: 1, scale: true };
    let final_conv = MobileOne::declare(scope.child("final_conv"), last, Some(features.div_ceil(16)), form);
    let head = ClassifierHead::declare(scope.child("head"), request, features, MapPool::Mean)?;
    Ok(Box::new(FastVit { image_size: request.image_size, stem, stages, final_conv, head }))
}

impl Trunk for FastVit {
    fn features(&self) -> usize {
        self.head.features()
    }

    fn map_size(&self) -> Option<[usize; 2]> {
        // timm's default images have sides of 256 pixels. The stem divides them by 4; each stage but the first halves
        // them.
        Some([(64 >> (self.stages.len() - 1)); 2])
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        let [height, width] = self.image_size;
        let mut x = graph.pixels(height, width);
        for block in &self.stem {
            x = block.forward(graph, x)?;
        }
        for stage in &self.stages {
            x = stage.forward(graph, x)?;
        }
        x = self.final_conv.forward(graph, x)?;
        self.head.forward(graph, x)
    }
}

impl Stage {
    fn declare(
        mut scope: Scope<'_>,
        variant: &Variant,
        index: usize,
        [inputs, outputs]: [usize; 2],
        map: [usize; 2],
        form: Form,
    ) -> Stage {
        let downsample = (index > 0).then(|| {
            let options = (index >= variant.squeeze_excite, variant.activation);
            Downsample::declare(scope.child("downsample.proj"), [inputs, outputs], options, form)
        });
        let attention = index >= variant.attention;
        let positions = attention.then(|| Positions::declare(scope.child("pos_emb"), outputs, form));
        let hidden = outputs * variant.mlp_ratio;
        let blocks = (0..variant.layers[index]).map(|block| {
            let scope = scope.child(format!("blocks.{block}"));
            if attention {
                let norm = variant.layer_norm;
                return Block::Attention(AttentionBlock::declare(scope, outputs, hidden, norm, map));
            }
            let options = RepMixerBlockOptions {
                channels: outputs,
                hidden,
                mixer_kernel: MIXER_KERNEL,
                scale_branch: true,
                mlp_kernel: LARGE_KERNEL,
            };
            Block::RepMixer(RepMixerBlock::declare(scope, options, form))
        });
        let blocks = blocks.collect();
        Stage { downsample, positions, blocks }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let mut x = x;
        if let Some(downsample) = &self.downsample {
            x = downsample.forward(graph, x)?;
        }
        if let Some(positions) = &self.positions {
            x = positions.forward(graph, x)?;
        }
        for block in &self.blocks {
            x = match block {
                Block::RepMixer(block) => block.forward(graph, x)?,
                Block::Attention(block) => block.forward(graph, x)?,
            };
        }
        Ok(x)
    }
}

impl Downsample {
    fn declare(
        mut scope: Scope<'_>,
        [inputs, outputs]: [usize; 2],
        (squeeze_excite, activation): (bool, bool),
        form: Form,
    ) -> Downsample {
        let size = ConvSize { inputs, outputs, kernel: LARGE_KERNEL, stride: 2, groups: inputs };
        let mut first = scope.child("0");
        let branch = |scope: &mut Scope<'_>, name: &str, kernel| {
            Branch::Conv(ConvNorm::declare(scope.child(name), size.with_kernel(kernel)))
        };
        let branches = |scope: &mut Scope<'_>| {
            vec![branch(scope, "large_conv", LARGE_KERNEL), branch(scope, "small_conv", SMALL_KERNEL)]
        };
        // timm puts the squeeze-excite after the branches, before the convolution they fold into.
        let squeeze = |scope: &mut Scope<'_>| {
            // A quarter, rounded to a multiple of 8.
            let within = ((outputs / 4 + 4) / 8 * 8).max(8);
            squeeze_excite.then(|| SqueezeExcite::declare(scope.child("se"), outputs, within))
        };
        let (large, squeeze_excite) = match form {
            Form::Branches => {
                let large = Sum::declare(&mut first, size, form, branches);
                (large, squeeze(&mut first))
            }
            Form::Folded => {
                let squeeze_excite = squeeze(&mut first);
                (Sum::declare(&mut first, size, form, branches), squeeze_excite)
            }
        };
        let path = first.path().to_owned();
        let pointwise =
            MobileOneBranches { size: ConvSize::pointwise(outputs, outputs), convs: 1, scale: true };
        let pointwise = MobileOne::declare(scope.child("1"), pointwise, None, form);
        Downsample { path, large, squeeze_excite, activation, pointwise }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let mut x = self.large.forward(graph, x)?;
        if let Some(squeeze_excite) = &self.squeeze_excite {
            x = squeeze_excite.forward(graph, x)?;
        }
        if self.activation {
            x = graph.activation(x, Activation::Gelu);
        }
        self.pointwise.forward(graph, x)
    }
}

impl Positions {
    fn declare(mut scope: Scope<'_>, channels: usize, form: Form) -> Positions {
        let size = ConvSize::depthwise(channels, LARGE_KERNEL);
        let trained = |scope: &mut Scope<'_>| size.conv_with_bias(scope.child("pos_enc"));
        let kind = match form {
            Form::Branches => PositionsKind::Trained(trained(&mut scope)),
            Form::Folded => PositionsKind::Folded(size.folded(&mut scope, |mut scope| {
                let Conv2d { weight, bias, .. } = trained(&mut scope);
                let encoding = FoldTerm { filters: Some(weight), bias, ..FoldTerm::default() };
                vec![encoding, FoldTerm::default()]
            })),
        };
        Positions { path: scope.path().to_owned(), kind }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        match &self.kind {
            PositionsKind::Folded(conv) => graph.conv2d(x, conv),
            PositionsKind::Trained(conv) => {
                let encoding = graph.conv2d(x, conv)?;
                graph.add(encoding, x)
            }
        }
    }
}

impl AttentionBlock {
    fn declare(
        mut scope: Scope<'_>,
        channels: usize,
        hidden: usize,
        layer_norm: bool,
        map: [usize; 2],
    ) -> AttentionBlock {
        let norm = scope.child("norm");
        let norm = if layer_norm {
            Norm::Layer(LayerNorm::new(norm, channels, true, EPSILON))
        } else {
            Norm::Batch(BatchNorm::new(norm, channels, EPSILON))
        };
        let mut mixer = scope.child("token_mixer");
        let qkv = Linear::new(mixer.child("qkv"), channels, 3 * channels, false);
        let output = Linear::new(mixer.child("proj"), channels, channels, true);
        AttentionBlock {
            path: scope.path().to_owned(),
            norm,
            map,
            heads: channels / HEAD_WIDTH,
            qkv,
            output,
            layer_scale_1: scope.child("layer_scale_1").parameter("gamma", &[channels, 1, 1]),
            mlp: ConvMlp::declare(scope.child("mlp"), channels, hidden, LARGE_KERNEL),
            layer_scale_2: scope.child("layer_scale_2").parameter("gamma", &[channels, 1, 1]),
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.token_mixer", self.path));
        let normed = match &self.norm {
            Norm::Batch(norm) => graph.batch_norm(x, norm)?,
            Norm::Layer(norm) => graph.layer_norm(x, norm)?,
        };
        let tokens = graph.flatten(normed)?;
        let qkv = graph.linear(tokens, &self.qkv)?;
        let attended = graph.attention(&[qkv], self.heads, Mask::None)?;
        let attended = graph.linear(attended, &self.output)?;
        let change = graph.unflatten(attended, self.map)?;
        let change = graph.scale(change, self.layer_scale_1)?;
        let x = graph.add(x, change)?;
        let change = self.mlp.forward(graph, x)?;
        graph.scope(self.path.as_str());
        let change = graph.scale(change, self.layer_scale_2)?;
        graph.add(x, change)
    }
}
