//! Low-rank adapters of the PEFT library, in a folder of their own or unmerged among the weights, and weights stored as
//! length and direction (GmP, PyTorch's weight norm): the computed weights take the place of the stored ones.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use clipway_formats::{Code, FormatError, Json, JsonCursor, JsonLimits, TensorFile, TensorInfo, shown};

use super::merged::{MergedFile, Recipe, Update, kept};

/// Name of the config that PEFT puts beside an adapter.
pub(super) const ADAPTER_CONFIG: &str = "adapter_config.json";

/// What PEFT puts before the names of the model.
const PEFT: &str = "base_model.model.";

/// Parts of names between a module and its own tensors.
const BASE_LAYER: &str = ".base_layer";
const SAVED: &str = ".modules_to_save.";
const ORIGINAL: &str = ".original_module.";

/// Ways of initializing that leave the base's weights alone.
const HARMLESS_STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// An adapter that cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The weights that the adapter belongs to are elsewhere.
    #[error("this is a LoRA adapter without the weights that it changes{}", of(base))]
    NoBase {
        /// The base that the adapter's config names, escaped and shortened.
        base: Option<String>,
    },
    /// A base was given for something else.
    #[error("this is no adapter: it has no tensor of LoRA, so that there is nothing to merge into a base")]
    NotAnAdapter,
    /// Nothing states the factor of the update.
    #[error(
        "the weights hold a LoRA that is not merged, and no `{ADAPTER_CONFIG}` beside them states its `lora_alpha`"
    )]
    NoConfig,
    /// The config is malformed.
    #[error("`{ADAPTER_CONFIG}`: {0}")]
    Config(FormatError),
    /// A kind or a setting that is not merged.
    #[error("`{ADAPTER_CONFIG}`: {what}, which is not merged")]
    Unsupported {
        /// The setting.
        what: String,
    },
    /// Several adapters in one file.
    #[error("the weights hold several adapters: {}", names.join(", "))]
    Several {
        /// Their names, escaped and shortened.
        names: Vec<String>,
    },
    /// Tensors of the adapter that fit no weight.
    #[error("{} of the adapter's tensors fit no weight, such as `{}`", names.len(), names[0])]
    Unmatched {
        /// Their names, escaped and shortened; at least one.
        names: Vec<String>,
    },
}

fn of(base: &Option<String>) -> String {
    base.as_ref().map(|base| format!(": those of `{base}`")).unwrap_or_default()
}

impl AdapterError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            AdapterError::NoBase { .. } | AdapterError::NoConfig => "missing",
            AdapterError::NotAnAdapter => "bad-option",
            AdapterError::Config(cause) => cause.code.name(),
            AdapterError::Unsupported { .. } => "unsupported",
            AdapterError::Several { .. } => "ambiguous",
            AdapterError::Unmatched { .. } => "mismatch",
        }
    }
}

/// Tensors with merged weights among them.
pub(super) struct Merged {
    pub(super) file: Arc<dyn TensorFile>,
    /// Indices of the tensors that went into others.
    pub(super) consumed: HashSet<usize>,
    /// What was merged.
    pub(super) note: String,
}

/// A tensor of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Down,
    Up,
    EmbeddingDown,
    EmbeddingUp,
    Length,
}

/// The last part of a module's name that makes a tensor a piece.
const PIECES: [(&str, Piece); 5] = [
    (".lora_A", Piece::Down),
    (".lora_B", Piece::Up),
    (".lora_embedding_A", Piece::EmbeddingDown),
    (".lora_embedding_B", Piece::EmbeddingUp),
    (".lora_magnitude_vector", Piece::Length),
];

/// A piece's module and the adapter's name, if the tensor has one.
fn piece(name: &str) -> Option<(&str, Piece, &str)> {
    PIECES.into_iter().find_map(|(part, piece)| {
        let (module, rest) = name.split_once(part)?;
        let rest = rest.strip_suffix(".weight").unwrap_or(rest);
        let adapter = if rest.is_empty() { "" } else { rest.strip_prefix('.')? };
        Some((module, piece, adapter))
    })
}

/// Whether any tensor belongs to an adapter that is not merged.
fn has_pieces(file: &dyn TensorFile) -> bool {
    file.tensors().iter().any(|tensor| piece(&tensor.name).is_some())
}

/// The file with merged weights; `None` if there is nothing to merge.
///
/// # Errors
/// An adapter without its base or its config, or one that is not merged as it is.
pub(super) fn merged(
    file: &Arc<dyn TensorFile>,
    base: Option<&Arc<dyn TensorFile>>,
    config: Option<&[u8]>,
) -> Result<Option<Merged>, AdapterError> {
    let config = config.map(Config::parse).transpose()?;
    if !has_pieces(&**file) {
        return match (base, config) {
            (Some(_), _) => Err(AdapterError::NotAnAdapter),
            (None, Some(config)) => Err(AdapterError::NoBase { base: config.base }),
            (None, None) => Ok(scaled(file)),
        };
    }
    let is_alone = |tensor: &TensorInfo| piece(&tensor.name).is_none() && !tensor.name.contains(SAVED);
    if base.is_none() && !file.tensors().iter().any(is_alone) {
        return Err(AdapterError::NoBase { base: config.and_then(|config| config.base) });
    }
    let config = config.ok_or(AdapterError::NoConfig)?;
    Merging::new(file, base).run(&config).map(Some)
}

/// Ends of the names of a weight's length and direction, each row of which is scaled to its length: of geometric
/// parametrization, and of PyTorch's `weight_norm` in both of its forms (<https://arxiv.org/abs/1602.07868>).
const POLAR: [[&str; 2]; 3] = [
    [".r", ".theta"],
    [".weight_g", ".weight_v"],
    [".parametrizations.weight.original0", ".parametrizations.weight.original1"],
];

/// Weights of length and direction, each put together; `None` if there are none.
fn scaled(file: &Arc<dyn TensorFile>) -> Option<Merged> {
    let places: HashMap<&str, usize> =
        file.tensors().iter().enumerate().map(|(index, tensor)| (tensor.name.as_str(), index)).collect();
    let mut tensors = file.tensors().to_vec();
    let mut recipes: Vec<Recipe> = (0..tensors.len()).map(Recipe::Stored).collect();
    let mut consumed = HashSet::new();
    let mut parts: BTreeSet<[&str; 2]> = BTreeSet::new();
    for (index, tensor) in file.tensors().iter().enumerate() {
        let of_module = |ends: [&'static str; 2]| Some((tensor.name.strip_suffix(ends[1])?, ends));
        let Some((module, ends)) = POLAR.into_iter().find_map(of_module) else { continue };
        let Some(&length) = places.get(format!("{module}{}", ends[0]).as_str()) else { continue };
        let rows = tensor.shape.first().copied().unwrap_or(0);
        let fits = tensor.shape.len() >= 2
            && tensor.elements() > 0
            && file.tensors()[length].elements() == rows
            && [index, length].iter().all(|&index| file.tensors()[index].dtype.is_float());
        if fits {
            tensors[index].name = format!("{module}.weight");
            tensors[index].dtype = kept(tensor.dtype);
            recipes[index] = Recipe::Scaled { direction: index, length };
            consumed.insert(length);
            parts.insert(ends);
        }
    }
    let parts = parts
        .iter()
        .map(|[length, direction]| format!("length `{}` and direction `{}`", &length[1..], &direction[1..]));
    let parts = parts.collect::<Vec<_>>().join(", and ");
    let note = format!("{} put together from {parts}", weights(consumed.len()));
    (!consumed.is_empty()).then(|| {
        let file = Arc::new(MergedFile::new(vec![Arc::clone(file)], tensors, recipes));
        Merged { file, consumed, note }
    })
}

/// A name with its last character first.
fn backwards(name: &str) -> String {
    name.chars().rev().collect()
}

/// A number of weights.
fn weights(count: usize) -> String {
    if count == 1 { "1 weight".to_owned() } else { format!("{count} weights") }
}

/// An adapter's tensors on their way into weights.
struct Merging {
    files: Vec<Arc<dyn TensorFile>>,
    tensors: Vec<TensorInfo>,
    recipes: Vec<Recipe>,
    /// Index of each weight by its name without PEFT's parts, backwards: names with the same end are neighbors.
    weights: BTreeMap<String, usize>,
    consumed: HashSet<usize>,
    /// Tensors that replace a weight, by the weight's name.
    replacing: Vec<(String, usize)>,
    modules: BTreeMap<String, BTreeMap<Piece, usize>>,
    adapters: BTreeSet<String>,
    unmatched: Vec<String>,
    /// Where the adapter's model is in the weights.
    tower: Option<&'static str>,
}

impl Merging {
    fn new(file: &Arc<dyn TensorFile>, base: Option<&Arc<dyn TensorFile>>) -> Merging {
        let files: Vec<Arc<dyn TensorFile>> = base.into_iter().chain([file]).map(Arc::clone).collect();
        let mut merging = Merging {
            tensors: files.iter().flat_map(|file| file.tensors().to_vec()).collect(),
            recipes: Vec::new(),
            weights: BTreeMap::new(),
            consumed: HashSet::new(),
            replacing: Vec::new(),
            modules: BTreeMap::new(),
            adapters: BTreeSet::new(),
            unmatched: Vec::new(),
            tower: None,
            files,
        };
        merging.recipes = (0..merging.tensors.len()).map(Recipe::Stored).collect();
        let of_base = base.map_or(0, |base| base.tensors().len());
        for index in 0..merging.tensors.len() {
            merging.sort(index, base.is_some() && index >= of_base);
        }
        merging
    }

    /// Finds out what a tensor is: a piece, a replacement or a weight.
    fn sort(&mut self, index: usize, is_of_adapter: bool) {
        let name = self.tensors[index].name.replace(BASE_LAYER, "");
        let below = |name: &str| match is_of_adapter {
            true => name.strip_prefix(PEFT).unwrap_or(name).to_owned(),
            false => name.to_owned(),
        };
        if let Some((module, piece, adapter)) = piece(&name) {
            self.adapters.insert(adapter.to_owned());
            self.modules.entry(below(module)).or_default().insert(piece, index);
            self.consumed.insert(index);
        } else if let Some((module, leaf)) = name.split_once(SAVED) {
            // The adapter's name comes before the tensor's own, unless the file is the adapter's alone.
            let (adapter, leaf) = leaf.split_once('.').unwrap_or(("", leaf));
            self.adapters.insert(adapter.to_owned());
            self.replacing.push((format!("{}.{leaf}", below(module)), index));
        } else if is_of_adapter {
            self.replacing.push((below(&name), index));
        } else {
            let name = name.replace(ORIGINAL, ".");
            self.tensors[index].name.clone_from(&name);
            self.weights.insert(backwards(&name), index);
        }
    }

    /// Index of a weight: in the tower that the adapter was trained on alone, or anywhere.
    fn find(&self, name: &str) -> Option<usize> {
        let in_tower = self.tower.and_then(|tower| self.find_named(&format!("{tower}.{name}")));
        in_tower.or_else(|| self.find_named(name))
    }

    /// Index of a weight: by its whole name, or by the only name that ends so.
    fn find_named(&self, name: &str) -> Option<usize> {
        let mut end = backwards(name);
        if let Some(&index) = self.weights.get(&end) {
            return Some(index);
        }
        end.push('.');
        let mut found = self.weights.range(end.clone()..).take_while(|(weight, _)| weight.starts_with(&end));
        match (found.next(), found.next()) {
            (Some((_, &index)), None) => Some(index),
            _ => None,
        }
    }

    fn run(mut self, config: &Config) -> Result<Merged, AdapterError> {
        if self.adapters.len() > 1 {
            let names = self.adapters.iter().map(|name| format!("`{}`", shown(name))).collect();
            return Err(AdapterError::Several { names });
        }
        self.tower = config.tower;
        for (name, index) in std::mem::take(&mut self.replacing) {
            match self.find(&name).filter(|&weight| self.tensors[weight].shape == self.tensors[index].shape) {
                Some(weight) => {
                    self.tensors[weight].dtype = self.tensors[index].dtype;
                    self.recipes[weight] = Recipe::Stored(index);
                    self.consumed.insert(index);
                }
                None => self.unmatched.push(shown(&self.tensors[index].name)),
            }
        }
        let mut updated = 0;
        for (module, pieces) in std::mem::take(&mut self.modules) {
            match self.update(&module, &pieces, config) {
                Some((weight, stored, update)) => {
                    self.tensors[weight].dtype = kept(self.tensors[weight].dtype);
                    self.recipes[weight] = Recipe::Updated { weight: stored, update };
                    updated += 1;
                }
                None => self.unmatched.extend(pieces.values().map(|&index| shown(&self.tensors[index].name))),
            }
        }
        if !self.unmatched.is_empty() {
            return Err(AdapterError::Unmatched { names: self.unmatched });
        }
        let note = format!("a LoRA adapter was merged into {}", weights(updated));
        let file = Arc::new(MergedFile::new(self.files, self.tensors, self.recipes));
        Ok(Merged { file, consumed: self.consumed, note })
    }

    /// The weight of a module, the tensor that it is stored in, and its update; `None` if they do not fit.
    fn update(
        &self,
        module: &str,
        pieces: &BTreeMap<Piece, usize>,
        config: &Config,
    ) -> Option<(usize, usize, Update)> {
        let get = |piece| pieces.get(&piece).copied();
        let (down, up, is_embedding) = match (get(Piece::Down), get(Piece::Up)) {
            (Some(down), Some(up)) => (down, up, false),
            _ => (get(Piece::EmbeddingDown)?, get(Piece::EmbeddingUp)?, true),
        };
        let names = ["weight", "in_proj_weight"];
        let weight = names.into_iter().find_map(|leaf| self.find(&format!("{module}.{leaf}")))?;
        // What replaced the weight is none to update, unless it is the layer's own: PEFT saves that of an attention's output.
        let Recipe::Stored(stored) = self.recipes[weight] else { return None };
        let is_own = stored == weight || self.tensors[stored].name.contains(BASE_LAYER);
        let shape = |index: usize| &self.tensors[index].shape[..];
        let rank = *shape(down).first()?;
        let transposed = is_embedding || config.transposed;
        let [outputs, inputs] = [shape(up), shape(down)].map(|shape| shape.iter().product::<usize>());
        let [outputs, inputs] = [outputs, inputs].map(|all| all.checked_div(rank).unwrap_or(0));
        let (first, others) = shape(weight).split_first()?;
        let others: usize = others.iter().product();
        let expected = if transposed { [inputs, outputs] } else { [outputs, inputs] };
        let is_up = shape(up).first() == Some(&outputs) && shape(up).get(1) == Some(&rank);
        let length = get(Piece::Length);
        let has_length = length.is_none_or(|length| {
            self.tensors[length].elements() == outputs && config.lengths && !is_embedding
        });
        let are_numbers = [Some(weight), Some(down), Some(up), length]
            .into_iter()
            .flatten()
            .all(|index| self.tensors[index].dtype.is_float());
        let fits = is_own && is_up && rank > 0 && [*first, others] == expected && has_length && are_numbers;
        let scale = config.scale(module, rank);
        fits.then_some((weight, stored, Update { down, up, scale, transposed, length }))
    }
}

/// Where the tower is in a whole model, whose class and module PEFT has recorded: the adapter's names begin inside the tower.
fn tower_of(mapping: &JsonCursor<'_>) -> Result<Option<&'static str>, FormatError> {
    let text = |key| mapping.get(key)?.map_or(Ok(""), |value: JsonCursor<'_>| value.string());
    let (class, module) = (text("base_model_class")?, text("parent_library")?);
    let is = |library: &str| module.split('.').next() == Some(library);
    Ok(match (class.contains("Vision"), class.contains("Text")) {
        (true, false) if is("transformers") => Some("vision_model"),
        (false, true) if is("transformers") => Some("text_model"),
        (true, false) if is("open_clip") => Some("visual"),
        (false, true) if is("open_clip") => Some("text"),
        (true, false) if is("timm") => Some("visual.trunk"),
        _ => None,
    })
}

/// What an adapter's config states.
struct Config {
    base: Option<String>,
    alpha: f64,
    alphas: Vec<(String, f64)>,
    stabilized: bool,
    transposed: bool,
    lengths: bool,
    /// Where the adapter's model is, if it is one tower.
    tower: Option<&'static str>,
}

impl Config {
    fn parse(bytes: &[u8]) -> Result<Config, AdapterError> {
        let json = Json::parse(bytes, JsonLimits::CONFIG).map_err(AdapterError::Config)?;
        Config::read(&json.root()).map_err(AdapterError::Config)?
    }

    fn read(root: &JsonCursor<'_>) -> Result<Result<Config, AdapterError>, FormatError> {
        let present = |key: &str| Ok(root.get(key)?.filter(|value| !value.is_null()));
        let flag = |key: &str| present(key)?.map_or(Ok(false), |value: JsonCursor<'_>| value.boolean());
        let unsupported = |what: String| Ok(Err(AdapterError::Unsupported { what }));
        let kind = root.require("peft_type")?.string()?;
        if kind != "LORA" {
            return unsupported(format!("`peft_type` is `{}`", shown(kind)));
        }
        for key in
            ["lora_bias", "use_qalora", "alora_invocation_tokens", "target_parameters", "layer_replication"]
        {
            let is_off = present(key)?.is_none_or(|value: JsonCursor<'_>| {
                value.boolean().is_ok_and(|on| !on) || value.items().is_ok_and(|items| items.len() == 0)
            });
            if !is_off {
                return unsupported(format!("`{key}` is set"));
            }
        }
        if let Some(start) = present("init_lora_weights")?
            && let Ok(start) = start.string()
            && !HARMLESS_STARTS.contains(&start)
        {
            return unsupported(format!("`init_lora_weights` is `{}`", shown(start)));
        }
        let mut alphas = Vec::new();
        if let Some(pattern) = present("alpha_pattern")? {
            for (name, alpha) in pattern.members()? {
                let literal = name.strip_prefix('^').unwrap_or(name);
                if !literal.chars().all(|c: char| c.is_ascii_alphanumeric() || "._".contains(c)) {
                    return unsupported(format!("`alpha_pattern` has the expression `{}`", shown(name)));
                }
                alphas.push((literal.to_owned(), alpha.number()?));
            }
        }
        let alpha = root.require("lora_alpha")?;
        let base = present("base_model_name_or_path")?;
        let base = base
            .and_then(|base: JsonCursor<'_>| base.string().ok().map(shown))
            .filter(|base| !base.is_empty());
        let number = alpha.number()?;
        if !number.is_finite() {
            return Err(alpha.error(Code::BadValue, "expected a finite number"));
        }
        Ok(Ok(Config {
            base,
            alpha: number,
            alphas,
            stabilized: flag("use_rslora")?,
            transposed: flag("fan_in_fan_out")?,
            lengths: flag("use_dora")?,
            tower: match present("auto_mapping")? {
                Some(class) => tower_of(&class)?,
                None => None,
            },
        }))
    }

    /// Factor of a module's update.
    fn scale(&self, module: &str, rank: usize) -> f64 {
        let is_of = |name: &str| module == name || module.ends_with(&format!(".{name}"));
        let alpha = self.alphas.iter().find(|(name, _)| is_of(name)).map_or(self.alpha, |(_, alpha)| *alpha);
        alpha / if self.stabilized { (rank as f64).sqrt() } else { rank as f64 }
    }
}
