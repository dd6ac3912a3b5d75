//! What timm's transformers do before their blocks: patches become tokens, class and register tokens are prepended,
//! positions are added.

use crate::config::limits;
use crate::graph::{
    Activation, BatchNorm, Conv2d, GraphBuilder, GraphError, GridChange, GridFilter, Linear, ParameterId,
    Scope, ValueId,
};

use super::super::error::ArchitectureError;
use super::layers::{Norm, NormKind};
use super::request::TrunkRequest;
use super::vitamin::VitaminStem;

/// Which tokens have learned positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Positions {
    /// All tokens, including class and register tokens.
    All,
    /// Patch tokens.
    Patches,
    /// None.
    None,
}

/// How the tokens are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenOptions {
    pub(super) image: ImageSize,
    pub(super) patch: usize,
    pub(super) width: usize,
    pub(super) stem: StemKind,
    pub(super) class_token: bool,
    pub(super) registers: usize,
    pub(super) positions: Positions,
    /// A norm of each patch's embedding.
    pub(super) patch_norm: Option<NormKind>,
    /// A norm of all tokens before the blocks; the patch embedding then has no bias.
    pub(super) pre_norm: Option<NormKind>,
}

/// How patches are embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StemKind {
    /// One linear map of each patch, as a convolution.
    Patches,
    /// The same as a linear layer, with positions for images of any proportions (NaFlex).
    Linear(GridPositions),
    /// Three non-overlapping convolutions with kernels 4, 2 and 2 (MobileCLIP, <https://arxiv.org/abs/2311.17049>).
    MobileClip {
        /// Zero padding around the images. timm has none; Apple's code has 1.
        padding: usize,
    },
    /// ViTamin's stem, with these stage widths.
    Vitamin([usize; 2]),
}

/// How the positions of a tower for images of any proportions are stored and resampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GridPositions {
    /// The filter of a table of rows and columns.
    pub(super) filter: GridFilter,
    /// Whether both axes are stretched alike, to the longer one's length.
    pub(super) square: bool,
    /// Whether there is a table of rows and one of columns, of which each position is the sum, resampled linearly.
    pub(super) factorized: bool,
}

impl StemKind {
    /// The positions of a tower for images of any proportions (NaFlex).
    pub(super) fn grid_positions(self) -> Option<GridPositions> {
        match self {
            StemKind::Linear(positions) => Some(positions),
            StemKind::Patches | StemKind::MobileClip { .. } | StemKind::Vitamin(_) => None,
        }
    }

    /// Whether it is that of a tower for images of any proportions.
    pub(super) fn is_naflex(self) -> bool {
        self.grid_positions().is_some()
    }
}

impl TokenOptions {
    /// Rows and columns of patches.
    pub(super) fn grid(&self) -> [usize; 2] {
        self.grid_of(self.image.taken)
    }

    fn grid_of(&self, image_size: [usize; 2]) -> [usize; 2] {
        match self.stem {
            StemKind::Vitamin(_) => image_size.map(|side| side.div_ceil(self.patch)),
            StemKind::Patches | StemKind::Linear(_) | StemKind::MobileClip { .. } => {
                image_size.map(|side| side / self.patch)
            }
        }
    }

    /// Number of tokens before the patch tokens.
    pub(super) fn prefix(&self) -> usize {
        usize::from(self.class_token) + self.registers
    }
}

pub(super) struct Tokens {
    image: ImageSize,
    path: String,
    stem: Stem,
    patch_norm: Option<Norm>,
    class_token: Option<ParameterId>,
    registers: Option<ParameterId>,
    /// Tables, which are all added.
    positions: Vec<(ParameterId, GridChange)>,
    positions_of_patches: bool,
    pre_norm: Option<Norm>,
}

enum Stem {
    Convolutions(Vec<StemLayer>),
    Linear { path: String, patch: usize, layer: Linear },
    Vitamin(Box<VitaminStem>),
}

struct StemLayer {
    path: String,
    convolution: Conv2d,
    norm: Option<BatchNorm>,
}

impl Tokens {
    pub(super) fn declare(scope: &mut Scope<'_>, options: &TokenOptions) -> Tokens {
        let width = options.width;
        let class_token = options.class_token.then(|| scope.parameter("cls_token", &[1, 1, width]));
        let registers =
            (options.registers > 0).then(|| scope.parameter("reg_token", &[1, options.registers, width]));
        let positions = declare_positions(scope, options);
        let mut embed = if options.stem.is_naflex() { scope.same() } else { scope.child("patch_embed") };
        let stem = declare_stem(&mut embed, options);
        let patch_norm = options.patch_norm.map(|kind| Norm::new(embed.child("norm"), width, kind));
        let pre_norm = options.pre_norm.map(|kind| Norm::new(scope.child("norm_pre"), width, kind));
        Tokens {
            image: options.image,
            path: scope.path().to_owned(),
            stem,
            patch_norm,
            class_token,
            registers,
            positions,
            positions_of_patches: options.positions == Positions::Patches,
            pre_norm,
        }
    }

    /// Height and width of the images that the trunk was made for, if timm has to change it for others.
    pub(super) fn changed_from(&self) -> Option<[usize; 2]> {
        self.image.changed_from
    }

    /// From pixels to tokens `[batch, tokens, width]`.
    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        let [height, width] = self.image.taken;
        graph.scope(self.path.as_str());
        let mut x = graph.pixels(height, width);
        x = self.stem.forward(graph, &self.path, x)?;
        graph.scope(self.path.as_str());
        if let Some(norm) = &self.patch_norm {
            x = norm.forward(graph, x)?;
        }
        if self.positions_of_patches {
            x = self.add_positions(graph, x)?;
        }
        for token in [self.registers, self.class_token].into_iter().flatten() {
            x = graph.prepend_token(x, token)?;
        }
        if !self.positions_of_patches {
            x = self.add_positions(graph, x)?;
        }
        match &self.pre_norm {
            Some(norm) => norm.forward(graph, x),
            None => Ok(x),
        }
    }

    fn add_positions(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let mut tables = self.positions.iter();
        tables.try_fold(x, |x, &(table, change)| graph.add_resampled_positions(x, table, change))
    }
}

impl Stem {
    /// From pixels to tokens.
    fn forward(
        &self,
        graph: &mut GraphBuilder<'_>,
        path: &str,
        pixels: ValueId,
    ) -> Result<ValueId, GraphError> {
        let map = match self {
            Stem::Vitamin(stem) => stem.forward(graph, pixels)?,
            Stem::Linear { path, patch, layer } => {
                let patches = graph.patches(pixels, [*patch; 2])?;
                graph.scope(path.as_str());
                return graph.linear(patches, layer);
            }
            Stem::Convolutions(layers) => {
                let mut x = pixels;
                for layer in layers {
                    graph.scope(layer.path.as_str());
                    x = graph.conv2d(x, &layer.convolution)?;
                    if let Some(norm) = &layer.norm {
                        x = graph.batch_norm(x, norm)?;
                        x = graph.activation(x, Activation::Gelu);
                    }
                }
                x
            }
        };
        graph.scope(path);
        graph.flatten(map)
    }
}

fn declare_positions(scope: &mut Scope<'_>, options: &TokenOptions) -> Vec<(ParameterId, GridChange)> {
    let TokenOptions { width, positions, .. } = *options;
    let (from, to) = (options.grid_of(options.image.stored), options.grid());
    let prefix = if positions == Positions::All { options.prefix() } else { 0 };
    let mut table = |name: &str, rows: &[usize], change: GridChange| {
        (scope.parameter(name, &[&[1], rows, &[width]].concat()), change)
    };
    let [rows, columns] = from;
    match options.stem.grid_positions() {
        _ if positions == Positions::None => Vec::new(),
        None => {
            let change = GridChange { prefix, from, to, filter: GridFilter::default(), square: false };
            vec![table("pos_embed", &[prefix + rows * columns], change)]
        }
        Some(GridPositions { filter, square, factorized: false }) => {
            vec![table("pos_embed", &from, GridChange { prefix, from, to, filter, square })]
        }
        Some(GridPositions { square, factorized: true, .. }) => {
            let change = |from| GridChange { prefix, from, to, filter: GridFilter::Linear, square };
            vec![
                table("pos_embed_y", &[rows], change([rows, 1])),
                table("pos_embed_x", &[columns], change([1, columns])),
            ]
        }
    }
}

fn declare_stem(scope: &mut Scope<'_>, options: &TokenOptions) -> Stem {
    let TokenOptions { patch, width, .. } = *options;
    match options.stem {
        StemKind::Patches => {
            let projection = scope.child("proj");
            let path = projection.path().to_owned();
            let convolution = match options.pre_norm {
                Some(_) => Conv2d::new(projection, 3, width, [patch; 2]),
                None => Conv2d::with_bias(projection, 3, width, [patch; 2]),
            };
            let convolution = convolution.stride([patch; 2]);
            Stem::Convolutions(vec![StemLayer { path, convolution, norm: None }])
        }
        StemKind::Linear(_) => {
            let projection = scope.child("proj");
            let path = projection.path().to_owned();
            let layer = Linear::new(projection, 3 * patch * patch, width, options.pre_norm.is_none());
            Stem::Linear { path, patch, layer }
        }
        StemKind::Vitamin(stages) => {
            Stem::Vitamin(Box::new(VitaminStem::declare(scope.child("backbone"), stages, width)))
        }
        StemKind::MobileClip { padding } => {
            let mut backbone = scope.child("backbone");
            let mut layer = |index: usize, inputs: usize, outputs: usize, kernel: usize| {
                let mut scope = backbone.child(index);
                let path = scope.path().to_owned();
                let (convolution, norm) = if index < 2 {
                    let convolution = Conv2d::new(scope.child("conv"), inputs, outputs, [kernel; 2]);
                    (convolution, Some(BatchNorm::new(scope.child("bn"), outputs, 1e-5)))
                } else {
                    (Conv2d::with_bias(scope.child("conv"), inputs, outputs, [kernel; 2]), None)
                };
                let padding = if index == 0 { padding } else { 0 };
                StemLayer { path, convolution: convolution.stride([kernel; 2]).padding([padding; 2]), norm }
            };
            let inner = width / 4;
            Stem::Convolutions(vec![
                layer(0, 3, inner, 4),
                layer(1, inner, inner, 2),
                layer(2, inner, width, 2),
            ])
        }
    }
}

/// Which image sizes a trunk accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sizes {
    /// Any.
    Any,
    /// Any multiple of the patch size; positions are resampled on each run.
    WholePatches,
    /// Its name's size; for others, timm changes the trunk (`set_input_size`, which open_clip's `force_image_size`
    /// calls after loading the weights).
    Own,
}

/// Height and width of images, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImageSize {
    /// The size used.
    pub(super) taken: [usize; 2],
    /// The size the stored positions were made for.
    pub(super) stored: [usize; 2],
    /// The size the trunk was made for, if timm has to change it.
    pub(super) changed_from: Option<[usize; 2]>,
}

impl ImageSize {
    /// Resolves the image size requested of a trunk whose name implies `own`.
    pub(super) fn of(
        request: &TrunkRequest<'_>,
        own: [usize; 2],
        patch: usize,
        sizes: Sizes,
    ) -> Result<ImageSize, ArchitectureError> {
        let taken = request.image_size;
        if taken.iter().any(|side| side / patch == 0) {
            return Err(request.refused_size(format!("its patches have sides of {patch} pixels")));
        }
        if sizes == Sizes::WholePatches && !taken.iter().all(|side| side.is_multiple_of(patch)) {
            let why = format!("its images must be a whole number of {patch}-pixel patches");
            return Err(request.refused_size(why));
        }
        let tokens = taken.iter().map(|side| side.div_ceil(patch)).product::<usize>();
        if tokens > limits::TOKENS {
            let why = format!("{patch}-pixel patches give {tokens} tokens, more than {}", limits::TOKENS);
            return Err(request.refused_size(why));
        }
        let stored = if sizes == Sizes::Any { taken } else { own };
        let changed_from = (sizes == Sizes::Own && taken != own).then_some(own);
        Ok(ImageSize { taken, stored, changed_from })
    }
}
