//! Finds a model's weights among the tensors of a file.
//!
//! Trainers save a dictionary: the weights under a name such as `state_dict`, an averaged copy (EMA) under another, and
//! beside them the state needed only for training. Wrappers (data parallel, `torch.compile`) prefix every name. Both
//! are levels to descend, until the remaining names are neither.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use clipway_formats::{FileFormat, TensorFile, shown};
use serde::{Deserialize, Serialize};

use super::StateDict;

/// Which weights to use if a checkpoint has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsChoice {
    /// As the optimizer left them.
    Raw,
    /// Averaged over training steps.
    Ema,
}

impl WeightsChoice {
    /// Name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            WeightsChoice::Raw => "raw",
            WeightsChoice::Ema => "ema",
        }
    }
}

/// What is said about which tensors of a checkpoint are the model's. What is left out is found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Raw or averaged weights, where there are both; raw without it.
    pub choice: Option<WeightsChoice>,
    /// Prefix of names below which the model lies, such as `student.clip`.
    pub under: Option<String>,
    /// Names of tensors to leave out, where `*` stands for any characters. They are names below the prefix.
    pub ignore: Vec<String>,
}

/// Why a checkpoint's tensors are not among the model's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOutKind {
    /// Optimizer state, such as moments.
    Optimizer,
    /// Learning-rate schedule state.
    Scheduler,
    /// State of mixed precision's gradient scaler.
    GradientScaler,
    /// Random number generator state.
    RandomState,
    /// Loss state.
    Loss,
    /// The averaged weights, when the raw ones are used.
    EmaWeights,
    /// The raw weights, when the averaged ones are used.
    RawWeights,
    /// Tensors of TorchScript code, which is never read.
    Constants,
    /// Tensors that were left out on request.
    Ignored,
    /// Tensors that were merged into others: an adapter's, or lengths of weights.
    Merged,
    /// Anything else beside the weights.
    Other,
}

impl LeftOutKind {
    /// Name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            LeftOutKind::Optimizer => "optimizer state",
            LeftOutKind::Scheduler => "scheduler state",
            LeftOutKind::GradientScaler => "gradient scaler state",
            LeftOutKind::RandomState => "random state",
            LeftOutKind::Loss => "loss state",
            LeftOutKind::EmaWeights => "EMA weights",
            LeftOutKind::RawWeights => "raw weights",
            LeftOutKind::Constants => "constants of TorchScript code",
            LeftOutKind::Ignored => "ignored on request",
            LeftOutKind::Merged => "merged into other weights",
            LeftOutKind::Other => "other tensors",
        }
    }

    pub(super) fn of_key(key: &str) -> LeftOutKind {
        let key = key.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| key.contains(word));
        match () {
            () if has(&["optim"]) => LeftOutKind::Optimizer,
            () if has(&["sched"]) => LeftOutKind::Scheduler,
            () if has(&["scaler"]) => LeftOutKind::GradientScaler,
            () if has(&["rng", "random"]) => LeftOutKind::RandomState,
            () if has(&["loss", "criterion"]) => LeftOutKind::Loss,
            () => LeftOutKind::Other,
        }
    }
}

/// Part of a checkpoint that is not used: training state, or the other weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The reason.
    pub kind: LeftOutKind,
    /// Name of its dictionary, or of the tensor itself.
    pub path: String,
    /// Indices of its tensors in the file.
    pub tensors: Vec<usize>,
    /// Bytes of its tensors.
    pub bytes: u64,
}

/// The model's weights in a checkpoint, and everything else in it.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The weights, with names relative to [`Weights::path`].
    pub state_dict: StateDict,
    /// Dictionaries and prefixes that led to them, outermost first, such as `state_dict` and `module`.
    pub path: Vec<String>,
    /// Raw or averaged.
    pub choice: WeightsChoice,
    /// Whether the checkpoint has both raw and averaged weights.
    pub has_both: bool,
    /// Everything else, in file order.
    pub left_out: Vec<LeftOut>,
}

/// The weights of a checkpoint cannot be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// Two dictionaries could both be the weights.
    #[error("the weights could be under {}", list(candidates))]
    Ambiguous {
        /// Their names.
        candidates: Vec<String>,
    },
    /// The requested kind of weights does not exist.
    #[error("no {} weights, only {}", wanted.name(), found.name())]
    NotThere {
        /// The requested kind.
        wanted: WeightsChoice,
        /// The existing kind.
        found: WeightsChoice,
    },
    /// No tensor's name has a prefix that was given.
    #[error("no tensor name begins with `{}.`; names begin with {}", shown(prefix), list(firsts))]
    NoPrefix {
        /// The prefix.
        prefix: String,
        /// First parts of names that are there.
        firsts: Vec<String>,
    },
    /// No tensor's name matches a pattern of names to ignore.
    #[error("no tensor name matches `{}`", shown(pattern))]
    NothingIgnored {
        /// The pattern.
        pattern: String,
    },
    /// Two tensors get the same name once the enclosing dictionaries' names are removed.
    #[error("`{}` and `{}` would have the same name", shown(&names[0]), shown(&names[1]))]
    Collision {
        /// Their names in the file.
        names: [String; 2],
    },
    /// The weights were saved without their values, which are in other files.
    #[error(
        "{empty} of {tensors} tensors have no elements: the file has only the names of weights that are spread over processes, as by DeepSpeed's ZeRO-3"
    )]
    Placeholders {
        /// Tensors without elements.
        empty: usize,
        /// All tensors of the weights.
        tensors: usize,
    },
    /// The weights of a model that is still being pruned, beside the masks that say what remains of it.
    #[error(
        "the weights are not pruned yet: `{}` is one of the masks that say what remains of them",
        shown(mask)
    )]
    Pruning {
        /// Name of a tensor of the masks.
        mask: String,
    },
    /// A frozen program, whose weights have become constants.
    #[error("no weights: all {constants} tensors are constants of TorchScript code, as of a frozen program")]
    Frozen {
        /// Number of constants.
        constants: usize,
    },
    /// There are no tensors, or only training state.
    #[error("no weights: {}", if *tensors == 0 { "there are no tensors" } else { "all tensors are training state" })]
    Empty {
        /// Number of tensors in the file.
        tensors: usize,
    },
}

impl SelectError {
    /// The same error, with candidates as they are named in the whole file.
    fn below(self, path: &[String]) -> SelectError {
        let SelectError::Ambiguous { candidates } = self else { return self };
        let whole = |key: String| path.iter().cloned().chain([key]).collect::<Vec<_>>().join(".");
        SelectError::Ambiguous { candidates: candidates.into_iter().map(whole).collect() }
    }

    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            SelectError::Ambiguous { .. } => "ambiguous",
            SelectError::Collision { .. } => "duplicate",
            SelectError::Placeholders { .. } | SelectError::Pruning { .. } => "unsupported",
            SelectError::NotThere { .. }
            | SelectError::NoPrefix { .. }
            | SelectError::NothingIgnored { .. }
            | SelectError::Frozen { .. }
            | SelectError::Empty { .. } => "missing",
        }
    }
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", shown(name))).collect();
    quoted.join(" and ")
}

/// Where Lightning keeps a model's weights; averaged ones if [`CURRENT`] is beside them.
const STATE: &str = "state_dict";

/// Where Lightning's `WeightAveraging` keeps the raw weights.
const CURRENT: &str = "current_model_state";

/// Names under which trainers save weights, and prefixes added by wrappers.
const RAW: [&str; 12] = [
    STATE,
    CURRENT,
    "model_state_dict",
    "model_state",
    "model_weights",
    "model",
    "module",
    "_orig_mod",
    "net",
    "network",
    "weights",
    "params",
];

/// Scalars that averaging stores beside the weights.
const COUNTERS: [&str; 3] = ["n_averaged", "num_updates", "decay"];

/// Prefixes of TorchScript's constants.
const CONSTANTS: &str = "CONSTANTS.";

/// Names that belong to a model, never to an enclosing dictionary.
const TOWERS: [&str; 2] = ["visual", "text"];

#[derive(Clone, Copy, PartialEq)]
enum Word {
    Raw,
    Ema,
    Counter,
    Unknown,
}

fn word(key: &str) -> Word {
    match () {
        () if RAW.contains(&key) => Word::Raw,
        () if COUNTERS.contains(&key) => Word::Counter,
        () if is_averaged(key) => Word::Ema,
        () => Word::Unknown,
    }
}

/// Whether a key names averaged weights.
pub(crate) fn is_averaged(key: &str) -> bool {
    key.to_ascii_lowercase().split('_').any(|part| part == "ema")
}

/// Tensors on one level of a checkpoint that share the first part of their name.
struct Group {
    key: String,
    /// Whether the key is its own level instead of a tensor name.
    is_level: bool,
    tensors: Vec<usize>,
}

impl Weights {
    /// Finds the weights in a file. `keys_of` returns the keys of the dictionary at a path of keys, where the file has
    /// dictionaries. Without a `choice`, raw weights are used if there are any.
    ///
    /// # Errors
    /// Two dictionaries that could be the weights, or that hold the same model, none, or none of the chosen kind.
    pub fn select(
        file: Arc<dyn TensorFile>,
        keys_of: &dyn Fn(&[String]) -> Option<Vec<String>>,
        choice: Option<WeightsChoice>,
    ) -> Result<Weights, SelectError> {
        let all = file.tensors();
        let is_script = file.format() == FileFormat::TorchScript;
        let is_constant = |&index: &usize| is_script && all[index].name.starts_with(CONSTANTS);
        let (constants, mut part): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(is_constant);
        let is_frozen = part.is_empty() && !constants.is_empty();
        let mut cut = 0;
        let mut path: Vec<String> = Vec::new();
        let mut found = WeightsChoice::Raw;
        let mut has_both = false;
        let mut left_out: Vec<LeftOut> = Vec::new();
        let bytes_of = |tensors: &[usize]| tensors.iter().map(|&tensor| all[tensor].bytes() as u64).sum();
        if !constants.is_empty() {
            let (kind, path) = (LeftOutKind::Constants, CONSTANTS.trim_end_matches('.').to_owned());
            left_out.push(LeftOut { kind, path, bytes: bytes_of(&constants), tensors: constants });
        }
        loop {
            let name = |index: usize| &all[index].name[cut..];
            let groups = match keys_of(&path) {
                Some(keys) => groups_of_dictionary(&part, &name, &keys),
                None => Vec::new(),
            };
            let prefixes = groups_of_prefixes(&part, &name);
            let level = Level::of([groups, prefixes], &name, choice);
            let Some(level) = level.map_err(|error| error.below(&path))? else { break };
            let takes_ema = match (level.raw, level.ema) {
                (Some(_), Some(_)) => {
                    has_both = true;
                    choice.map_or(level.prefers_ema, |choice| choice == WeightsChoice::Ema)
                }
                (raw, _) => raw.is_none(),
            };
            if takes_ema {
                found = WeightsChoice::Ema;
            }
            let taken = if takes_ema { level.ema } else { level.raw };
            let above = path.clone();
            for (index, group) in level.groups.into_iter().enumerate() {
                if Some(index) == taken {
                    cut += group.key.len() + 1;
                    path.push(group.key);
                    part = group.tensors;
                    continue;
                }
                let kind = match index {
                    _ if Some(index) == level.ema => LeftOutKind::EmaWeights,
                    _ if Some(index) == level.raw => LeftOutKind::RawWeights,
                    _ => LeftOutKind::of_key(&group.key),
                };
                let bytes = bytes_of(&group.tensors);
                let whole: Vec<&str> = above.iter().map(String::as_str).chain([group.key.as_str()]).collect();
                left_out.push(LeftOut { kind, path: whole.join("."), tensors: group.tensors, bytes });
            }
        }
        match choice {
            Some(wanted) if wanted != found => return Err(SelectError::NotThere { wanted, found }),
            _ if part.is_empty() && is_frozen => return Err(SelectError::Frozen { constants: all.len() }),
            _ if part.is_empty() || path.is_empty() && only_training(&part, all) => {
                return Err(SelectError::Empty { tensors: all.len() });
            }
            _ => {}
        }
        let empty = part.iter().filter(|&&index| all[index].elements() == 0).count();
        if 2 * empty > part.len() {
            return Err(SelectError::Placeholders { empty, tensors: part.len() });
        }
        let chosen: HashMap<&str, usize> =
            part.iter().map(|&index| (&all[index].name[cut..], index)).collect();
        let others = left_out.iter().filter(|part| part.kind == LeftOutKind::Other);
        for index in others.flat_map(|part| part.tensors.iter().copied()) {
            if let Some(&same) = chosen.get(all[index].name.as_str()) {
                let names = [same, index].map(|index| all[index].name.clone());
                return Err(SelectError::Collision { names });
            }
        }
        left_out.sort_by_key(|part| part.tensors.first().copied());
        let part = part.into_iter().map(|index| (index, all[index].name[cut..].to_owned())).collect();
        let state_dict = StateDict::of_part(Arc::clone(&file), part);
        Ok(Weights { state_dict, path, choice: found, has_both, left_out })
    }
}

/// Whether every tensor is under a training state key.
fn only_training(part: &[usize], all: &[clipway_formats::TensorInfo]) -> bool {
    let training = |name: &str| {
        let key = name.split('.').next().unwrap_or_default();
        matches!(LeftOutKind::of_key(key), LeftOutKind::Optimizer | LeftOutKind::Scheduler)
    };
    part.iter().all(|&index| training(&all[index].name))
}

/// A level with weights in one of its groups.
struct Level {
    groups: Vec<Group>,
    raw: Option<usize>,
    ema: Option<usize>,
    /// Whether the averaged weights are those that the trainer loads.
    prefers_ema: bool,
}

impl Level {
    /// The level of the first groups that lead further down, those of a dictionary or of prefixes; `None` if none does.
    fn of<'a>(
        levels: [Vec<Group>; 2],
        name: &dyn Fn(usize) -> &'a str,
        choice: Option<WeightsChoice>,
    ) -> Result<Option<Level>, SelectError> {
        for groups in levels {
            let places = |wanted| {
                let is =
                    |group: &Group| group.is_level && !group.tensors.is_empty() && word(&group.key) == wanted;
                let found = groups.iter().enumerate().filter(|(_, group)| is(group));
                found.map(|(place, _)| place).collect::<Vec<usize>>()
            };
            let (mut raw, mut ema) = (places(Word::Raw), places(Word::Ema));
            let key = |place: usize| groups[place].key.as_str();
            let prefers_ema =
                ema.is_empty() && raw.len() == 2 && raw.iter().any(|&place| key(place) == CURRENT);
            if prefers_ema {
                ema = raw.extract_if(.., |place| key(*place) == STATE).collect();
            }
            if raw.is_empty() && ema.is_empty() {
                raw.extend(only_level(&groups));
            }
            for places in [&raw, &ema] {
                if places.len() > 1 {
                    let candidates = places.iter().map(|&place| groups[place].key.clone()).collect();
                    return Err(SelectError::Ambiguous { candidates });
                }
            }
            let (raw, ema) = (raw.first().copied(), ema.first().copied());
            let Some(taken) = raw.or(ema) else { continue };
            let is_asked = choice == Some(WeightsChoice::Ema) && ema.is_some();
            let same = if is_asked { Vec::new() } else { like(&groups, taken, name) };
            if same.len() > 1 {
                let candidates = same.into_iter().map(|place| groups[place].key.clone()).collect();
                return Err(SelectError::Ambiguous { candidates });
            }
            return Ok(Some(Level { groups, raw, ema, prefers_ema }));
        }
        Ok(None)
    }
}

/// The dictionary at `place`, and those with unknown names that hold most of its tensors: the same model once more, such as
/// `best_model` beside `model`.
fn like<'a>(groups: &[Group], place: usize, name: &dyn Fn(usize) -> &'a str) -> Vec<usize> {
    let names_in = |group: &Group| -> HashSet<String> {
        let below = |index: &usize| name(*index).get(group.key.len() + 1..).unwrap_or_default();
        let bare = |name: &str| {
            let parts: Vec<&str> = name.split('.').filter(|part| !RAW.contains(part)).collect();
            parts.join(".")
        };
        group.tensors.iter().map(below).map(bare).collect()
    };
    let own = names_in(&groups[place]);
    let is_copy = |group: &Group| {
        let is_unknown = group.is_level && word(&group.key) == Word::Unknown;
        let is_training = LeftOutKind::of_key(&group.key) != LeftOutKind::Other;
        is_unknown && !is_training && 2 * names_in(group).intersection(&own).count() > own.len()
    };
    (0..groups.len()).filter(|&other| other == place || is_copy(&groups[other])).collect()
}

/// A dictionary with an unknown name that is the only one with tensors other than training state.
fn only_level(groups: &[Group]) -> Option<usize> {
    let counts = |group: &&(usize, &Group)| {
        let (_, group) = group;
        !group.tensors.is_empty() && LeftOutKind::of_key(&group.key) == LeftOutKind::Other
    };
    let mut places = groups.iter().enumerate().collect::<Vec<_>>();
    places.retain(|place| counts(&place));
    match places[..] {
        [(place, group)] if group.is_level && !TOWERS.contains(&group.key.as_str()) => Some(place),
        _ => None,
    }
}

/// Groups by the keys of a dictionary: a key whose name continues is a level, others are tensors.
fn groups_of_dictionary<'a>(part: &[usize], name: &dyn Fn(usize) -> &'a str, keys: &[String]) -> Vec<Group> {
    let keys: HashSet<&str> = keys.iter().map(String::as_str).collect();
    let mut groups = Groups::default();
    for &index in part {
        let name = name(index);
        let starts = name.match_indices('.').map(|(end, _)| &name[..end]);
        let key = starts.chain([name]).find(|start| keys.contains(start)).unwrap_or(name);
        groups.add(key, key.len() < name.len(), index);
    }
    groups.list
}

/// Groups by the first part of names, if all of these are known names of weights; otherwise nothing.
fn groups_of_prefixes<'a>(part: &[usize], name: &dyn Fn(usize) -> &'a str) -> Vec<Group> {
    let mut groups = Groups::default();
    for &index in part {
        match name(index).split_once('.') {
            Some((key, _)) if matches!(word(key), Word::Raw | Word::Ema) => groups.add(key, true, index),
            None if word(name(index)) == Word::Counter => groups.add(name(index), false, index),
            _ => return Vec::new(),
        }
    }
    groups.list
}

/// Groups under construction, in the order of their keys.
#[derive(Default)]
struct Groups<'a> {
    list: Vec<Group>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Groups<'a> {
    fn add(&mut self, key: &'a str, is_level: bool, tensor: usize) {
        let place = *self.places.entry(key).or_insert_with(|| {
            self.list.push(Group { key: key.to_owned(), is_level, tensors: Vec::new() });
            self.list.len() - 1
        });
        self.list[place].tensors.push(tensor);
    }
}
