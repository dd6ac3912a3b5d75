//! The stem of ViTamin (<https://arxiv.org/abs/2404.02132>): two stages of inverted bottlenecks with layer norms
//! produce a vision transformer's tokens, one per 16x16 pixels.

use crate::graph::{Activation, Conv2d, GraphBuilder, GraphError, LayerNorm, MeanWindow, Scope, ValueId};

/// Maximum pixels per token side; partial tokens at the borders count too.
pub(super) const PATCH: usize = 16;
/// Blocks of the stages.
const DEPTHS: [usize; 2] = [2, 4];
/// Ratio of a bottleneck's inner channels to its output channels.
const EXPANSION: usize = 4;
const EPSILON: f64 = 1e-6;

/// The stem's layers, from pixels to a map of tokens.
pub(super) struct VitaminStem {
    path: String,
    first: Conv2d,
    norm: LayerNorm,
    second: Conv2d,
    blocks: Vec<Block>,
    last_path: String,
    last_norm: LayerNorm,
    last: Conv2d,
}

/// `shortcut(x) + bottleneck(norm(x))`; the first of a stage halves the map.
struct Block {
    path: String,
    halves: bool,
    /// Maps a halved shortcut to the right number of channels.
    expand: Option<Conv2d>,
    norm: LayerNorm,
    convs: [Conv2d; 3],
}

impl VitaminStem {
    /// Declares the stem for stages of these widths and tokens of `width`.
    pub(super) fn declare(mut scope: Scope<'_>, stages: [usize; 2], width: usize) -> VitaminStem {
        let window = |scope: Scope<'_>, inputs: usize, outputs: usize, stride: usize| {
            Conv2d::with_bias(scope, inputs, outputs, [3, 3]).stride([stride; 2]).padding([1, 1])
        };
        let path = scope.path().to_owned();
        let between = stages[0];
        let first = window(scope.child("stem.conv1"), 3, between, 2);
        let norm = LayerNorm::new(scope.child("stem.norm1"), between, true, EPSILON);
        let second = window(scope.child("stem.conv2"), between, between, 1);
        let mut inputs = between;
        let mut blocks = Vec::new();
        for (stage, (outputs, depth)) in stages.into_iter().zip(DEPTHS).enumerate() {
            for block in 0..depth {
                let scope = scope.child(format!("stages.{stage}.{block}"));
                blocks.push(Block::declare(scope, [inputs, outputs], block == 0));
                inputs = outputs;
            }
        }
        let mut pool = scope.child("pool");
        VitaminStem {
            path,
            first,
            norm,
            second,
            blocks,
            last_path: pool.path().to_owned(),
            last: window(pool.child("proj"), inputs, width, 2),
            last_norm: LayerNorm::new(pool.child("norm"), inputs, true, EPSILON),
        }
    }

    /// From pixels to a map of tokens.
    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.stem", self.path));
        let mut x = graph.conv2d(x, &self.first)?;
        x = graph.layer_norm(x, &self.norm)?;
        x = graph.activation(x, Activation::Gelu);
        x = graph.conv2d(x, &self.second)?;
        for block in &self.blocks {
            x = block.forward(graph, x)?;
        }
        graph.scope(self.last_path.as_str());
        x = graph.layer_norm(x, &self.last_norm)?;
        graph.conv2d(x, &self.last)
    }
}

impl Block {
    fn declare(mut scope: Scope<'_>, [inputs, outputs]: [usize; 2], halves: bool) -> Block {
        let within = EXPANSION * outputs;
        let pointwise = |scope: Scope<'_>, from: usize, to: usize| Conv2d::with_bias(scope, from, to, [1, 1]);
        Block {
            path: scope.path().to_owned(),
            halves,
            expand: (inputs != outputs).then(|| pointwise(scope.child("shortcut.expand"), inputs, outputs)),
            norm: LayerNorm::new(scope.child("pre_norm"), inputs, true, EPSILON),
            convs: [
                pointwise(scope.child("conv1_1x1"), inputs, within),
                Conv2d::depthwise_with_bias(scope.child("conv2_kxk"), within, 3)
                    .stride([if halves { 2 } else { 1 }; 2]),
                pointwise(scope.child("conv3_1x1"), within, outputs),
            ],
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let [first, second, third] = &self.convs;
        let mut branch = graph.layer_norm(x, &self.norm)?;
        branch = graph.conv2d(branch, first)?;
        branch = graph.activation(branch, Activation::Gelu);
        branch = graph.conv2d(branch, second)?;
        branch = graph.activation(branch, Activation::Gelu);
        branch = graph.conv2d(branch, third)?;
        let mut shortcut = x;
        if self.halves {
            shortcut = graph.average_windows(shortcut, MeanWindow { kernel: 3, stride: 2, padding: 1 })?;
        }
        if let Some(expand) = &self.expand {
            shortcut = graph.conv2d(shortcut, expand)?;
        }
        graph.add(branch, shortcut)
    }
}
