//! OpenAI's modified ResNet (CLIP, <https://arxiv.org/abs/2103.00020>): a stem of three convolutions, average pools
//! instead of strides, and attention instead of the last pool.

use crate::config::{ModelConfig, VisionLayers};
use crate::graph::{
    Activation, BatchNorm, Conv2d, GraphBuilder, GraphError, Linear, Mask, ParameterId, Pool, Scope, ValueId,
};

use super::{ArchitectureError, Declared, Tower};

/// PyTorch's default.
const EPSILON: f64 = 1e-5;
/// Ratio of a bottleneck's output channels to its inner channels.
const EXPANSION: usize = 4;
/// Factor by which stem and stages shrink the image.
const SHRINKING: usize = 32;

struct ModifiedResNet {
    path: String,
    image_size: [usize; 2],
    stem: [ConvNorm; 3],
    bottlenecks: Vec<Bottleneck>,
    pool: AttentionPool,
}

/// A convolution without bias, and its batch norm.
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

struct Bottleneck {
    path: String,
    convs: [ConvNorm; 3],
    stride: usize,
    downsample: Option<ConvNorm>,
}

/// Multi-head attention from the mean of all places to all places and itself.
struct AttentionPool {
    path: String,
    heads: usize,
    positional_embedding: ParameterId,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

/// Whether the config asks for this tower.
pub(super) fn fits(config: &ModelConfig) -> bool {
    config.vision.timm.is_none() && matches!(config.vision.layers, VisionLayers::Stages(_))
}

/// Declares the tower's tensors.
pub(super) fn declare(config: &ModelConfig, mut scope: Scope<'_>) -> Declared {
    let vision = &config.vision;
    let VisionLayers::Stages(stages) = vision.layers else {
        return Err(ArchitectureError::unsupported("a ResNet without stages", "`layers` must list four"));
    };
    let width = vision.width;
    let stem = [(1, 3, width / 2, 2), (2, width / 2, width / 2, 1), (3, width / 2, width, 1)].map(
        |(index, inputs, outputs, stride)| ConvNorm::declare(&mut scope, index, [inputs, outputs, 3], stride),
    );
    let mut bottlenecks = Vec::new();
    let mut channels = width;
    for (index, blocks) in stages.into_iter().enumerate() {
        let mut stage = scope.child(format!("layer{}", index + 1));
        for block in 0..blocks {
            let stride = if index > 0 && block == 0 { 2 } else { 1 };
            let planes = width << index;
            bottlenecks.push(Bottleneck::declare(stage.child(block), channels, planes, stride));
            channels = planes * EXPANSION;
        }
    }
    let side = vision.image_size[0] / SHRINKING;
    Ok(Box::new(ModifiedResNet {
        path: scope.path().to_owned(),
        image_size: vision.image_size,
        stem,
        bottlenecks,
        pool: AttentionPool::declare(
            scope.child("attnpool"),
            [side * side + 1, channels, config.embed_dim],
            channels / vision.head_width,
        ),
    }))
}

impl Tower for ModifiedResNet {
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        let [height, width] = self.image_size;
        graph.scope(self.path.as_str());
        let mut x = graph.pixels(height, width);
        for layer in &self.stem {
            x = layer.forward(graph, x)?;
            x = graph.activation(x, Activation::Relu);
        }
        x = graph.average_pool(x, 2)?;
        for block in &self.bottlenecks {
            x = block.forward(graph, x)?;
        }
        self.pool.forward(graph, x)
    }
}

impl ConvNorm {
    /// Declares `conv{index}` and `bn{index}` for `[inputs, outputs, kernel]`. The image keeps its size except for the
    /// stride.
    fn declare(
        scope: &mut Scope<'_>,
        index: usize,
        [inputs, outputs, kernel]: [usize; 3],
        stride: usize,
    ) -> ConvNorm {
        ConvNorm {
            conv: Conv2d::new(scope.child(format!("conv{index}")), inputs, outputs, [kernel; 2])
                .stride([stride; 2])
                .padding([kernel / 2; 2]),
            norm: BatchNorm::new(scope.child(format!("bn{index}")), outputs, EPSILON),
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let x = graph.conv2d(x, &self.conv)?;
        graph.batch_norm(x, &self.norm)
    }
}

impl Bottleneck {
    fn declare(mut scope: Scope<'_>, inputs: usize, planes: usize, stride: usize) -> Bottleneck {
        let outputs = planes * EXPANSION;
        let convs = [(1, inputs, planes, 1), (2, planes, planes, 3), (3, planes, outputs, 1)]
            .map(|(index, from, to, kernel)| ConvNorm::declare(&mut scope, index, [from, to, kernel], 1));
        let downsample = (stride > 1 || inputs != outputs).then(|| {
            let mut child = scope.child("downsample");
            ConvNorm {
                conv: Conv2d::new(child.child("0"), inputs, outputs, [1, 1]),
                norm: BatchNorm::new(child.child("1"), outputs, EPSILON),
            }
        });
        Bottleneck { path: scope.path().to_owned(), convs, stride, downsample }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let [first, second, third] = &self.convs;
        let mut branch = first.forward(graph, x)?;
        branch = graph.activation(branch, Activation::Relu);
        branch = second.forward(graph, branch)?;
        branch = graph.activation(branch, Activation::Relu);
        if self.stride > 1 {
            branch = graph.average_pool(branch, self.stride)?;
        }
        branch = third.forward(graph, branch)?;
        let mut identity = x;
        if let Some(downsample) = &self.downsample {
            if self.stride > 1 {
                identity = graph.average_pool(identity, self.stride)?;
            }
            identity = downsample.forward(graph, identity)?;
        }
        let sum = graph.add(branch, identity)?;
        Ok(graph.activation(sum, Activation::Relu))
    }
}

impl AttentionPool {
    fn declare(mut scope: Scope<'_>, [tokens, width, outputs]: [usize; 3], heads: usize) -> AttentionPool {
        AttentionPool {
            path: scope.path().to_owned(),
            heads,
            positional_embedding: scope.parameter("positional_embedding", &[tokens, width]),
            key: Linear::new(scope.child("k_proj"), width, width, true),
            query: Linear::new(scope.child("q_proj"), width, width, true),
            value: Linear::new(scope.child("v_proj"), width, width, true),
            output: Linear::new(scope.child("c_proj"), width, outputs, true),
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let x = graph.flatten(x)?;
        let x = graph.prepend_mean(x)?;
        let x = graph.add_positions(x, self.positional_embedding)?;
        let inputs =
            [graph.linear(x, &self.query)?, graph.linear(x, &self.key)?, graph.linear(x, &self.value)?];
        let x = graph.attention(&inputs, self.heads, Mask::None)?;
        let x = graph.linear(x, &self.output)?;
        graph.pool(x, Pool::First, None)
    }
}
