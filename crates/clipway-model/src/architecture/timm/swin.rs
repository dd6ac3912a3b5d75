//! timm's Swin transformer (<https://arxiv.org/abs/2103.14030>, and its S3 sizes, <https://arxiv.org/abs/2111.14725>):
//! attention within windows, which are shifted in every other block, and patches that are merged between stages.

use crate::graph::{
    Activation, Conv2d, GraphBuilder, GraphError, LayerNorm, Linear, ParameterId, Scope, ValueId, Windows,
};

use super::layers::{Mlp, MlpKind, MlpOptions};
use super::map_pool::{ClassifierHead, MapPool};
use super::{ArchitectureError, DeclaredTrunk, Trunk, TrunkRequest, unknown};

/// Side of a patch.
const PATCH: usize = 4;
/// PyTorch's default.
const EPSILON: f64 = 1e-5;

/// A size of the family.
struct Variant {
    name: &'static str,
    image: usize,
    /// Side of the windows in each stage.
    windows: [usize; 4],
    width: usize,
    depths: [usize; 4],
    /// Heads of the first stage; each stage has twice as many.
    heads: usize,
}

const fn variant(
    name: &'static str,
    image: usize,
    windows: [usize; 4],
    [width, heads]: [usize; 2],
    depths: [usize; 4],
) -> Variant {
    Variant { name, image, windows, width, depths, heads }
}

/// The sizes by timm name.
const VARIANTS: [Variant; 9] = [
    variant("swin_tiny_patch4_window7_224", 224, [7; 4], [96, 3], [2, 2, 6, 2]),
    variant("swin_small_patch4_window7_224", 224, [7; 4], [96, 3], [2, 2, 18, 2]),
    variant("swin_base_patch4_window7_224", 224, [7; 4], [128, 4], [2, 2, 18, 2]),
    variant("swin_base_patch4_window12_384", 384, [12; 4], [128, 4], [2, 2, 18, 2]),
    variant("swin_large_patch4_window7_224", 224, [7; 4], [192, 6], [2, 2, 18, 2]),
    variant("swin_large_patch4_window12_384", 384, [12; 4], [192, 6], [2, 2, 18, 2]),
    variant("swin_s3_tiny_224", 224, [7, 7, 14, 7], [96, 3], [2, 2, 6, 2]),
    variant("swin_s3_small_224", 224, [14, 14, 14, 7], [96, 3], [2, 2, 18, 2]),
    variant("swin_s3_base_224", 224, [7, 7, 14, 7], [96, 3], [2, 2, 30, 2]),
];

struct Swin {
    path: String,
    image_size: [usize; 2],
    patches: Conv2d,
    patch_norm: LayerNorm,
    stages: Vec<Stage>,
    norm: LayerNorm,
    head: ClassifierHead,
}

struct Stage {
    /// Side of the stage's map.
    side: usize,
    downsample: Option<Merging>,
    blocks: Vec<Block>,
}

/// Merges 2x2 patches: a norm of the four, then a linear layer.
struct Merging {
    path: String,
    norm: LayerNorm,
    reduction: Linear,
}

struct Block {
    path: String,
    norm1: LayerNorm,
    heads: usize,
    windows: Windows,
    query_key_value: Linear,
    bias_table: ParameterId,
    output: Linear,
    norm2: LayerNorm,
    mlp: Mlp,
}

/// The timm names.
pub(super) fn names() -> Vec<&'static str> {
    VARIANTS.iter().map(|variant| variant.name).collect()
}

/// Declares a trunk's tensors.
pub(super) fn declare(request: &TrunkRequest<'_>, mut scope: Scope<'_>) -> DeclaredTrunk {
    let variant = VARIANTS.iter().find(|variant| variant.name == request.name);
    let &Variant { image, windows, width, depths, heads, .. } =
        variant.ok_or_else(|| unknown(request.name))?;
    let mut embed = scope.child("patch_embed");
    let patches = Conv2d::with_bias(embed.child("proj"), 3, width, [PATCH; 2]).stride([PATCH; 2]);
    let patch_norm = LayerNorm::new(embed.child("norm"), width, true, EPSILON);
    let mut layers = scope.child("layers");
    let stage = |index: usize| {
        let width = width << index;
        let side = (image / PATCH) >> index;
        let mut scope = layers.child(index);
        let downsample = (index > 0).then(|| Merging::declare(scope.child("downsample"), width / 2));
        let mut list = scope.child("blocks");
        let block = |block: usize| {
            // A map no larger than a window is one window, which nothing shifts.
            let side_of_window = windows[index].min(side);
            let shift = if block % 2 == 1 && side > side_of_window { side_of_window / 2 } else { 0 };
            let windows = Windows { map: [side; 2], window: [side_of_window; 2], shift: [shift; 2] };
            Block::declare(list.child(block), width, heads << index, windows)
        };
        Stage { side, downsample, blocks: (0..depths[index]).map(block).collect() }
    };
    let stages = (0..4).map(stage).collect();
    let channels = width << 3;
    Ok(Box::new(Swin {
        path: scope.path().to_owned(),
        image_size: own_size(request, image)?,
        patches,
        patch_norm,
        stages,
        norm: LayerNorm::new(scope.child("norm"), channels, true, EPSILON),
        head: ClassifierHead::declare(scope.child("head"), request, channels, MapPool::Mean)?,
    }))
}

impl Trunk for Swin {
    fn features(&self) -> usize {
        self.head.features()
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        let [height, width] = self.image_size;
        graph.scope(format!("{}.patch_embed", self.path));
        let pixels = graph.pixels(height, width);
        let x = graph.conv2d(pixels, &self.patches)?;
        let x = graph.flatten(x)?;
        let mut x = graph.layer_norm(x, &self.patch_norm)?;
        let mut side = 0;
        for stage in &self.stages {
            if let Some(merging) = &stage.downsample {
                x = merging.forward(graph, x, 2 * stage.side)?;
            }
            x = stage.blocks.iter().try_fold(x, |x, block| block.forward(graph, x))?;
            side = stage.side;
        }
        graph.scope(self.path.as_str());
        let x = graph.layer_norm(x, &self.norm)?;
        let x = graph.unflatten(x, [side; 2])?;
        self.head.forward(graph, x)
    }
}

impl Merging {
    fn declare(mut scope: Scope<'_>, width: usize) -> Merging {
        Merging {
            path: scope.path().to_owned(),
            norm: LayerNorm::new(scope.child("norm"), 4 * width, true, EPSILON),
            reduction: Linear::new(scope.child("reduction"), 4 * width, 2 * width, false),
        }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId, side: usize) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let x = graph.merge_patches(x, [side; 2])?;
        let x = graph.layer_norm(x, &self.norm)?;
        graph.linear(x, &self.reduction)
    }
}

impl Block {
    fn declare(mut scope: Scope<'_>, width: usize, heads: usize, windows: Windows) -> Block {
        let path = scope.path().to_owned();
        let norm1 = LayerNorm::new(scope.child("norm1"), width, true, EPSILON);
        let mut attention = scope.child("attn");
        let [height, breadth] = windows.window;
        let bias_table = attention
            .parameter("relative_position_bias_table", &[(2 * height - 1) * (2 * breadth - 1), heads]);
        let query_key_value = Linear::new(attention.child("qkv"), width, 3 * width, true);
        let output = Linear::new(attention.child("proj"), width, width, true);
        let norm2 = LayerNorm::new(scope.child("norm2"), width, true, EPSILON);
        let mlp = MlpOptions {
            kind: MlpKind::Plain,
            bias: true,
            width,
            hidden: 4 * width,
            activation: Activation::Gelu,
            norm: None,
        };
        let mlp = Mlp::declare(scope.child("mlp"), mlp);
        Block { path, norm1, heads, windows, query_key_value, bias_table, output, norm2, mlp }
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(format!("{}.attn", self.path));
        let mut branch = graph.layer_norm(x, &self.norm1)?;
        branch = graph.windows(branch, self.windows)?;
        branch = graph.linear(branch, &self.query_key_value)?;
        branch = graph.window_attention(branch, self.heads, self.windows, self.bias_table)?;
        branch = graph.unwindows(branch, self.windows)?;
        branch = graph.linear(branch, &self.output)?;
        let x = graph.add(x, branch)?;

        graph.scope(format!("{}.mlp", self.path));
        let branch = graph.layer_norm(x, &self.norm2)?;
        let branch = self.mlp.forward(graph, branch)?;
        graph.add(x, branch)
    }
}

/// The size of the pictures that the windows and their tables are made for.
fn own_size(request: &TrunkRequest<'_>, own: usize) -> Result<[usize; 2], ArchitectureError> {
    let [height, width] = request.image_size;
    if [height, width] == [own; 2] {
        return Ok([own; 2]);
    }
    let what = format!("`vision_cfg.image_size` [{height}, {width}] with the trunk `{}`", request.name);
    let why = format!(
        "its pictures have {own}x{own}; for others timm makes other windows and resamples their tables of positions"
    );
    Err(ArchitectureError::unsupported(what, why))
}
