//! Google's big_vision: SigLIP models as `.npz`, with Flax's names and axes.

use clipway_formats::TensorInfo;

use super::names::{join, transpose};
use super::siglip_config::{SiglipShape, SiglipTower};
use super::{Conversion, KnownConfig, Layout, LayoutError, has_prefix, naflex};
use crate::checkpoint::Checkpoint;
use crate::config::{ConfigFile, Interpolation, PreprocessOptions, ResizeMode};
use crate::contract::{Field, Origin, Origins};
use crate::plan::{Converted, PlannedTensor, Step, StepError};
use crate::problems::Problems;
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "big_vision",
    title: "Google big_vision SigLIP",
    recognizes: |tensors| {
        ["params/img/", "img/"].into_iter().any(|prefix| has_prefix(tensors, prefix))
            && ["params/txt/", "txt/"].into_iter().any(|prefix| has_prefix(tensors, prefix))
    },
    conversion: Conversion::Steps(convert),
    known_config: Some(known_config),
    check_numbers: None,
};

/// Prefix of every name in files that store more than parameters.
const ROOT: &str = "params/";

/// Modules whose leaf names do not change, with open_clip's names.
const TENSORS: [(&str, &str); 5] = [
    ("t", "logit_scale"),
    ("b", "logit_bias"),
    ("img/pos_embedding", "visual.trunk.pos_embed"),
    ("img/MAPHead_0/probe", "visual.trunk.attn_pool.latent"),
    ("txt/Embed_0/embedding", "text.token_embedding.weight"),
];

/// Modules outside of blocks, with open_clip's names.
const MODULES: [(&str, &str); 8] = [
    ("img/embedding/", "visual.trunk.patch_embed.proj."),
    ("img/Transformer/encoder_norm/", "visual.trunk.norm."),
    ("img/MAPHead_0/LayerNorm_0/", "visual.trunk.attn_pool.norm."),
    ("img/MAPHead_0/MlpBlock_0/Dense_0/", "visual.trunk.attn_pool.mlp.fc1."),
    ("img/MAPHead_0/MlpBlock_0/Dense_1/", "visual.trunk.attn_pool.mlp.fc2."),
    ("txt/Encoder_0/encoder_norm/", "text.ln_final."),
    ("txt/head/", "text.text_projection."),
    ("img/head/", "visual.head.proj."),
];

/// Attentions: their place, and open_clip's parts: the joined ones before `weight` or `bias`, and the output.
const POOLER: &str = "img/MAPHead_0/MultiHeadDotProductAttention_0/";

/// Blocks of a tower.
struct Blocks {
    theirs: &'static str,
    ours: &'static str,
    norms: [&'static str; 2],
    mlp: [&'static str; 2],
    fused: &'static str,
    out: &'static str,
}

const BLOCKS: [Blocks; 2] = [
    Blocks {
        theirs: "img/Transformer/encoderblock",
        ours: "visual.trunk.blocks.",
        norms: ["norm1.", "norm2."],
        mlp: ["mlp.fc1.", "mlp.fc2."],
        fused: "attn.qkv.",
        out: "attn.proj.",
    },
    Blocks {
        theirs: "txt/Encoder_0/encoderblock",
        ours: "text.transformer.resblocks.",
        norms: ["ln_1.", "ln_2."],
        mlp: ["mlp.c_fc.", "mlp.c_proj."],
        fused: "attn.in_proj_",
        out: "attn.out_proj.",
    },
];

/// Attention of a block.
const ATTENTION: &str = "MultiHeadDotProductAttention_0/";

/// Parts of an attention in open_clip's order.
const PROJECTIONS: [&str; 3] = ["query/", "key/", "value/"];

fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let mut converted = Converted::default();
    for tensor in state_dict.tensors() {
        converted.tensors.extend(match block_of(&tensor.name) {
            Some(place) => in_block(tensor, &place, state_dict)?,
            None => outside(tensor, state_dict)?,
        });
    }
    if is_naflex(state_dict) { naflex::named(converted) } else { Ok(converted) }
}

/// Whether the image tower takes images of any proportions: it embeds patches by a matrix.
fn is_naflex(state_dict: &StateDict) -> bool {
    array(state_dict, PATCHES).is_some_and(|tensor| tensor.shape.len() == 2)
}

/// An array by its name without a root.
fn array<'s>(state_dict: &'s StateDict, name: &str) -> Option<&'s TensorInfo> {
    state_dict.get(name).or_else(|| state_dict.get(&format!("{ROOT}{name}")))
}

fn plain(name: &str) -> &str {
    name.strip_prefix(ROOT).unwrap_or(name)
}

/// A tensor outside of blocks.
fn outside(tensor: &TensorInfo, state_dict: &StateDict) -> Result<Vec<PlannedTensor>, StepError> {
    let name = plain(&tensor.name);
    if let Some(part) = name.strip_prefix(POOLER) {
        return attention(tensor, part, &pooler(), state_dict, None);
    }
    let mut planned = PlannedTensor::same(tensor);
    let module = MODULES.into_iter().find_map(|(theirs, ours)| Some((ours, name.strip_prefix(theirs)?)));
    let is_grid = name == POSITIONS && is_naflex(state_dict);
    if let (Some((_, ours)), false) = (TENSORS.into_iter().find(|(theirs, _)| *theirs == name), is_grid) {
        planned.target.name = ours.to_owned();
    } else if let (true, [rows, columns, width]) = (is_grid, &tensor.shape[..]) {
        planned.target.name = naflex::POSITIONS[1].to_owned();
        planned.then(Step::Reshape { shape: vec![1, *rows, *columns, *width] })?;
    } else if let ("txt/pos_embedding", [1, rows, width]) = (name, &tensor.shape[..]) {
        planned.target.name = "text.positional_embedding".to_owned();
        planned.then(Step::Reshape { shape: vec![*rows, *width] })?;
    } else if let Some((module, leaf)) = module {
        finish(&mut planned, module, leaf)?;
    }
    Ok(vec![planned])
}

/// Gives a linear layer, a convolution or a norm PyTorch's name and axes.
fn finish(planned: &mut PlannedTensor, module: &str, leaf: &str) -> Result<(), StepError> {
    let leaf = match (leaf, planned.target.shape.len()) {
        ("kernel", 2) => {
            planned.then(transpose())?;
            "weight"
        }
        ("kernel", 4) => {
            planned.then(Step::Transpose { axes: vec![3, 2, 0, 1] })?;
            "weight"
        }
        ("scale", _) => "weight",
        ("bias", _) => "bias",
        // An unknown name stays, and is reported as unused.
        _ => return Ok(()),
    };
    planned.target.name = format!("{module}{leaf}");
    Ok(())
}

/// Location of a block's tensor.
struct Place<'n> {
    blocks: &'static Blocks,
    /// The block's index; `None` if one tensor holds all blocks.
    number: Option<&'n str>,
    leaf: &'n str,
}

fn block_of(name: &str) -> Option<Place<'_>> {
    BLOCKS.iter().find_map(|blocks| {
        let rest = plain(name).strip_prefix(blocks.theirs)?;
        let (number, leaf) = match rest.strip_prefix('_') {
            Some(rest) => rest.split_once('/').map(|(number, leaf)| (Some(number), leaf))?,
            None => (None, rest.strip_prefix('/')?),
        };
        Some(Place { blocks, number, leaf })
    })
}

/// A tensor of one block, or of all blocks.
fn in_block(
    tensor: &TensorInfo,
    place: &Place<'_>,
    state_dict: &StateDict,
) -> Result<Vec<PlannedTensor>, StepError> {
    let Some(number) = place.number else {
        // One tensor holds all blocks, along its first axis.
        let mut all = Vec::new();
        for index in 0..tensor.shape.first().copied().unwrap_or(0) {
            all.extend(one_block(tensor, place, &index.to_string(), state_dict, Some(index))?);
        }
        return Ok(all);
    };
    one_block(tensor, place, number, state_dict, None)
}

fn one_block(
    tensor: &TensorInfo,
    place: &Place<'_>,
    number: &str,
    state_dict: &StateDict,
    slice: Option<usize>,
) -> Result<Vec<PlannedTensor>, StepError> {
    let Blocks { ours, norms, mlp, fused, out, .. } = place.blocks;
    let module = |leaf: &str| format!("{ours}{number}.{leaf}");
    if let Some(part) = place.leaf.strip_prefix(ATTENTION) {
        let names =
            AttentionNames { queries: module(fused), keys_and_values: module(fused), out: module(out) };
        return attention(tensor, part, &names, state_dict, slice);
    }
    let known = [
        ("LayerNorm_0/", norms[0]),
        ("LayerNorm_1/", norms[1]),
        ("MlpBlock_0/Dense_0/", mlp[0]),
        ("MlpBlock_0/Dense_1/", mlp[1]),
    ];
    let mut planned = PlannedTensor::same(tensor);
    if let Some((ours, leaf)) =
        known.into_iter().find_map(|(theirs, ours)| Some((ours, place.leaf.strip_prefix(theirs)?)))
    {
        take(&mut planned, slice)?;
        finish(&mut planned, &module(ours), leaf)?;
    } else if slice.is_some_and(|index| index > 0) {
        // An unknown name stays, once.
        return Ok(Vec::new());
    }
    Ok(vec![planned])
}

/// Takes one block's part, if one tensor holds all blocks.
fn take(planned: &mut PlannedTensor, slice: Option<usize>) -> Result<(), StepError> {
    let Some(index) = slice else { return Ok(()) };
    planned.then(Step::Slice { axis: 0, start: index, end: index + 1 })?;
    let shape = planned.target.shape[1..].to_vec();
    planned.then(Step::Reshape { shape })
}

/// open_clip's names for the parts of an attention, before `weight` or `bias`.
struct AttentionNames {
    queries: String,
    keys_and_values: String,
    out: String,
}

impl AttentionNames {
    /// The tensors that a projection is joined with, and the joined name.
    fn joined(&self, projection: &str) -> (&'static [&'static str], &str) {
        match projection {
            _ if self.queries == self.keys_and_values => (&PROJECTIONS, &self.queries),
            "query/" => (&PROJECTIONS[..1], &self.queries),
            _ => (&PROJECTIONS[1..], &self.keys_and_values),
        }
    }
}

/// The pooling attention, whose queries are separate.
fn pooler() -> AttentionNames {
    let name = |part: &str| format!("visual.trunk.attn_pool.{part}.");
    AttentionNames { queries: name("q"), keys_and_values: name("kv"), out: name("proj") }
}

/// A tensor of an attention. Projection kernels `[width, heads, head width]` and biases `[heads, head width]` are
/// joined along the heads; the output kernel is `[heads, head width, width]`.
fn attention(
    tensor: &TensorInfo,
    part: &str,
    names: &AttentionNames,
    state_dict: &StateDict,
    slice: Option<usize>,
) -> Result<Vec<PlannedTensor>, StepError> {
    let unknown = || Ok(vec![PlannedTensor::same(tensor)]);
    let Some((projection, leaf)) =
        part.split_inclusive('/').next().map(|first| (first, &part[first.len()..]))
    else {
        return unknown();
    };
    let axes = tensor.shape.len() - usize::from(slice.is_some() && !tensor.shape.is_empty());
    let is_kernel = match (leaf, axes) {
        ("kernel", 3) => true,
        ("bias", 1 | 2) => false,
        _ => return unknown(),
    };
    let kind = if is_kernel { "weight" } else { "bias" };
    if projection == "out/" {
        let mut planned = PlannedTensor::same(tensor);
        take(&mut planned, slice)?;
        if let [heads, head_width, width] = planned.target.shape[..] {
            planned.then(Step::Reshape { shape: vec![heads * head_width, width] })?;
            planned.then(transpose())?;
        }
        planned.target.name = format!("{}{kind}", names.out);
        return Ok(vec![planned]);
    }
    if !PROJECTIONS.contains(&projection) {
        return unknown();
    }
    let (parts, target) = names.joined(projection);
    let stem = &tensor.name[..tensor.name.len() - part.len()];
    let sources: Vec<String> = parts.iter().map(|part| format!("{stem}{part}{leaf}")).collect();
    let axis = usize::from(is_kernel) + usize::from(slice.is_some());
    let Some(mut joined) = join(tensor, state_dict, &sources, format!("{target}{kind}"), axis)? else {
        return unknown();
    };
    for planned in &mut joined {
        if sources.len() == 1 {
            planned.steps.clear();
            planned.target.shape.clone_from(&tensor.shape);
        }
        take(planned, slice)?;
        match planned.target.shape[..] {
            [width, heads, head_width] => {
                planned.then(Step::Reshape { shape: vec![width, heads * head_width] })?;
                planned.then(transpose())?;
            }
            [heads, head_width] => planned.then(Step::Reshape { shape: vec![heads * head_width] })?,
            _ => {}
        }
    }
    Ok(joined)
}

/// The config according to the shapes: big_vision stores none beside its weights.
fn known_config(
    checkpoint: &Checkpoint,
    state_dict: &StateDict,
    tensors: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let mut problems = Problems::default();
    let shape = shape_of(checkpoint, state_dict, &mut problems);
    problems.none(ARRAYS)?;
    let Some(shape) = shape else { return Ok(None) };
    let malformed = |cause| LayoutError::Malformed { file: "the config inferred from the shapes", cause };
    let (model, name, mut notes) = shape.config(tensors).map_err(malformed)?;
    let activation_from = match &name {
        Some(name) => {
            format!("the registered `{name}`, which matches names and shapes; no array shows the activation")
        }
        None => "assumed: no array shows the activation".to_owned(),
    };
    if name.is_none() {
        let activations = match shape.naflex {
            true => "GELU's tanh approximation in both towers",
            false => "exact GELU in the image tower and its tanh approximation in the text tower",
        };
        notes.push(format!(
            "{activations}, as in open_clip's SigLIP 2: no array shows it, and no registered model has these shapes"
        ));
    }
    let mut origins = Origins::default();
    let why = "no array shows it; big_vision resizes with TensorFlow, and open_clip's rule is followed";
    origins.set(Field::PixelRule, Origin::Assumption { why: why.to_owned() });
    Ok(Some(KnownConfig {
        config: ConfigFile { model, preprocess: preprocessing() },
        name,
        from: "the shapes of the arrays".to_owned(),
        origins,
        activation_from,
        disagreements: Vec::new(),
        text_model_file: None,
        notes,
    }))
}

/// SigLIP's preprocessing, which no array shows either.
fn preprocessing() -> PreprocessOptions {
    PreprocessOptions {
        mean: Some([0.5; 3]),
        std: Some([0.5; 3]),
        interpolation: Some(Interpolation::Bicubic),
        resize_mode: Some(ResizeMode::Squash),
        ..PreprocessOptions::default()
    }
}

/// What errors call the file.
const ARRAYS: &str = "the arrays";

/// The patch embedding: a convolution, or a matrix.
const PATCHES: &str = "img/embedding/kernel";

/// The image tower's positions: one for each patch of an image, or for each place of a grid.
const POSITIONS: &str = "img/pos_embedding";

/// Arrays that show sizes, and their number of dimensions; of patches embedded by a matrix it is 2.
const SIZES: [(&str, usize); 4] =
    [(PATCHES, 4), (POSITIONS, 3), ("txt/Embed_0/embedding", 2), ("txt/pos_embedding", 3)];

/// Arrays of a block that show sizes, and their number of dimensions.
const BLOCK_SIZES: [(&str, usize); 2] =
    [("MultiHeadDotProductAttention_0/query/kernel", 3), ("MlpBlock_0/Dense_0/kernel", 2)];

/// Sizes from shapes; `None`, with a problem for each array that is missing or has other dimensions.
fn shape_of(checkpoint: &Checkpoint, state_dict: &StateDict, problems: &mut Problems) -> Option<SiglipShape> {
    let is_naflex = is_naflex(state_dict);
    let shape = |name: &str| array(state_dict, name).map(|tensor| tensor.shape.as_slice());
    // From any block: the plan reports the missing ones.
    let block = |prefix: &str, leaf: &str| {
        state_dict.tensors().iter().find_map(|tensor| {
            let rest = plain(&tensor.name).strip_prefix(prefix)?;
            match rest.strip_prefix('_') {
                Some(rest) => rest.split_once('/').filter(|(_, own)| *own == leaf).map(|_| &tensor.shape[..]),
                None => rest.strip_prefix('/').filter(|own| *own == leaf).and_then(|_| tensor.shape.get(1..)),
            }
        })
    };
    let mut need = |name: String, found: Option<&[usize]>, dimensions: usize| match found {
        Some(shape) if shape.len() == dimensions => {}
        Some(shape) => problems.push(format!("`{name}`: expected {dimensions} dimensions, found {shape:?}")),
        None => problems.push(format!("`{name}`: missing")),
    };
    for (name, dimensions) in SIZES {
        let dimensions = if is_naflex && name == PATCHES { 2 } else { dimensions };
        need(name.to_owned(), shape(name), dimensions);
    }
    for Blocks { theirs, .. } in &BLOCKS {
        for (leaf, dimensions) in BLOCK_SIZES {
            need(format!("{theirs}_0/{leaf}"), block(theirs, leaf), dimensions);
        }
    }
    let tower = |prefix: &str, width: usize| {
        let &[_, heads, _] = block(prefix, BLOCK_SIZES[0].0)? else { return None };
        let &[_, mlp_width] = block(prefix, BLOCK_SIZES[1].0)? else { return None };
        let blocks_of = |tensor: &TensorInfo| {
            let rest = plain(&tensor.name).strip_prefix(prefix)?;
            match rest.strip_prefix('_') {
                // A short file cannot claim a long model.
                Some(rest) => {
                    let number: usize = rest.split('/').next()?.parse().ok()?;
                    (number < state_dict.tensors().len()).then_some(number + 1)
                }
                None => rest.starts_with('/').then(|| tensor.shape.first().copied()).flatten(),
            }
        };
        let layers = state_dict.tensors().iter().filter_map(blocks_of).max()?;
        Some(SiglipTower { width, layers, heads, mlp_width, tanh: None, epsilon: SiglipTower::EPSILON })
    };
    let Image { patch_size, image_size, width } = match is_naflex {
        true => naflex_image(shape(PATCHES)?, shape(POSITIONS)?, problems)?,
        false => plain_image(shape(PATCHES)?, shape(POSITIONS)?, problems)?,
    };
    let &[vocabulary, text_width] = shape(SIZES[2].0)? else { return None };
    let &[1, context_length, _] = shape(SIZES[3].0)? else { return None };
    Some(SiglipShape {
        naflex: is_naflex,
        image_size,
        patch_size,
        vision: tower(BLOCKS[0].theirs, width)?,
        text: tower(BLOCKS[1].theirs, text_width)?,
        context_length,
        vocabulary,
        has_tokenizer: super::hf_config::has_tokenizer(checkpoint),
        cleans_texts: false,
    })
}

/// Sizes of the image tower.
struct Image {
    patch_size: [usize; 2],
    image_size: [usize; 2],
    width: usize,
}

/// Those of a convolution `[height, width, 3, width]` with one position for each patch of a square.
fn plain_image(patches: &[usize], positions: &[usize], problems: &mut Problems) -> Option<Image> {
    let &[patch_height, patch_width, _, width] = patches else { return None };
    let &[1, tokens, _] = positions else { return None };
    let side = tokens.isqrt();
    if side * side != tokens {
        problems.push(format!("`{POSITIONS}`: {tokens} positions do not form a square of patches"));
    }
    let patch_size = [patch_height, patch_width];
    Some(Image { patch_size, image_size: patch_size.map(|patch| side * patch), width })
}

/// Those of a matrix `[patch · patch · 3, width]` with a square grid of positions `[side, side, width]`.
fn naflex_image(patches: &[usize], positions: &[usize], problems: &mut Problems) -> Option<Image> {
    let (&[values, width], &[rows, columns, of_position]) = (patches, positions) else { return None };
    if rows != columns || rows == 0 {
        problems.push(format!("`{POSITIONS}`: {rows}x{columns} positions are not a square"));
    }
    if of_position != width {
        problems.push(format!("`{POSITIONS}`: {of_position} wide, but `{PATCHES}` gives {width} values"));
    }
    let side = naflex::patch_side(values);
    if side.is_none() {
        problems.push(format!("`{PATCHES}`: {values} values do not form a square patch of 3 channels"));
    }
    let side = side?;
    let image_size = [rows, columns].map(|length| length.saturating_mul(side));
    Some(Image { patch_size: [side; 2], image_size, width })
}
