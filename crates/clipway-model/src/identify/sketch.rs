//! What names and shapes show about a model with open_clip's own towers.

use std::collections::HashMap;

/// Names and shapes of a state dict.
pub(super) struct Shapes<'a> {
    by_name: HashMap<&'a str, &'a [usize]>,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(tensors: &[(&'a str, &'a [usize])]) -> Shapes<'a> {
        Shapes { by_name: tensors.iter().copied().collect() }
    }

    /// The shape of a tensor with `N` dimensions.
    pub(super) fn of<const N: usize>(&self, name: &str) -> Option<[usize; N]> {
        self.by_name.get(name).and_then(|shape| (*shape).try_into().ok())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether any tensor's name starts with this.
    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        self.by_name.keys().any(|name| name.starts_with(prefix))
    }

    /// One more than the highest index of a module under `prefix` that has this tensor; gaps are found by comparison.
    /// An index above the number of tensors is ignored: a short file cannot claim a long model.
    pub(super) fn count(&self, prefix: &str, leaf: &str) -> usize {
        self.numbers(prefix, leaf)
            .filter(|number| *number < self.by_name.len())
            .max()
            .map_or(0, |last| last + 1)
    }

    /// The shape of a tensor with `N` dimensions in the first module under `prefix` that has it.
    pub(super) fn of_first<const N: usize>(&self, prefix: &str, leaf: &str) -> Option<[usize; N]> {
        let first = self.numbers(prefix, leaf).min()?;
        self.of(&format!("{prefix}{first}{leaf}"))
    }

    fn numbers(&self, prefix: &str, leaf: &str) -> impl Iterator<Item = usize> {
        self.by_name
            .keys()
            .filter_map(move |name| name.strip_prefix(prefix)?.strip_suffix(leaf)?.parse().ok())
    }
}

/// Sizes of the two towers; a part is `None` if its tensors are not from open_clip's own towers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sketch {
    pub(super) vision: Option<VisionSketch>,
    pub(super) text: Option<TextSketch>,
    /// Whether the text tower's tensors are under `text.`.
    pub(super) custom_text: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum VisionSketch {
    Transformer {
        embed_dim: usize,
        width: usize,
        layers: usize,
        patch: [usize; 2],
        mlp_width: usize,
        tokens: usize,
    },
    ResNet {
        embed_dim: usize,
        width: usize,
        stages: [usize; 4],
        tokens: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TextSketch {
    pub(super) embed_dim: usize,
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) vocab_size: usize,
    pub(super) mlp_width: usize,
    pub(super) positions: usize,
}

impl Sketch {
    pub(super) fn of(shapes: &Shapes<'_>) -> Sketch {
        let custom_text = shapes.has("text.token_embedding.weight");
        let prefix = if custom_text { "text." } else { "" };
        Sketch { vision: sketch_vision(shapes), text: sketch_text(shapes, prefix), custom_text }
    }

    /// Prefix of the text tower's tensors.
    pub(super) fn text_prefix(&self) -> &'static str {
        if self.custom_text { "text." } else { "" }
    }
}

fn sketch_vision(shapes: &Shapes<'_>) -> Option<VisionSketch> {
    if let Some([tokens, _]) = shapes.of("visual.attnpool.positional_embedding") {
        let [stem, _, _, _] = shapes.of("visual.conv1.weight")?;
        let [embed_dim, _] = shapes.of("visual.attnpool.c_proj.weight")?;
        let stages = [1, 2, 3, 4].map(|s| shapes.count(&format!("visual.layer{s}."), ".conv1.weight"));
        return Some(VisionSketch::ResNet { embed_dim, width: stem.saturating_mul(2), stages, tokens });
    }
    let [width, _, patch_height, patch_width] = shapes.of("visual.conv1.weight")?;
    let [_, embed_dim] = shapes.of("visual.proj")?;
    let [tokens, _] = shapes.of("visual.positional_embedding")?;
    let [mlp_width, _] = shapes.of_first("visual.transformer.resblocks.", ".mlp.c_fc.weight")?;
    let layers = shapes.count("visual.transformer.resblocks.", ".ln_1.weight");
    let patch = [patch_height, patch_width];
    Some(VisionSketch::Transformer { embed_dim, width, layers, patch, mlp_width, tokens })
}

fn sketch_text(shapes: &Shapes<'_>, prefix: &str) -> Option<TextSketch> {
    let [vocab_size, width] = shapes.of(&format!("{prefix}token_embedding.weight"))?;
    let [positions, _] = shapes.of(&format!("{prefix}positional_embedding"))?;
    let [mlp_width, _] = shapes.of_first(&format!("{prefix}transformer.resblocks."), ".mlp.c_fc.weight")?;
    let bare = shapes.of(&format!("{prefix}text_projection")).map(|[_, embed_dim]| embed_dim);
    let linear = || shapes.of(&format!("{prefix}text_projection.weight")).map(|[embed_dim, _]| embed_dim);
    let layers = shapes.count(&format!("{prefix}transformer.resblocks."), ".ln_1.weight");
    let embed_dim = bare.or_else(linear).unwrap_or(width);
    Some(TextSketch { embed_dim, width, layers, vocab_size, mlp_width, positions })
}
