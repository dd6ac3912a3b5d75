//! timm's Swin transformer (<https://arxiv.org/abs/2103.14030>, and its S3 sizes, <https://arxiv.org/abs/2111.14725>):
//! attention within windows, shifted in every other block, and patches merged between stages.

use crate::graph::{
    Activation, Conv2d, GraphBuilder, GraphError, LayerNorm, Linear, Scope, ValueId, WindowTable, Windows,
};

use super::layers::{Mlp, MlpKind, MlpOptions};
use super::map_pool::{ClassifierHead, MapPool};
use super::request::{DeclaredTrunk, Trunk, TrunkRequest};
use super::tokens::{ImageSize, Sizes};

/// Side of a patch.
const PATCH: usize = 4;
/// PyTorch's default.
const EPSILON: f64 = 1e-5;

/// A size of the family.
struct Variant {
    name: &'static str,
    image: usize,
    /// Side of the windows of each stage.
    windows: [usize; 4],
    width: usize,
    depths: [usize; 4],
    /// Heads of the first stage; each stage doubles them.
    heads: usize,
}

/// How a stage divides its map into windows.
#[derive(Clone, Copy)]
struct Cut {
    /// Windows of every other block; the rest do not shift.
    windows: Windows,
    /// The window that the bias tables were made for.
    stored: [usize; 2],
}

impl Variant {
    /// Divides the stages' maps into windows. Windows grow and shrink with the images, and a map no larger than a
    /// window is one unshifted window.
    ///
    /// # Errors
    /// A size that does not divide: timm would pad maps with zeros.
    fn cuts(&self, image: [usize; 2]) -> Result<[Cut; 4], String> {
        let own = self.image / PATCH;
        let grid = image.map(|side| side / PATCH);
        let windows = Windows { map: grid, window: [1; 2], shift: [0; 2] };
        let mut cuts = [Cut { windows, stored: [1; 2] }; 4];
        for (stage, (Cut { windows, stored }, side)) in cuts.iter_mut().zip(self.windows).enumerate() {
            *stored = [side.min(own >> stage); 2];
            for (axis, &places) in grid.iter().enumerate() {
                let map = places >> stage;
                let window = (side * places / own).max(1);
                let whole = map > 0 && map << stage == places && map % window.min(map) == 0;
                if !whole {
                    return Err(format!(
                        "its images have {0}x{0} pixels; another size must divide into whole windows in all four \
                         stages",
                        self.image
                    ));
                }
                (windows.map[axis], windows.window[axis]) = (map, window.min(map));
                windows.shift[axis] = if map > window { window / 2 } else { 0 };
            }
        }
        Ok(cuts)
    }
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
    image: ImageSize,
    patches: Conv2d,
    patch_norm: LayerNorm,
    stages: Vec<Stage>,
    norm: LayerNorm,
    head: ClassifierHead,
}

struct Stage {
    /// Height and width of the stage's map.
    map: [usize; 2],
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
    bias_table: WindowTable,
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
    let variant = variant.ok_or_else(|| request.unknown_trunk())?;
    let &Variant { image, width, depths, heads, .. } = variant;
    let image = ImageSize::of(request, [image; 2], PATCH, Sizes::Own)?;
    let cuts = variant.cuts(image.taken).map_err(|why| request.refused_size(why))?;
    let mut embed = scope.child("patch_embed");
    let patches = Conv2d::with_bias(embed.child("proj"), 3, width, [PATCH; 2]).stride([PATCH; 2]);
    let patch_norm = LayerNorm::new(embed.child("norm"), width, true, EPSILON);
    let mut layers = scope.child("layers");
    let stage = |index: usize| {
        let width = width << index;
        let mut scope = layers.child(index);
        let downsample = (index > 0).then(|| Merging::declare(scope.child("downsample"), width / 2));
        let mut list = scope.child("blocks");
        let Cut { windows, stored } = cuts[index];
        let block = |block: usize| {
            let windows = if block % 2 == 1 { windows } else { Windows { shift: [0; 2], ..windows } };
            Block::declare(list.child(block), [width, heads << index], windows, stored)
        };
        Stage { map: windows.map, downsample, blocks: (0..depths[index]).map(block).collect() }
    };
    let stages = (0..4).map(stage).collect();
    let channels = width << 3;
    Ok(Box::new(Swin {
        path: scope.path().to_owned(),
        image,
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

    fn changed_from(&self) -> Option<[usize; 2]> {
        self.image.changed_from
    }

    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        let [height, width] = self.image.taken;
        graph.scope(format!("{}.patch_embed", self.path));
        let pixels = graph.pixels(height, width);
        let x = graph.conv2d(pixels, &self.patches)?;
        let x = graph.flatten(x)?;
        let mut x = graph.layer_norm(x, &self.patch_norm)?;
        let mut map = [0; 2];
        for stage in &self.stages {
            if let Some(merging) = &stage.downsample {
                x = merging.forward(graph, x, map)?;
            }
            x = stage.blocks.iter().try_fold(x, |x, block| block.forward(graph, x))?;
            map = stage.map;
        }
        graph.scope(self.path.as_str());
        let x = graph.layer_norm(x, &self.norm)?;
        let x = graph.unflatten(x, map)?;
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

    fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        map: [usize; 2],
    ) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let x = graph.merge_patches(x, map)?;
        let x = graph.layer_norm(x, &self.norm)?;
        graph.linear(x, &self.reduction)
    }
}

impl Block {
    /// `stored` is the window that the table was made for.
    fn declare(
        mut scope: Scope<'_>,
        [width, heads]: [usize; 2],
        windows: Windows,
        stored: [usize; 2],
    ) -> Block {
        let path = scope.path().to_owned();
        let norm1 = LayerNorm::new(scope.child("norm1"), width, true, EPSILON);
        let mut attention = scope.child("attn");
        let [height, breadth] = stored;
        let table = attention
            .parameter("relative_position_bias_table", &[(2 * height - 1) * (2 * breadth - 1), heads]);
        let bias_table = WindowTable { table, window: stored };
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
